"""The rendered chart, executed: the real image in confined containers, looked at from outside, asked and ended as a kubelet would."""

import copy
import json
import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))

from chart import ROOT, SINGLE, one, render
from confined import Confined
from kubelet import Kubelet, Watch, controlled
from machine import HOST, NETWORK, Machine, get, run, wait_until
from people import Replay

IMAGE = "localhost/enfilade:test"
IMAGE_BYTES = 60_000_000
SECRETS = {"enfilade-admin": {"token": "an-operator-with-this-token-may-drain"}}
# Short, so that the tests are.
LEAVE = ("settings.drainSeconds=5", "termination.preStopSeconds=2")
COMMON = ("image.repository=localhost/enfilade", "image.tag=test", "image.pullPolicy=Never", "admin.token.existingSecret=enfilade-admin", *LEAVE)


def setUpModule():
    global machine
    folder = pathlib.Path(os.environ["ENFILADE_RUN_FOLDER"])
    run(ROOT / "tools/image", IMAGE)
    machine = Machine(folder)
    unittest.addModuleCleanup(machine.stop)


class Image(unittest.TestCase):
    def test_it_is_small(self):
        size = int(run("podman", "image", "inspect", "--format", "{{.Size}}", IMAGE))
        print(f"the image has {size / 1e6:.1f} MB", file=sys.stderr)
        self.assertLess(size, IMAGE_BYTES)

    def test_it_says_what_it_is_and_how_it_is_run(self):
        (image,) = json.loads(run("podman", "image", "inspect", IMAGE))
        config, labels = image["Config"], image["Labels"]
        self.assertEqual(config["User"], "65532:65532")
        self.assertEqual(config["Entrypoint"], ["/usr/bin/enfilade"])
        self.assertEqual(image["Healthcheck"]["Test"], ["CMD", "/usr/bin/enfilade", "probe", "ready"])
        self.assertEqual(labels["org.opencontainers.image.licenses"], "MIT")
        version = run("podman", "run", "--rm", "--network", "host", "--read-only", IMAGE, "--version")
        self.assertEqual(version, f"enfilade {labels['org.opencontainers.image.version']}")

    def test_scanners_find_whose_libraries_are_in_it(self):
        folder = pathlib.Path(run("podman", "image", "mount", IMAGE))
        self.addCleanup(run, "podman", "image", "unmount", IMAGE)
        if not pathlib.Path("/var/lib/dpkg/status").exists():
            self.skipTest("the libraries of this machine are not Debian's")
        for package in ("libc6", "libgcc-s1"):
            self.assertIn(f"Package: {package}\n", (folder / "var/lib/dpkg/status.d" / package).read_text())


class Single(Confined, unittest.TestCase):
    """values-single.yaml: one node, SQLite on a volume."""

    secrets = SECRETS

    @classmethod
    def setUpClass(cls):
        cls.objects = render((SINGLE,), COMMON)
        workload = one(cls.objects, "StatefulSet")
        cls.manifest = controlled(workload, f"{workload['metadata']['name']}-0")
        cls.kubelet = Kubelet(machine, cls.secrets)
        cls.addClassCleanup(lambda: cls.pod.remove())
        cls.pod = cls.start(cls.manifest).wait_until_ready()

    @classmethod
    def start(cls, manifest):
        return cls.kubelet.start(manifest, one(cls.objects, "ConfigMap"))

    def exported(self, room):
        """The log of a room, as an operator reads it while the node is away: from the same volume."""
        manifest = copy.deepcopy(self.manifest)
        manifest["metadata"]["name"] = "export"
        manifest["spec"]["restartPolicy"] = "Never"
        manifest["spec"]["containers"][0]["args"] = ["export", "--room", room]
        pod = self.start(manifest)
        self.addCleanup(pod.remove)
        self.assertEqual(pod.wait_until_done(), 0, pod.log())
        return [line for line in pod.log().splitlines() if line.startswith('{"row":')]

    def test_what_was_drawn_outlives_the_pod(self):
        replay = Replay(machine.folder, f"http://{self.pod.address}:{self.pod.port('http')}", "--clients", "4", "--speed", "3")
        self.addCleanup(replay.end)
        (room,) = replay.assert_nobody_noticed(self)["rooms"]
        ending = self.pod.terminate()
        self.assertEqual(ending.code, 0, self.pod.log())
        self.assertLess(ending.seconds, self.pod.spec["terminationGracePeriodSeconds"])
        self.pod.remove()
        self.assertEqual(len(self.exported(room["room"])), room["seq"])
        type(self).pod = self.start(self.manifest).wait_until_ready()


