"""The scanner's findings: none but those that are explained here."""

import json
import pathlib
import re
import subprocess
import tempfile
import unittest

import chart

# Finding: on what, and why it is none.
EXPLAINED = {
    "CKV_K8S_11": ("", "No limit of CPU: a node that is throttled keeps everybody waiting. Requests share the machine."),
    "CKV_K8S_43": ("", "A digest cannot be known before the image is built; production sets image.digest, and NOTES.txt says so."),
    "CKV_K8S_15": ("", "IfNotPresent with a version's tag or a digest: pulling each time would tie a restart to the registry."),
    "CKV_K8S_38": ("-deletion-cost$", "It annotates pods, and does nothing else."),
    "CKV_K8S_8": ("-test$|-deletion-cost", "What runs once and ends has no probes; nor has what serves nobody: when it breaks it ends, and is started again."),
    "CKV_K8S_9": ("-test$|-deletion-cost", "What runs once and ends has no probes; nor has what serves nobody: when it breaks it ends, and is started again."),
}


class Scan(unittest.TestCase):
    def test_there_is_nothing_that_is_not_explained(self):
        unexplained, seen = [], set()
        with tempfile.TemporaryDirectory() as folder:
            for number, (name, (values, settings)) in enumerate(chart.VARIANTS.items()):
                (pathlib.Path(folder) / f"{number}.yaml").write_text(chart.text(values, settings))
            done = subprocess.run(
                [chart.ROOT / ".tools/chart/bin/checkov", "--directory", folder, "--framework", "kubernetes", "--skip-download", "--quiet", "--compact", "--output", "json"],
                capture_output=True, text=True,
            )
            report = json.loads(done.stdout)
        self.assertGreater(report["summary"]["passed"], 1_000)
        names = list(chart.VARIANTS)
        for finding in report["results"]["failed_checks"]:
            seen.add(finding["check_id"])
            where, _ = EXPLAINED.get(finding["check_id"], ("^$", ""))
            if not re.search(where, finding["resource"]):
                variant = names[int(pathlib.Path(finding["file_path"]).stem)]
                unexplained.append(f"{finding['check_id']} {finding['check_name']}: {finding['resource']} ({variant})")
        self.assertEqual(sorted(set(unexplained)), [])
        self.assertEqual(set(EXPLAINED) - seen, set(), "explained, and not found any more")


if __name__ == "__main__":
    unittest.main()
