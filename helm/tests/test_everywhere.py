"""What is rendered: what holds in every variant. What a value changes is test_manifests.py's."""

import re
import unittest

import chart
from chart import VARIANTS, container, containers, environment, node, of, pods, variant


class Everywhere(unittest.TestCase):
    """What holds whatever the values are."""

    def each(self):
        for name in VARIANTS:
            with self.subTest(name):
                yield variant(name)

    def each_pod(self):
        for objects in self.each():
            for it, metadata, spec in pods(objects):
                with self.subTest(f"{it['kind']} {it['metadata']['name']}"):
                    yield it, metadata, spec

    def test_pods_meet_the_restricted_standard(self):
        for _, _, spec in self.each_pod():
            security = spec["securityContext"]
            self.assertIs(security["runAsNonRoot"], True)
            self.assertGreater(security["runAsUser"], 10_000)
            self.assertEqual(security["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertFalse(any(spec.get(it) for it in ("hostNetwork", "hostPID", "hostIPC")))
            for it in containers(spec):
                own = it["securityContext"]
                self.assertIs(own["allowPrivilegeEscalation"], False)
                self.assertIs(own["readOnlyRootFilesystem"], True)
                self.assertEqual(own["capabilities"], {"drop": ["ALL"]})
            for volume in spec.get("volumes", []):
                self.assertFalse("hostPath" in volume, volume)

    def test_pods_have_no_token_and_no_environment_of_other_services(self):
        for it, _, spec in self.each_pod():
            # But for the one that annotates pods; a test of its own says what that one may do.
            self.assertIs(spec["automountServiceAccountToken"], it["metadata"]["name"].endswith("-deletion-cost"))
            self.assertIs(spec["enableServiceLinks"], False)

    def test_containers_say_what_they_need_and_may_have(self):
        for _, _, spec in self.each_pod():
            for it in containers(spec):
                self.assertIn("cpu", it["resources"]["requests"])
                self.assertIn("memory", it["resources"]["requests"])
                self.assertIn("memory", it["resources"]["limits"])

    def test_no_node_is_ever_throttled(self):
        for objects in self.each():
            for _, _, spec in node(objects):
                self.assertNotIn("cpu", container(spec)["resources"]["limits"])

    def test_what_a_container_mounts_is_there(self):
        for it, _, spec in self.each_pod():
            there = {volume["name"] for volume in spec.get("volumes", [])}
            there |= {claim["metadata"]["name"] for claim in it["spec"].get("volumeClaimTemplates", [])}
            for each in containers(spec):
                self.assertLessEqual({mount["name"] for mount in each.get("volumeMounts", [])}, there)

    def test_names_are_unique_and_can_be_names(self):
        for objects in self.each():
            names = [(it["kind"], it["metadata"]["name"]) for it in objects]
            self.assertEqual(len(names), len(set(names)), names)
            for _, name in names:
                self.assertRegex(name, r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
                self.assertLessEqual(len(name), 63)

    def test_everything_is_in_the_namespace_and_labelled(self):
        for objects in self.each():
            for it in objects:
                self.assertEqual(it["metadata"].get("namespace"), "n", it["metadata"]["name"])
                if it["metadata"]["name"].endswith("-greeting"):
                    continue
                self.assertEqual(it["metadata"]["labels"]["app.kubernetes.io/instance"], "r")

    def test_services_lead_to_ports_that_pods_have(self):
        for objects in self.each():
            for service in of(objects, "Service"):
                selector = service["spec"]["selector"].items()
                found = [spec for _, metadata, spec in pods(objects) if selector <= metadata["labels"].items()]
                self.assertTrue(found, f"{service['metadata']['name']} selects nobody")
                for port in service["spec"]["ports"]:
                    for spec in found:
                        names = {it["name"] for each in spec["containers"] for it in each.get("ports", [])}
                        self.assertIn(port["targetPort"], names)

    def test_no_service_leads_to_a_job_or_a_test(self):
        for objects in self.each():
            for service in of(objects, "Service"):
                selector = service["spec"]["selector"].items()
                for it, metadata, _ in pods(objects):
                    if it["kind"] in ("Job", "Pod"):
                        self.assertFalse(selector <= metadata["labels"].items(), service["metadata"]["name"])

    def test_selectors_find_their_own_pods_and_hold_nothing_that_changes(self):
        for objects in self.each():
            for it in [*of(objects, "Deployment"), *of(objects, "StatefulSet")]:
                selector = it["spec"]["selector"]["matchLabels"]
                self.assertLessEqual(selector.items(), it["spec"]["template"]["metadata"]["labels"].items())
                self.assertNotIn("app.kubernetes.io/version", selector)
                self.assertNotIn("helm.sh/chart", selector)

    def test_budgets_spreads_and_monitors_find_somebody(self):
        for objects in self.each():
            labels = [metadata["labels"].items() for _, metadata, _ in pods(objects)]
            for budget in of(objects, "PodDisruptionBudget"):
                selector = budget["spec"]["selector"]["matchLabels"].items()
                self.assertTrue(any(selector <= it for it in labels))
                self.assertEqual(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow")
            for _, metadata, spec in pods(objects):
                for spread in spec.get("topologySpreadConstraints", []):
                    self.assertLessEqual(spread["labelSelector"]["matchLabels"].items(), metadata["labels"].items())
            for monitor in of(objects, "ServiceMonitor"):
                selector = monitor["spec"]["selector"]["matchLabels"].items()
                services = [it for it in of(objects, "Service") if selector <= it["metadata"]["labels"].items()]
                self.assertEqual(len(services), 1)
                self.assertIn(monitor["spec"]["endpoints"][0]["port"], [it["name"] for it in services[0]["spec"]["ports"]])
            for monitor in of(objects, "PodMonitor"):
                selector = monitor["spec"]["selector"]["matchLabels"].items()
                found = [spec for _, metadata, spec in pods(objects) if selector <= metadata["labels"].items()]
                self.assertEqual(found, [spec for _, _, spec in node(objects)])
                for spec in found:
                    self.assertIn(monitor["spec"]["podMetricsEndpoints"][0]["port"], [it["name"] for it in container(spec)["ports"]])

    def test_three_probes_on_three_pages(self):
        for objects in self.each():
            for _, _, spec in node(objects):
                it = container(spec)
                pages = [it[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
                self.assertEqual([page["path"] for page in pages], ["/startupz", "/readyz", "/livez"])
                self.assertEqual({page["port"] for page in pages}, {"admin"})
                # The database may be away for longer than this, and nobody is killed for it.
                self.assertGreaterEqual(it["livenessProbe"]["periodSeconds"] * it["livenessProbe"]["failureThreshold"], 30)

    def test_there_is_time_to_leave(self):
        for objects in self.each():
            for _, _, spec in node(objects):
                told = environment(objects, spec)
                slept = container(spec)["lifecycle"]["preStop"]["sleep"]["seconds"]
                alone = "ENFILADE_NATS_URL" not in told
                needed = slept + (15 if alone else 30 + 2 + int(told["ENFILADE_DRAIN_SECONDS"]) + 5)
                self.assertGreaterEqual(spec["terminationGracePeriodSeconds"], needed)

    def test_no_secret_is_made_and_none_is_in_plain_sight(self):
        for objects in self.each():
            self.assertEqual(of(objects, "Secret"), [])
            for _, _, spec in node(objects):
                for name, value in environment(objects, spec).items():
                    if re.search("URL|TOKEN|PASSWORD|SECRET", name) and isinstance(value, str):
                        self.assertNotRegex(value, r"//[^/]*:[^/]*@", name)

    def test_it_is_rendered_the_same_twice(self):
        for name, (values, settings) in VARIANTS.items():
            with self.subTest(name):
                self.assertEqual(chart.template(values, settings).stdout, chart.text(values, settings))

    def test_network_policies_deny_what_is_not_named(self):
        for objects in self.each():
            for policy in of(objects, "NetworkPolicy"):
                self.assertEqual(policy["spec"]["policyTypes"], ["Ingress", "Egress"])
                for rule in policy["spec"].get("ingress") or []:
                    self.assertTrue(rule.get("ports"), "a rule for every port")
                for rule in policy["spec"].get("egress") or []:
                    self.assertTrue(rule.get("ports"), "a rule for every port")

    def test_settings_are_settings_of_the_binary(self):
        """The names that the chart gives are those that the binary reads."""
        for objects in self.each():
            for _, _, spec in node(objects):
                given = {name for name in environment(objects, spec) if name.startswith("ENFILADE_")}
                self.assertLessEqual(given, chart.BINARY_SETTINGS)


if __name__ == "__main__":
    unittest.main()
