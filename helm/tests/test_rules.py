"""Alerts, runbooks and the dashboard: they hold together, and name metrics that exist. When alerts come is test_alerts.py's."""

import json
import re
import subprocess
import tempfile
import pathlib
import unittest

import yaml

import chart

ALERTS = chart.CHART / "files/alerts.yaml"
DASHBOARD = chart.CHART / "files/dashboard.json"
ADAPTER = chart.ROOT / "deploy/prometheus/adapter.yaml"
PROMETHEUS = chart.ROOT / "deploy/prometheus/prometheus.yaml"
RUNBOOKS = chart.ROOT / "docs/runbooks"
METRICS = chart.ROOT / "docs/metrics.md"


def rules():
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def installed_rules(*settings):
    made = chart.one(chart.render((chart.HA,), settings), "PrometheusRule")
    return [rule for group in made["spec"]["groups"] for rule in group["rules"]]


def metrics():
    """What a node tells, with the names under which Prometheus keeps a histogram."""
    names = set()
    for name, kind in re.findall(r"^\| `(\w+)` \| (\w+) \|", METRICS.read_text(), re.M):
        names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name}
    return names


def one_counted(scaler):
    """The metric of pods that an autoscaler counts."""
    (counted,) = [it["pods"]["metric"]["name"] for it in scaler["spec"]["metrics"] if it["type"] == "Pods"]
    return counted


def named(expression):
    return set(re.findall(r"\b(?:enfilade|process)_[a-z_]+", expression))


