{{/* What contradicts itself, said at once and all together. Types and unknown values are values.schema.json's. */}}
{{- define "enfilade.validate" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- $cluster := eq $v.mode "cluster" -}}
{{- $db := $v.database -}}

{{- if $cluster -}}
{{- $sources := 0 -}}
{{- if $db.existingSecret.name }}{{ $sources = add1 $sources }}{{ end -}}
{{- if $db.externalSecret.enabled }}{{ $sources = add1 $sources }}{{ end -}}
{{- if $db.cloudNativePg.enabled }}{{ $sources = add1 $sources }}{{ end -}}
{{- if eq (int $sources) 0 -}}
{{- $wrong = append $wrong "mode cluster needs PostgreSQL: set database.existingSecret.name to a Secret with its URL, or enable database.externalSecret or database.cloudNativePg. For one node without it, set mode to single (values-single.yaml)." -}}
{{- else if gt (int $sources) 1 -}}
{{- $wrong = append $wrong "the database has more than one source: choose one of database.existingSecret.name, database.externalSecret.enabled and database.cloudNativePg.enabled." -}}
{{- end -}}
{{- $natsless := list -}}
{{- $urlSecrets := list -}}
{{- $papers := list -}}
{{- range $group := include "enfilade.groups" . | fromJsonArray -}}
{{- $nats := include "enfilade.natsOf" (dict "root" $ "group" $group.name) | fromJson -}}
{{- $papers = concat $papers (list $nats.credentials.existingSecret $nats.clientCertificate.existingSecret) -}}
{{- if $nats.urlSecret.existingSecret -}}
{{- $urlSecrets = append $urlSecrets $nats.urlSecret.existingSecret -}}
{{- else if not (or (and $v.nats.enabled (not $v.nats.authorization.existingSecret)) $v.nats.url) -}}
{{- $natsless = append $natsless (printf "%ss" $group.name) -}}
{{- end -}}
{{- end -}}
{{- if and $natsless $v.nats.enabled -}}
{{- $wrong = append $wrong "nats.authorization lets in whoever has a name: put the URL with a name and its password into a Secret, and name that in nats.urlSecret, or in nats.edges.urlSecret and nats.hosts.urlSecret." -}}
{{- else if and $natsless (not $urlSecrets) -}}
{{- $wrong = append $wrong "mode cluster needs NATS: set nats.url (or nats.urlSecret) to one that is there, or nats.enabled to install one with the release." -}}
{{- else if $natsless -}}
{{- $wrong = append $wrong (printf "%s have no NATS: name the Secret with their URL in nats.%s.urlSecret, or one for both roles in nats.urlSecret." (first $natsless) (first $natsless)) -}}
{{- end -}}
{{- $known := $v.nats.authorization.existingSecret -}}
{{- if and $urlSecrets (or $v.nats.url (and $v.nats.enabled (not $known))) -}}
{{- $wrong = append $wrong "nats.urlSecret has the URL in a Secret: leave nats.url empty and nats.enabled off." -}}
{{- end -}}
{{- if and (not $v.splitRoles) (or $v.nats.edges $v.nats.hosts) -}}
{{- $wrong = append $wrong "nats.edges and nats.hosts give each role a name of its own: set splitRoles, or use nats.urlSecret, nats.credentials and nats.clientCertificate." -}}
{{- end -}}
{{- if regexMatch "//[^/]*@" $v.nats.url -}}
{{- $wrong = append $wrong "nats.url has a name or a password in it, which everybody would see: put the URL into a Secret and name that in nats.urlSecret." -}}
{{- end -}}
{{- if and $v.nats.enabled $v.nats.url -}}
{{- $wrong = append $wrong "nats.enabled installs a NATS and nats.url names another: choose one." -}}
{{- end -}}
{{- if and $v.nats.enabled (compact $papers) -}}
{{- $wrong = append $wrong "nats.credentials and nats.clientCertificate are for a NATS of your own (nats.url): the one of nats.enabled knows names and passwords (nats.authorization)." -}}
{{- end -}}
{{- if and $v.nats.enabled (or $v.nats.edges $v.nats.hosts) (not $known) -}}
{{- $wrong = append $wrong "nats.edges and nats.hosts say who nodes are, and the NATS of nats.enabled lets in anybody who reaches it: give it users in nats.authorization." -}}
{{- end -}}
{{- if and $v.nats.enabled (ne (empty $v.nats.certificate.existingSecret) (empty $v.nats.tls.existingSecret)) -}}
{{- $wrong = append $wrong "nats.certificate lets the NATS of nats.enabled speak TLS, and nats.tls has the authority that nodes and servers trust about that: set both." -}}
{{- end -}}
{{- if and (not $v.nats.enabled) (or $known $v.nats.certificate.existingSecret) -}}
{{- $wrong = append $wrong "nats.authorization and nats.certificate are for the NATS of nats.enabled." -}}
{{- end -}}
{{- $natsPort := $v.networkPolicy.natsPort -}}
{{- $natsPorts := include "enfilade.natsPorts" . | fromJsonArray -}}
{{- if and $natsPort (ne (list (int $natsPort) | toJson) ($natsPorts | toJson)) -}}
{{- $wrong = append $wrong (printf "networkPolicy.natsPort is %d, but NATS is reached at %s: leave it empty. It is for a URL in a Secret (nats.urlSecret), and further ways out are networkPolicy.extraEgress." (int $natsPort) (join ", " $natsPorts)) -}}
{{- end -}}
{{- if and $db.cloudNativePg.enabled (eq $v.migrations.mode "job") -}}
{{- $wrong = append $wrong "migrations.mode job runs before anything of the release exists, so also before the PostgreSQL of database.cloudNativePg: set migrations.mode to init." -}}
{{- end -}}
{{- if and $db.externalSecret.enabled (eq $v.migrations.mode "job") -}}
{{- $wrong = append $wrong "migrations.mode job runs before anything of the release exists, so also before the Secret of database.externalSecret: set migrations.mode to init, or make the ExternalSecret yourself and name its Secret in database.existingSecret." -}}
{{- end -}}
{{- if and $db.externalSecret.enabled (or (not $db.externalSecret.secretStoreRef.name) (not $db.externalSecret.remoteRef)) -}}
{{- $wrong = append $wrong "database.externalSecret needs secretStoreRef.name and remoteRef.key: where the database's URL is kept." -}}
{{- end -}}
{{- range $group := include "enfilade.groups" . | fromJsonArray -}}
{{- $n := $group.values -}}
{{- if and $n.autoscaling.enabled $n.keda.enabled -}}
{{- $wrong = append $wrong (printf "%ss: autoscaling.enabled and keda.enabled would both decide how many there are: choose one." $group.name) -}}
{{- end -}}
{{- if and $n.keda.enabled (not $n.keda.serverAddress) -}}
{{- $wrong = append $wrong (printf "%ss: keda.enabled needs keda.serverAddress, the Prometheus to ask." $group.name) -}}
{{- end -}}
{{- if and (or $n.autoscaling.enabled $n.keda.enabled) (gt (int $n.autoscaling.minReplicas) (int $n.autoscaling.maxReplicas)) -}}
{{- $wrong = append $wrong (printf "%ss: autoscaling.minReplicas (%d) is more than autoscaling.maxReplicas (%d)." $group.name (int $n.autoscaling.minReplicas) (int $n.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if and $group.edge (or $n.autoscaling.enabled $n.keda.enabled) (ge (int $n.autoscaling.connectionsPerNode) (int $v.settings.maxConnections)) -}}
{{- $wrong = append $wrong (printf "%ss: autoscaling.connectionsPerNode (%d) has to be less than settings.maxConnections (%d), or nodes are full before others come." $group.name (int $n.autoscaling.connectionsPerNode) (int $v.settings.maxConnections)) -}}
{{- end -}}
{{- if and (not $group.edge) (or $n.autoscaling.enabled $n.keda.enabled) (not $n.autoscaling.cpuPercent) -}}
{{- $wrong = append $wrong "hosts: autoscaling.cpuPercent is 0, but hosts have no connections to be scaled on: set it, or hosts.replicas with autoscaling and keda off." -}}
{{- end -}}
{{- $fewest := ternary (int $n.autoscaling.minReplicas) (int $n.replicas) (or $n.autoscaling.enabled $n.keda.enabled) -}}
{{- if and $n.podDisruptionBudget.enabled (ge (int $n.podDisruptionBudget.maxUnavailable) $fewest) (gt $fewest 1) -}}
{{- $wrong = append $wrong (printf "%ss: podDisruptionBudget.maxUnavailable (%d) lets all %d go at once." $group.name (int $n.podDisruptionBudget.maxUnavailable) $fewest) -}}
{{- end -}}
{{- end -}}
{{- if and (not $v.splitRoles) (or $v.edges $v.hosts) -}}
{{- $wrong = append $wrong "edges and hosts say what is different for split roles: set splitRoles, or use nodes." -}}
{{- end -}}

{{- else -}}
{{- if or $db.existingSecret.name $db.externalSecret.enabled $db.cloudNativePg.enabled -}}
{{- $wrong = append $wrong "mode single has its database on its own volume: database.* is for mode cluster." -}}
{{- end -}}
{{- if or $v.nats.enabled $v.nats.url $v.nats.urlSecret.existingSecret $v.nats.edges $v.nats.hosts -}}
{{- $wrong = append $wrong "mode single talks to nobody: nats.* is for mode cluster." -}}
{{- end -}}
{{- if $v.splitRoles -}}
{{- $wrong = append $wrong "mode single is one node that does everything: splitRoles is for mode cluster." -}}
{{- end -}}
{{- if gt (int $v.nodes.replicas) 1 -}}
{{- $wrong = append $wrong (printf "mode single is one node, nodes.replicas is %d: SQLite cannot be shared. Use values-single.yaml, or mode cluster." (int $v.nodes.replicas)) -}}
{{- end -}}
{{- if $v.podDeletionCost.enabled -}}
{{- $wrong = append $wrong "mode single has one pod: podDeletionCost is for mode cluster." -}}
{{- end -}}
{{- if or $v.nodes.autoscaling.enabled $v.nodes.keda.enabled -}}
{{- $wrong = append $wrong "mode single cannot be scaled: turn nodes.autoscaling and nodes.keda off." -}}
{{- end -}}
{{- end -}}

{{- $leaving := int (include "enfilade.leavingSeconds" .) -}}
{{- if lt (int (include "enfilade.graceSeconds" .)) $leaving -}}
{{- $wrong = append $wrong (printf "termination.gracePeriodSeconds is %d, but leaving may take %d: preStopSeconds, handing over and drainSeconds together. A node would be killed while people are still moving; leave it empty to have it computed." (int $v.termination.gracePeriodSeconds) $leaving) -}}
{{- end -}}
{{- if and $v.metrics.serviceMonitor.enabled $v.metrics.podMonitor.enabled -}}
{{- $wrong = append $wrong "metrics.serviceMonitor and metrics.podMonitor would both have everything read: choose one." -}}
{{- end -}}
{{- if and $v.networkPolicy.enabled (or $v.metrics.serviceMonitor.enabled $v.metrics.podMonitor.enabled) (not $v.networkPolicy.metricsFrom) -}}
{{- $wrong = append $wrong "metrics.serviceMonitor or metrics.podMonitor has Prometheus read the metrics, and networkPolicy does not let it in: say in networkPolicy.metricsFrom where it is, as `- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}`." -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) -}}
{{- $wrong = append $wrong "httpRoute.enabled needs httpRoute.parentRefs: the gateways it belongs to." -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) -}}
{{- $wrong = append $wrong "ingress.enabled needs ingress.hosts." -}}
{{- end -}}
{{- if and $v.tls.existingSecret (or $v.httpRoute.enabled $v.ingress.enabled) -}}
{{- $wrong = append $wrong "tls.existingSecret lets nodes speak TLS by themselves, and httpRoute and ingress speak plain HTTP to them: let one of the two decrypt. A gateway that passes TLS through has a TLSRoute (extraObjects)." -}}
{{- end -}}
{{- if and (not $v.tls.existingSecret) (or $v.test.authority.existingSecret $v.test.serverName) -}}
{{- $wrong = append $wrong "test.authority and test.serverName are for nodes that speak TLS by themselves (tls.existingSecret)." -}}
{{- end -}}
{{- if and $v.telemetry.traces.headers.existingSecret (not $v.telemetry.traces.endpoint) -}}
{{- $wrong = append $wrong "telemetry.traces.headers are for a collector: set telemetry.traces.endpoint." -}}
{{- end -}}
{{- if and $v.service.externalTrafficPolicy (eq $v.service.type "ClusterIP") -}}
{{- $wrong = append $wrong "service.externalTrafficPolicy is for the types LoadBalancer and NodePort." -}}
{{- end -}}

{{- $wrong = concat $wrong (include "enfilade.wrongSecrets" . | fromJsonArray) -}}

{{- if $wrong -}}
{{- fail (printf "\n\nThese values cannot work together:\n  - %s\n" (join "\n  - " $wrong)) -}}
{{- end -}}
{{- end -}}
