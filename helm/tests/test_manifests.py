"""What is rendered, and what a value changes in it. What holds in every variant is test_everywhere.py's."""

import json
import re
import subprocess
import unittest

import yaml

import chart
from chart import CI, CLUSTER, HA, SINGLE, container, containers, environment, node, of, one, pods, render, variant


def secret_of(objects, volume):
    """The Secret that nodes have mounted there."""
    return next(it for it in node(objects)[0][2]["volumes"] if it["name"] == volume)["secret"]["secretName"]


class Values(unittest.TestCase):
    """What a value changes."""

    def test_a_single_node_keeps_its_drawings(self):
        objects = variant("single")
        stateful = one(objects, "StatefulSet")
        self.assertEqual(stateful["spec"]["replicas"], 1)
        self.assertEqual(stateful["spec"]["persistentVolumeClaimRetentionPolicy"], {"whenDeleted": "Retain", "whenScaled": "Retain"})
        self.assertEqual(stateful["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"], "10Gi")
        told = environment(objects, node(objects)[0][2])
        self.assertEqual(told["ENFILADE_DATA_DIR"], "/data")
        self.assertNotIn("ENFILADE_NATS_URL", told)
        self.assertNotIn("ENFILADE_DATABASE_URL", told)
        for kind in ("Deployment", "Job", "HorizontalPodAutoscaler", "PodDisruptionBudget"):
            self.assertEqual(of(objects, kind), [], kind)

    def test_a_claim_that_is_there_is_used(self):
        objects = variant("single with a claim")
        self.assertNotIn("volumeClaimTemplates", one(objects, "StatefulSet")["spec"])
        volumes = node(objects)[0][2]["volumes"]
        self.assertIn({"name": "data", "persistentVolumeClaim": {"claimName": "drawings"}}, volumes)

    def test_without_a_volume_it_is_gone_with_the_pod(self):
        objects = variant("single without a volume")
        self.assertIn("emptyDir", next(it for it in node(objects)[0][2]["volumes"] if it["name"] == "data"))

    def test_nodes_of_a_cluster_find_each_other(self):
        objects = variant("cluster")
        told = environment(objects, node(objects)[0][2])
        self.assertEqual(told["ENFILADE_ADVERTISE_ADMIN"], "$(POD_IP):9090")
        self.assertEqual(told["ENFILADE_NODE_NAME"], {"fieldRef": {"fieldPath": "metadata.name"}})
        self.assertEqual(told["ENFILADE_NATS_URL"], "nats://r-nats:4222")
        self.assertEqual(told["ENFILADE_ROLES"], "edge,host")
        self.assertEqual(told["ENFILADE_DATABASE_URL"], "@/secrets/database/url")
        self.assertEqual(secret_of(objects, "database"), "enfilade-database")
        variables = [it["name"] for it in container(node(objects)[0][2])["env"]]
        self.assertLess(variables.index("POD_IP"), variables.index("ENFILADE_ADVERTISE_ADMIN"), "it is used before it is known")

    def test_releases_do_not_mix_on_a_shared_nats(self):
        told = environment(variant("cluster"), node(variant("cluster"))[0][2])
        self.assertEqual(told["ENFILADE_CLUSTER_NAME"], "n-r")

    def test_nodes_are_replaced_one_at_a_time_and_none_is_missing(self):
        deployment = one(variant("cluster"), "Deployment")
        self.assertEqual(deployment["spec"]["strategy"]["rollingUpdate"], {"maxSurge": 1, "maxUnavailable": 0})
        self.assertEqual(deployment["spec"]["progressDeadlineSeconds"], 900)

    def test_a_node_has_the_time_to_start_that_it_is_given(self):
        def times(objects, name):
            spec = one(objects, "Deployment", f"r-enfilade-{name}")["spec"]
            probe = container(spec["template"]["spec"])["startupProbe"]
            return probe["periodSeconds"] * probe["failureThreshold"], spec["progressDeadlineSeconds"]
        self.assertEqual(times(variant("cluster"), "node"), (300, 900))
        objects = render((), (*CLUSTER, "splitRoles=true", "nodes.startupSeconds=61", "hosts.startupSeconds=3600"))
        self.assertEqual(times(objects, "edge"), (62, 900))
        self.assertEqual(times(objects, "host"), (3600, 75 + 3600 + 60), "a rollout waits for as long")

    def test_the_walk_through_of_upgrades_says_what_happens(self):
        """UPGRADING.md is about a release called `board`."""
        page = " ".join((chart.CHART / "UPGRADING.md").read_text().split())
        there = set()
        for values, settings in (((), CLUSTER), ((), (*CLUSTER, "splitRoles=true")), ((SINGLE,), ())):
            there |= {(it["kind"].lower(), it["metadata"]["name"]) for it in render(values, settings, release="board")}
        named = set(re.findall(r"(deployment|statefulset|job)/(board[a-z-]*)", page))
        self.assertGreaterEqual(len(named), 3)
        self.assertLessEqual(named, there)
        for name in ("board-enfilade-edge", "board-enfilade-host", "board-enfilade-migrate"):
            self.assertIn(f"`{name}`", page)
            self.assertIn(name, {name for _, name in there})
        stateful = one(render((SINGLE,), (), release="board"), "StatefulSet")
        claim = f"{stateful['spec']['volumeClaimTemplates'][0]['metadata']['name']}-{stateful['metadata']['name']}-0"
        self.assertEqual(set(re.findall(r"persistentvolumeclaim (\S+)", page)), {claim})
        self.assertIn(f"delete statefulset {stateful['metadata']['name']} --cascade=orphan", page)
        cluster = render((), CLUSTER, release="board")
        spec = one(cluster, "Deployment")["spec"]
        self.assertIn("(`maxSurge: {maxSurge}`, `maxUnavailable: {maxUnavailable}`)".format(**spec["strategy"]["rollingUpdate"]), page)
        self.assertIn(f"ready for {spec['minReadySeconds']} s", page)
        self.assertIn(f"after {spec['progressDeadlineSeconds'] // 60} minutes", page)
        self.assertNotIn("rollback", one(cluster, "Job")["metadata"]["annotations"]["helm.sh/hook"], "going back migrates nothing")
        self.assertIn("hook-succeeded", one(cluster, "Job")["metadata"]["annotations"]["helm.sh/hook-delete-policy"], "one that failed is there to be looked at")

    def test_split_roles_are_two_deployments(self):
        objects = variant("split roles")
        edge, host = (one(objects, "Deployment", f"r-enfilade-{role}") for role in ("edge", "host"))
        self.assertEqual((edge["spec"]["replicas"], host["spec"]["replicas"]), (3, 5))
        edge, host = edge["spec"]["template"]["spec"], host["spec"]["template"]["spec"]
        self.assertEqual(environment(objects, edge)["ENFILADE_ROLES"], "edge")
        self.assertEqual(environment(objects, host)["ENFILADE_ROLES"], "host")
        self.assertEqual(container(edge)["resources"]["limits"]["memory"], "4Gi")
        self.assertEqual(container(edge)["resources"]["requests"], container(host)["resources"]["requests"])
        self.assertEqual([it["name"] for it in container(host)["ports"]], ["admin"])
        self.assertEqual(one(objects, "Service", "r-enfilade")["spec"]["selector"]["app.kubernetes.io/component"], "edge")

    def test_what_migrates_trusts_the_databases_authority_and_runs_where_nodes_do(self):
        objects = variant("authorities of one's own and a pool of nodes")
        specs = {it["metadata"]["name"]: spec for it, _, spec in pods(objects)}
        self.assertEqual(set(specs), {"r-enfilade-node", "r-enfilade-migrate", "r-enfilade-test", "r-enfilade-deletion-cost"})
        for name, spec in specs.items():
            self.assertEqual((spec["nodeSelector"], spec["priorityClassName"], len(spec["tolerations"])), ({"pool": "rooms"}, "high", 1), name)
        for name in ("r-enfilade-node", "r-enfilade-migrate"):
            volume = next(it for it in specs[name]["volumes"] if it["name"] == "postgres")
            self.assertEqual(volume["secret"]["secretName"], "postgres-ca")
            mounts = specs[name]["containers"][0]["volumeMounts"]
            self.assertIn({"name": "postgres", "mountPath": "/secrets/postgres", "readOnly": True}, mounts)
        self.assertEqual(environment(objects, specs["r-enfilade-node"])["ENFILADE_NATS_URL"], "@/secrets/nats-url/url")
        self.assertNotIn("ENFILADE_NATS_URL", one(objects, "ConfigMap", "r-enfilade")["data"])
        self.assertNotIn("nats-url", yaml.dump(specs["r-enfilade-migrate"]))

    def test_a_cluster_of_postgres_begins_in_one_way(self):
        self.assertEqual(list(one(variant("CloudNativePG"), "Cluster")["spec"]["bootstrap"]), ["initdb"])
        self.assertEqual(list(one(variant("CloudNativePG that recovers"), "Cluster")["spec"]["bootstrap"]), ["recovery"])

    def test_a_recovery_is_a_new_cluster_with_the_database_of_the_former(self):
        objects = variant("CloudNativePG that recovers")
        cluster = one(objects, "Cluster")
        self.assertEqual(cluster["metadata"]["name"], "r-enfilade-postgres-2")
        # Without these CloudNativePG believes that the database is called `app`.
        self.assertEqual(cluster["spec"]["bootstrap"]["recovery"], {"source": "before", "database": "enfilade", "owner": "enfilade"})
        self.assertEqual(secret_of(objects, "database"), "r-enfilade-postgres-2-app")
        way = next(it for it in one(objects, "NetworkPolicy", "r-enfilade-nodes")["spec"]["egress"] if it["ports"] == [{"port": 5432}])
        self.assertEqual(way["to"], [{"podSelector": {"matchLabels": {"cnpg.io/cluster": "r-enfilade-postgres-2"}}}])

    def test_only_what_prometheus_tells_has_a_fallback(self):
        """KEDA refuses one beside nothing but CPU."""
        edge, host = (one(variant("split roles, both autoscaled by KEDA"), "ScaledObject", f"r-enfilade-{role}")["spec"] for role in ("edge", "host"))
        self.assertIn("fallback", edge)
        self.assertNotIn("fallback", host)
        self.assertEqual([it["type"] for it in host["triggers"]], ["cpu"])

    def test_the_emptiest_pod_goes_first_where_that_is_wanted(self):
        objects = variant("the emptiest goes first")
        name = "r-enfilade-deletion-cost"
        self.assertEqual(one(objects, "Role", name)["rules"], [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "patch"]}])
        self.assertEqual(one(objects, "RoleBinding", name)["subjects"], [{"kind": "ServiceAccount", "name": name, "namespace": "n"}])
        deployment = one(objects, "Deployment", name)
        template = deployment["spec"]["template"]
        self.assertEqual(template["spec"]["serviceAccountName"], name)
        # It finds the pods of nodes, and not itself.
        arguments = template["spec"]["containers"][0]["args"]
        selector = dict(it.split("=") for it in next(it for it in arguments if it.startswith("--selector=")).removeprefix("--selector=").split(","))
        found = [it["metadata"]["name"] for it, metadata, _ in pods(objects) if selector.items() <= metadata["labels"].items()]
        self.assertEqual(found, ["r-enfilade-node"])
        # It reaches their operators' port, and nobody reaches it.
        nodes = one(objects, "NetworkPolicy", "r-enfilade-nodes")["spec"]["ingress"]
        admitted = [it["podSelector"]["matchLabels"] for rule in nodes for it in rule.get("from", []) if rule["ports"] == [{"port": "admin"}] and "podSelector" in it]
        self.assertTrue(any(labels.items() <= template["metadata"]["labels"].items() for labels in admitted))
        own = one(objects, "NetworkPolicy", name)["spec"]
        self.assertEqual((own["ingress"], own["egress"][1]["ports"]), ([], [{"port": 443}, {"port": 6443}]))
        self.assertEqual(of(variant("cluster"), "Role"), [])

    def test_the_autoscaler_counts_connections_and_scales_in_slowly(self):
        objects = variant("high availability")
        scaler = one(objects, "HorizontalPodAutoscaler")
        self.assertNotIn("replicas", one(objects, "Deployment", "r-enfilade-node")["spec"], "two would decide")
        self.assertEqual(len(of(objects, "RoleBinding")), 1, "the emptiest goes first")
        self.assertEqual(scaler["spec"]["metrics"][0]["pods"]["metric"]["name"], "enfilade_connections")
        self.assertEqual(scaler["spec"]["metrics"][0]["pods"]["target"], {"type": "AverageValue", "averageValue": "8000"})
        down = scaler["spec"]["behavior"]["scaleDown"]
        self.assertEqual(down["stabilizationWindowSeconds"], 900)
        self.assertEqual(down["policies"], [{"type": "Pods", "value": 1, "periodSeconds": 600}])

    def test_keda_does_not_take_silence_for_zero(self):
        scaled = one(variant("autoscaled by KEDA"), "ScaledObject")
        trigger = scaled["spec"]["triggers"][0]["metadata"]
        self.assertEqual(trigger["ignoreNullValues"], "false")
        self.assertEqual(trigger["query"], 'sum(enfilade_connections{namespace="n",pod=~"r-enfilade-node-.+"})')
        self.assertEqual(scaled["spec"]["scaleTargetRef"]["name"], one(variant("autoscaled by KEDA"), "Deployment")["metadata"]["name"])
        self.assertEqual(scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 900)

    def test_hosts_are_not_scaled_on_connections(self):
        objects = render((CI,), ("hosts.autoscaling.enabled=true",))
        metrics = one(objects, "HorizontalPodAutoscaler", "r-enfilade-host")["spec"]["metrics"]
        self.assertEqual([it["type"] for it in metrics], ["ContainerResource"])

    def test_migrations_run_before_nodes_or_within_them_or_not_at_all(self):
        job = one(variant("cluster"), "Job")
        self.assertEqual(job["metadata"]["annotations"]["helm.sh/hook"], "pre-install,pre-upgrade")
        self.assertEqual(job["spec"]["template"]["spec"]["containers"][0]["args"], ["migrate", "up"])
        self.assertNotIn("serviceAccountName", job["spec"]["template"]["spec"], "it is not there yet")
        self.assertNotIn("initContainers", node(variant("cluster"))[0][2])
        objects = render((), (*CLUSTER, "migrations.mode=init"))
        self.assertEqual(of(objects, "Job"), [])
        self.assertEqual(node(objects)[0][2]["initContainers"][0]["args"], ["migrate", "up"])
        objects = render((), (*CLUSTER, "migrations.mode=none"))
        self.assertEqual(of(objects, "Job"), [])
        self.assertNotIn("initContainers", node(objects)[0][2])
        # Nobody else does it behind their backs. Only a node on its own has nobody who would do it before.
        for mode in ("job", "init", "none"):
            objects = render((), (*CLUSTER, f"migrations.mode={mode}"))
            self.assertEqual(environment(objects, node(objects)[0][2])["ENFILADE_MIGRATE_ON_START"], "false", mode)
        self.assertNotIn("ENFILADE_MIGRATE_ON_START", environment(variant("single"), node(variant("single"))[0][2]))

    def test_no_policy_stays_behind(self):
        """A hook is not the release's: it would go on when the release is gone, or the policies are turned off."""
        for policy in of(variant("cluster"), "NetworkPolicy"):
            self.assertNotIn("annotations", policy["metadata"])

    def test_the_policy_names_the_paths_that_exist(self):
        policy = one(variant("cluster"), "NetworkPolicy", "r-enfilade-nodes")["spec"]
        self.assertEqual([rule["ports"][0]["port"] for rule in policy["ingress"]], ["http", "admin"])
        self.assertEqual([rule["ports"][0]["port"] for rule in policy["egress"]], [53, "admin", 5432, 4222])
        self.assertEqual(policy["egress"][3]["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"], "nats")
        single = one(variant("single"), "NetworkPolicy", "r-enfilade-nodes")["spec"]
        self.assertEqual([rule["ports"][0]["port"] for rule in single["egress"]], [53])

    def test_the_operators_port_is_the_nodes_and_whose_it_is_said_to_be(self):
        def let_in(objects):
            rules = one(objects, "NetworkPolicy", "r-enfilade-nodes")["spec"]["ingress"]
            (rule,) = [it for it in rules if it["ports"] == [{"port": "admin"}]]
            return rule["from"]
        nodes = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "enfilade", "app.kubernetes.io/instance": "r", "enfilade.io/node": "true"}}}
        self.assertEqual(let_in(variant("cluster")), [nodes])
        self.assertEqual(let_in(variant("single")), [nodes])
        self.assertIn({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}, let_in(variant("high availability")))

    def test_the_way_to_nats_is_where_its_url_leads(self):
        def ports(*settings):
            rules = one(render((), ("database.existingSecret.name=d", *settings)), "NetworkPolicy", "r-enfilade-nodes")["spec"]["egress"]
            return [it["port"] for it in rules[3]["ports"]]
        self.assertEqual(ports("nats.enabled=true"), [4222])
        self.assertEqual(ports("nats.url=tls://nats.example.org"), [4222])
        self.assertEqual(ports("nats.url=tls://nats.example.org:443"), [443])
        self.assertEqual(ports(r"nats.url=nats://a:4443\,nats://b:4443\,nats://c\,nats://[fd00::1]:4555"), [4443, 4222, 4555])
        self.assertEqual(ports("nats.url=nats://a:4443", "networkPolicy.natsPort=4443"), [4443])
        self.assertEqual(ports("nats.urlSecret.existingSecret=n"), [4222])
        self.assertEqual(ports("nats.urlSecret.existingSecret=n", "networkPolicy.natsPort=4443"), [4443])

    def test_people_may_be_let_in_from_the_gateway_only(self):
        objects = render((), (*CLUSTER, "networkPolicy.clientsFrom[0].namespaceSelector.matchLabels.name=gateways"))
        rule = one(objects, "NetworkPolicy", "r-enfilade-nodes")["spec"]["ingress"][0]
        self.assertEqual(rule["from"], [{"namespaceSelector": {"matchLabels": {"name": "gateways"}}}])

    def test_nats_lets_in_nodes_of_its_release_only(self):
        policy = one(variant("cluster"), "NetworkPolicy", "r-nats")["spec"]
        labels = policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
        self.assertEqual(labels, {"app.kubernetes.io/instance": "r", "enfilade.io/node": "true"})

    def test_nats_servers_know_each_other(self):
        text = one(variant("cluster"), "ConfigMap", "r-nats")["data"]["nats.conf"]
        self.assertEqual(text.count("nats://r-nats-"), 3)
        alone = one(variant("one NATS server"), "ConfigMap", "r-nats")["data"]["nats.conf"]
        self.assertNotIn("routes", alone)

    def test_credentials_for_nats_are_files(self):
        objects = variant("cluster with its own NATS")
        spec = node(objects)[0][2]
        told = environment(objects, spec)
        self.assertEqual(told["ENFILADE_NATS_CREDENTIALS"], "/secrets/nats-credentials/nats.creds")
        self.assertEqual(told["ENFILADE_NATS_ROOT_CERTIFICATES"], "/secrets/nats-ca/ca.crt")
        self.assertEqual(told["ENFILADE_NATS_CLIENT_CERTIFICATE"], "/secrets/nats-client-certificate/tls.crt")
        self.assertEqual(told["ENFILADE_NATS_CLIENT_KEY"], "/secrets/nats-client-key/tls.key")
        self.assertEqual(secret_of(objects, "nats-client-key"), "nats-client")
        mounts = {it["name"]: it for it in container(spec)["volumeMounts"]}
        self.assertIs(mounts["nats-credentials"]["readOnly"], True)
        self.assertEqual(of(objects, "StatefulSet"), [], "there is one already")

    def test_each_role_is_who_it_is_on_nats_and_cannot_be_the_other(self):
        objects = variant("a name on NATS for each role")
        [edge, host] = (spec for _, _, spec in sorted(node(objects), key=lambda it: it[0]["metadata"]["name"]))
        self.assertEqual(environment(objects, edge)["ENFILADE_NATS_URL"], "@/secrets/nats-url/url")
        self.assertEqual(environment(objects, host)["ENFILADE_NATS_URL"], "@/secrets/nats-url/uri")
        secrets = [{it["name"]: it["secret"]["secretName"] for it in spec["volumes"] if "secret" in it} for spec in (edge, host)]
        both = {"database": "d", "nats-ca": "nats-ca"}
        certificate = {"nats-client-certificate": "nats-host-certificate", "nats-client-key": "nats-host-certificate"}
        self.assertEqual(secrets, [{**both, "nats-url": "nats-edge"}, {**both, "nats-url": "nats-host", **certificate}])
        self.assertNotIn("ENFILADE_NATS_CLIENT_KEY", environment(objects, edge))
        self.assertNotIn("nats", yaml.dump(one(objects, "Job")["spec"]["template"]["spec"]["volumes"]))

    def test_what_is_said_for_both_roles_holds_unless_one_says_otherwise(self):
        objects = render((), ("database.existingSecret.name=d", "splitRoles=true", "nats.urlSecret.existingSecret=both", "nats.hosts.urlSecret.existingSecret=nats-host"))
        secrets = {it["metadata"]["name"]: next(v for v in spec["volumes"] if v["name"] == "nats-url")["secret"]["secretName"] for it, _, spec in node(objects)}
        self.assertEqual(secrets, {"r-enfilade-edge": "both", "r-enfilade-host": "nats-host"})

    def test_cloud_native_pg_is_asked_for_two_copies(self):
        objects = variant("CloudNativePG")
        cluster = one(objects, "Cluster")
        self.assertEqual(cluster["spec"]["instances"], 3)
        self.assertEqual(cluster["spec"]["postgresql"]["synchronous"], {"method": "any", "number": 1})
        self.assertEqual(cluster["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")
        told = environment(objects, node(objects)[0][2])
        self.assertEqual(told["ENFILADE_DATABASE_URL"], "@/secrets/database/uri")
        self.assertEqual(secret_of(objects, "database"), "r-enfilade-postgres-app")

    def test_an_external_secret_fills_the_one_that_nodes_read(self):
        objects = variant("External Secrets")
        secret = one(objects, "ExternalSecret")["spec"]
        self.assertEqual((secret["target"]["name"], secret["data"][0]["secretKey"]), (secret_of(objects, "database"), "url"))

    def test_a_store_fills_whatever_secrets_nodes_read(self):
        objects = variant("every credential from a store")
        made = {it["spec"]["target"]["name"]: it["spec"] for it in of(objects, "ExternalSecret")}
        read = {}
        for _, _, spec in node(objects):
            for volume in (it["secret"] for it in spec["volumes"] if "secret" in it):
                read.setdefault(volume["secretName"], set()).update(it["key"] for it in volume["items"])
        self.assertEqual({name: {it["secretKey"] for it in spec["data"]} for name, spec in made.items()}, read)
        self.assertEqual(set(read), {"d", "n", "t", "a"})
        self.assertEqual(made["a"]["data"], [{"secretKey": "token", "remoteRef": {"key": "operators", "property": "token"}}])
        self.assertEqual({it["secretStoreRef"]["name"] for it in made.values()}, {"vault"})

    def test_a_digest_counts_before_a_tag(self):
        for _, _, spec in pods(variant("a digest")):
            for it in containers(spec):
                if it["name"] != "nats":
                    self.assertRegex(it["image"], r"^ghcr.io/enfilade/enfilade@sha256:a{64}$")

    def test_the_route_leads_to_the_service(self):
        objects = variant("a gateway")
        route, service = one(objects, "HTTPRoute"), one(objects, "Service", "r-enfilade")
        backend = route["spec"]["rules"][0]["backendRefs"][0]
        self.assertEqual((backend["name"], backend["port"]), (service["metadata"]["name"], service["spec"]["ports"][0]["port"]))
        self.assertEqual(route["spec"]["rules"][0]["timeouts"], {"request": "0s"})
        self.assertNotIn("timeouts", one(variant("split roles and everything"), "HTTPRoute")["spec"]["rules"][0])

    def test_an_ingress_lets_web_sockets_be_silent(self):
        ingress = one(variant("an ingress"), "Ingress")
        notes = ingress["metadata"]["annotations"]
        self.assertEqual(notes["nginx.ingress.kubernetes.io/proxy-read-timeout"], "3600")
        self.assertEqual(notes["haproxy.org/timeout-tunnel"], "3600s")
        objects = render((SINGLE,), ("ingress.enabled=true", "ingress.hosts[0]=b", r"ingress.annotations.nginx\.ingress\.kubernetes\.io/proxy-read-timeout=7s"))
        self.assertEqual(one(objects, "Ingress")["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-read-timeout"], "7s")

    def test_a_load_balancer_keeps_where_people_come_from(self):
        service = one(variant("a load balancer"), "Service", "r-enfilade")["spec"]
        self.assertEqual((service["type"], service["externalTrafficPolicy"], service["loadBalancerSourceRanges"]), ("LoadBalancer", "Local", ["10.0.0.0/8"]))

    def test_nodes_are_looked_after_also_when_they_are_not_ready(self):
        service = one(variant("cluster"), "Service", "r-enfilade-nodes")["spec"]
        self.assertEqual(service["clusterIP"], "None")
        self.assertIs(service["publishNotReadyAddresses"], True)

    def test_settings_that_change_start_pods_anew(self):
        sums = set()
        for settings in ((), ("settings.log=debug",), ("settings.drainSeconds=21",)):
            (_, metadata, _), = node(render((), (*CLUSTER, *settings)))
            sums.add(metadata["annotations"]["checksum/settings"])
        self.assertEqual(len(sums), 3)

    def test_lists_reach_the_binary_separated_by_commas(self):
        objects = render((), (*CLUSTER, "settings.trustedProxies={10.0.0.0/8,fd00::/8}", "settings.allowedOrigins={https://a.example,https://b.example}"))
        told = environment(objects, node(objects)[0][2])
        self.assertEqual(told["ENFILADE_TRUSTED_PROXIES"], "10.0.0.0/8,fd00::/8")
        self.assertEqual(told["ENFILADE_ALLOWED_ORIGINS"], "https://a.example,https://b.example")

    def test_limits_reach_the_binary_as_the_settings_that_they_are(self):
        objects = render((), (*CLUSTER, "settings.limits.signUpsPerAddress=60/minute burst 500"))
        told = environment(objects, node(objects)[0][2])
        self.assertEqual(told["ENFILADE_SIGN_UPS_PER_ADDRESS"], "60/minute burst 500")
        self.assertEqual(chart.LIMITS - set(told), set())

    def test_numbers_stay_whole(self):
        objects = render((), (*CLUSTER, "settings.maxConnections=1000000", "settings.logRetentionDays=30"))
        told = environment(objects, node(objects)[0][2])
        self.assertEqual(told["ENFILADE_MAX_CONNECTIONS"], "1000000")
        self.assertEqual(told["ENFILADE_LOG_RETENTION_DAYS"], "30")
        self.assertEqual(environment(variant("cluster"), node(variant("cluster"))[0][2])["ENFILADE_LOG_RETENTION_DAYS"], "forever")

    def test_extras_arrive(self):
        objects = variant("extras")
        (it, metadata, spec), = node(objects)
        self.assertEqual(environment(objects, spec)["A"], "b")
        self.assertIn({"name": "v", "mountPath": "/v"}, container(spec)["volumeMounts"])
        self.assertEqual((metadata["labels"]["a"], metadata["annotations"]["c"]), ("b", "d"))
        self.assertEqual((it["metadata"]["labels"]["team"], it["metadata"]["annotations"]["owner"]), ("drawing", "me"))
        self.assertEqual((spec["priorityClassName"], spec["nodeSelector"]), ("high", {"disk": "fast"}))
        self.assertEqual(spec["imagePullSecrets"], [{"name": "registry"}])

    def test_objects_of_ones_own_are_templates(self):
        greeting = one(variant("split roles and everything"), "ConfigMap", "r-greeting")
        self.assertEqual(greeting["data"], {"greeting": "hello"})

    def test_the_admin_token_is_read_from_its_secret(self):
        objects = variant("an admin token")
        told = environment(objects, node(objects)[0][2])
        self.assertEqual(told["ENFILADE_ADMIN_TOKEN"], "@/secrets/admin-token/token")
        self.assertEqual(secret_of(objects, "admin-token"), "enfilade-admin")

    def test_edges_that_speak_tls_have_the_certificate_and_nobody_else_has(self):
        objects = variant("TLS by itself")
        [edge, host] = sorted(node(objects), key=lambda it: it[0]["metadata"]["name"])
        told = environment(objects, edge[2])
        self.assertEqual(told["ENFILADE_TLS_CERTIFICATE"], "/secrets/tls-certificate/tls.crt")
        self.assertEqual(told["ENFILADE_TLS_KEY"], "/secrets/tls-key/tls.key")
        mounts = {it["name"]: it for it in container(edge[2])["volumeMounts"]}
        for name in ("tls-certificate", "tls-key"):
            self.assertIs(mounts[name]["readOnly"], True)
            self.assertNotIn("subPath", mounts[name], "or it would never be renewed")
            volume = next(it for it in edge[2]["volumes"] if it["name"] == name)
            self.assertEqual(volume["secret"]["secretName"], "board-tls")
        self.assertNotIn("ENFILADE_TLS_KEY", environment(objects, host[2]))
        self.assertNotIn("board-tls", yaml.dump(host[2]))
        self.assertEqual(one(objects, "Service", "r-enfilade")["spec"]["ports"][0]["appProtocol"], "https")
        self.assertEqual(of(objects, "Pod"), [], "helm test would not know whom to trust")

    def test_traces_go_to_their_collector_and_may(self):
        objects = variant("traces")
        told = environment(objects, node(objects)[0][2])
        self.assertEqual(told["ENFILADE_OTLP_ENDPOINT"], "http://collector.observe:4318")
        self.assertEqual((told["ENFILADE_TRACE_ONE_IN"], told["ENFILADE_CLIENT_TRACES_PER_SECOND"]), ("100", "10"))
        self.assertEqual(told["ENFILADE_OTLP_HEADERS"], "@/secrets/otlp-headers/headers")
        self.assertEqual(secret_of(objects, "otlp-headers"), "otlp")
        self.assertNotIn("ENFILADE_OTLP_ENDPOINT", environment(variant("cluster"), node(variant("cluster"))[0][2]))

        def ways_out(*settings):
            policy = one(render((), (*CLUSTER, *settings)), "NetworkPolicy", "r-enfilade-nodes")["spec"]
            return [rule for rule in policy["egress"] if rule["ports"][0]["port"] in (4318, 443, 80)]
        self.assertEqual(ways_out(), [])
        self.assertEqual(ways_out("telemetry.traces.endpoint=http://c:4318"), [{"ports": [{"port": 4318}]}])
        self.assertEqual(ways_out("telemetry.traces.endpoint=https://c.example.org/otlp"), [{"ports": [{"port": 443}]}])
        to = ways_out("telemetry.traces.endpoint=http://c", "networkPolicy.tracesTo[0].namespaceSelector.matchLabels.a=b")
        self.assertEqual(to, [{"ports": [{"port": 80}], "to": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]}])

    def test_helm_test_goes_in_by_the_service_as_people_do(self):
        pod = one(variant("cluster"), "Pod")
        notes = pod["metadata"]["annotations"]
        self.assertEqual(notes["helm.sh/hook"], "test")
        self.assertEqual(notes["helm.sh/hook-delete-policy"], "before-hook-creation", "`helm test --logs` reads a pod that is there")
        self.assertIn("--url=http://r-enfilade:80", pod["spec"]["containers"][0]["args"])

    def test_the_notes_say_how_to_look_inside(self):
        """`helm install --dry-run` wants a cluster, so the notes are rendered as an object of one's own."""
        def notes(*settings):
            page = (chart.CHART / "templates/NOTES.txt").read_text()
            values = {"extraObjects": ["kind: Notes\nmetadata: {name: notes}\ntext: {{ tpl " + json.dumps(page) + " . | toJson }}\n"]}
            return one(chart.rendered_with(values, settings), "Notes")["text"]
        single = notes("mode=single", "nodes.replicas=1")
        self.assertIn("kubectl exec -it -n n statefulset/r-enfilade-node -c enfilade -- /usr/bin/enfilade top", single)
        self.assertNotIn("admin.token.existingSecret is not set", single)
        self.assertIn("deployment/r-enfilade-node -c enfilade -- /usr/bin/enfilade top", notes(*CLUSTER))
        self.assertIn("deployment/r-enfilade-edge", notes(*CLUSTER, "splitRoles=true"))
        self.assertIn("admin.token.existingSecret is not set", notes(*CLUSTER))
        self.assertNotIn("admin.token.existingSecret is not set", notes(*CLUSTER, "admin.token.existingSecret=a"))

    def test_metrics_read_pod_by_pod_are_labelled_as_those_of_the_service(self):
        objects = variant("read pod by pod")
        self.assertEqual(of(objects, "ServiceMonitor"), [])
        (of_pods,) = one(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]
        (of_service,) = one(variant("high availability"), "ServiceMonitor")["spec"]["endpoints"]
        self.assertEqual(of_pods, of_service)
        self.assertEqual(one(objects, "PodMonitor")["metadata"]["labels"]["release"], "prometheus")
        first = one(objects, "PrometheusRule")["spec"]["groups"][0]["rules"][0]
        self.assertEqual(first["expr"], 'absent(enfilade_build_info{namespace="n",release="r"})')

    def test_helm_test_speaks_tls_where_it_knows_whom_to_trust(self):
        spec = one(variant("TLS by itself, and tested"), "Pod")["spec"]
        arguments = spec["containers"][0]["args"]
        for argument in ("--url=https://r-enfilade:80", "--ca=/secrets/authority/ca.crt", "--tls-name=board.example.org"):
            self.assertIn(argument, arguments)
        self.assertEqual(spec["volumes"][0]["secret"]["secretName"], "board-authority")
        own = ("tls.existingSecret=t", "test.authority.existingSecret=a", "test.authority.key=root.pem")
        arguments = one(render((), (*CLUSTER, *own, "test.serverName=b.example.org")), "Pod")["spec"]["containers"][0]["args"]
        self.assertTrue({"--ca=/secrets/authority/root.pem", "--tls-name=b.example.org"} <= set(arguments), arguments)
        arguments = one(render((), (*CLUSTER, *own)), "Pod")["spec"]["containers"][0]["args"]
        self.assertFalse([it for it in arguments if it.startswith("--tls-name")], "the certificate is for the Service")
        plain = one(variant("cluster"), "Pod")["spec"]
        self.assertFalse([it for it in plain["containers"][0]["args"] if it.startswith(("--ca", "--tls"))])
        self.assertNotIn("volumes", plain)

    def test_alerts_that_are_not_wanted_stay_out(self):
        def names(objects):
            return {rule["alert"] for group in one(objects, "PrometheusRule")["spec"]["groups"] for rule in group["rules"]}
        everything = names(variant("high availability"))
        self.assertGreaterEqual(len(everything), 15)
        fewer = names(render((HA,), ("metrics.prometheusRule.excluded={EnfiladeFenced}",)))
        self.assertEqual(everything - fewer, {"EnfiladeFenced"})

    def test_names_hold_for_long_releases(self):
        objects = render((), CLUSTER, release="a-release-with-a-name-that-is-fifty-letters-long-ab")
        for it in objects:
            self.assertLessEqual(len(it["metadata"]["name"]), 63, it["metadata"]["name"])

    def test_what_is_made_from_the_chart_is_up_to_date(self):
        done = subprocess.run([chart.ROOT / ".tools/chart/bin/python", chart.ROOT / "tools/chart", "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_overlays_are_whole(self):
        for overlay in ("single", "cluster"):
            with self.subTest(overlay):
                folder = chart.ROOT / "k8s" / overlay
                listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
                self.assertEqual(sorted(listed), sorted(it.name for it in folder.glob("*.yaml") if it.name != "kustomization.yaml"))
                namespaces = {it["metadata"].get("namespace") for it in yaml.safe_load_all((folder / "enfilade.yaml").read_text()) if it}
                self.assertEqual(namespaces, {"enfilade"})


if __name__ == "__main__":
    unittest.main()
