{{/* Secrets that External Secrets fetches, as JSON: each with its name, its store, how often it is fetched, and where its keys are. */}}
{{- define "enfilade.fetched" -}}
{{- $fetched := list -}}
{{- with .Values.database.externalSecret -}}
{{- if and .enabled (eq $.Values.mode "cluster") -}}
{{- $name := printf "%s-database" (include "enfilade.fullname" $) -}}
{{- $fetched = append $fetched (dict "name" $name "store" .secretStoreRef "every" .refreshInterval "keys" (dict "url" .remoteRef)) -}}
{{- end -}}
{{- end -}}
{{- with .Values.externalSecrets -}}
{{- range $name, $keys := .secrets -}}
{{- $fetched = append $fetched (dict "name" $name "store" $.Values.externalSecrets.secretStoreRef "every" $.Values.externalSecrets.refreshInterval "keys" $keys) -}}
{{- end -}}
{{- end -}}
{{- $fetched | toJson -}}
{{- end -}}

{{/* Which keys are read of which Secret, as JSON. */}}
{{- define "enfilade.read" -}}
{{- $read := dict -}}
{{- range $group := include "enfilade.groups" . | fromJsonArray -}}
{{- range include "enfilade.secrets" (dict "root" $ "group" $group.name) | fromJsonArray -}}
{{- /* That the database has no Secret is said by others. */}}
{{- if .secret }}{{ $_ := set $read .secret (append (get $read .secret | default list) .key | uniq) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if .Values.nats.enabled -}}
{{- range include "nats.secrets" (dict "Values" .Values.nats) | fromJsonArray -}}
{{- $_ := set $read .secret (concat (get $read .secret | default list) .keys | uniq) -}}
{{- end -}}
{{- end -}}
{{- with .Values.test.authority -}}
{{- if .existingSecret }}{{ $_ := set $read .existingSecret (append (get $read .existingSecret | default list) .key | uniq) }}{{ end -}}
{{- end -}}
{{- $read | toJson -}}
{{- end -}}

{{/* What is wrong with externalSecrets, as JSON. */}}
{{- define "enfilade.wrongSecrets" -}}
{{- $e := .Values.externalSecrets -}}
{{- $wrong := list -}}
{{- if and $e.secrets (not $e.secretStoreRef.name) -}}
{{- $wrong = append $wrong "externalSecrets.secrets needs externalSecrets.secretStoreRef.name: the store that they come from." -}}
{{- end -}}
{{- $read := include "enfilade.read" . | fromJson -}}
{{- $made := list -}}
{{- if .Values.database.externalSecret.enabled }}{{ $made = append $made (printf "%s-database" (include "enfilade.fullname" .)) }}{{ end -}}
{{- if .Values.database.cloudNativePg.enabled }}{{ $made = append $made (printf "%s-app" (include "enfilade.postgres" .)) }}{{ end -}}
{{- range $name, $keys := $e.secrets -}}
{{- if has $name $made -}}
{{- $wrong = append $wrong (printf "externalSecrets.secrets.%s is made already, by database.externalSecret or by CloudNativePG." $name) -}}
{{- end -}}
{{- $wanted := get $read $name | default list -}}
{{- if not $wanted -}}
{{- $wrong = append $wrong (printf "externalSecrets.secrets.%s: nothing in these values reads a Secret of that name (read: %s). One of your own is for extraObjects." $name (keys $read | sortAlpha | join ", " | default "none")) -}}
{{- end -}}
{{- range $key := $wanted -}}
{{- if not (hasKey $keys $key) -}}
{{- $wrong = append $wrong (printf "externalSecrets.secrets.%s says nothing of the key %s, which is read." $name $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.mode "cluster") (eq .Values.migrations.mode "job") -}}
{{- range include "enfilade.migrationSecrets" . | fromJsonArray -}}
{{- if hasKey $e.secrets (.secret | default "") -}}
{{- $wrong = append $wrong (printf "migrations.mode job runs before anything of the release exists, so also before externalSecrets.secrets.%s: set migrations.mode to init." .secret) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $wrong | toJson -}}
{{- end -}}
