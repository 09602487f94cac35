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

{{/* "true" where a PrometheusRule is rendered, else empty. Values kept from an earlier chart may lack what is newer: it is left out. */}}
{{- define "llama-operator.rules" -}}
{{- $enabled := (.Values.monitoring.rules).enabled | toString }}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PrometheusRule")) }}true{{ end }}
{{- end }}

{{/* "true" where GrafanaDashboards are rendered, else empty. */}}
{{- define "llama-operator.grafanaDashboards" -}}
{{- $wanted := and (.Values.monitoring.dashboards).enabled ((.Values.monitoring.dashboards).grafanaOperator).enabled }}
{{- if and $wanted (.Capabilities.APIVersions.Has "grafana.integreatly.org/v1beta1/GrafanaDashboard") }}true{{ end }}
{{- end }}

{{/* The name of a dashboard's objects, given a list of the root context and the file's name. */}}
{{- define "llama-operator.dashboard" -}}
{{- printf "%s-%s" (include "llama-operator.fullname" (index . 0) | trunc 40 | trimSuffix "-") (index . 1 | trimSuffix ".json") }}
{{- end }}

{{/* Faults that a schema cannot see, because they lie between two values. */}}
{{- define "llama-operator.checkValues" -}}
{{- $scrape := int .Values.monitoring.podMonitors.intervalSeconds }}
{{- $stale := int .Values.prometheus.staleSeconds }}
{{- if and (include "llama-operator.podMonitors" .) (gt (mul 2 $scrape) $stale) }}
{{- $given := printf "monitoring.podMonitors.intervalSeconds is %d and prometheus.staleSeconds is %d" $scrape $stale }}
{{- $remedy := printf "Set intervalSeconds to at most %d, or staleSeconds to at least %d." (div $stale 2) (mul 2 $scrape) }}
{{- fail (printf "%s: samples would be stale and the autoscaler would hold. %s" $given $remedy) }}
{{- end }}
{{- if eq (int .Values.ports.health) (int .Values.ports.metrics) }}
{{- fail (printf "ports.health and ports.metrics are both %d: give them different numbers." (int .Values.ports.health)) }}
{{- end }}
{{- $base := float64 .Values.reconcile.retryBaseSeconds }}
{{- $max := float64 .Values.reconcile.retryMaxSeconds }}
{{- if gt $base $max }}
{{- fail (printf "reconcile.retryBaseSeconds is %v and reconcile.retryMaxSeconds is %v: the first wait may not exceed the longest." $base $max) }}
{{- end }}
{{- end }}
