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
