"""What confines a pod, read from outside: of its process in /proc, and of its cgroup. What podman says of it counts for nothing."""

import errno
import json
import pathlib

from kubelet import PROBES
from machine import Machine, run


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


def bytes_of(quantity):
    for unit, factor in {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}.items():
        if quantity.endswith(unit):
            return int(quantity.removesuffix(unit)) * factor
    return int(quantity)


class Confined:
    """What holds for a pod of nodes, seen from outside. Whoever inherits this has a `pod`, and the `secrets` of its cluster."""

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
        self.assertEqual(self.pod.measured("enfilade_memory_limit_bytes"), limit, "the node does not know of it")

    def test_secrets_are_files_that_it_can_read_and_nowhere_else(self):
        pid = self.pod.pid
        secrets = [Machine.PASSWORD, *(value for secret in self.secrets.values() for value in secret.values())]
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
            for secret in secrets:
                self.assertNotIn(secret, text)
        for secret in secrets:
            self.assertNotIn(secret, self.pod.log())

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
        _, *command = json.loads(run("podman", "image", "inspect", self.pod.container["image"]))[0]["Healthcheck"]["Test"]
        self.assertEqual(self.pod.execute(*command), "ready")
