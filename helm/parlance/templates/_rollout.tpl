{{/* How many pods there are, how long one may take to leave, and when the next one follows. */}}

{{/* After so long a gateway that was told to leave is gone. Mostly it is much sooner. */}}
{{- define "parlance.drainSeconds" -}}
{{- with .Values.drain -}}
{{- int (add .preStopSeconds .windowSeconds .graceSeconds .marginSeconds) -}}
{{- end -}}
{{- end -}}

{{- define "parlance.terminationGraceSeconds" -}}
{{- with .Values.drain -}}
{{- if kindIs "invalid" .terminationGracePeriodSeconds -}}
{{- include "parlance.drainSeconds" $ -}}
{{- else -}}
{{- int .terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Kubernetes tells the next gateway to leave when a new one was ready for so long, whether the one before
has ended or not. With less than a drain, several would send clients away at a time, and to each other.
*/}}
{{- define "parlance.gatewayMinReadySeconds" -}}
{{- if kindIs "invalid" .Values.gateway.minReadySeconds -}}
{{- include "parlance.drainSeconds" . -}}
{{- else -}}
{{- int .Values.gateway.minReadySeconds -}}
{{- end -}}
{{- end -}}

{{/*
When a rollout that does not go on counts as failed: the ten minutes that Kubernetes has for it, besides
the time for which a new pod is only watched. It refuses a deadline that is not longer than that.
*/}}
{{- define "parlance.rollout" -}}
minReadySeconds: {{ .minReadySeconds }}
progressDeadlineSeconds: {{ add .minReadySeconds 600 }}
{{- end -}}

{{/*
The number of replicas that a Deployment goes on with although an autoscaler decides it, at least `least`; nothing
where the autoscaler's number stands by itself: dict "root" $ "name" … "least" ….

A number that only Helm has set is unset when it is not said any more, and Kubernetes takes 1 for it until
the autoscaler looks. So it is said as it is in the cluster, until somebody else has set it. Where Helm applies on
the server it is not said from then on: it may have changed by the time that it is applied, which would be a
conflict. Where Helm patches by itself it goes by what it said last, whoever set the number since, so that it is said
each time. Nothing is known of the cluster by `helm template`.
*/}}
{{- define "parlance.replicasOfBefore" -}}
{{- $live := lookup "apps/v1" "Deployment" .root.Release.Namespace .name -}}
{{- if $live -}}
{{- $isApplied := false -}}
{{- $isOfOthers := false -}}
{{- range $live.metadata.managedFields -}}
{{- if and (eq .manager "helm") (eq .operation "Apply") -}}
{{- $isApplied = true -}}
{{- else if hasKey (dig "f:spec" (dict) .fieldsV1) "f:replicas" -}}
{{- $isOfOthers = true -}}
{{- end -}}
{{- end -}}
{{- if not (and $isApplied $isOfOthers) -}}
{{- max $live.spec.replicas .least -}}
{{- end -}}
{{- end -}}
{{- end -}}
