{{/* The name of all objects. */}}
{{- define "worker.name" -}}
{{- $pool := .Values.worker.config.workPool -}}
{{- $name := regexReplaceAll "[^a-z0-9]+" (lower $pool) "-" | trimAll "-" -}}
{{- if or (ne $name $pool) (gt (len $name) 46) -}}
{{- $name = printf "%s-%s" (trunc 37 $name) (sha256sum $pool | trunc 8) | replace "--" "-" | trimAll "-" -}}
{{- end -}}
{{- .Values.fullnameOverride | default (printf "deployctl-worker-%s" $name) -}}
{{- end }}

{{/* The namespace of the worker. */}}
{{- define "worker.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end }}

{{/* The service account of the worker's pods. */}}
{{- define "worker.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "worker.name" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{/* The namespaces with Jobs, separated by commas. */}}
{{- define "worker.jobNamespaces" -}}
{{- $listed := .Values.worker.config.jobNamespace | nospace | trimAll "," -}}
{{- $listed | default .Values.role.namespace | default (include "worker.namespace" .) -}}
{{- end }}

{{/* The ConfigMap with the base job template, or nothing. */}}
{{- define "worker.templateConfigMap" -}}
{{- with .Values.worker.config.baseJobTemplate -}}
{{- if .configuration -}}
{{- .name | default (printf "%s-base-job-template" (include "worker.name" $)) -}}
{{- else -}}
{{- .existingConfigMapName -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The base job template as JSON. */}}
{{- define "worker.template" -}}
{{- with .Values.worker.config.baseJobTemplate.configuration -}}
{{- kindIs "string" . | ternary . (toPrettyJson .) -}}
{{- end -}}
{{- end }}

{{/* The labels that select the worker's pods. */}}
{{- define "worker.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default "deployctl-worker" | quote }}
app.kubernetes.io/instance: {{ include "worker.name" . | quote }}
app.kubernetes.io/component: worker
{{- end }}

{{/* The labels of all objects. */}}
{{- define "worker.labels" -}}
{{- $version := dict "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- toYaml (merge (include "worker.selector" . | fromYaml) (.Values.commonLabels | default dict) $version) -}}
{{- end }}

{{/* The labels of the pod. */}}
{{- define "worker.podLabels" -}}
{{- $labels := include "worker.labels" . | fromYaml -}}
{{- toYaml (merge (include "worker.selector" . | fromYaml) (.Values.worker.podLabels | default dict) $labels) -}}
{{- end }}

{{/* The metadata of an object; takes the root, a name, a namespace ("" for none), annotations. */}}
{{- define "worker.metadata" -}}
{{- $ := .root -}}
name: {{ .name | default (include "worker.name" $) }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- include "worker.labels" $ | nindent 2 }}
{{- with mustMergeOverwrite (dict) $.Values.commonAnnotations (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A Role or ClusterRole with its binding. */}}
{{- define "worker.role" -}}
{{- $ := .root -}}
{{- $metadata := include "worker.metadata" . -}}
{{- if $.Values.role.create }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .scope }}Role
metadata:
  {{- $metadata | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
  {{- if .namespace }}
  {{- with $.Values.role.extraPermissions }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- end }}
{{- end }}
{{- if $.Values.rolebinding.create }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .scope }}RoleBinding
metadata:
  {{- $metadata | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .scope }}Role
  name: {{ .name | default (include "worker.name" $) }}
subjects:
  - kind: ServiceAccount
    name: {{ include "worker.serviceAccount" $ }}
    namespace: {{ include "worker.namespace" $ }}
{{- end }}
{{- end }}

{{/* The settings that name a Secret; takes what, name and key. */}}
{{- define "worker.secretNames" -}}
- name: PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_{{ .what }}_SECRET_NAME
  value: {{ .name }}
- name: PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_{{ .what }}_SECRET_KEY
  value: {{ .key }}
{{- end }}

{{/* A variable from a Secret; takes variable, name and key. */}}
{{- define "worker.secretVariable" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
{{- end }}

{{/* Address and credentials of the Prefect API. */}}
{{- define "worker.api" -}}
{{- $kind := .Values.worker.apiConfig -}}
{{- $api := index .Values.worker (printf "%sApiConfig" $kind) -}}
{{- if contains "@" ($api.apiUrl | default "") }}
{{- fail "the password in apiUrl would stand in the manifest in plain text: put USER:PASSWORD into a Secret, and name it in existingSecret" }}
{{- end }}
{{- if eq $kind "selfHostedServer" -}}
- name: PREFECT_API_URL
  value: {{ required "worker.selfHostedServerApiConfig.apiUrl is missing" $api.apiUrl | quote }}
{{- if $api.basicAuth.authString }}
{{- fail "worker.selfHostedServerApiConfig.basicAuth.authString would stand in the manifest in plain text: put it into a Secret under the key auth-string, and name that in existingSecret" }}
{{- end }}
{{- if $api.basicAuth.enabled }}
{{- $name := required "basicAuth is enabled without existingSecret" $api.basicAuth.existingSecret }}
{{ include "worker.secretVariable" (dict "variable" "PREFECT_API_AUTH_STRING" "name" $name "key" "auth-string") }}
{{ include "worker.secretNames" (dict "what" "AUTH_STRING" "name" $name "key" "auth-string") }}
{{- end }}
{{- else -}}
{{- $path := printf "worker.%sApiConfig" $kind -}}
{{- $base := ternary $api.cloudUrl $api.apiUrl (eq $kind "cloud") -}}
{{- $base = required (printf "%s.apiUrl is missing" $path) $base | trimSuffix "/" -}}
{{- $account := required (printf "%s.accountId is missing" $path) $api.accountId -}}
{{- $workspace := required (printf "%s.workspaceId is missing" $path) $api.workspaceId -}}
- name: PREFECT_API_URL
  value: {{ printf "%s/accounts/%s/workspaces/%s" $base $account $workspace | quote }}
{{ include "worker.secretVariable" (dict "variable" "PREFECT_API_KEY" "name" $api.apiKeySecret.name "key" $api.apiKeySecret.key) }}
{{- with $api.cloudApiUrl }}
- name: PREFECT_CLOUD_API_URL
  value: {{ . | quote }}
{{- end }}
{{- with $api.cloudUiUrl }}
- name: PREFECT_CLOUD_UI_URL
  value: {{ . | quote }}
{{- end }}
{{- if eq $api.jobApiKeyPropagation "secretRef" }}
{{ include "worker.secretNames" (dict "what" "KEY" "name" $api.apiKeySecret.name "key" $api.apiKeySecret.key) }}
{{- else if eq $api.jobApiKeyPropagation "autoSecret" }}
- name: PREFECT_INTEGRATIONS_KUBERNETES_WORKER_CREATE_SECRET_FOR_API_KEY
  value: "true"
{{- end }}
{{- end }}
{{- end }}

{{/* A probe; takes the values of the probe and the path. */}}
{{- define "worker.probe" -}}
httpGet:
  path: {{ .path }}
  port: health
{{- with .probe.config }}
{{ toYaml . }}
{{- end }}
{{- end }}
