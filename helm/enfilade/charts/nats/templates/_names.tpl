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
{{- if gt (int .Values.replicas) 1 }}
cluster {
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
