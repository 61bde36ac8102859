{{/* What the servers for trials share: dict "root" $ "component" "dev-redis" "port" 6379. */}}

{{- define "parlance.devService" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "parlance.metadata" (merge (dict "name" (printf "%s-%s" (include "parlance.fullname" .root) .component)) .) | nindent 2 }}
spec:
  selector:
    {{- include "parlance.selector" . | nindent 4 }}
  ports:
    - name: server
      port: {{ .port }}
      targetPort: server
{{- end -}}

{{- define "parlance.devNetworkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "parlance.metadata" (merge (dict "name" (printf "%s-%s" (include "parlance.fullname" .root) .component)) .) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "parlance.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    - ports:
        - port: server
          protocol: TCP
      from:
        - podSelector:
            matchLabels:
              app.kubernetes.io/name: {{ include "parlance.name" .root }}
              app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{- define "parlance.devPodLabels" -}}
labels:
  {{- include "parlance.selector" . | nindent 2 }}
{{- end -}}
