"""Two histories of one state end in the same bytes, in every result from the shards to the audited order."""

import shutil
import signal
import subprocess
import sys

import pytest

from benchmarks.growth import contents
from gem_assets.run import run_until
from gem_assets.settings import load_settings
from tests.direct import write_small_settings
from tests.tiny import land_jsonl, passages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LAST = "mixture_audit/balanced"


def bring_up_to_date(root):
    summary = run_until(load_settings(root), until=LAST)
    assert summary.failed == ()


def kill_after(root, line):
    """Kill a `gem run` as soon as it says that it is done with a step."""
    command = [sys.executable, "-m", "gem_assets.cli", "run", "--data-root", str(root), "--until", LAST]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for said in process.stdout:
            if said.startswith(f"  {line} "):
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def test_a_killed_run_and_a_snapshot_that_was_changed_leave_no_trace(tmp_path):
    straight, crooked = tmp_path / "straight", tmp_path / "crooked"
    rows = passages()[:120]
    write_small_settings(straight)
    land_jsonl(straight, "2026-01", rows[:60])
    bring_up_to_date(straight)
    first = contents(straight)
    shutil.copytree(straight, crooked)

    land_jsonl(straight, "2026-02", rows[50:])
    bring_up_to_date(straight)

    land_jsonl(crooked, "2026-02", rows[60:90])
    kill_after(crooked, "raw_shards[2026-02]")
    bring_up_to_date(crooked)
    land_jsonl(crooked, "2026-02", rows[50:])
    kill_after(crooked, "student_labels[2026-02]")
    bring_up_to_date(crooked)

    made, other = contents(straight), contents(crooked)
    assert made.keys() == other.keys()
    assert [place for place in made if made[place] != other[place]] == []
    assert {"embeddings", "student_labels", "domain_inventory", "recipes/balanced", "training_order/balanced"} <= {
        asset for asset, _ in made
    }
    # what follows a new snapshot did follow it: else the two would be equal for nothing
    assert all(made[place] != first[place] for place in [("domain_inventory", None), (LAST, None)])
