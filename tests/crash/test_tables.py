"""A table writer killed at random moments and at each fsync, with and without a power cut."""

import random
import subprocess
import sys
import time
from pathlib import Path

import lance
import pytest

from gem_assets.storage.lance import LanceTables
from gem_assets.storage.lance_files import orphan_files
from tests.crash.ledger import trials
from tests.crash.power import cut
from tests.crash.table_writer import expected
from tests.resources.tables import rows

pytestmark = pytest.mark.crash


def run_and_kill(root: Path, start: int, *, acks: int = 0, delay: float = 0.0, kill: int = 0) -> int:
    """Start a writer, kill it; returns the number of the last commit that it acknowledged."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.table_writer", str(root), str(start), str(kill)],
        cwd=Path(__file__).resolve().parents[2], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    last = start - 1
    if not kill:
        for _ in range(acks):
            last = int(child.stdout.readline())
        time.sleep(delay)
        child.kill()
    for line in child.stdout:
        last = int(line)
    assert child.wait(60) == -9
    return last


def check(root: Path, last: int) -> int:
    """Assert that the table holds what was acknowledged, or also the commit after it; returns the next number."""
    tables = LanceTables(root)
    held = [last, last + 1]
    for snapshot in ("s1", "s2"):
        found = tables.read("t", snapshot=snapshot).sort_by("doc_id")
        assert len(set(found.column("doc_id").to_pylist())) == found.num_rows
        wanted = {}
        for number in (last - 1, last, last + 1):
            name, n, seed = expected(number)
            if name == snapshot and number >= 0:
                wanted[number] = rows(snapshot, n, seed=seed).to_pylist()
        standing = [number for number, content in wanted.items() if content == found.to_pylist()]
        assert len(standing) == 1, (snapshot, last)
        held.extend(standing)
    lance.dataset(tables.path("t")).validate()
    return max(held[2:]) + 1


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path, ledger):
    """Commits that were acknowledged stand; the one in progress is there whole or not at all."""
    chance = random.Random(0)
    root, number = tmp_path / "db", 0
    moments = trials(quick=6, full=50)
    for trial in range(moments):
        last = run_and_kill(root, number, acks=chance.randint(2, 4), delay=chance.uniform(0, 0.05))
        if trial % 2:
            cut(root, root.with_suffix(".synced"))
        number = check(root, last)
    tables = LanceTables(root)
    ledger.record("SIGKILL of a table writer at a random moment, every other one with a power cut", trials=moments)
    assert tables.count("t") == sum(expected(n)[1] for n in (number - 1, number - 2))


@pytest.mark.slow
@pytest.mark.parametrize("power", ["on", "cut"])
def test_killed_before_each_fsync(tmp_path, ledger, power):
    """The commit has a fixed number of steps to the disk; each is a place to die."""
    root, number = tmp_path / "db", 0
    steps = range(1, 11, trials(quick=3, full=1))
    for step in steps:
        last = run_and_kill(root, number, kill=step)
        lost = cut(root, root.with_suffix(".synced")) if power == "cut" else []
        number = check(root, last)
        if power == "cut" and step == 1:
            assert lost, "data files that were not forced to the disk yet have to be among the losses"
    orphans = orphan_files(Path(LanceTables(root).path("t")))
    ledger.record(f"SIGKILL of a table writer before each fsync, power {power}", trials=len(steps), repaired=1)
    assert orphans, "a writer killed before its commit leaves files that no version names"


@pytest.mark.slow
def test_without_fsync_a_power_cut_loses_acknowledged_commits(tmp_path, monkeypatch):
    """The control: the same cut on a table written past this module shows that the simulation bites."""
    dataset = lance.write_dataset(rows("s1", 5), str(tmp_path / "db" / "t.lance"))
    assert dataset.version == 1
    assert cut(tmp_path / "db", tmp_path / "nothing.synced")
    assert LanceTables(tmp_path / "db").version("t") is None
