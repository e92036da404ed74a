"""What the pages tell people to type: objects that Kubernetes takes and the chart would make, values of the chart, commands of the binary."""

import datetime
import json
import re
import shlex
import subprocess
import unittest

import kubernetes_validate
import yaml

import chart
from chart import container, node, one, pods, render

BACKUP = (chart.ROOT / "docs/backup.md").read_text()
PAGES = [*sorted((chart.ROOT / "docs/runbooks").glob("*.md")), *(chart.ROOT / it for it in ("docs/backup.md", "k8s/README.md")), *sorted(chart.CHART.glob("*.md"))]
# What a reader writes in their places.
PLACES = {"IMAGE": "ghcr.io/enfilade/enfilade:0.2.0", "SECRET": "enfilade-database", "KEY": "url", "NS": "n", "RELEASE": "r"}


def applied(page):
    """What is piped into `kubectl apply`, filled in."""
    for text in re.findall(r"<<END\n(.*?)\nEND\n", page, re.S):
        for place, value in PLACES.items():
            text = re.sub(rf"\b{place}\b", value, text)
        yield yaml.safe_load(text)


class Backup(unittest.TestCase):
    def test_kubernetes_takes_what_is_applied(self):
        objects = list(applied(BACKUP))
        self.assertEqual([it["kind"] for it in objects], ["Pod", "Job"])
        for it in objects:
            kubernetes_validate.validate(it, "1.34", strict=True)

    def test_the_job_after_a_restore_is_what_the_chart_migrates_with(self):
        (job,) = [it for it in applied(BACKUP) if it["kind"] == "Job"]
        objects = render((), chart.CLUSTER)
        _, metadata, ours = next(pods([one(objects, "Job")]))
        spec = job["spec"]["template"]["spec"]
        self.assertEqual(spec["volumes"], ours["volumes"])
        for own in ("automountServiceAccountToken", "enableServiceLinks", "restartPolicy"):
            self.assertEqual(spec[own], ours[own])
        self.assertLessEqual(spec["securityContext"].items(), ours["securityContext"].items())
        (migrate,) = spec["initContainers"]
        self.assertEqual(migrate, {key: value for key, value in container(ours, "migrate").items() if key in migrate})
        self.assertEqual(container(spec, "after-restore"), {**migrate, "name": "after-restore", "args": ["after-restore"]})
        # It reaches the database by the policy of what else the release runs.
        policy = one(objects, "NetworkPolicy", "r-enfilade-jobs")["spec"]["podSelector"]["matchLabels"]
        self.assertLessEqual(policy.items(), job["spec"]["template"]["metadata"]["labels"].items())

    def test_what_the_job_needs_is_where_it_is_looked_for(self):
        self.assertIn("{.spec.template.spec.containers[0].image} {.spec.template.spec.volumes[?(@.name==\"database\")].secret}", BACKUP)
        for variant in ("cluster", "CloudNativePG", "External Secrets", "split roles and everything", "extras"):
            for _, _, spec in node(chart.variant(variant)):
                self.assertEqual(spec["containers"][0]["name"], "enfilade")
                (database,) = [it["secret"] for it in spec["volumes"] if it["name"] == "database"]
                self.assertEqual(len(database["items"]), 1)

    def test_a_recovery_by_cloud_native_pg_is_made_of_values(self):
        (values,) = [yaml.safe_load(it) for it in re.findall(r"```yaml\n(database:.*?)```", BACKUP, re.S)]
        (setting,) = re.findall(r"helm upgrade RELEASE helm/enfilade --namespace NS -f values.yaml --set (\S+)", BACKUP)
        (waited_for,) = re.findall(r"cluster\.postgresql\.cnpg\.io/(\S+) --timeout", BACKUP)
        before = ("database.cloudNativePg.enabled=true", "nats.enabled=true", "migrations.mode=init")
        objects = chart.rendered_with(values, (*before, setting))
        cluster = one(objects, "Cluster")
        self.assertEqual(cluster["metadata"]["name"], waited_for)
        self.assertEqual(cluster["spec"]["externalClusters"][0]["name"], cluster["spec"]["bootstrap"]["recovery"]["source"])
        self.assertEqual(one(objects, "Deployment")["spec"]["replicas"], 0, "a node would come before after-restore")
        former = one(render((), before, release="board"), "Cluster")
        self.assertEqual(cluster["spec"]["externalClusters"][0]["barmanObjectStore"]["serverName"], former["metadata"]["name"])
        self.assertEqual(former["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")
        done = subprocess.run(["node", chart.ROOT / "helm/tests/custom.js"], input=json.dumps([cluster], default=datetime.datetime.isoformat), capture_output=True, text=True)
        self.assertEqual((done.stdout.strip(), done.stderr), ("[[]]", ""), "CloudNativePG understands it")


class Overlays(unittest.TestCase):
    def test_the_example_changes_what_is_there(self):
        (example,) = [yaml.safe_load(it) for it in re.findall(r"```yaml\n(# kustomization.yaml.*?)```", (chart.ROOT / "k8s/README.md").read_text(), re.S)]
        objects = list(yaml.safe_load_all((chart.ROOT / "k8s/cluster/enfilade.yaml").read_text()))
        for patch in example["patches"]:
            target = one(objects, patch["target"]["kind"], patch["target"]["name"])
            for change in yaml.safe_load(patch["patch"]):
                *way, last = change["path"].strip("/").split("/")
                for step in way:
                    target = target[int(step) if isinstance(target, list) else step]
                with self.subTest(change["path"]):
                    self.assertEqual(change["op"], "add")
                    self.assertIsInstance(target, list if last == "-" else dict)
        self.assertEqual(target[0]["podSelector"]["matchLabels"]["enfilade.io/node"], "true", "this is the rule of the operators' port")


class Quoted(unittest.TestCase):
    """What runbooks have people look for, in logs and on the dashboard."""

    # What others call things: NATS, PostgreSQL, Prometheus, balancers, the kernel, and Rust where it panics.
    FOREIGN = {"slow consumers", "WALSync", "WALWrite", "SyncRep", "Status → Targets", "least connections", "blocked for more", "I/O error", "panicked", "authorization violation"}

    def test_it_is_said_like_that(self):
        source = "\n".join(it.read_text() for crate in ("node", "actors", "store") for it in (chart.ROOT / crate / "src").rglob("*.rs"))
        panels = [it["title"] for it in json.loads((chart.CHART / "files/dashboard.json").read_text())["panels"]]
        seen = 0
        for page in sorted((chart.ROOT / "docs/runbooks").glob("*.md")):
            text = page.read_text()
            quoted = re.findall(r"(?<!\*)\*([^*\n]+?)…?\*(?!\*)", text)
            for sought in re.findall(r"\bgrep ([^`|]*)`", text):
                quoted += [it for it in shlex.split(sought) if not it.startswith("-")]
            for it in quoted:
                with self.subTest(page.stem, quoted=it):
                    seen += 1
                    self.assertTrue(it in self.FOREIGN or any(title.startswith(it) for title in panels) or it in source or it.startswith("Enfilade"))
        self.assertGreater(seen, 30)


class Commands(unittest.TestCase):
    """Read from the source, as settings are: these tests want no binary."""

    def setUp(self):
        source = chart.ROOT / "node/src"
        text = "\n".join(it.read_text() for part in ("commands", "config") for it in (source / f"{part}.rs", *(source / part).glob("*.rs")))
        kebab = lambda name: re.sub(r"(?<=[a-z])(?=[A-Z])|_", "-", name).lower()
        enums = re.findall(r"derive\(Subcommand\)\]\s*(?:pub\(super\) )?enum \w+ \{(.*?)\n\}", text, re.S)
        self.commands = {kebab(it) for body in enums for it in re.findall(r"^    (\w+)(?:,|\(| \{)", body, re.M)}
        self.flags = {kebab(it) for it in re.findall(r"#\[arg\([^)]*\blong\b.*?\)\]\s*(?:///[^\n]*\s*)*(?:pub )?(\w+):", text, re.S)}
        self.flags |= {kebab(it) for it in re.findall(r"^    (\w+): [^=;]+= .*?, \"ENFILADE_", text, re.M)} | {"help", "version"}

    def test_commands_are_read_from_the_source(self):
        self.assertLessEqual({"serve", "migrate", "up", "after-restore", "cluster", "status", "top", "room", "shard", "export"}, self.commands)
        self.assertLessEqual({"room", "all", "to", "from", "dry-run", "force", "once", "admin", "admin-token", "data-dir", "database-url"}, self.flags)

    def test_the_binary_has_the_commands_that_people_are_told_to_use(self):
        seen = 0
        for page in PAGES:
            for command, rest in re.findall(r"(?:^|`|/usr/bin/)enfilade ((?:[a-z]+-)*[a-z]+)([^`\n|;#]*)", "\n".join(typed(page.read_text())), re.M):
                with self.subTest(page.name, command=command + rest):
                    seen += 1
                    self.assertIn(command, self.commands)
                    self.assertLessEqual({it.split("=")[0] for it in re.findall(r"--([a-z-]+=?)", rest)}, self.flags)
        self.assertGreater(seen, 10)

    def test_within_a_pod_the_binary_is_called_by_its_path(self):
        """There is nothing else in the image, and so no PATH that leads to it."""
        dockerfile = (chart.ROOT / "Dockerfile").read_text()
        self.assertIn('ENTRYPOINT ["/usr/bin/enfilade"]', dockerfile)
        for page in PAGES:
            for called in re.findall(r"kubectl [^`\n]*\bexec\b[^`\n]* -- (\S+)", page.read_text()):
                with self.subTest(page.name):
                    self.assertEqual(called, "/usr/bin/enfilade")


def typed(page):
    """What is to be typed: blocks of code, and what is quoted between backticks."""
    return [*re.findall(r"```sh\n(.*?)```", page, re.S), *(f"`{it}`" for it in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.S)))]


if __name__ == "__main__":
    unittest.main()
