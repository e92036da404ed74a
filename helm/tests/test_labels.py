"""Labels in alerts and panels: each is one that its metric has, and asks for a value that there is. A value that was renamed makes a query
ask for nothing, and an alert that asks for nothing never comes."""

import json
import re
import unittest

import chart
from test_rules import DASHBOARD, METRICS, rules

CATALOGUE = (chart.ROOT / "node/src/telemetry/catalogue.rs").read_text()
TELEMETRY = (chart.ROOT / "node/src/telemetry.rs").read_text()
# What a Prometheus gives to whatever it reads of a node, and how it is asked for there: by the job's name, or as somebody chose.
TARGET = {"job": {"enfilade"}, "namespace": {"$namespace"}, "release": {"$release"}, "pod": {"$pod"}}


def buckets(name):
    (listed,) = re.findall(rf"const {name}: &\[f64\] =\s*&\[(.*?)\];", TELEMETRY, re.S)
    return {f"{float(it):g}" for it in listed.split(",")} | {"+Inf"}


def labels():
    """Of every metric its own labels, and the values of each; None where they are not known before."""
    known = {"up": {}}
    for found in re.finditer(r"^    (counter|gauge|histogram)\(\s*\"(\w+)\"(.*?)(?=^    (?:counter|gauge|histogram)\(|^\];)", CATALOGUE, re.M | re.S):
        kind, name, rest = found.groups()
        own = {}
        if by := re.search(r"\.by\(\s*\"(\w+)\",\s*(.*)\)", rest, re.S):
            values = re.search(r"vec!\[(.*?)\]", by[2], re.S)
            own[by[1]] = set(re.findall(r'"(\w+)"', values[1])) if values and "env!" not in values[1] else None
        if kind == "histogram":
            bounds = buckets("SECONDS" if name.endswith("_seconds") else "COUNTS")
            known |= {f"{name}_bucket": {**own, "le": bounds}, f"{name}_sum": own, f"{name}_count": own}
        else:
            known[name] = own
    return known


KNOWN = labels()


def there(expression):
    """The labels of what a query is about."""
    return set(TARGET).union(*(KNOWN[name] for name in re.findall(r"[a-z_]+", expression) if name in KNOWN))


def mistakes(expression):
    """What a query asks for that there is not."""
    for name, selector in re.findall(r"\b([a-z_]+)\{([^}]*)\}", expression):
        for label, how, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"', selector):
            values = {**TARGET, **KNOWN.get(name, {})}.get(label, set())
            for one in value.split("|") if how in ("=~", "!~") else [value]:
                if values is None or one not in values:
                    yield f"{name} has no {label}={one}"
    for listed in re.findall(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", expression):
        yield from (f"nothing has the label {it}" for it in re.findall(r"\w+", listed) if it not in there(expression))


def told(expression, text):
    """Labels that a text names, and the query's metrics do not have."""
    return set(re.findall(r"(?:\{\{ *|\$labels\.)(\w+)", text)) - there(expression)


class Labels(unittest.TestCase):
    def test_the_catalogue_is_understood(self):
        listed = re.findall(r"^\| `(\w+)` \| (\w+) \| (?:`(\w+)`)? \|", METRICS.read_text(), re.M)
        self.assertGreater(len(listed), 50)
        for name, kind, label in listed:
            own = KNOWN[f"{name}_count" if kind == "histogram" else name]
            self.assertEqual(set(own), {label} - {""}, name)
        self.assertEqual(KNOWN["enfilade_ops_total"], {"outcome": {"accepted", "refused"}})
        self.assertEqual(KNOWN["enfilade_build_info"], {"version": None})
        self.assertIn("0.25", KNOWN["enfilade_op_visible_seconds_bucket"]["le"])
        self.assertIn("1024", KNOWN["enfilade_commit_batches_bucket"]["le"])

    def test_alerts_ask_for_what_there_is(self):
        for rule in rules():
            with self.subTest(rule["alert"]):
                self.assertEqual(list(mistakes(rule["expr"])), [])
                self.assertEqual(told(rule["expr"], " ".join(rule["annotations"].values())), set())

    def test_panels_ask_for_what_there_is(self):
        seen = 0
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            for target in panel.get("targets", []):
                with self.subTest(panel["title"]):
                    seen += 1
                    self.assertEqual(list(mistakes(target["expr"])), [])
                    self.assertEqual(told(target["expr"], target["legendFormat"]), set())
        self.assertGreater(seen, 50)

    def test_what_is_chosen_can_be_chosen(self):
        variables = {f"${it['name']}" for it in json.loads(DASHBOARD.read_text())["templating"]["list"]}
        self.assertLessEqual({it for values in TARGET.values() for it in values if it.startswith("$")}, variables)

    def test_a_mistake_would_be_found(self):
        for expression in (
            'rate(enfilade_ops_total{outcome="rejected"}[5m])', 'rate(enfilade_ops_total{result="refused"}[5m])', 'enfilade_handshakes_refused_total{reason=~"full|busy"}',
            'enfilade_op_visible_seconds_bucket{le="0.2"}', 'enfilade_op_visible_seconds_count{le="0.25"}', 'up{job="node"}', "sum by (reason) (enfilade_ops_total)", 'enfilade_nodes{state!="living"}',
        ):
            with self.subTest(expression):
                self.assertEqual(len(list(mistakes(expression))), 1)
        self.assertEqual(list(mistakes('sum by (pod, outcome) (enfilade_ops_total{outcome=~"refused|accepted",pod=~"$pod"})')), [])
        self.assertEqual(told("enfilade_ops_total", "{{pod}} {{reason}} {{ $labels.node }}"), {"reason", "node"})


if __name__ == "__main__":
    unittest.main()
