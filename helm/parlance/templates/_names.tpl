{{/* Names, labels and images. */}}

{{- define "parlance.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 45 | trimSuffix "-" -}}
{{- end -}}

{{/* The beginning of all names. Short enough that every ending fits into a name of DNS. */}}
{{- define "parlance.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else if contains (include "parlance.name" .) .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "parlance.name" .) | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "parlance.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "parlance.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a component: dict "root" $ "component" "gateway". Must never change. */}}
{{- define "parlance.selector" -}}
app.kubernetes.io/name: {{ include "parlance.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* The metadata of an object: dict "root" $ "name" … "component" … and, if wanted, "labels", "annotations". */}}
{{- define "parlance.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "parlance.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  app.kubernetes.io/part-of: parlance
  helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
  {{- with omit (merge (dict) (default dict .labels) .root.Values.commonLabels) "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "parlance.image" -}}
{{- $image := .Values.image -}}
{{- $registry := default $image.registry .Values.global.imageRegistry -}}
{{- with $registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{/* An image of `dev`, whose registry is its part before the first slash: dict "root" $ "image" …. */}}
{{- define "parlance.devImage" -}}
{{- if .root.Values.global.imageRegistry -}}
{{- printf "%s/%s" (trimSuffix "/" .root.Values.global.imageRegistry) (regexReplaceAll "^[^/]+/" .image "") -}}
{{- else -}}
{{- .image -}}
{{- end -}}
{{- end -}}

{{/* A string that is not empty when there is a store. */}}
{{- define "parlance.hasStore" -}}
{{- if or .Values.store.nodes .Values.dev.store.enabled }}true{{ end -}}
{{- end -}}

{{/* Its own store comes up with the release, so nothing can be migrated before that. */}}
{{- define "parlance.migratesBefore" -}}
{{- if not .Values.dev.store.enabled }}true{{ end -}}
{{- end -}}
