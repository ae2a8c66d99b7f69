"""The whole graph killed at random moments, run again, and compared with a run that nobody disturbed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.ledger import FULL, trials

pytestmark = [pytest.mark.crash, pytest.mark.slow]


@pytest.mark.timeout(3600)
@pytest.mark.skipif(not FULL, reason="one of the long faults: make test-crash")
def test_killed_and_run_again_it_is_what_an_uninterrupted_run_gives(tmp_path, ledger):
    kills = trials(quick=2, full=int(os.environ.get("GEM_GRAPH_KILLS", "50")))
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.graph_runner", str(tmp_path), str(kills), "11"],
        cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, timeout=3500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    ledger.record(
        "SIGKILL of the whole graph at a random moment",
        trials=found["kills"], lost=found["lost"], duplicated=found["duplicated"], repaired=found["repaired"],
    )  # fmt: skip
    assert found["kills"] == kills
    assert (found["lost"], found["duplicated"], found["failed"]) == (0, 0, 0), done.stderr[-3000:]
