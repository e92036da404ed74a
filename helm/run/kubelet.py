"""Runs pods of rendered manifests with podman, and does for them what podman does not: what a kubelet does, as the manifest says it.

This is all that is changed before `podman play kube` reads a pod, and there is no other way here to run one:

- A Deployment, StatefulSet or Job becomes the Pod that its controller would make of its template.
- Volumes (emptyDir, Secret, claim) become folders of this machine that are bound: so does a kubelet, podman knows no such volumes.
- `status.podIP` becomes the address, and `$(NAME)` in a variable what it stands for: podman does neither.
- Ports are left out: podman would publish them. They name what the probes ask, and every pod has an address of its own anyway.
- Probes are left out: podman would run `curl` inside. They are asked from here.
- Annotations are left out: podman refuses long ones.
"""

import copy
import os
import re
import subprocess
import threading
import time

import yaml

from machine import get, run, wait_until

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def controlled(workload, name):
    """The Pod that the controller of a workload makes."""
    template = copy.deepcopy(workload["spec"]["template"])
    for claim in workload["spec"].get("volumeClaimTemplates", []):
        volume = claim["metadata"]["name"]
        template["spec"]["volumes"].append({"name": volume, "persistentVolumeClaim": {"claimName": f"{volume}-{name}"}})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"] | {"name": name}, "spec": template["spec"]}


class Kubelet:
    def __init__(self, machine, secrets):
        self.machine = machine
        self.secrets = secrets

    def volume(self, volume, pod, group):
        """A folder with what the volume holds, readable for the pod's group."""
        if claim := volume.get("persistentVolumeClaim"):
            folder = self.machine.folder / "claims" / claim["claimName"]
        else:
            folder = self.machine.folder / "pods" / pod / volume["name"]
        if not folder.exists():
            folder.mkdir(parents=True)
            os.chown(folder, 0, group)
            # The group's files stay the group's.
            folder.chmod(0o2777 if "emptyDir" in volume else 0o2775)
        if secret := volume.get("secret"):
            for item in secret["items"]:
                file = folder / item["path"]
                file.write_text(self.secrets[secret["secretName"]][item["key"]])
                os.chown(file, 0, group)
                file.chmod(secret["defaultMode"])
        return folder

    def playable(self, manifest, address):
        """The manifest as podman knows it: see above."""
        manifest = copy.deepcopy(manifest)
        name, spec = manifest["metadata"]["name"], manifest["spec"]
        manifest["metadata"].pop("annotations", None)
        group = spec["securityContext"]["fsGroup"]
        spec["volumes"] = [
            {"name": it["name"], "hostPath": {"path": str(self.volume(it, name, group)), "type": "Directory"}} for it in spec.get("volumes", [])
        ]
        for container in spec["containers"]:
            for left_out in ("ports", *PROBES):
                container.pop(left_out, None)
            known = {}
            for variable in container.get("env", []):
                if variable.get("valueFrom") == {"fieldRef": {"fieldPath": "status.podIP"}}:
                    del variable["valueFrom"]
                    variable["value"] = address
                if "value" in variable:
                    # Only what was said before is known, as in a cluster.
                    variable["value"] = re.sub(r"\$\((\w+)\)", lambda it: known.get(it[1], it[0]), variable["value"])
                    known[variable["name"]] = variable["value"]
        return manifest

    def start(self, manifest, *objects):
        """Runs a pod, with the ConfigMaps that it reads."""
        return Pod(self, manifest, objects)


