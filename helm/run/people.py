"""People who draw while something is done to the pods, and what they were told meanwhile."""

import json
import os
import pathlib
import subprocess
import tempfile

from machine import ROOT

SESSION = ROOT / "loadtest/samples/house-and-garden.enfilade.ndjson"


class Replay:
    """People who draw what was recorded, and an oracle that looks at everything that each of them is told."""

    def __init__(self, folder, url, *arguments):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="replay-", dir=folder))
        self.file, self.log = folder / "result.json", folder / "log"
        command = [os.environ["ENFILADE_LOADTEST_BIN"], "replay", SESSION, "--url", url, "--max-lag", "1s", "--json", self.file, *arguments]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([str(it) for it in command], stdout=log, stderr=subprocess.STDOUT)

    def end(self):
        self.process.kill()
        self.process.wait()

    def result(self):
        self.process.wait(timeout=240)
        if not self.file.exists():
            raise AssertionError(self.log.read_text())
        return json.loads(self.file.read_text())

    def assert_nobody_noticed(self, test):
        """Everybody saw everything once and in order, and nobody was told of an error. Returns the result."""
        result = self.result()
        said, oracle, counts = self.log.read_text(), result["oracle"], result["counts"]
        test.assertEqual(result["verdict"], "held", said)
        test.assertEqual((oracle["violations"], oracle["lost_prefix"], oracle["lost_middle"], oracle["lost_postfix"]), ({}, 0, 0, 0), said)
        test.assertGreater(counts["ops_submitted"], 0)
        test.assertEqual(counts["ops_accepted"], counts["ops_submitted"], said)
        for error in ("ops_refused", "ops_abandoned", "connections_lost", "connections_failed"):
            test.assertEqual(counts[error], 0, f"{error}\n{said}")
        return result