class Cluster(Confined, unittest.TestCase):
    """Two nodes with PostgreSQL and NATS behind a load balancer, and what the chart runs before and after them."""

    @classmethod
    def setUpClass(cls):
        cls.secrets = SECRETS | {"enfilade-database": {"url": machine.start_postgres()}}
        cls.objects = render((), (
            *COMMON, "nodes.replicas=2", "database.existingSecret.name=enfilade-database", f"nats.url={machine.start_nats()}",
            f"settings.trustedProxies[0]={NETWORK}.0/24",
        ))
        service = one(cls.objects, "Service", "r-enfilade")
        machine.name(service["metadata"]["name"], HOST)
        cls.kubelet = Kubelet(machine, cls.secrets)
        job = cls.kubelet.start(controlled(one(cls.objects, "Job"), "r-enfilade-migrate"))
        cls.addClassCleanup(job.remove)
        if job.wait_until_done() != 0:
            raise AssertionError(job.log())
        cls.migrated = job.log()
        cls.nodes = []
        cls.addClassCleanup(lambda: [it.remove() for it in cls.nodes])
        cls.started = 0
        for _ in range(one(cls.objects, "Deployment")["spec"]["replicas"]):
            cls.add_node()
        for it in cls.nodes:
            it.wait_until_ready()
        ports = {it["name"]: it["port"] for it in service["spec"]["ports"]}
        machine.start_balancer(ports["http"], cls.nodes[0].port("http"), cls.nodes[0].port("admin"))
        cls.url = f"http://{HOST}:{ports['http']}"
        wait_until("balanced", lambda: get(HOST, ports["http"], "/api/openapi.json")[0] == 200)

    @classmethod
    def add_node(cls):
        deployment = one(cls.objects, "Deployment")
        name = f"{deployment['metadata']['name']}-{cls.started}"
        cls.started += 1
        cls.nodes.append(cls.kubelet.start(controlled(deployment, name), one(cls.objects, "ConfigMap")))
        return cls.nodes[-1]

    @property
    def pod(self):
        return self.nodes[0]

    def test_the_job_migrated(self):
        self.assertIn("applied", self.migrated)

    def test_helm_test_finds_people_who_see_each_other(self):
        pod = self.kubelet.start(one(self.objects, "Pod"))
        self.addCleanup(pod.remove)
        self.assertEqual(pod.wait_until_done(), 0, pod.log())

    def test_a_node_is_replaced_while_people_draw_and_nobody_notices(self):
        replay = Replay(machine.folder, self.url, "--clients", "20", "--rooms", "4", "--speed", "0.5")
        self.addCleanup(replay.end)
        old = self.nodes[0]
        people = wait_until("in a room", lambda: (there := old.measured("enfilade_connections")) >= 5 and there)
        # As the strategy of the Deployment says: first a new one, then an old one less.
        self.add_node().wait_until_ready()
        watches = [Watch(it) for it in self.nodes if it is not old]
        for watch in watches:
            self.addCleanup(watch.end)
        ending = old.terminate()
        self.assertEqual(ending.code, 0, old.log())
        self.assertLess(ending.seconds, old.spec["terminationGracePeriodSeconds"])
        self.assertEqual(set(ending.before), {(200, 200)}, "it has to serve until TERM")
        leaving = [it for it in ending.after if it[0] is not None and it[1] is not None]
        self.assertIn((503, 200), leaving)
        self.assertEqual({live for _, live in leaving}, {200}, "a node that leaves is alive")
        ready = [ready for ready, _ in leaving]
        self.assertNotIn(200, ready[ready.index(503):], "ready again")
        self.nodes.remove(old)
        old.remove()
        result = replay.assert_nobody_noticed(self)
        self.assertEqual([noted for watch in watches for noted in watch.end()], [], "others were in trouble")
        told = result["counts"]["moves_told"]
        self.assertGreaterEqual(told, people)
        print(f"the pod left in {ending.seconds:.1f} of {old.spec['terminationGracePeriodSeconds']} s, {told} people moved", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
