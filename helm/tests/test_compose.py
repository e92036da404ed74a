"""The Dockerfile and compose.yaml, which cannot be tried without Docker: whether they are true to the binary, the chart and each other."""

import json
import re
import tomllib
import unittest

import yaml

from chart import BINARY_SETTINGS, CHART, ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
# Of its last stage, continued lines made one: (instruction, what it says).
INSTRUCTIONS = [
    tuple(line.split(maxsplit=1))
    for line in re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M).split("\nFROM ")[-1].replace("\\\n", " ").splitlines()[1:]
    if line
]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
NODES = {name: it for name, it in COMPOSE["services"].items() if it.get("build")}


def said(instruction):
    return [text for name, text in INSTRUCTIONS if name == instruction]


def port(address):
    return int(address.rsplit(":", 1)[1])


class Image(unittest.TestCase):
    def setUp(self):
        (environment,) = said("ENV")
        self.environment = dict(it.split("=", 1) for it in environment.split())

    def test_its_version_is_that_of_the_binary_and_the_chart(self):
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
        self.assertIn(f"VERSION={version}", said("ARG"))
        self.assertEqual(yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"], version)

    def test_its_labels_say_where_it_is_from(self):
        (labels,) = said("LABEL")
        for label in ("title", "description", "source", "licenses", "version", "revision", "created"):
            self.assertRegex(labels, rf'org\.opencontainers\.image\.{label}="[^"]+"')

    def test_its_settings_are_settings_of_the_binary(self):
        self.assertLessEqual(set(self.environment), BINARY_SETTINGS)

    def test_its_ports_are_those_that_it_listens_on(self):
        listened = [port(self.environment[it]) for it in ("ENFILADE_LISTEN", "ENFILADE_ADMIN_LISTEN")]
        self.assertEqual([int(it) for it in said("EXPOSE")[0].split()], listened)

    def test_its_health_is_asked_by_what_is_in_it(self):
        (check,) = said("HEALTHCHECK")
        command = json.loads(check[check.index("["):])
        (entrypoint,) = said("ENTRYPOINT")
        self.assertEqual(command[:2], [*json.loads(entrypoint), "probe"])

    def test_it_runs_as_whom_the_chart_says(self):
        self.assertEqual(said("USER"), ["65532:65532"])
        self.assertIn("runAsUser: 65532", (CHART / "templates/_pod.tpl").read_text())

    def test_what_it_is_built_from_is_not_left_out(self):
        kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
        members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
        # `.cargo` says how the allocator behaves.
        self.assertLessEqual({*members, "Cargo.toml", "Cargo.lock", ".cargo", "migrations", "web", "tools/image-root"}, kept)
        for path in kept:
            self.assertTrue((ROOT / path).exists(), path)


class Compose(unittest.TestCase):
    def test_settings_are_settings_of_the_binary(self):
        self.assertEqual(len(NODES), 3)
        for name, it in NODES.items():
            self.assertLessEqual(set(it["environment"]), BINARY_SETTINGS, name)

    def test_every_node_is_reached_under_its_own_name(self):
        for name, it in NODES.items():
            self.assertEqual(it["environment"]["ENFILADE_NODE_NAME"], name)
            self.assertEqual(it["environment"]["ENFILADE_ADVERTISE_ADMIN"], f"{name}:9090")

    def test_what_nodes_are_told_is_where_the_others_are(self):
        for it in NODES.values():
            settings = it["environment"]
            self.assertRegex(settings["ENFILADE_DATABASE_URL"], r"@postgres:5432/enfilade$")
            self.assertEqual(settings["ENFILADE_NATS_URL"], "nats://nats:4222")
            (network,) = COMPOSE["networks"]["default"]["ipam"]["config"]
            self.assertEqual(settings["ENFILADE_TRUSTED_PROXIES"], network["subnet"])

    def test_nodes_may_nothing(self):
        for name, it in NODES.items():
            self.assertIs(it["read_only"], True, name)
            self.assertEqual(it["cap_drop"], ["ALL"], name)
            self.assertIn("no-new-privileges:true", it["security_opt"], name)

    def test_nodes_have_the_time_that_leaving_takes(self):
        for it in NODES.values():
            # The sum that the chart makes (`enfilade.leavingSeconds`), without preStop.
            leaving = 30 + 2 + int(it["environment"]["ENFILADE_DRAIN_SECONDS"]) + 5 + 13
            self.assertGreaterEqual(int(it["stop_grace_period"].removesuffix("s")), leaving)

    def test_everybody_has_a_health_check_or_the_images(self):
        for name, it in COMPOSE["services"].items():
            if name in NODES:
                self.assertNotIn("healthcheck", it, "the image has one")
            elif it["restart"] == "no":
                self.assertNotIn("healthcheck", it, "it ends")
            else:
                self.assertIn(it["healthcheck"]["test"][0], ("CMD", "CMD-SHELL"), name)

    def test_nobody_waits_for_who_is_never_healthy(self):
        for name, it in COMPOSE["services"].items():
            for other, condition in it.get("depends_on", {}).items():
                self.assertIn(other, COMPOSE["services"], name)
                ends = COMPOSE["services"][other]["restart"] == "no"
                self.assertEqual(condition, {"condition": "service_completed_successfully" if ends else "service_healthy"})

    def test_a_backup_is_made_of_the_database_that_nodes_use_and_goes_to_the_store(self):
        services = COMPOSE["services"]
        self.assertEqual(services["dump"]["image"], services["postgres"]["image"], "a dump is made by the server's own version")
        self.assertIn("--host=postgres", services["dump"]["command"])
        for name in ("dump", "backup"):
            self.assertIn("/dump/enfilade.dump", " ".join(services[name]["command"]))
        password = services["store"]["environment"]["MINIO_ROOT_PASSWORD"]
        self.assertEqual(services["backup"]["environment"]["RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY"], password)
        # Whoever only wants to try a cluster has none of this.
        self.assertEqual({name for name, it in services.items() if it.get("profiles")}, {"store", "dump", "backup"})

    def test_the_balancer_has_the_ports_and_the_nodes_of_its_configuration(self):
        configuration = (ROOT / "deploy/haproxy.cfg").read_text()
        bound = {int(it) for it in re.findall(r"^    bind :(\d+)$", configuration, flags=re.M)}
        published = {int(it.rsplit(":", 1)[1]) for it in COMPOSE["services"]["balancer"]["ports"]}
        self.assertEqual(published, bound)
        self.assertEqual(set(re.findall(r"^    server \S+ (\S+):8080 port 9090$", configuration, flags=re.M)), set(NODES))

    def test_only_the_balancer_is_reached_from_outside(self):
        self.assertEqual([name for name, it in COMPOSE["services"].items() if it.get("ports")], ["balancer"])


if __name__ == "__main__":
    unittest.main()
