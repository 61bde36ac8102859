{{/*
What the schema of values cannot say: relations between values, and secrets in the wrong place. All
errors are told at once. Called by the gateway's Deployment, which is always there.
*/}}
{{- define "parlance.validate" -}}
{{- $errors := concat
  (include "parlance.errors.config" . | fromJsonArray)
  (include "parlance.errors.needed" . | fromJsonArray)
  (include "parlance.errors.drain" . | fromJsonArray)
  (include "parlance.errors.edge" . | fromJsonArray)
  (include "parlance.errors.scaling" . | fromJsonArray)
-}}
{{- with $errors -}}
{{- fail (printf "\n\n- %s\n" (join "\n- " .)) -}}
{{- end -}}
{{- end -}}

{{/* Settings that are no part of `config`: secrets, and what other values decide. */}}
{{- define "parlance.errors.config" -}}
{{- $secrets := dict
  "auth.hmac_secret" "auth.hmac.existingSecret"
  "auth.hmac_secret_previous" "auth.hmac.previousKey"
  "redis.urls" "redis.existingSecret"
  "store.password" "store.existingSecret"
-}}
{{- $decided := dict
  "listen" "gateway.listenHost and gateway.ports.http"
  "admin.listen" "gateway.listenHost and gateway.ports.admin"
  "auth.hmac_secret_file" "auth.hmac.existingSecret"
  "auth.hmac_secret_previous_file" "auth.hmac.previousKey"
  "auth.public_key_file" "auth.publicKey.existingSecret"
  "auth.jwks_file" "auth.jwks.existingSecret"
  "redis.urls_file" "redis.existingSecret"
  "store.nodes" "store.nodes"
  "store.username" "store.username"
  "store.password_file" "store.existingSecret"
  "store.tls" "store.tls.enabled"
  "store.ca_file" "store.tls.existingSecret"
  "drain.window" "drain.windowSeconds"
  "drain.grace" "drain.graceSeconds"
  "drain.termination_grace" "drain.terminationGracePeriodSeconds"
-}}
{{- $errors := list -}}
{{- range $path, $value := $secrets -}}
{{- if include "parlance.hasSetting" (dict "tree" $.Values.config "path" $path) -}}
{{- $errors = append $errors (printf "config.%s is a secret, and would stand readable in a ConfigMap: put it into a Secret and name that by %s" $path $value) -}}
{{- end -}}
{{- end -}}
{{- range $path, $value := $decided -}}
{{- if include "parlance.hasSetting" (dict "tree" $.Values.config "path" $path) -}}
{{- $errors = append $errors (printf "config.%s is decided by another value: use %s" $path $value) -}}
{{- end -}}
{{- end -}}
{{- range $path, $why := dict
  "data_dir" "gateways and persisters keep nothing on the disk"
  "log.kind" "the log of gateways is Redis"
-}}
{{- if include "parlance.hasSetting" (dict "tree" $.Values.config "path" $path) -}}
{{- $errors = append $errors (printf "config.%s has no meaning here: %s" $path $why) -}}
{{- end -}}
{{- end -}}
{{- toJson $errors -}}
{{- end -}}

{{/* A string that is not empty when a dotted path is in a tree. */}}
{{- define "parlance.hasSetting" -}}
{{- $at := .tree -}}
{{- $found := true -}}
{{- range splitList "." .path -}}
{{- if and $found (kindIs "map" $at) (hasKey $at .) -}}
{{- $at = index $at . -}}
{{- else -}}
{{- $found = false -}}
{{- end -}}
{{- end -}}
{{- if $found }}true{{ end -}}
{{- end -}}

