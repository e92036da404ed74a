"""What the chart asks Kubernetes while it is rendered: how many nodes there are, so that turning an autoscaler on changes nothing.

`helm template` asks nobody, so here helm installs. What it asks is an API on loopback that knows one deployment, and what it renders it hands
to a post-renderer, which keeps it and refuses: nothing is installed anywhere.
"""

import http.server
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import unittest

import yaml

import chart
from chart import CHART, CLUSTER, HELM

REFUSED = "that is all that was wanted"
# As much of an API as helm wants to see.
PAGES = {
    "/version": {"major": "1", "minor": "30", "gitVersion": "v1.30.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
    "/apis": {
        "kind": "APIGroupList", "apiVersion": "v1",
        "groups": [
            {"name": name, "versions": [{"groupVersion": f"{name}/{version}", "version": version}], "preferredVersion": {"groupVersion": f"{name}/{version}", "version": version}}
            for name, version in (("apps", "v1"), ("autoscaling", "v2"), ("keda.sh", "v1alpha1"))
        ],
    },
    "/apis/autoscaling/v2": {
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "autoscaling/v2",
        "resources": [{"name": "horizontalpodautoscalers", "singularName": "horizontalpodautoscaler", "namespaced": True, "kind": "HorizontalPodAutoscaler", "verbs": ["get", "list"]}],
    },
    "/apis/apps/v1": {
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "apps/v1",
        "resources": [{"name": "deployments", "singularName": "deployment", "namespaced": True, "kind": "Deployment", "verbs": ["get", "list"]}],
    },
}
PAGES["/apis/keda.sh/v1alpha1"] = {
    "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "keda.sh/v1alpha1",
    "resources": [{"name": "scaledobjects", "singularName": "scaledobject", "namespaced": True, "kind": "ScaledObject", "verbs": ["get", "list"]}],
}
ABSENT = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


class Kubernetes(http.server.ThreadingHTTPServer):
    """Knows the deployments that it is told of, by their names, and which of them have an autoscaler, and had a number kept."""

    def __init__(self, replicas, scaled, kept):
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked = []
        annotations = {"annotations": {"enfilade.io/replicas-kept": "3"}} if kept else {}
        self.pages = PAGES | {
            f"/apis/apps/v1/namespaces/n/deployments/{name}": {
                "kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": name, "namespace": "n", **annotations}, "spec": {"replicas": count},
            }
            for name, count in replicas.items()
        }
        if scaled:
            self.pages |= {
                f"/apis/autoscaling/v2/namespaces/n/horizontalpodautoscalers/{name}": {
                    "kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2", "metadata": {"name": name, "namespace": "n"}, "spec": {},
                }
                for name in replicas
            }

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path.partition("?")[0])
        page = self.server.pages.get(self.server.asked[-1])
        self.send_response(404 if page is None else 200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(page or ABSENT).encode())

    def log_message(self, *_):
        pass


class Lookup(unittest.TestCase):
    def replicas(self, there, *settings, scaled=False, kept=False):
        """How many replicas each deployment gets, where there are some already; None: the number is not said."""
        with Kubernetes(there, scaled, kept) as api, tempfile.TemporaryDirectory() as folder:
            kept, keep = pathlib.Path(folder) / "rendered.yaml", pathlib.Path(folder) / "keep"
            keep.write_text(f"#!/bin/sh\ncat > '{kept}'\necho '{REFUSED}' >&2\nexit 1\n")
            keep.chmod(0o755)
            command = [HELM, "install", "r", CHART, "--namespace", "n", "--kube-apiserver", f"http://127.0.0.1:{api.server_address[1]}", "--post-renderer", keep]
            for setting in (*CLUSTER, *settings):
                command += ["--set", setting]
            # Releases in memory, and whatever this machine knows of clusters is left alone.
            releases = pathlib.Path(folder) / "releases.yaml"
            releases.write_text("[]")
            environment = {"PATH": os.environ["PATH"], "HOME": folder, "KUBECONFIG": "", "HELM_DRIVER": "memory", "HELM_MEMORY_DRIVER_DATA": str(releases)}
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            self.assertIn(REFUSED, done.stderr)
            objects = [it for it in yaml.safe_load_all(kept.read_text()) if it]
        self.scalers_asked_for = [it for it in api.asked if it.endswith("/horizontalpodautoscalers/r-enfilade-node")]
        return {it["metadata"]["name"]: it["spec"].get("replicas") for it in chart.of(objects, "Deployment")}

    def test_turning_an_autoscaler_on_keeps_the_nodes_that_there_are(self):
        for scaler in (("nodes.autoscaling.enabled=true",), ("nodes.keda.enabled=true", "nodes.keda.serverAddress=http://p")):
            with self.subTest(scaler):
                self.assertEqual(self.replicas({"r-enfilade-node": 7}, *scaler), {"r-enfilade-node": 7})

    def test_whoever_began_with_an_autoscaler_has_no_number_to_go_back_to(self):
        on = "nodes.autoscaling.enabled=true"
        self.assertEqual(self.replicas({"r-enfilade-node": 7}, on, scaled=True), {"r-enfilade-node": None})

    def test_a_number_that_was_kept_once_does_not_disappear(self):
        on = "nodes.autoscaling.enabled=true"
        self.assertEqual(self.replicas({"r-enfilade-node": 7}, on, scaled=True, kept=True), {"r-enfilade-node": 7})

    def test_where_there_is_nothing_the_autoscaler_begins(self):
        self.assertEqual(self.replicas({}, "nodes.autoscaling.enabled=true"), {"r-enfilade-node": None})

    def test_without_one_the_values_count(self):
        self.assertEqual(self.replicas({"r-enfilade-node": 7}, "nodes.replicas=4"), {"r-enfilade-node": 4})
        self.assertEqual(self.scalers_asked_for, [], "whoever installs may not be allowed to look")
        self.replicas({"r-enfilade-node": 7}, "nodes.autoscaling.enabled=true")
        self.assertNotEqual(self.scalers_asked_for, [])

    def test_each_role_keeps_its_own(self):
        kept = self.replicas({"r-enfilade-edge": 7, "r-enfilade-host": 2}, "splitRoles=true", "edges.autoscaling.enabled=true", "hosts.replicas=5")
        self.assertEqual(kept, {"r-enfilade-edge": 7, "r-enfilade-host": 5})


if __name__ == "__main__":
    unittest.main()
