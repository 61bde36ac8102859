{{/*
What the pods of all components share: who they run as, what they may, where they run. `settings` is the
component's part of the values. All of it fits the restricted profile of Kubernetes.
*/}}

{{- define "parlance.podMetadata" -}}
labels:
  {{- include "parlance.selector" . | nindent 2 }}
  {{- with omit (merge (dict) .settings.podLabels .root.Values.commonLabels) "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  checksum/config: {{ include "parlance.toml" .root | sha256sum }}
  {{- with .settings.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "parlance.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  # Lets the process read its secrets, which belong to this group.
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "parlance.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Where a pod runs: its part of the values. */}}
{{- define "parlance.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "parlance.spread" -}}
topologySpreadConstraints:
{{- if .settings.topologySpreadConstraints }}
  {{- toYaml .settings.topologySpreadConstraints | nindent 2 }}
{{- else }}
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    # Without it pods of the version before would count, and the new ones end up askew.
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "parlance.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "parlance.pullSecrets" -}}
{{- with concat .Values.global.imagePullSecrets .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "parlance.mounts" -}}
volumeMounts:
  - name: config
    mountPath: /etc/parlance/config
    readOnly: true
  {{- if include "parlance.secrets" . }}
  - name: secrets
    mountPath: /etc/parlance/secrets
    readOnly: true
  {{- end }}
  {{- if and .root.Values.redis.tls.existingSecret (has .component (list "gateway" "persister")) }}
  - name: redis-tls
    mountPath: /etc/parlance/redis-tls
    readOnly: true
  {{- end }}
  {{- with .settings.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* As before, and "configMap": the name of the ConfigMap with the configuration. */}}
{{- define "parlance.volumes" -}}
volumes:
  - name: config
    configMap:
      name: {{ .configMap }}
  {{- with include "parlance.secrets" . }}
  - name: secrets
    projected:
      defaultMode: 0440
      sources:
        {{- . | nindent 8 }}
  {{- end }}
  {{- if and .root.Values.redis.tls.existingSecret (has .component (list "gateway" "persister")) }}
  - name: redis-tls
    secret:
      secretName: {{ .root.Values.redis.tls.existingSecret }}
      defaultMode: 0440
  {{- end }}
  {{- with .settings.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "parlance.probes" -}}
startupProbe:
  httpGet:
    path: /livez
    port: admin
  {{- toYaml .settings.probes.startup | nindent 2 }}
readinessProbe:
  httpGet:
    path: /readyz
    port: admin
  timeoutSeconds: 2
  {{- toYaml .settings.probes.readiness | nindent 2 }}
livenessProbe:
  httpGet:
    path: /livez
    port: admin
  timeoutSeconds: 5
  {{- toYaml .settings.probes.liveness | nindent 2 }}
{{- end -}}
