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

{{/* What adds the gate: policy or webhook. `helm template` does not know what a cluster serves, so its version counts too. */}}
{{- define "berth.gateBy" -}}
{{- if ne .Values.gate.by "auto" -}}
{{ .Values.gate.by }}
{{- else if or (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy") (semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version) -}}
policy
{{- else -}}
webhook
{{- end -}}
{{- end }}

{{/* Conditions under which a new pod gets the gate, for the policy and the webhook alike. */}}
{{- define "berth.gateConditions" -}}
- name: has-claims
  expression: "has(object.spec.resourceClaims) && object.spec.resourceClaims.size() > 0"
# The API refuses a pod that has both a node and a gate.
- name: not-bound
  expression: "!has(object.spec.nodeName) || object.spec.nodeName == ''"
- name: not-yet-gated
  expression: "!has(object.spec.schedulingGates) || !object.spec.schedulingGates.exists(g, g.name == 'berth.dev/dra')"
{{- end }}

{{/* Conditions under which a new claim gets the delete protection. */}}
{{- define "berth.finalizerConditions" -}}
- name: no-finalizer-yet
  expression: "!has(object.metadata.finalizers) || !object.metadata.finalizers.exists(f, f == 'resource.kubernetes.io/delete-protection')"
{{- end }}

{{/* The version of resource.k8s.io in which Berth reads and writes claims. */}}
{{- define "berth.resourceVersion" -}}
{{- if .Capabilities.APIVersions.Has "resource.k8s.io/v1/ResourceClaim" -}}
v1
{{- else if .Capabilities.APIVersions.Has "resource.k8s.io/v1beta2/ResourceClaim" -}}
v1beta2
{{- else if .Capabilities.APIVersions.Has "resource.k8s.io/v1beta1/ResourceClaim" -}}
v1beta1
{{- else -}}
v1
{{- end -}}
{{- end }}

{{/* The host that the webhook's certificate is for. */}}
{{- define "berth.webhookHost" -}}
{{- with .Values.gate.webhook.url -}}
{{ index (splitList ":" (get (urlParse .) "host")) 0 }}
{{- else -}}
berth-webhook.{{ .Release.Namespace }}.svc
{{- end -}}
{{- end }}

{{/* How the API server reaches a handler of the webhook: arguments are the context, its name, the authority. */}}
{{- define "berth.webhookClient" -}}
{{- $context := index . 0 }}
{{- with index . 2 }}
caBundle: {{ . }}
{{- end }}
{{- if $context.Values.gate.webhook.url }}
url: {{ trimSuffix "/" $context.Values.gate.webhook.url }}/{{ index . 1 }}
{{- else }}
service: {name: berth-webhook, namespace: {{ $context.Release.Namespace }}, path: /{{ index . 1 }}, port: 443}
{{- end }}
{{- end }}

{{/* Not empty where the operator's pods serve the webhook. */}}
{{- define "berth.servesWebhook" -}}
{{- if and (eq .Values.mode "gated") (eq (include "berth.gateBy" .) "webhook") }}true{{ end }}
{{- end }}
