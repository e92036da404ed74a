"""Values: those that are fine are linted, those that are wrong are refused with a sentence that helps."""

import json
import subprocess
import unittest

import yaml

import chart
from chart import CHART, CLUSTER, HELM, SINGLE


class Lint(unittest.TestCase):
    def test_the_chart_and_every_profile_are_clean(self):
        for values in sorted(CHART.glob("values-*.yaml")):
            with self.subTest(values.name):
                done = subprocess.run([HELM, "lint", "--strict", CHART, "--values", values], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_it_packages(self):
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([HELM, "package", CHART, "--destination", folder], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)


class Schema(unittest.TestCase):
    def test_every_default_is_in_the_schema(self):
        schema = json.loads((CHART / "values.schema.json").read_text())

        def resolved(part):
            return schema["definitions"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part

        def look(values, part, path):
            part = resolved(part)
            if "properties" not in part:
                return
            self.assertIs(part.get("additionalProperties"), False, f"{path} takes anything")
            for key, value in values.items():
                self.assertIn(key, part["properties"], f"{path}.{key}")
                if isinstance(value, dict):
                    look(value, part["properties"][key], f"{path}.{key}")

        look(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "")

    def test_nothing_is_in_the_schema_that_is_no_value(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        # `global` is Helm's.
        self.assertEqual(set(schema["properties"]) - {"global"}, set(values))

    WRONG = {
        "nodes.replcas=3": "Additional property replcas is not allowed",
        "nodes.replicas=three": "nodes.replicas: Invalid type",
        "nodes.startupSeconds=5": "nodes.startupSeconds: Must be greater than or equal to 10",
        "nodes.startupSeconds=5m": "nodes.startupSeconds: Invalid type",
        "mode=double": "mode: mode must be one of",
        "image.digest=latest": "image.digest: Does not match pattern",
        "image.pullPolicy=Sometimes": "image.pullPolicy must be one of",
        "settings.maxConnections=0": "settings.maxConnections: Must be greater than or equal to 1",
        "settings.publicUrl=board.example.org": "settings.publicUrl: Does not match pattern",
        "settings.publicUrl=https://board.example.org/path": "settings.publicUrl: Does not match pattern",
        "settings.limits.signUpsPerAddress=often": "settings.limits.signUpsPerAddress: Does not match pattern",
        "settings.limits.signUps=6/minute": "Additional property signUps is not allowed",
        "settings.logRetentionDays=soon": "settings.logRetentionDays: Must validate at least one schema",
        "settings.trustedProxies[0]=gateway": "settings.trustedProxies.0: Does not match pattern",
        "nats.url=redis://cache": "nats.url: Does not match pattern",
        "nats.edges.tls.existingSecret=ca": "Additional property tls is not allowed",
        "telemetry.traces.endpoint=collector:4318": "telemetry.traces.endpoint: Does not match pattern",
        "telemetry.traces.oneIn=-1": "telemetry.traces.oneIn: Must be greater than or equal to 0",
        "nats.replicas=2": "nats.replicas must be one of",
        "service.port=70000": "service.port: Must be less than or equal to 65535",
        "nodes.topologySpread.zones=Always": "nodes.topologySpread.zones must be one of",
        "nodes.resources.limits.memory=lots": "nodes.resources.limits.memory",
        "migrations.mode=later": "migrations.mode must be one of",
        "edges.replcas=3": "Additional property replcas is not allowed",
        "metrics.serviceMonitor.interval=often": "metrics.serviceMonitor.interval: Does not match pattern",
        "termination.preStopSeconds=0": "termination.preStopSeconds: Must be greater than or equal to 1",
    }

    def test_what_is_of_the_wrong_kind_is_named(self):
        for setting, words in self.WRONG.items():
            with self.subTest(setting):
                self.assertIn(words, chart.refusal((), (*CLUSTER, setting)))


class Contradictions(unittest.TestCase):
    def refused(self, words, *settings, values=()):
        said = chart.refusal(values, settings)
        self.assertIn("These values cannot work together", said)
        self.assertIn(words, said)

    def test_a_cluster_needs_a_database_and_nats(self):
        self.refused("needs PostgreSQL", "nats.enabled=true")
        self.refused("needs NATS", "database.existingSecret.name=d")

    def test_all_that_is_wrong_is_said_at_once(self):
        said = chart.refusal()
        self.assertIn("needs PostgreSQL", said)
        self.assertIn("needs NATS", said)

    def test_one_source_of_each(self):
        self.refused("more than one source", *CLUSTER, "database.cloudNativePg.enabled=true", "migrations.mode=init")
        self.refused("nats.url names another", *CLUSTER, "nats.url=nats://n:4222")
        self.refused("nats.authorization lets in whoever has a name", *CLUSTER, "nats.authorization.existingSecret=a")
        self.refused("nats.authorization lets in whoever has a name", *CLUSTER, "nats.authorization.existingSecret=a", "splitRoles=true", "nats.edges.urlSecret.existingSecret=u")
        self.refused("give it users in nats.authorization", *CLUSTER, "splitRoles=true", "nats.edges.urlSecret.existingSecret=u")
        self.refused("nats.tls has the authority", *CLUSTER, "nats.certificate.existingSecret=c")
        self.refused("nats.tls has the authority", *CLUSTER, "nats.tls.existingSecret=c")
        self.refused("are for the NATS of nats.enabled", "database.existingSecret.name=d", "nats.url=nats://n", "nats.certificate.existingSecret=c")
        self.refused("are for a NATS of your own", *CLUSTER, "nats.credentials.existingSecret=c")
        self.refused("are for a NATS of your own", *CLUSTER, "nats.clientCertificate.existingSecret=c")

    def test_names_on_nats_are_for_roles_that_there_are(self):
        apart = ("database.existingSecret.name=d", "splitRoles=true", "nats.edges.urlSecret.existingSecret=e")
        self.refused("hosts have no NATS", *apart)
        self.refused("leave nats.url empty", *apart, "nats.url=nats://n:4222")
        self.refused("set splitRoles, or use nats.urlSecret", "database.existingSecret.name=d", "nats.url=nats://n:4222", "nats.edges.credentials.existingSecret=e")
        self.refused("are for a NATS of your own", *CLUSTER, "splitRoles=true", "nats.hosts.credentials.existingSecret=c")
        self.refused("nats.* is for mode cluster", "nats.hosts.credentials.existingSecret=c", values=(SINGLE,))
        self.refused("nats.* is for mode cluster", "nats.urlSecret.existingSecret=c", values=(SINGLE,))

    def test_the_policy_lets_through_to_the_nats_that_is_named(self):
        own = ("database.existingSecret.name=d", "networkPolicy.natsPort=4443")
        self.refused("natsPort is 4443, but NATS is reached at 4222", *own, "nats.url=tls://nats.example.org")
        self.refused("natsPort is 4443, but NATS is reached at 4443, 4444", *own, r"nats.url=tls://a:4443\,tls://b:4444")
        self.refused("natsPort is 4443, but NATS is reached at 4222", *CLUSTER, "networkPolicy.natsPort=4443")

    def test_a_job_cannot_migrate_what_is_not_there_yet(self):
        self.refused("also before the PostgreSQL", "database.cloudNativePg.enabled=true", "nats.enabled=true")
        self.refused("also before the Secret", "database.externalSecret.enabled=true", "nats.enabled=true")
        self.refused("secretStoreRef.name and remoteRef.key", "database.externalSecret.enabled=true", "nats.enabled=true", "migrations.mode=init")

    def test_one_autoscaler_that_can_work(self):
        self.refused("both decide", *CLUSTER, "nodes.autoscaling.enabled=true", "nodes.keda.enabled=true", "nodes.keda.serverAddress=http://p")
        self.refused("needs keda.serverAddress", *CLUSTER, "nodes.keda.enabled=true")
        self.refused("is more than", *CLUSTER, "nodes.autoscaling.enabled=true", "nodes.autoscaling.minReplicas=9", "nodes.autoscaling.maxReplicas=3")
        self.refused("less than settings.maxConnections", *CLUSTER, "nodes.autoscaling.enabled=true", "settings.maxConnections=8000")
        self.refused("hosts: autoscaling.enabled and keda.enabled", *CLUSTER, "splitRoles=true", "hosts.autoscaling.enabled=true", "hosts.keda.enabled=true", "hosts.keda.serverAddress=http://p")

    def test_a_budget_that_lets_all_go_is_none(self):
        self.refused("lets all 3 go at once", *CLUSTER, "nodes.podDisruptionBudget.maxUnavailable=3")

    def test_the_grace_period_is_long_enough(self):
        self.refused("leaving may take 75", *CLUSTER, "termination.gracePeriodSeconds=30")
        self.refused("leaving may take 355", *CLUSTER, "settings.drainSeconds=300", "termination.gracePeriodSeconds=75")
        self.refused("leaving may take 20", "termination.gracePeriodSeconds=5", values=(SINGLE,))

    def test_one_node_is_one_node(self):
        self.refused("SQLite cannot be shared", "nodes.replicas=2", values=(SINGLE,))
        self.refused("podDeletionCost is for mode cluster", "podDeletionCost.enabled=true", values=(SINGLE,))
        self.refused("cannot be scaled", "nodes.autoscaling.enabled=true", values=(SINGLE,))
        self.refused("database.* is for mode cluster", "database.existingSecret.name=d", values=(SINGLE,))
        self.refused("nats.* is for mode cluster", "nats.url=nats://n:4222", values=(SINGLE,))
        self.refused("splitRoles is for mode cluster", "splitRoles=true", values=(SINGLE,))

    def test_what_a_store_fills_is_what_is_read(self):
        init, token = "migrations.mode=init", "externalSecrets.secrets.a.token.key=k"
        self.refused("needs externalSecrets.secretStoreRef.name", *CLUSTER, "admin.token.existingSecret=a", token)
        store = (*CLUSTER, "externalSecrets.secretStoreRef.name=vault")
        self.refused("externalSecrets.secrets.a: nothing in these values reads a Secret of that name (read: enfilade-database)", *store, token)
        self.refused("externalSecrets.secrets.a says nothing of the key secret", *store, "admin.token.existingSecret=a", "admin.token.key=secret", token)
        self.refused("also before externalSecrets.secrets.enfilade-database", *store, "externalSecrets.secrets.enfilade-database.url.key=k")
        self.assertEqual(chart.template((), (*store, init, "externalSecrets.secrets.enfilade-database.url.key=k")).returncode, 0)
        self.assertIn("key is required", chart.refusal((), (*store, "externalSecrets.secrets.a.token.property=p")))

    def test_who_is_to_read_the_metrics_is_let_in(self):
        self.refused("say in networkPolicy.metricsFrom where it is", *CLUSTER, "metrics.serviceMonitor.enabled=true")
        self.refused("say in networkPolicy.metricsFrom where it is", *CLUSTER, "metrics.podMonitor.enabled=true")
        self.refused("metrics.serviceMonitor and metrics.podMonitor", *CLUSTER, "metrics.podMonitor.enabled=true", "metrics.serviceMonitor.enabled=true")
        for setting in ("networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus", "networkPolicy.enabled=false"):
            self.assertEqual(chart.template((), (*CLUSTER, "metrics.serviceMonitor.enabled=true", setting)).returncode, 0, setting)

    def test_no_password_is_in_plain_sight(self):
        self.refused("nats.urlSecret", "database.existingSecret.name=d", "nats.url=nats://user:secret@nats:4222")
        self.refused("leave nats.url empty", *CLUSTER, "nats.urlSecret.existingSecret=n")

    def test_hosts_scale_on_something(self):
        self.refused("hosts have no connections", *CLUSTER, "splitRoles=true", "hosts.autoscaling.enabled=true", "hosts.autoscaling.cpuPercent=0")

    def test_roles_are_set_apart_where_they_are_split(self):
        self.refused("set splitRoles, or use nodes", *CLUSTER, "edges.replicas=9")

    def test_the_way_in_leads_somewhere(self):
        self.refused("needs httpRoute.parentRefs", *CLUSTER, "httpRoute.enabled=true")
        self.refused("needs ingress.hosts", *CLUSTER, "ingress.enabled=true")
        self.refused("let one of the two decrypt", *CLUSTER, "tls.existingSecret=t", "httpRoute.enabled=true", "httpRoute.parentRefs[0].name=g")
        self.refused("let one of the two decrypt", "tls.existingSecret=t", "ingress.enabled=true", "ingress.hosts[0]=h", values=(SINGLE,))
        self.refused("for nodes that speak TLS by themselves", *CLUSTER, "test.authority.existingSecret=a")
        self.refused("LoadBalancer and NodePort", *CLUSTER, "service.externalTrafficPolicy=Local")

    def test_a_secret_for_a_collector_needs_a_collector(self):
        self.refused("set telemetry.traces.endpoint", *CLUSTER, "telemetry.traces.headers.existingSecret=otlp")

    def test_kubernetes_before_1_30_is_too_old(self):
        done = chart.template((SINGLE,), (), kube="1.29.0")
        self.assertIn("incompatible with Kubernetes v1.29.0", done.stderr)


if __name__ == "__main__":
    unittest.main()
