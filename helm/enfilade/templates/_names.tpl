{{/* What things are called. */}}

{{- define "enfilade.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "enfilade.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "enfilade.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "enfilade.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* By these pods are found. They must never change, or an upgrade cannot be made. */}}
{{- define "enfilade.selector" -}}
app.kubernetes.io/name: {{ include "enfilade.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "enfilade.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "enfilade.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: enfilade
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The metadata of an object: (dict "root" $ "name" … "component" … "annotations" …). */}}
{{- define "enfilade.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "enfilade.labels" .root | nindent 2 }}
  {{- with .component }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := mergeOverwrite (dict) (deepCopy (.root.Values.commonAnnotations | default dict)) (.annotations | default dict) }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "enfilade.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "enfilade.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "enfilade.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The kinds of nodes, as JSON: each with its name, its roles and its values. */}}
{{- define "enfilade.groups" -}}
{{- $v := .Values -}}
{{- if eq $v.mode "single" -}}
{{- list (dict "name" "node" "roles" "edge,host" "edge" true "values" $v.nodes) | toJson -}}
{{- else if $v.splitRoles -}}
{{- $edges := mergeOverwrite (deepCopy $v.nodes) (deepCopy ($v.edges | default dict)) -}}
{{- $hosts := mergeOverwrite (deepCopy $v.nodes) (deepCopy ($v.hosts | default dict)) -}}
{{- list (dict "name" "edge" "roles" "edge" "edge" true "values" $edges) (dict "name" "host" "roles" "host" "edge" false "values" $hosts) | toJson -}}
{{- else -}}
{{- list (dict "name" "node" "roles" "edge,host" "edge" true "values" $v.nodes) | toJson -}}
{{- end -}}
{{- end -}}

{{/* What CloudNativePG's Cluster is called. */}}
{{- define "enfilade.postgres" -}}
{{- .Values.database.cloudNativePg.name | default (printf "%s-postgres" (include "enfilade.fullname" .)) -}}
{{- end -}}

{{/* Where the database's URL is: the Secret, and its key. */}}
{{- define "enfilade.databaseSecret" -}}
{{- $db := .Values.database -}}
{{- if $db.cloudNativePg.enabled -}}
name: {{ include "enfilade.postgres" . }}-app
key: uri
{{- else if $db.externalSecret.enabled -}}
name: {{ include "enfilade.fullname" . }}-database
key: url
{{- else -}}
name: {{ $db.existingSecret.name }}
key: {{ $db.existingSecret.key }}
{{- end -}}
{{- end -}}

{{- define "enfilade.natsUrl" -}}
{{- if .Values.nats.enabled -}}
{{ ternary "nats" "tls" (empty .Values.nats.certificate.existingSecret) }}://{{ include "nats.fullname" . }}:4222
{{- else -}}
{{- .Values.nats.url -}}
{{- end -}}
{{- end -}}

{{/* What nodes of a group say to NATS, as JSON: `nats`, and what is different for their role. (dict "root" $ "group" its name) */}}
{{- define "enfilade.natsOf" -}}
{{- $nats := .root.Values.nats -}}
{{- mergeOverwrite (deepCopy $nats) (get $nats (printf "%ss" .group) | default dict | deepCopy) | toJson -}}
{{- end -}}

{{/* Seconds that leaving takes at most, as drain.rs does it: shards 30, noticed 2, people, stragglers 5, last requests and commits 13. */}}
{{- define "enfilade.leavingSeconds" -}}
{{- if eq .Values.mode "single" -}}
{{- add (int .Values.termination.preStopSeconds) 15 -}}
{{- else -}}
{{- add (int .Values.termination.preStopSeconds) 30 2 (int .Values.settings.drainSeconds) 5 13 -}}
{{- end -}}
{{- end -}}

{{- define "enfilade.graceSeconds" -}}
{{- if kindIs "invalid" .Values.termination.gracePeriodSeconds -}}
{{- include "enfilade.leavingSeconds" . -}}
{{- else -}}
{{- int .Values.termination.gracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{/* The port in a URL, if it names one: of nats://host:4222 it is 4222. */}}
{{- define "enfilade.portOf" -}}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" (urlParse .).host) -}}
{{- end -}}

{{/* The port of the collector of traces. */}}
{{- define "enfilade.tracesPort" -}}
{{- $endpoint := .Values.telemetry.traces.endpoint -}}
{{- include "enfilade.portOf" $endpoint | default (ternary "443" "80" (eq (urlParse $endpoint).scheme "https")) -}}
{{- end -}}

{{/* The ports of NATS, as JSON: those that its URL names, and where that is in a Secret, the one of the values. */}}
{{- define "enfilade.natsPorts" -}}
{{- $ports := list -}}
{{- range include "enfilade.natsUrl" . | splitList "," -}}
{{- if . }}{{ $ports = append $ports (include "enfilade.portOf" . | default "4222" | int) }}{{ end -}}
{{- end -}}
{{- $ports | default (list (int (.Values.networkPolicy.natsPort | default 4222))) | uniq | toJson -}}
{{- end -}}

{{/* The Secrets of a group of nodes, as JSON: each is mounted as a file, and a setting says where. Commands need no other than those that
     are marked `migrates`. (dict "root" $ "group" its name) */}}
{{- define "enfilade.secrets" -}}
{{- $v := .root.Values -}}
{{- $nats := include "enfilade.natsOf" . | fromJson -}}
{{- $secrets := list -}}
{{- if eq $v.mode "cluster" -}}
{{- $database := include "enfilade.databaseSecret" .root | fromYaml -}}
{{- $secrets = append $secrets (dict "name" "database" "secret" $database.name "key" $database.key "setting" "ENFILADE_DATABASE_URL" "mark" "@" "migrates" true) -}}
{{- with $v.database.tls -}}
{{- if .existingSecret }}{{ $secrets = append $secrets (dict "name" "postgres" "secret" .existingSecret "key" .key "setting" "" "mark" "" "migrates" true) }}{{ end -}}
{{- end -}}
{{- with $nats.urlSecret -}}
{{- if .existingSecret }}{{ $secrets = append $secrets (dict "name" "nats-url" "secret" .existingSecret "key" .key "setting" "ENFILADE_NATS_URL" "mark" "@") }}{{ end -}}
{{- end -}}
{{- with $nats.credentials -}}
{{- if .existingSecret }}{{ $secrets = append $secrets (dict "name" "nats-credentials" "secret" .existingSecret "key" .key "setting" "ENFILADE_NATS_CREDENTIALS" "mark" "") }}{{ end -}}
{{- end -}}
{{- with $nats.tls -}}
{{- if .existingSecret }}{{ $secrets = append $secrets (dict "name" "nats-ca" "secret" .existingSecret "key" .key "setting" "ENFILADE_NATS_ROOT_CERTIFICATES" "mark" "") }}{{ end -}}
{{- end -}}
{{- with $nats.clientCertificate.existingSecret -}}
{{- $secrets = append $secrets (dict "name" "nats-client-certificate" "secret" . "key" "tls.crt" "setting" "ENFILADE_NATS_CLIENT_CERTIFICATE" "mark" "") -}}
{{- $secrets = append $secrets (dict "name" "nats-client-key" "secret" . "key" "tls.key" "setting" "ENFILADE_NATS_CLIENT_KEY" "mark" "") -}}
{{- end -}}
{{- end -}}
{{- with $v.tls.existingSecret -}}
{{- $secrets = append $secrets (dict "name" "tls-certificate" "secret" . "key" "tls.crt" "setting" "ENFILADE_TLS_CERTIFICATE" "mark" "" "edge" true) -}}
{{- $secrets = append $secrets (dict "name" "tls-key" "secret" . "key" "tls.key" "setting" "ENFILADE_TLS_KEY" "mark" "" "edge" true) -}}
{{- end -}}
{{- with $v.admin.token -}}
{{- if .existingSecret }}{{ $secrets = append $secrets (dict "name" "admin-token" "secret" .existingSecret "key" .key "setting" "ENFILADE_ADMIN_TOKEN" "mark" "@") }}{{ end -}}
{{- end -}}
{{- with $v.telemetry.traces.headers -}}
{{- if .existingSecret }}{{ $secrets = append $secrets (dict "name" "otlp-headers" "secret" .existingSecret "key" .key "setting" "ENFILADE_OTLP_HEADERS" "mark" "@") }}{{ end -}}
{{- end -}}
{{- $secrets | toJson -}}
{{- end -}}

{{/* Those of the secrets that a migration needs. */}}
{{- define "enfilade.migrationSecrets" -}}
{{- $needed := list -}}
{{- range include "enfilade.secrets" (dict "root" . "group" "") | fromJsonArray -}}
{{- if .migrates }}{{ $needed = append $needed . }}{{ end -}}
{{- end -}}
{{- $needed | toJson -}}
{{- end -}}

{{/*
How many nodes there are, where an autoscaler decides from now on. A number that disappears from a release becomes 1, so a number that was in it
stays: as many as there are. Who began with an autoscaler never had one, and gets none: `helm rollback` would go back to it.
*/}}
{{- define "enfilade.keptReplicas" -}}
{{- $namespace := .root.Release.Namespace -}}
{{- $name := printf "%s-%s" (include "enfilade.fullname" .root) .group.name -}}
{{- $scaler := lookup "autoscaling/v2" "HorizontalPodAutoscaler" $namespace $name -}}
{{- if .group.values.keda.enabled }}{{ $scaler = lookup "keda.sh/v1alpha1" "ScaledObject" $namespace $name }}{{ end -}}
{{- with lookup "apps/v1" "Deployment" $namespace $name -}}
{{- if or (not $scaler) (hasKey (.metadata.annotations | default dict) "enfilade.io/replicas-kept") -}}
{{- .spec.replicas -}}
{{- end -}}
{{- end -}}
{{- end -}}
