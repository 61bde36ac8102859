{{/*
PreferSameZone is the name that PreferClose has since Kubernetes 1.34, where the old one is deprecated; those
before it know the old one alone. The two mean the same.
*/}}
{{- define "parlance.trafficDistribution" -}}
{{- $wanted := .Values.service.trafficDistribution -}}
{{- if and (eq $wanted "PreferSameZone") (not (include "parlance.knowsSameZone" .)) -}}
PreferClose
{{- else -}}
{{- $wanted -}}
{{- end -}}
{{- end -}}

{{/* A string that is not empty when Kubernetes takes PreferSameZone and PreferSameNode. */}}
{{- define "parlance.knowsSameZone" -}}
{{- if semverCompare ">=1.34.0-0" .Capabilities.KubeVersion.Version }}true{{ end -}}
{{- end -}}

{{/* Rules of NetworkPolicies. */}}

{{- define "parlance.egressDns" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end -}}

{{- define "parlance.egressTo" -}}
- ports:
    {{- range .ports }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "parlance.egressRedis" -}}
{{- if .Values.dev.redis.enabled -}}
{{- include "parlance.egressToDev" (dict "root" . "component" "dev-redis" "port" 6379) -}}
{{- else -}}
{{- include "parlance.egressTo" .Values.networkPolicy.redis -}}
{{- end -}}
{{- end -}}

{{- define "parlance.egressStore" -}}
{{- if .Values.dev.store.enabled -}}
{{- include "parlance.egressToDev" (dict "root" . "component" "dev-store" "port" 9042) -}}
{{- else -}}
{{- include "parlance.egressTo" .Values.networkPolicy.store -}}
{{- end -}}
{{- end -}}

{{/* Nothing where nothing is traced. */}}
{{- define "parlance.egressTraces" -}}
{{- if dig "traces" "endpoint" "" .Values.config -}}
{{- include "parlance.egressTo" .Values.networkPolicy.traces -}}
{{- end -}}
{{- end -}}

{{- define "parlance.egressToDev" -}}
- ports:
    - port: {{ .port }}
      protocol: TCP
  to:
    - podSelector:
        matchLabels:
          {{- include "parlance.selector" . | nindent 10 }}
{{- end -}}
