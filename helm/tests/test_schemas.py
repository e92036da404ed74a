"""Every variant against the schemas of Kubernetes, in four versions, and of the custom resources; no field that nobody knows."""

import json
import subprocess
import unittest

import kubernetes_validate

import chart
from chart import VARIANTS, render

# The oldest that the chart is for, the newest whose schemas there are, and two between.
VERSIONS = ["1.30", "1.32", "1.34", "1.37"]
CUSTOM = ("monitoring.coreos.com/", "keda.sh/", "gateway.networking.k8s.io/", "external-secrets.io/", "postgresql.cnpg.io/")


class Kubernetes(unittest.TestCase):
    def test_all_that_is_rendered_is_understood(self):
        for version in VERSIONS:
            for name, (values, settings) in VARIANTS.items():
                for it in render(values, settings, kube=f"{version}.0"):
                    if it["apiVersion"].startswith(CUSTOM):
                        continue
                    with self.subTest(version=version, variant=name, kind=it["kind"], name=it["metadata"]["name"]):
                        kubernetes_validate.validate(it, version, strict=True)

    def test_a_mistake_would_be_found(self):
        service = chart.one(chart.variant("cluster"), "Service", "r-enfilade")
        wrong = {**service, "spec": {**service["spec"], "tpye": "ClusterIP"}}
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, "1.34", strict=True)


class CustomResources(unittest.TestCase):
    def judge(self, objects):
        done = subprocess.run(
            ["node", chart.ROOT / "helm/tests/custom.js"], input=json.dumps(objects), capture_output=True, text=True
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_all_that_is_rendered_is_understood(self):
        objects = [it for name in VARIANTS for it in chart.variant(name) if it["apiVersion"].startswith(CUSTOM)]
        kinds = {it["kind"] for it in objects}
        self.assertEqual(kinds, {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ScaledObject", "HTTPRoute", "ExternalSecret", "Cluster"})
        verdicts = self.judge(objects)
        for it, verdict in zip(objects, verdicts, strict=True):
            with self.subTest(kind=it["kind"], name=it["metadata"]["name"]):
                self.assertEqual(verdict, [])

    def test_a_mistake_would_be_found(self):
        route = chart.one(chart.variant("a gateway"), "HTTPRoute")
        wrong = json.loads(json.dumps(route))
        wrong["spec"]["rules"][0]["backendRefs"][0]["port"] = "eighty"
        unknown = json.loads(json.dumps(route))
        unknown["spec"]["rules"][0]["backendRef"] = []
        for verdict in self.judge([wrong, unknown]):
            self.assertNotEqual(verdict, [])


if __name__ == "__main__":
    unittest.main()
