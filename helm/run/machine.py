"""What is around the pods: a network of their own, PostgreSQL, NATS and a load balancer, as other parts of a cluster would be.

`tools/run-chart` gives the tests a network namespace and process ids of their own: addresses and ports are free to choose here, nothing
of it can be reached from elsewhere, and all of it ends with the tests, however they end.
"""

import contextlib
import glob
import http.client
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NETWORK = "10.213.0"
HOST = f"{NETWORK}.1"
# The last bytes of pods' addresses: each is used once.
POD_NUMBERS = range(10, 50)
# For whatever only has to come about: machines that test are loaded.
PATIENCE = 60


def run(*command, **options):
    done = subprocess.run([str(it) for it in command], capture_output=True, text=True, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def wait_until(what, look, patience=PATIENCE):
    """Looks until there is something to see, and returns it."""
    deadline = time.monotonic() + patience
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not {what} after {patience} s")
        time.sleep(0.05)
    return seen


def answers(address, port):
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False


def get(address, port, path, timeout=5):
    """(status, text) of a page; (None, why) if there is none."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except (OSError, http.client.HTTPException) as problem:
        return None, str(problem)
    finally:
        connection.close()


class Plug:
    """An address of its own on the network: a namespace, kept by a process that only waits."""

    def __init__(self, number):
        self.address = f"{NETWORK}.{number}"
        self.keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.namespace = f"/proc/{self.keeper.pid}/ns/net"
        ours = os.readlink("/proc/self/ns/net")
        wait_until("in a namespace of its own", lambda: os.readlink(self.namespace) != ours)
        cable = f"pod{number}"
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", self.keeper.pid)
        run(*self.inside("ip", "link", "set", "lo", "up"))
        run(*self.inside("ip", "addr", "add", f"{self.address}/24", "dev", "eth0"))
        run(*self.inside("ip", "link", "set", "eth0", "up"))
        run("ip", "link", "set", cable, "master", "pods", "up")

    def inside(self, *command):
        return ["nsenter", f"--net={self.namespace}", *command]

    def pull(self):
        self.keeper.kill()
        self.keeper.wait()


class Machine:
    """The network, and the servers on it that the pods use. All data is in a folder that somebody else removes."""

    # Not to be seen anywhere but in the file of its Secret.
    PASSWORD = "correct-horse-battery-staple"

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.servers = []
        self.numbers = iter(POD_NUMBERS)
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "pods", "type", "bridge")
        run("ip", "addr", "add", f"{HOST}/24", "dev", "pods")
        run("ip", "link", "set", "pods", "up")

    def plug(self):
        return Plug(next(self.numbers))

    def name(self, name, address):
        """Gives an address a name that pods know, as the DNS of a cluster does."""
        with open(self.folder / "hosts", "a") as hosts:
            hosts.write(f"{address} {name}\n")

    def stop(self):
        for server in reversed(self.servers):
            server.terminate()
        for server in reversed(self.servers):
            server.wait(PATIENCE)

    def _serve(self, name, port, command, **options):
        path = self.folder / f"{name}.log"
        with open(path, "wb") as log:
            server = subprocess.Popen([str(it) for it in command], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **options)
        self.servers.append(server)

        def up():
            if server.poll() is not None:
                raise AssertionError(f"{name} ended:\n{path.read_text()}")
            return answers(HOST, port)

        wait_until(f"{name} there", up)

    def start_postgres(self):
        """PostgreSQL that asks for a password; returns its URL."""
        programs = pathlib.Path(shutil.which("postgres") or max(glob.glob("/usr/lib/postgresql/*/bin/postgres"))).parent
        # It refuses to be run by root.
        account = next(it for name in ("postgres", "nobody") for it in pwd.getpwall() if it.pw_name == name)
        as_account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "cwd": "/"}
        home = self.folder / "postgres"
        home.mkdir()
        (home / "password").write_text(self.PASSWORD)
        for path in (home, home / "password"):
            os.chown(path, account.pw_uid, account.pw_gid)
        run(programs / "initdb", "-D", home / "data", "-U", "enfilade", "-A", "scram-sha-256", "--pwfile", home / "password", "-E", "UTF8", "--no-locale", "-N", **as_account)
        with open(home / "data/pg_hba.conf", "a") as rules:
            rules.write(f"host all all {NETWORK}.0/24 scram-sha-256\n")
        settings = {"listen_addresses": HOST, "unix_socket_directories": "", "fsync": "off", "max_connections": "200"}
        self._serve("postgres", 5432, [programs / "postgres", "-D", home / "data", *(f"--{name}={value}" for name, value in settings.items())], **as_account)
        return f"postgres://enfilade:{self.PASSWORD}@{HOST}/postgres"

    def start_nats(self):
        program = os.environ.get("NATS_SERVER") or shutil.which("nats-server") or ROOT / ".tools/python/bin/nats-server"
        self._serve("nats", 4222, [program, "--addr", HOST, "--port", "4222"])
        return f"nats://{HOST}:4222"

    def start_balancer(self, port, http, admin):
        """HAProxy as in deploy/haproxy.cfg, in front of all pods that there may ever be."""
        lines = (ROOT / "deploy/haproxy.cfg").read_text().splitlines()
        # Pods have addresses, no names that Docker would know.
        at = lines.index("resolvers docker")
        del lines[at:at + 3]
        lines = [line.replace(" resolvers docker init-addr none", "").replace("bind :8080", f"bind {HOST}:{port}") for line in lines]
        at = next(number for number, line in enumerate(lines) if line.startswith("    server "))
        lines = [line for line in lines if not line.startswith("    server ")]
        lines[at:at] = [f"    server pod-{number} {NETWORK}.{number}:{http} port {admin}" for number in POD_NUMBERS]
        file = self.folder / "haproxy.cfg"
        file.write_text("\n".join(lines) + "\n")
        program = os.environ.get("HAPROXY") or shutil.which("haproxy") or "/usr/sbin/haproxy"
        self._serve("haproxy", port, [program, "-db", "-f", file])
