{{/* Release and chart name, once where they are the same. 52 characters leave room for the longest suffix within 63. */}}
{{- define "llama-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := .Chart.Name }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The name is fixed: the NetworkPolicy of every LlamaDeployment admits the operator by it. */}}
{{- define "llama-operator.selectorLabels" -}}
app.kubernetes.io/name: llama-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "llama-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "llama-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: llama-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "llama-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "llama-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "llama-operator.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* "true" where PodMonitors are rendered, else empty. */}}
{{- define "llama-operator.podMonitors" -}}
{{- $enabled := .Values.monitoring.podMonitors.enabled | toString }}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PodMonitor")) }}true{{ end }}
{{- end }}

{{/* Faults that a schema cannot see, because they lie between two values. */}}
{{- define "llama-operator.checkValues" -}}
{{- $scrape := int .Values.monitoring.podMonitors.intervalSeconds }}
{{- $stale := int .Values.prometheus.staleSeconds }}
{{- if and (include "llama-operator.podMonitors" .) (gt (mul 2 $scrape) $stale) }}
{{- fail (printf "monitoring.podMonitors.intervalSeconds is %d and prometheus.staleSeconds is %d: every sample would be stale and the autoscaler would always hold. Set intervalSeconds to at most %d, or staleSeconds to at least %d." $scrape $stale (div $stale 2) (mul 2 $scrape)) }}
{{- end }}
{{- if eq (int .Values.ports.health) (int .Values.ports.metrics) }}
{{- fail (printf "ports.health and ports.metrics are both %d: give them different numbers." (int .Values.ports.health)) }}
{{- end }}
{{- if gt (int .Values.reconcile.retryBaseSeconds) (int .Values.reconcile.retryMaxSeconds) }}
{{- fail (printf "reconcile.retryBaseSeconds is %d and reconcile.retryMaxSeconds is %d: the first wait may not exceed the longest." (int .Values.reconcile.retryBaseSeconds) (int .Values.reconcile.retryMaxSeconds)) }}
{{- end }}
{{- end }}
