"""The rendered chart, executed: the real image in confined containers, looked at from outside, asked and ended as a kubelet would."""

import copy
import errno
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))

from chart import ROOT, SINGLE, one, render
from kubelet import PROBES, Kubelet, Watch, controlled
from machine import HOST, NETWORK, Machine, get, run, wait_until

IMAGE = "localhost/enfilade:test"
IMAGE_BYTES = 60_000_000
TOKEN = "an-operator-with-this-token-may-drain"
SECRETS = {"enfilade-admin": {"token": TOKEN}}
SESSION = ROOT / "loadtest/samples/house-and-garden.enfilade.ndjson"
LOADTEST = os.environ.get("ENFILADE_LOADTEST_BIN", ROOT / "target/release/enfilade-loadtest")
# Short, so that the tests are.
LEAVE = ("settings.drainSeconds=5", "termination.preStopSeconds=2")
COMMON = ("image.repository=localhost/enfilade", "image.tag=test", "image.pullPolicy=Never", "admin.token.existingSecret=enfilade-admin", *LEAVE)


def setUpModule():
    global machine
    folder = pathlib.Path(os.environ["ENFILADE_RUN_FOLDER"])
    run(ROOT / "tools/image", IMAGE)
    machine = Machine(folder)
    unittest.addModuleCleanup(machine.stop)


def mounts(pid):
    """What is mounted in a process's world: path → options."""
    lines = pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return {line.split()[4]: line.split()[5].split(",") for line in lines}


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}


