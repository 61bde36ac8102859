{{/*
The configuration file, and what of it comes by environment.

What is no secret is in the file, which all components share. A secret is a file of its own, named by a
variable to those components alone that need it; so are settings that make no sense without it.
*/}}

{{/*
YAML knows numbers only as floats here, and TOML tells 10000.0 from 10000: whole ones become integers.
Changes the tree that it is given.
*/}}
{{- define "parlance.wholeNumbers" -}}
{{- $tree := . -}}
{{- range $key, $value := $tree -}}
{{- if kindIs "map" $value -}}
{{- include "parlance.wholeNumbers" $value -}}
{{- else if kindIs "float64" $value -}}
{{- if eq $value (float64 (int64 $value)) -}}
{{- $_ := set $tree $key (int64 $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "parlance.toml" -}}
{{- $values := .Values -}}
{{- $gateway := $values.gateway -}}
{{- $store := $values.store -}}
{{- $own := dict
  "listen" (printf "%s:%d" $gateway.listenHost (int $gateway.ports.http))
  "admin" (dict "listen" (printf "%s:%d" $gateway.listenHost (int $gateway.ports.admin)))
  "drain" (dict
    "window" (printf "%ds" (int $values.drain.windowSeconds))
    "grace" (printf "%ds" (int $values.drain.graceSeconds)))
-}}
{{- if include "parlance.hasStore" . -}}
{{- $settings := dict "nodes" $store.nodes -}}
{{- if $values.dev.store.enabled -}}
{{- $settings = dict
  "nodes" (list (printf "%s-dev-store:9042" (include "parlance.fullname" .)))
  "replication_factor" 1
-}}
{{- end -}}
{{- if $store.tls.enabled }}{{ $_ := set $settings "tls" true }}{{ end -}}
{{- $_ := set $own "store" $settings -}}
{{- end -}}
{{- $tree := mergeOverwrite (deepCopy $values.config) $own -}}
{{- include "parlance.wholeNumbers" $tree -}}
# Made by the chart from `config` and its other values.
{{ toToml $tree }}
{{- end -}}

{{/* The variables of a component: dict "root" $ "component" …. */}}
{{- define "parlance.env" -}}
{{- $values := .root.Values -}}
{{- $component := .component -}}
- name: PARLANCE_CONFIG
  value: /etc/parlance/config/parlance.toml
{{- if eq $component "gateway" }}
- name: PARLANCE_DRAIN__TERMINATION_GRACE
  value: {{ printf "%ds" (sub (int (include "parlance.terminationGraceSeconds" .root)) (int $values.drain.preStopSeconds)) }}
{{- end }}
{{- if and (eq $component "migration") $values.dev.store.enabled }}
# The store comes up meanwhile, and its image may have to be pulled first.
- name: PARLANCE_STORE__START_DEADLINE
  value: {{ printf "%ds" (int $values.migration.activeDeadlineSeconds) }}
{{- end }}
{{- if eq $component "persister" }}
- name: PARLANCE_ADMIN__LISTEN
  value: {{ printf "%s:%d" $values.gateway.listenHost (int $values.persister.adminPort) | quote }}
{{- end }}
{{- if has $component (list "gateway" "test") }}
{{- if or $values.auth.hmac.existingSecret $values.dev.auth.hmacSecret }}
- name: PARLANCE_AUTH__HMAC_SECRET_FILE
  value: /etc/parlance/secrets/hmac-secret
{{- end }}
{{- end }}
{{- if eq $component "gateway" }}
{{- if $values.auth.hmac.previousKey }}
- name: PARLANCE_AUTH__HMAC_SECRET_PREVIOUS_FILE
  value: /etc/parlance/secrets/hmac-secret-previous
{{- end }}
{{- if $values.auth.publicKey.existingSecret }}
- name: PARLANCE_AUTH__PUBLIC_KEY_FILE
  value: /etc/parlance/secrets/public-key.pem
{{- end }}
{{- if $values.auth.jwks.existingSecret }}
- name: PARLANCE_AUTH__JWKS_FILE
  value: /etc/parlance/secrets/jwks.json
{{- end }}
{{- end }}
{{- if has $component (list "gateway" "persister") }}
{{- if $values.dev.redis.enabled }}
- name: PARLANCE_REDIS__URLS
  value: redis://{{ include "parlance.fullname" .root }}-dev-redis:6379
{{- else }}
- name: PARLANCE_REDIS__URLS_FILE
  value: /etc/parlance/secrets/redis-urls
{{- end }}
{{- end }}
{{- if and (ne $component "test") $values.store.existingSecret }}
- name: PARLANCE_STORE__USERNAME
  value: {{ $values.store.username | quote }}
- name: PARLANCE_STORE__PASSWORD_FILE
  value: /etc/parlance/secrets/store-password
{{- end }}
{{- if and (ne $component "test") $values.store.tls.enabled $values.store.tls.existingSecret }}
- name: PARLANCE_STORE__CA_FILE
  value: /etc/parlance/secrets/store-ca.crt
{{- end }}
{{- end -}}

{{/*
The sources of a component's volume of secrets: dict "root" $ "component" …. A volume follows the
Secret when that changes, which a single file that is mounted would not.
*/}}
{{- define "parlance.secrets" -}}
{{- $values := .root.Values -}}
{{- $component := .component -}}
{{- $auth := $values.auth -}}
{{- if has $component (list "gateway" "test") }}
{{- if $auth.hmac.existingSecret }}
- secret:
    name: {{ $auth.hmac.existingSecret }}
    items:
      - key: {{ $auth.hmac.key }}
        path: hmac-secret
      {{- if and $auth.hmac.previousKey (eq $component "gateway") }}
      - key: {{ $auth.hmac.previousKey }}
        path: hmac-secret-previous
      {{- end }}
{{- else if $values.dev.auth.hmacSecret }}
- secret:
    name: {{ include "parlance.fullname" .root }}-dev
    items:
      - key: hmac-secret
        path: hmac-secret
{{- end }}
{{- end }}
{{- if eq $component "gateway" }}
{{- with $auth.publicKey.existingSecret }}
- secret:
    name: {{ . }}
    items:
      - key: {{ $auth.publicKey.key }}
        path: public-key.pem
{{- end }}
{{- with $auth.jwks.existingSecret }}
- secret:
    name: {{ . }}
    items:
      - key: {{ $auth.jwks.key }}
        path: jwks.json
{{- end }}
{{- end }}
{{- if and (has $component (list "gateway" "persister")) (not $values.dev.redis.enabled) }}
- secret:
    name: {{ $values.redis.existingSecret }}
    items:
      - key: {{ $values.redis.key }}
        path: redis-urls
{{- end }}
{{- if ne $component "test" }}
{{- with $values.store.existingSecret }}
- secret:
    name: {{ . }}
    items:
      - key: {{ $values.store.key }}
        path: store-password
{{- end }}
{{- if and $values.store.tls.enabled $values.store.tls.existingSecret }}
- secret:
    name: {{ $values.store.tls.existingSecret }}
    items:
      - key: {{ $values.store.tls.key }}
        path: store-ca.crt
{{- end }}
{{- end }}
{{- if and (eq $component "test") $values.test.tokens.existingSecret }}
- secret:
    name: {{ $values.test.tokens.existingSecret }}
    items:
      - key: {{ $values.test.tokens.key }}
        path: tokens
{{- end }}
{{- end -}}
