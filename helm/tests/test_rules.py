"""Alerts, runbooks and the dashboard: they hold together, they name metrics that exist, and the alerts come when they should."""

import json
import re
import subprocess
import tempfile
import pathlib
import unittest

import yaml

import alert_cases
import chart

ALERTS = chart.CHART / "files/alerts.yaml"
DASHBOARD = chart.CHART / "files/dashboard.json"
RUNBOOKS = chart.ROOT / "docs/runbooks"
METRICS = chart.ROOT / "docs/metrics.md"


def rules():
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def metrics():
    """What a node tells, with the names under which Prometheus keeps a histogram."""
    names = set()
    for name, kind in re.findall(r"^\| `(\w+)` \| (\w+) \|", METRICS.read_text(), re.M):
        names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name}
    return names


def named(expression):
    return set(re.findall(r"\b(?:enfilade|process)_[a-z_]+", expression))


class Together(unittest.TestCase):
    def test_promtool_understands_the_rules(self):
        done = subprocess.run(["promtool", "check", "rules", "--lint=all", "--lint-fatal", ALERTS], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_alerts_come_when_they_should_and_only_then(self):
        self.assertEqual({rule["alert"] for rule in rules()}, set(alert_cases.CASES), "every alert is tried")
        severity = {rule["alert"]: rule["labels"]["severity"] for rule in rules()}

        def written(series):
            return [{"series": name, "values": values} for name, values in series]

        tests = [
            {
                "interval": "15s",
                "input_series": written(case["series"]),
                "alert_rule_test": [{"eval_time": case["at"], "alertname": alert, "exp_alerts": [{"exp_labels": {**case["labels"], "severity": severity[alert]}}]}],
            }
            for alert, case in alert_cases.CASES.items()
        ]
        tests.append({
            "interval": "15s",
            "input_series": written(alert_cases.CALM),
            "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": []} for alert in alert_cases.CASES for at in ("2h", "9h")],
        })
        # What is said of an alert would have to be expected word for word.
        groups = yaml.safe_load(ALERTS.read_text())["groups"]
        for rule in (rule for group in groups for rule in group["rules"]):
            del rule["annotations"]
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
            file = pathlib.Path(folder) / "test.yaml"
            file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "15s", "tests": tests}))
            done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_what_the_chart_installs_is_what_was_tried(self):
        installed = chart.one(chart.variant("high availability"), "PrometheusRule")
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "rules.yaml"
            file.write_text(yaml.safe_dump(installed["spec"]))
            done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        made = [rule for group in installed["spec"]["groups"] for rule in group["rules"]]
        for rule in made:
            self.assertTrue(rule["annotations"].pop("runbook_url").endswith(f"/docs/runbooks/{rule['alert']}.md"))
        self.assertEqual(made, rules())

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

    def test_queries_of_the_dashboard_are_queries(self):
        """As rules they can be checked: promtool knows no dashboards."""
        variables = {"$namespace": "n", "$pod": "p", "$__rate_interval": "5m"}
        records = []
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            for target in panel.get("targets", []):
                expression = target["expr"]
                for name, value in variables.items():
                    expression = expression.replace(name, value)
                records.append({"record": f"panel:{panel['id']}:{target['refId']}".replace("-", "_"), "expr": expression})
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "rules.yaml"
            file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))
            done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

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