class Together(unittest.TestCase):
    def test_promtool_understands_the_rules(self):
        done = subprocess.run(["promtool", "check", "rules", "--lint=all", "--lint-fatal", ALERTS], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_what_the_chart_installs_is_what_was_written(self):
        made = installed_rules()
        for rule in made:
            self.assertTrue(rule["annotations"].pop("runbook_url").endswith(f"/docs/runbooks/{rule['alert']}.md"))
        written = rules()
        # What is not there is asked for by the release's name.
        absent = {rule["alert"]: rule for rule in written}["EnfiladeMetricsAbsent"]
        absent["expr"] = 'absent(enfilade_build_info{namespace="n",release="r"})'
        self.assertEqual(made, written)

    def test_who_reads_metrics_in_another_way_is_told_when_there_are_none(self):
        made = installed_rules("metrics.serviceMonitor.enabled=false")
        self.assertEqual(made[0]["expr"], "absent(enfilade_build_info)")

    def test_metrics_say_of_which_release_they_are(self):
        """Alerts add up by these labels; two releases in a namespace are not to be added up."""
        monitor = chart.one(chart.variant("high availability"), "ServiceMonitor")
        given = {it["targetLabel"]: it["replacement"] for it in monitor["spec"]["endpoints"][0]["relabelings"]}
        self.assertEqual(given, {"job": "enfilade", "release": "r"})
        for rule in rules():
            for by in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"]):
                self.assertIn("namespace, release", by, rule["alert"])

    def test_there_are_metrics_for_all_that_is_named(self):
        known = metrics()
        self.assertGreater(len(known), 50)
        for rule in rules():
            with self.subTest(rule["alert"]):
                self.assertLessEqual(named(rule["expr"]), known)
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            for target in panel.get("targets", []):
                with self.subTest(panel["title"]):
                    self.assertTrue(named(target["expr"]))
                    self.assertLessEqual(named(target["expr"]), known)

    def test_every_alert_has_a_runbook_and_every_runbook_an_alert(self):
        alerts = {rule["alert"] for rule in rules()}
        self.assertGreaterEqual(len(alerts), 15)
        self.assertEqual(alerts, {it.stem for it in RUNBOOKS.glob("*.md")} - {"README"})
        for alert in alerts:
            text = (RUNBOOKS / f"{alert}.md").read_text()
            parts = re.split(r"^## ", text, flags=re.M)
            self.assertEqual([it.split("\n")[0] for it in parts[1:]], ["Meaning", "Impact", "Diagnosis", "Mitigation"], alert)
            for part in parts[1:]:
                self.assertGreater(len(part.split("\n", 1)[1].strip()), 30, f"{alert}: {part}")
            for link in re.findall(r"\]\((\w+\.md)\)", text):
                self.assertTrue((RUNBOOKS / link).exists(), f"{alert} leads to {link}")
            self.assertIn(f"({alert}.md)", (RUNBOOKS / "README.md").read_text())

    def test_alerts_say_how_bad_it_is_and_what_happens(self):
        for rule in rules():
            self.assertIn(rule["labels"]["severity"], ("critical", "warning"))
            self.assertEqual(set(rule["annotations"]), {"summary", "description"})

    def test_a_prometheus_without_an_operator_labels_as_the_monitor_does(self):
        page = yaml.safe_load(PROMETHEUS.read_text())
        self.assertEqual([(PROMETHEUS.parent / it).resolve() for it in page["rule_files"]], [ALERTS])
        (job,) = page["scrape_configs"]
        self.assertEqual(job.pop("kubernetes_sd_configs"), [{"role": "pod"}])
        # What it would find is handed to it, because not every build of promtool knows Kubernetes.
        objects = chart.variant("split roles and everything")
        found = [
            {
                "__meta_kubernetes_namespace": "n", "__meta_kubernetes_pod_name": it["metadata"]["name"], "__meta_kubernetes_pod_phase": phase,
                "__meta_kubernetes_pod_container_port_name": port["name"],
                **{f"__meta_kubernetes_pod_label_{re.sub('[^A-Za-z0-9]', '_', name)}": value for name, value in metadata["labels"].items()},
            }
            for it, metadata, spec in chart.pods(objects) for each in spec["containers"] for port in each.get("ports", []) for phase in ("Running", "Failed")
        ]
        job["static_configs"] = [{"targets": [f"10.0.0.{place}:1"], "labels": labels} for place, labels in enumerate(found)]
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "prometheus.yaml"
            file.write_text(yaml.safe_dump({"scrape_configs": [job]}))
            done = subprocess.run(["promtool", "check", "service-discovery", "--timeout=2s", file, job["job_name"]], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        kept = [it["labels"] for it in json.loads(done.stdout) if it.get("labels")]
        given = sorted(({name: it[name] for name in ("job", "namespace", "release", "pod")} for it in kept), key=lambda it: it["pod"])
        self.assertEqual(given, [{"job": "enfilade", "namespace": "n", "release": "r", "pod": f"r-enfilade-{role}"} for role in ("edge", "host")])

    def test_the_adapter_serves_what_the_autoscaler_counts(self):
        (rule,) = yaml.safe_load(ADAPTER.read_text())["rules"]["custom"]
        counted = one_counted(chart.one(chart.variant("high availability"), "HorizontalPodAutoscaler"))
        self.assertEqual(named(rule["seriesQuery"]), {counted})
        self.assertIn(counted, metrics())
        self.assertEqual({label: it["resource"] for label, it in rule["resources"]["overrides"].items()}, {"namespace": "namespace", "pod": "pod"})
        query = rule["metricsQuery"]
        for name, value in {"<<.GroupBy>>": "pod", "<<.Series>>": counted, "<<.LabelMatchers>>": 'namespace="n",pod=~"r-1|r-2"'}.items():
            self.assertIn(name, query)
            query = query.replace(name, value)
        self.understood(series=rule["seriesQuery"], query=query)

    def understood(self, **queries):
        """As rules they can be checked: promtool knows neither dashboards nor adapters."""
        records = [{"record": name, "expr": query} for name, query in queries.items()]
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "rules.yaml"
            file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": records}]}))
            done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_dashboard_shows_the_releases_that_are_chosen(self):
        page = json.loads(DASHBOARD.read_text())
        self.assertEqual([it["name"] for it in page["templating"]["list"]], ["datasource", "namespace", "release", "pod"])
        for panel in page["panels"]:
            for target in panel.get("targets", []):
                for selector in re.findall(r"\{([^}]*)\}", target["expr"]):
                    self.assertIn('release=~"$release"', selector, panel["title"])

    def test_queries_of_the_dashboard_are_queries(self):
        variables = {"$namespace": "n", "$release": "r", "$pod": "p", "$__rate_interval": "5m"}
        queries = {}
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            for target in panel.get("targets", []):
                expression = target["expr"]
                for name, value in variables.items():
                    expression = expression.replace(name, value)
                queries[f"panel:{panel['id']}:{target['refId']}"] = expression
        self.understood(**queries)

    def test_panels_do_not_lie_on_each_other(self):
        taken = set()
        panels = json.loads(DASHBOARD.read_text())["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        for panel in panels:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24)
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells


if __name__ == "__main__":
    unittest.main()
