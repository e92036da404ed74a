"""The alerts as the chart installs them, played on made-up series: they come when they should, on whom they should, and only then."""

import copy
import pathlib
import subprocess
import tempfile
import unittest

import yaml

import chart
from alert_cases import CASES, NODE, POD, calm

# As Prometheus is asked to look: by the ServiceMonitor, and by the rules of those who leave.
LOOK_S, JUDGE_S = 15, 5
OBJECTS = chart.variant("high availability")
GROUPS = chart.one(OBJECTS, "PrometheusRule")["spec"]["groups"]
SEVERITY = {rule["alert"]: rule["labels"]["severity"] for group in GROUPS for rule in group["rules"]}


def expected(alert, labels):
    return {"exp_labels": {**labels, "severity": SEVERITY[alert]}}


def at(when, alert, *labels):
    """That an alert is there then on those, and on nobody else."""
    return {"eval_time": when, "alertname": alert, "exp_alerts": [expected(alert, it) for it in labels]}


def play(series, *expectations):
    return {
        "interval": f"{LOOK_S}s",
        "input_series": [{"series": name, "values": values} for name, values in series],
        "alert_rule_test": list(expectations),
    }


class Judged(unittest.TestCase):
    def judge(self, *tests, every=LOOK_S):
        # What is said of an alert would have to be expected word for word.
        groups = copy.deepcopy(GROUPS)
        for rule in (rule for group in groups for rule in group["rules"]):
            del rule["annotations"]
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
            file = pathlib.Path(folder) / "test.yaml"
            file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": f"{every}s", "tests": list(tests)}))
            done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Alerts(Judged):
    def test_every_alert_is_tried(self):
        self.assertEqual(set(SEVERITY), set(CASES))

    def test_the_one_who_is_sick_is_told_of_and_its_neighbour_in_the_namespace_is_not(self):
        def tried(alert, it):
            looks = 60 // LOOK_S * int(it["at"].removesuffix("m"))
            return play((*it["series"], *calm("neighbour", looks)), at(it["at"], alert, it["labels"]))
        self.judge(*(tried(alert, it) for alert, it in CASES.items()), every=30)

    def test_of_two_releases_that_are_calm_nothing_is_told(self):
        """Whatever their versions are, and though they own all shards twice."""
        looks = 10 * 3_600 // LOOK_S
        series = (*calm("r", looks), *calm("neighbour", looks, version="0.2.0"))
        self.judge(play(series, *(at(when, alert) for alert in CASES for when in ("2h", "9h"))), every=60)


class Leaving(Judged):
    """A node that leaves, in the time that it has by the chart, looked at as badly as can be: 15 s after it began."""

    def setUp(self):
        spec = chart.node(OBJECTS)[0][2]
        slept = chart.container(spec)["lifecycle"]["preStop"]["sleep"]["seconds"]
        monitor = chart.one(OBJECTS, "ServiceMonitor")["spec"]["endpoints"][0]
        self.assertEqual(monitor["interval"], f"{LOOK_S}s")
        self.assertEqual({group["name"]: group for group in GROUPS}["enfilade.drain"]["interval"], f"{JUDGE_S}s")
        # It is killed before the next look after these.
        self.looks = (spec["terminationGracePeriodSeconds"] - slept) // LOOK_S
        self.begun = 300

    def drained(self, shards, connections):
        """Before, while it leaves, and gone: what it has left, at each look."""
        before, after = self.begun // LOOK_S, "stale"

        def values(usual, left):
            left = [*left, *[left[-1]] * (self.looks - len(left))]
            return f"{usual}x{before} {' '.join(map(str, left))} {after}"
        return (
            (f"enfilade_draining{{{NODE}}}", f"0x{before} 1x{self.looks - 1} {after}"),
            (f"enfilade_shards_owned{{{NODE}}}", values(1365, shards)),
            (f"enfilade_connections{{{NODE}}}", values(8000, connections)),
        )

    def seconds(self, looks):
        """When it has been looked at so often while it leaves; judged a moment later."""
        return f"{self.begun + looks * LOOK_S + JUDGE_S}s"

    def stuck(self, shards, connections):
        series = self.drained(shards, connections)
        alert = "EnfiladeDrainStuck"
        # It is told of before it is killed, and when it was for as long as it takes to read it.
        self.judge(
            play(series, at(self.seconds(self.looks), alert, POD), at("14m", alert, POD), at("20m", alert)),
            every=JUDGE_S,
        )

    def leaves(self, shards, connections):
        series = self.drained(shards, connections)
        self.judge(play(series, *(at(self.seconds(looks), "EnfiladeDrainStuck") for looks in range(self.looks + 2))), every=JUDGE_S)

    def test_nobody_takes_its_shards(self):
        self.stuck([1365], [8000])

    def test_somebody_took_some_and_then_nobody(self):
        self.stuck([900], [8000])

    def test_nobody_of_a_crowd_goes(self):
        self.stuck([0], [8000])

    def test_a_host_is_not_there_for_long(self):
        """It goes when it has waited half a minute for its shards to be taken, because nobody is connected to it."""
        self.looks = 30 // LOOK_S
        self.stuck([1365], [0])

    def test_it_leaves_as_it_should(self):
        self.leaves([0], [6000, 1000, 0])

    def test_it_leaves_slowly(self):
        self.leaves([1300, 800, 200, 0], [8000, 8000, 8000, 6000])

    def test_a_few_stay_until_they_are_closed(self):
        self.leaves([0], [9, 9, 9, 0])


class Membership(Judged):
    def nodes(self, values):
        return [(f'enfilade_nodes{{state="alive",{NODE}}}', values)]

    def test_twelve_nodes_are_replaced_one_by_one(self):
        # Each is there before the one goes that it replaces, and both are seen.
        for looks in (1, 2, 4):
            rolling = " ".join(f"13x{looks - 1} 12x{looks - 1}" for _ in range(12))
            self.judge(play(self.nodes(f"12x20 {rolling} 12x80"), *(at(f"{minute}m", "EnfiladeMembershipFlapping") for minute in range(40))))

    def test_sixty_nodes_are_replaced_one_by_one(self):
        rolling = " ".join("61 60" for _ in range(60))
        leaving = (f"enfilade_draining{{{NODE}}}", "0x20 " + " ".join("0x5 1" for _ in range(20)) + " 0x80")
        series = [*self.nodes(f"60x20 {rolling} 60x80"), leaving]
        self.judge(play(series, *(at(f"{minute}m", "EnfiladeMembershipFlapping") for minute in range(40))))

    def test_one_of_sixty_comes_and_goes_every_minute(self):
        flapping = " ".join("59x1 60x1" for _ in range(20))
        self.judge(play(self.nodes(f"60x20 {flapping} 60x80"), at("20m", "EnfiladeMembershipFlapping", {**POD, "state": "alive"})))

    def test_one_of_twelve_comes_and_goes_every_minute(self):
        flapping = " ".join("11x1 12x1" for _ in range(20))
        self.judge(play(self.nodes(f"12x20 {flapping} 12x80"), at("4m", "EnfiladeMembershipFlapping"), at("20m", "EnfiladeMembershipFlapping", {**POD, "state": "alive"})))


if __name__ == "__main__":
    unittest.main()
