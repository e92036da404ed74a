{{/* Nobody in particular, who may do nothing and write nowhere. */}}
{{- define "enfilade.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "enfilade.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* How a container reads secrets: (list of them). */}}
{{- define "enfilade.secretEnv" -}}
{{- range . }}
{{- if .setting }}
- name: {{ .setting }}
  value: {{ printf "%s/secrets/%s/%s" .mark .name .key | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where pods of the release run that are not nodes: where nodes do. */}}
{{- define "enfilade.scheduling" -}}
{{- with .Values.nodes.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodes.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodes.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "enfilade.secretMounts" -}}
{{- range . }}
- name: {{ .name }}
  mountPath: /secrets/{{ .name }}
  readOnly: true
{{- end }}
{{- end -}}

{{- define "enfilade.secretVolumes" -}}
{{- range . }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    items:
      - {key: {{ .key }}, path: {{ .key }}}
{{- end }}
{{- end -}}

{{/* The container that migrates. */}}
{{- define "enfilade.migrate" -}}
{{- $secrets := include "enfilade.migrationSecrets" . | fromJsonArray -}}
- name: migrate
  image: {{ include "enfilade.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [migrate, up]
  env:
    {{- include "enfilade.secretEnv" $secrets | nindent 4 }}
  resources:
    {{- toYaml .Values.migrations.resources | nindent 4 }}
  securityContext:
    {{- include "enfilade.containerSecurity" . | nindent 4 }}
  volumeMounts:
    {{- include "enfilade.secretMounts" $secrets | nindent 4 }}
{{- end -}}

{{/* A pod of nodes: (dict "root" $ "group" …). */}}
{{- define "enfilade.pod" -}}
{{- $root := .root -}}
{{- $v := .root.Values -}}
{{- $group := .group -}}
{{- $n := .group.values -}}
{{- $cluster := eq $v.mode "cluster" -}}
{{- $secrets := list -}}
{{- range include "enfilade.secrets" (dict "root" $root "group" $group.name) | fromJsonArray -}}
{{- if or $group.edge (not .edge) }}{{ $secrets = append $secrets . }}{{ end -}}
{{- end -}}
{{- $selector := dict "app.kubernetes.io/name" (include "enfilade.name" $root) "app.kubernetes.io/instance" $root.Release.Name "app.kubernetes.io/component" $group.name -}}
metadata:
  labels:
    {{- include "enfilade.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ $group.name }}
    # Nodes, of whatever role, and nothing else of the release.
    enfilade.io/node: "true"
    {{- with $n.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: enfilade
    # What the nodes are told is read when they start.
    checksum/settings: {{ include (print $root.Template.BasePath "/configmap.yaml") $root | sha256sum }}
    {{- with $n.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "enfilade.serviceAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $v.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "enfilade.podSecurity" $root | nindent 4 }}
  terminationGracePeriodSeconds: {{ include "enfilade.graceSeconds" $root }}
  {{- with $n.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $n.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $n.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $n.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $spread := list }}
  {{- if and $cluster (ne $n.topologySpread.zones "none") }}
  {{- $spread = append $spread (dict "topologyKey" "topology.kubernetes.io/zone" "whenUnsatisfiable" $n.topologySpread.zones) }}
  {{- end }}
  {{- if and $cluster (ne $n.topologySpread.machines "none") }}
  {{- $spread = append $spread (dict "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" $n.topologySpread.machines) }}
  {{- end }}
  {{- with $spread }}
  topologySpreadConstraints:
    {{- range . }}
    - maxSkew: 1
      topologyKey: {{ .topologyKey }}
      whenUnsatisfiable: {{ .whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- toYaml $selector | nindent 10 }}
      # Only pods of the same version are counted, so that an upgrade spreads well, too.
      matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
  {{- if or (and $cluster (eq $v.migrations.mode "init")) $n.extraInitContainers }}
  initContainers:
    {{- if and $cluster (eq $v.migrations.mode "init") }}
    {{- include "enfilade.migrate" $root | nindent 4 }}
    {{- end }}
    {{- with $n.extraInitContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: enfilade
      image: {{ include "enfilade.image" $root }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args: [serve]
      ports:
        {{- if $group.edge }}
        - name: http
          containerPort: 8080
        {{- end }}
        - name: admin
          containerPort: 9090
      envFrom:
        - configMapRef:
            name: {{ include "enfilade.fullname" $root }}
        {{- with $n.extraEnvFrom }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      env:
        - name: ENFILADE_NODE_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: ENFILADE_ROLES
          value: {{ $group.roles | quote }}
        {{- if $cluster }}
        - name: POD_IP
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        - name: ENFILADE_ADVERTISE_ADMIN
          value: "$(POD_IP):9090"
        {{- else }}
        - name: ENFILADE_DATA_DIR
          value: /data
        {{- end }}
        {{- include "enfilade.secretEnv" $secrets | nindent 8 }}
        {{- with $n.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      resources:
        {{- toYaml $n.resources | nindent 8 }}
      securityContext:
        {{- include "enfilade.containerSecurity" $root | nindent 8 }}
      # Started: its port is open and the schema is there.
      startupProbe:
        httpGet: {path: /startupz, port: admin}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: {{ divf $n.startupSeconds 2 | ceil | int }}
      # Ready: it may be given people, and its database answers.
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      # Alive: the process goes on, whatever became of database and NATS. Only a process that hangs is started anew.
      livenessProbe:
        httpGet: {path: /livez, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      lifecycle:
        preStop:
          sleep:
            seconds: {{ $v.termination.preStopSeconds }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- if not $cluster }}
        - name: data
          mountPath: /data
        {{- end }}
        {{- include "enfilade.secretMounts" $secrets | nindent 8 }}
        {{- with $n.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with $n.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    # For a profile that is being written.
    - name: tmp
      emptyDir:
        sizeLimit: 64Mi
    {{- if not $cluster }}
    {{- if not $v.persistence.enabled }}
    - name: data
      emptyDir:
        sizeLimit: {{ $v.persistence.size }}
    {{- else if $v.persistence.existingClaim }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ $v.persistence.existingClaim }}
    {{- end }}
    {{- end }}
    {{- include "enfilade.secretVolumes" $secrets | nindent 4 }}
    {{- with $n.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
