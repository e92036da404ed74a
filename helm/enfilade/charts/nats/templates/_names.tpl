{{- define "nats.fullname" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}-nats
{{- end -}}

{{- define "nats.selector" -}}
app.kubernetes.io/name: nats
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "nats.labels" -}}
{{ include "nats.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: enfilade
{{- end -}}

{{/* Only servers are asked for a certificate; to clients the authority means nothing. */}}
{{- define "nats.tls" -}}
tls {
  cert_file: "/etc/nats-certificate/tls.crt"
  key_file: "/etc/nats-certificate/tls.key"
  ca_file: "/etc/nats-authority/{{ .Values.tls.key }}"
}
{{- end -}}

{{/* The Secrets of a server, as JSON: where each is mounted, and its keys. */}}
{{- define "nats.secrets" -}}
{{- $secrets := list -}}
{{- with .Values.authorization -}}
{{- if .existingSecret }}{{ $secrets = append $secrets (dict "name" "nats-users" "secret" .existingSecret "keys" (list .key)) }}{{ end -}}
{{- end -}}
{{- with .Values.certificate.existingSecret -}}
{{- $secrets = append $secrets (dict "name" "nats-certificate" "secret" . "keys" (list "tls.crt" "tls.key")) -}}
{{- $secrets = append $secrets (dict "name" "nats-authority" "secret" $.Values.tls.existingSecret "keys" (list $.Values.tls.key)) -}}
{{- end -}}
{{- $secrets | toJson -}}
{{- end -}}

{{- define "nats.configuration" -}}
{{- $full := include "nats.fullname" . -}}
server_name: $POD_NAME
listen: 0.0.0.0:4222
pid_file: /tmp/nats.pid
http: 0.0.0.0:8222
# Whoever reads too slowly is cut off after this much: nodes come back and look up what they missed.
max_pending: 32MB
write_deadline: 10s
# Clients are told to go elsewhere one by one, over the seconds that the pod has.
lame_duck_grace_period: 5s
lame_duck_duration: 30s
{{- with .Values.authorization }}
{{- if .existingSecret }}
# Who may come in, and what they may say. Nobody else is let in. (A path is taken from where this file is.)
include "../nats-users/{{ .key }}"
{{- end }}
{{- end }}
{{- if .Values.certificate.existingSecret }}
{{ include "nats.tls" . }}
{{- end }}
{{- if gt (int .Values.replicas) 1 }}
cluster {
  {{- if .Values.certificate.existingSecret }}
  # Both ways: another server has to have a certificate of the same authority.
  {{- include "nats.tls" . | nindent 2 }}
  # Clients would be told of addresses, for which no certificate is.
  no_advertise: true
  {{- end }}
  name: {{ $full }}
  listen: 0.0.0.0:6222
  routes: [
    {{- range $i := until (int .Values.replicas) }}
    nats://{{ $full }}-{{ $i }}.{{ $full }}-servers:6222
    {{- end }}
  ]
  connect_retries: 120
}
{{- end }}
{{- end -}}