{{- define "parlance.errors.needed" -}}
{{- $values := .Values -}}
{{- $auth := $values.auth -}}
{{- $errors := list -}}
{{- if not (or $auth.hmac.existingSecret $auth.publicKey.existingSecret $auth.jwks.existingSecret $values.dev.auth.hmacSecret) -}}
{{- $errors = append $errors "there is no key to judge tokens by: name a Secret by auth.hmac.existingSecret, auth.publicKey.existingSecret or auth.jwks.existingSecret" -}}
{{- end -}}
{{- if and $auth.hmac.previousKey (not $auth.hmac.existingSecret) -}}
{{- $errors = append $errors "auth.hmac.previousKey is a key of the Secret that auth.hmac.existingSecret names, which is empty" -}}
{{- end -}}
{{- if and $auth.hmac.existingSecret $values.dev.auth.hmacSecret -}}
{{- $errors = append $errors "auth.hmac.existingSecret and dev.auth.hmacSecret are both given: remove one" -}}
{{- end -}}
{{- if and (not $values.redis.existingSecret) (not $values.dev.redis.enabled) -}}
{{- $errors = append $errors "it is not said where Redis is: put its URLs into a Secret, one per line, and name that by redis.existingSecret" -}}
{{- end -}}
{{- if and $values.redis.existingSecret $values.dev.redis.enabled -}}
{{- $errors = append $errors "redis.existingSecret and dev.redis.enabled are both given: remove one" -}}
{{- end -}}
{{- if and $values.store.nodes $values.dev.store.enabled -}}
{{- $errors = append $errors "store.nodes and dev.store.enabled are both given: remove one" -}}
{{- end -}}
{{- if and $values.store.username (not $values.store.existingSecret) -}}
{{- $errors = append $errors (printf "store.username is %q, but no password: name a Secret by store.existingSecret" $values.store.username) -}}
{{- end -}}
{{- if and $values.store.existingSecret (not $values.store.username) -}}
{{- $errors = append $errors "store.existingSecret has a password, but it is not said whose: set store.username" -}}
{{- end -}}
{{- if and $values.store.tls.existingSecret (not $values.store.tls.enabled) -}}
{{- $errors = append $errors "store.tls.existingSecret has authorities for TLS, which is off: set store.tls.enabled" -}}
{{- end -}}
{{- toJson $errors -}}
{{- end -}}

{{- define "parlance.errors.drain" -}}
{{- $errors := list -}}
{{- $given := int (include "parlance.terminationGraceSeconds" .) -}}
{{- $needed := int (include "parlance.drainSeconds" .) -}}
{{- if lt $given $needed -}}
{{- $errors = append $errors (printf "drain.terminationGracePeriodSeconds is %d, but preStopSeconds, windowSeconds, graceSeconds and marginSeconds of drain are %d together: clients would be cut off; give it as much, or leave it empty" $given $needed) -}}
{{- end -}}
{{- toJson $errors -}}
{{- end -}}

{{- define "parlance.errors.edge" -}}
{{- $values := .Values -}}
{{- $errors := list -}}
{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) -}}
{{- $errors = append $errors "httpRoute.enabled needs a Gateway: name one by httpRoute.parentRefs" -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.ingress.hosts) -}}
{{- $errors = append $errors "ingress.enabled needs a name to answer to: give one by ingress.hosts" -}}
{{- end -}}
{{- if and (eq $values.service.trafficDistribution "PreferSameNode") (not (include "parlance.knowsSameZone" .)) -}}
{{- $errors = append $errors (printf "service.trafficDistribution is PreferSameNode, which Kubernetes takes from 1.34 on, and this is %s: use PreferSameZone, or leave it empty" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if and $values.monitoring.serviceMonitor.enabled $values.monitoring.podMonitor.enabled -}}
{{- $errors = append $errors "monitoring.serviceMonitor and monitoring.podMonitor would scrape everything twice: switch one off" -}}
{{- end -}}
{{- toJson $errors -}}
{{- end -}}

{{- define "parlance.errors.scaling" -}}
{{- $errors := list -}}
{{- with .Values.gateway.autoscaling -}}
{{- if .enabled -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- $errors = append $errors (printf "gateway.autoscaling.minReplicas is %d, more than maxReplicas, %d" (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- if not (or .connectionsPerPod .cpuPercent) -}}
{{- $errors = append $errors "gateway.autoscaling has nothing to go by: set connectionsPerPod or cpuPercent" -}}
{{- end -}}
{{- $limit := int (dig "limits" "connections" 0 $.Values.config) -}}
{{- if and .connectionsPerPod $limit (ge (int .connectionsPerPod) $limit) -}}
{{- $errors = append $errors (printf "gateway.autoscaling.connectionsPerPod is %d, but config.limits.connections is %d: clients would be refused before there is another gateway" (int .connectionsPerPod) $limit) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.persister.keda -}}
{{- if .enabled -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- $errors = append $errors (printf "persister.keda.minReplicas is %d, more than maxReplicas, %d" (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- if not .prometheusAddress -}}
{{- $errors = append $errors "persister.keda needs to ask Prometheus: set persister.keda.prometheusAddress" -}}
{{- end -}}
{{- if not (include "parlance.hasStore" $) -}}
{{- $errors = append $errors "persister.keda.enabled needs a store: without store.nodes there are no persisters" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $errors -}}
{{- end -}}
