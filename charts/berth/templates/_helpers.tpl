{{/*
Names are fixed, not made from the release's name: the gate berth.dev/dra belongs to one Berth per cluster, and a second
release then fails at once instead of fighting over pods.
*/}}
{{- define "berth.labels" -}}
{{ include "berth.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "berth.selectorLabels" -}}
app.kubernetes.io/name: berth
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Not empty in the modes in which Berth writes. */}}
{{- define "berth.writes" -}}
{{- if ne .Values.mode "observe" }}true{{ end }}
{{- end }}

{{/* Not empty where devices are fenced. Not in mode observe: nobody at all would then allocate them. */}}
{{- define "berth.fences" -}}
{{- if and (include "berth.writes" .) (or .Values.fence.drivers .Values.fence.pools) }}true{{ end }}
{{- end }}

{{/* The version in which the cluster serves DeviceTaintRules; empty where it does not. */}}
{{- define "berth.taintRuleVersion" -}}
{{- if .Capabilities.APIVersions.Has "resource.k8s.io/v1/DeviceTaintRule" -}}
resource.k8s.io/v1
{{- else if .Capabilities.APIVersions.Has "resource.k8s.io/v1beta2/DeviceTaintRule" -}}
resource.k8s.io/v1beta2
{{- else if semverCompare ">=1.37.0-0" .Capabilities.KubeVersion.Version -}}
{{- /* `helm template` does not know what a cluster serves; from here on it is on by default. */ -}}
resource.k8s.io/v1
{{- end -}}
{{- end }}

{{- define "berth.image" -}}
{{- with .Values.operator.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* Namespaces of namespaceSelector; as the API wants it, without empty parts. */}}
{{- define "berth.namespaceSelector" -}}
{{- with .Values.namespaceSelector.matchLabels }}
matchLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.namespaceSelector.matchExpressions }}
matchExpressions:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}

{{/* The same without the namespaces that must never wait for Berth. */}}
{{- define "berth.admittedNamespaces" -}}
{{- with .Values.namespaceSelector.matchLabels }}
matchLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
matchExpressions:
{{- with .Values.namespaceSelector.matchExpressions }}
{{- toYaml . | nindent 0 }}
{{- end }}
- key: kubernetes.io/metadata.name
  operator: NotIn
  values:
  {{- concat (list "kube-system" .Release.Namespace) .Values.gate.excludedNamespaces | uniq | toYaml | nindent 2 }}
{{- end }}
