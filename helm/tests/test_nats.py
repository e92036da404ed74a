"""The chart's own NATS: what its server makes of the configuration, and who is let in."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import unittest

import chart
from chart import container, environment, node, of, one, variant

TOOL = chart.ROOT / ".tools/python/bin/nats-server"
SERVER = shutil.which("nats-server") or (TOOL if TOOL.exists() else None)
NAME = "its own NATS with users and TLS"
PASSWORDS = {"edge": "of-edges", "host": "of-hosts", "node": "of-both"}


def users(cluster):
    """What docs/security.md has people put into the Secret: a part of the example, filled in."""
    text = (chart.ROOT / "deploy/nats/enfilade.conf").read_text()
    part = text[text.index("\nauthorization {"):]
    for name, password in PASSWORDS.items():
        part = part.replace(f"$NATS_{name.upper()}_PASSWORD", f'"{password}"')
    return part.replace('"enfilade.enfilade.', f'"enfilade.{cluster}.')


class Configured(unittest.TestCase):
    def test_servers_have_what_their_configuration_names(self):
        objects = variant(NAME)
        spec = one(objects, "StatefulSet", "r-nats")["spec"]["template"]["spec"]
        volumes = {it["name"]: it.get("secret", {}) for it in spec["volumes"]}
        files = {}
        for mount in container(spec, "nats")["volumeMounts"]:
            for item in volumes[mount["name"]].get("items", []):
                files[f"{mount['mountPath']}/{item['path']}"] = volumes[mount["name"]]["secretName"]
                self.assertIs(mount["readOnly"], True)
        self.assertEqual(files, {
            "/etc/nats-users/users.conf": "nats-users", "/etc/nats-certificate/tls.crt": "nats-server", "/etc/nats-certificate/tls.key": "nats-server", "/etc/nats-authority/ca.crt": "nats-ca",
        })
        text = one(objects, "ConfigMap", "r-nats")["data"]["nats.conf"]
        named = {os.path.normpath(os.path.join("/etc/nats", it)) for it in re.findall(r'(?:include|_file:) "([^"]+)"', text)}
        self.assertEqual(named, set(files))
        self.assertEqual(text.count("tls {"), 2, "to clients, and between servers")

    def test_nodes_say_who_they_are(self):
        objects = variant(NAME)
        for it, _, spec in node(objects):
            role = it["metadata"]["name"].removeprefix("r-enfilade-")
            told = environment(objects, spec)
            self.assertEqual(told["ENFILADE_NATS_URL"], "@/secrets/nats-url/url")
            self.assertEqual(told["ENFILADE_NATS_ROOT_CERTIFICATES"], "/secrets/nats-ca/ca.crt")
            self.assertIn({"name": "nats-url", "secret": f"nats-{role}"}, [{"name": v["name"], "secret": v["secret"]["secretName"]} for v in spec["volumes"] if "secret" in v])
        self.assertEqual(one(objects, "ConfigMap", "r-enfilade")["data"]["ENFILADE_NATS_URL"], "tls://r-nats:4222")

    def test_without_any_of_it_nothing_is_mounted(self):
        objects = variant("cluster")
        text = one(objects, "ConfigMap", "r-nats")["data"]["nats.conf"]
        self.assertNotRegex(text, "include|tls|no_advertise")
        self.assertEqual([it["name"] for it in one(objects, "StatefulSet", "r-nats")["spec"]["template"]["spec"]["volumes"]], ["configuration", "tmp"])


@unittest.skipUnless(SERVER, "there is no nats-server: `make servers` brings one")
class Served(unittest.TestCase):
    def folder(self, settings):
        """The files of a server, where they are in its pod but for the root."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        text = one(chart.render((), ("database.existingSecret.name=d", "nats.enabled=true", *settings)), "ConfigMap", "r-nats")["data"]["nats.conf"]
        for name in ("nats", "nats-users", "nats-certificate", "nats-authority"):
            (folder / name).mkdir()
        # Ports of its own, and no monitor.
        text = text.replace("0.0.0.0:4222", "127.0.0.1:-1").replace("http: 0.0.0.0:8222", "").replace("/etc/nats-", f"{folder}/nats-").replace("/tmp/nats.pid", f"{folder}/nats.pid")
        (folder / "nats/nats.conf").write_text(text)
        (folder / "nats-users/users.conf").write_text(users("n-r"))
        return folder

    def command(self, folder, *more):
        return [SERVER, "--config", folder / "nats/nats.conf", *more]

    def test_a_server_understands_every_configuration(self):
        secured = ("nats.authorization.existingSecret=u", "nats.urlSecret.existingSecret=s", "nats.certificate.existingSecret=c", "nats.tls.existingSecret=a")
        for settings in ((), ("nats.replicas=1",), secured[:2], secured, (*secured, "nats.replicas=1")):
            with self.subTest(settings):
                folder = self.folder(settings)
                certificate, key = folder / "nats-certificate/tls.crt", folder / "nats-certificate/tls.key"
                subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=r-nats", "-keyout", key, "-out", certificate], check=True, capture_output=True)
                shutil.copy(certificate, folder / "nats-authority/ca.crt")
                done = subprocess.run(self.command(folder, "-t"), capture_output=True, text=True, env={"POD_NAME": "r-nats-0"})
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_only_those_with_a_name_are_let_in_and_to_what_is_theirs(self):
        folder = self.folder(("nats.replicas=1", "nats.authorization.existingSecret=u", "nats.urlSecret.existingSecret=s"))
        server = subprocess.Popen(self.command(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={"POD_NAME": "r-nats-0"})
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        port = next(int(found[1]) for line in server.stdout if (found := re.search(r"Listening for client connections on 127.0.0.1:(\d+)", line)))

        def said(who, *more):
            """What the server says to somebody who comes in and asks for a sign of life."""
            with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as line:
                lines = [f"CONNECT {json.dumps({'verbose': False, 'pedantic': False, **who})}", *more, "PING"]
                line.sendall("".join(f"{it}\r\n" for it in lines).encode())
                text = line.makefile()
                self.assertTrue(text.readline().startswith("INFO "))
                return text.readline().strip()
        self.assertEqual(said({}), "-ERR 'Authorization Violation'")
        self.assertEqual(said({"user": "edge", "pass": "of-hosts"}), "-ERR 'Authorization Violation'")
        edge = {"user": "edge", "pass": PASSWORDS["edge"]}
        self.assertEqual(said(edge, "SUB enfilade.n-r.all 1"), "PONG")
        self.assertIn("Permissions Violation", said(edge, "SUB enfilade.other.all 1"))


if __name__ == "__main__":
    unittest.main()