def memory_limit(pid):
    """In force, in bytes: of the memory controller, in either version of cgroups."""
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            return int(pathlib.Path(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes").read_text())
        if not controllers and (file := pathlib.Path(f"/sys/fs/cgroup{path}/memory.max")).exists():
            return int(file.read_text())
    raise AssertionError("it is in no cgroup that limits memory")


def measured(pod, name):
    """A gauge of a node; None if it has none of that name."""
    _, metrics = get(pod.address, pod.port("admin"), "/metrics")
    return next((int(line.split()[1]) for line in metrics.splitlines() if line.startswith(f"{name} ")), None)


def bytes_of(quantity):
    for unit, factor in {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}.items():
        if quantity.endswith(unit):
            return int(quantity.removesuffix(unit)) * factor
    return int(quantity)


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


class Confined:
    """What holds for a pod of nodes, seen from outside. Whoever inherits this has a `pod`."""

    def test_it_is_nobody_and_may_nothing(self):
        told = status(self.pod.pid)
        self.assertEqual(told["Uid"].split(), ["65532"] * 4)
        self.assertEqual(told["Gid"].split(), ["65532"] * 4)
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(told[capabilities], 16), 0, capabilities)
        self.assertEqual(told["NoNewPrivs"], "1")
        self.assertEqual(told["Seccomp"], "2", "no filter of system calls")

    def test_it_can_write_only_where_the_manifest_says(self):
        pid = self.pod.pid
        self.assertIn("ro", mounts(pid)["/"])
        with self.assertRaises(OSError) as refused:
            pathlib.Path(f"/proc/{pid}/root/usr/bin/another").touch()
        self.assertEqual(refused.exception.errno, errno.EROFS)
        writable = {path for path, options in mounts(pid).items() if "rw" in options and not path.startswith(("/dev", "/proc", "/sys"))}
        said = {it["mountPath"] for it in self.pod.container["volumeMounts"] if not it.get("readOnly")}
        # /data is a volume of the image; the rest is the runtime's.
        self.assertEqual(writable - {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv"} | {"/data"}, said | {"/data"})

    def test_its_memory_is_limited(self):
        limit = bytes_of(self.pod.container["resources"]["limits"]["memory"])
        self.assertEqual(memory_limit(self.pod.pid), limit)
        self.assertEqual(measured(self.pod, "enfilade_memory_limit_bytes"), limit, "the node does not know of it")

    def test_secrets_are_files_that_it_can_read_and_nowhere_else(self):
        pid = self.pod.pid
        for volume in [it for it in self.pod.spec["volumes"] if "secret" in it]:
            mount = next(it["mountPath"] for it in self.pod.container["volumeMounts"] if it["name"] == volume["name"])
            self.assertIn("ro", mounts(pid)[mount])
            (item,) = volume["secret"]["items"]
            file = pathlib.Path(f"/proc/{pid}/root{mount}/{item['path']}")
            self.assertEqual((file.stat().st_uid, file.stat().st_gid, file.stat().st_mode & 0o777), (0, 65532, 0o440))
            self.assertEqual(file.read_text(), self.secrets[volume["secret"]["secretName"]][item["key"]])
        for seen in ("environ", "cmdline"):
            text = pathlib.Path(f"/proc/{pid}/{seen}").read_bytes().decode()
            self.assertIn("enfilade" if seen == "cmdline" else "ENFILADE_LISTEN=", text)
            for secret in (Machine.PASSWORD, TOKEN):
                self.assertNotIn(secret, text)
        self.assertNotIn(Machine.PASSWORD, self.pod.log())

    def test_it_has_no_account_of_the_cluster(self):
        root = pathlib.Path(f"/proc/{self.pod.pid}/root")
        self.assertFalse((root / "var/run/secrets").exists())
        self.assertFalse((root / "run/secrets").exists())
        environment = pathlib.Path(f"/proc/{self.pod.pid}/environ").read_bytes().decode()
        self.assertNotIn("KUBERNETES_", environment)

    def test_all_its_probes_say_yes(self):
        for probe in PROBES:
            self.assertEqual(self.pod.ask(probe), 200, probe)

    def test_the_images_own_health_check_says_so_too(self):
        _, *command = json.loads(run("podman", "image", "inspect", IMAGE))[0]["Healthcheck"]["Test"]
        self.assertEqual(self.pod.execute(*command), "ready")


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
        replay = Replay(f"http://{self.pod.address}:{self.pod.port('http')}", "--clients", "4", "--speed", "3")
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
        replay = Replay(self.url, "--clients", "20", "--rooms", "4", "--speed", "0.5")
        self.addCleanup(replay.end)
        old = self.nodes[0]
        people = wait_until("in a room", lambda: (there := measured(old, "enfilade_connections")) >= 5 and there)
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
        self.assertGreaterEqual(result["counts"]["moves_told"], people)
        print(f"the pod left in {ending.seconds:.1f} of {old.spec['terminationGracePeriodSeconds']} s, {result['counts']['moves_told']} people moved", file=sys.stderr)


class Replay:
    """People who draw what was recorded, and an oracle that looks at everything that each of them is told."""

    def __init__(self, url, *arguments):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="replay-", dir=machine.folder))
        self.file, self.log = folder / "result.json", folder / "log"
        command = [LOADTEST, "replay", SESSION, "--url", url, "--max-lag", "1s", "--json", self.file, *arguments]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([str(it) for it in command], stdout=log, stderr=subprocess.STDOUT)

    def end(self):
        self.process.kill()
        self.process.wait()

    def result(self):
        self.process.wait(timeout=240)
        if not self.file.exists():
            raise AssertionError(self.log.read_text())
        return json.loads(self.file.read_text())

    def assert_nobody_noticed(self, test):
        """Everybody saw everything once and in order, and nobody was told of an error. Returns the result."""
        result = self.result()
        said, oracle, counts = self.log.read_text(), result["oracle"], result["counts"]
        test.assertEqual(result["verdict"], "held", said)
        test.assertEqual((oracle["violations"], oracle["lost_prefix"], oracle["lost_middle"], oracle["lost_postfix"]), ({}, 0, 0, 0), said)
        test.assertGreater(counts["ops_submitted"], 0)
        test.assertEqual(counts["ops_accepted"], counts["ops_submitted"], said)
        for error in ("ops_refused", "ops_abandoned", "signals_refused", "connections_lost", "connections_failed", "resets"):
            test.assertEqual(counts[error], 0, f"{error}\n{said}")
        return result


if __name__ == "__main__":
    unittest.main()