class Pod:
    """A pod of one container, as it runs."""

    def __init__(self, kubelet, manifest, objects):
        self.name, self.spec = manifest["metadata"]["name"], manifest["spec"]
        (self.container,) = self.spec["containers"]
        self.plug = kubelet.machine.plug()
        self.address = self.plug.address
        self.full_name = f"{self.name}-{self.container['name']}"
        file = kubelet.machine.folder / f"{self.name}.yaml"
        file.write_text(yaml.safe_dump_all([*objects, kubelet.playable(manifest, self.address)]))
        # "Host" is where podman itself is: in the pod's namespace.
        run(*self.plug.inside("podman", "play", "kube", "--quiet", "--network", "host", file))

    def state(self, field):
        return run("podman", "inspect", "--format", "{{.State.%s}}" % field, self.full_name)

    @property
    def pid(self):
        return int(self.state("Pid"))

    def execute(self, *command):
        """Runs a command beside the pod's process and returns what it says."""
        return run(*self.plug.inside("podman", "exec", self.full_name, *command))

    def log(self):
        done = subprocess.run(["podman", "logs", self.full_name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout

    def port(self, name):
        return next(it["containerPort"] for it in self.container["ports"] if it["name"] == name)

    def measured(self, name):
        """A gauge of the node; None if it has none of that name."""
        _, metrics = get(self.address, self.port("admin"), "/metrics")
        return next((int(line.split()[1]) for line in metrics.splitlines() if line.startswith(f"{name} ")), None)

    def ask(self, probe):
        """Asks once, as the manifest says, and returns the status."""
        probe = self.container[probe]
        question = probe["httpGet"]
        return get(self.address, self.port(question["port"]), question["path"], probe["timeoutSeconds"])[0]

    def said_yes(self, probe):
        status = self.ask(probe)
        return status is not None and 200 <= status < 400

    def wait_until_ready(self):
        """Asks as a kubelet does: until it has started, or has failed too often; then whether it is ready."""
        startup, readiness = self.container["startupProbe"], self.container["readinessProbe"]
        for _ in range(startup["failureThreshold"]):
            if self.said_yes("startupProbe"):
                break
            time.sleep(startup["periodSeconds"])
        else:
            raise AssertionError(f"{self.name} did not start:\n{self.log()}")
        attempts = 1
        while not self.said_yes("readinessProbe"):
            attempts += 1
            if attempts > 20:
                raise AssertionError(f"{self.name} started and is not ready:\n{self.log()}")
            time.sleep(readiness["periodSeconds"])
        return self

    def wait_until_done(self):
        """The exit code of a pod that ends by itself."""
        wait_until(f"{self.name} done", lambda: self.state("Status") == "exited")
        return int(self.state("ExitCode"))

    def terminate(self):
        """Ends the pod as a kubelet does: preStop, TERM, KILL when the grace period is over."""
        grace, pre_stop = self.spec["terminationGracePeriodSeconds"], self.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        begun = time.monotonic()
        seen = [(self.ask("readinessProbe"), self.ask("livenessProbe"))]
        time.sleep(pre_stop)
        seen.append((self.ask("readinessProbe"), self.ask("livenessProbe")))
        stopping = subprocess.Popen(["podman", "stop", "--time", str(grace - pre_stop), self.full_name], stdout=subprocess.DEVNULL)
        leaving = []
        while stopping.poll() is None:
            leaving.append((self.ask("readinessProbe"), self.ask("livenessProbe")))
            time.sleep(0.05)
        return Ending(time.monotonic() - begun, int(self.state("ExitCode")), seen, leaving)

    def remove(self):
        run("podman", "pod", "rm", "--force", "--time", "0", self.name)
        self.plug.pull()


class Watch:
    """Asks a pod for readiness and liveness as often as the manifest says, and notes when a kubelet would do something about it."""

    def __init__(self, pod):
        self.pod = pod
        self.over = threading.Event()
        self.noted = []
        self.threads = [threading.Thread(target=self._ask, args=(probe,)) for probe in ("readinessProbe", "livenessProbe")]
        for thread in self.threads:
            thread.start()

    def _ask(self, probe):
        manifest, failures = self.pod.container[probe], 0
        while not self.over.wait(manifest["periodSeconds"]):
            failures = 0 if self.pod.said_yes(probe) else failures + 1
            if failures == manifest["failureThreshold"]:
                self.noted.append(f"{self.pod.name}: {probe} failed {failures} times")

    def end(self):
        """What was noted."""
        self.over.set()
        for thread in self.threads:
            thread.join()
        return self.noted


class Ending:
    """How a pod ended: after how many seconds, with which exit code, and what (ready, live) said before TERM and after it."""

    def __init__(self, seconds, code, before, after):
        self.seconds, self.code, self.before, self.after = seconds, code, before, after
