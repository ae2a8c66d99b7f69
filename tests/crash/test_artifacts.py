"""An artifact commit killed at each of its file-system steps, with and without a power cut."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gem_assets.storage.artifacts import ArtifactStore
from tests.crash.artifact_writer import commit, identity_for
from tests.crash.power import cut

pytestmark = pytest.mark.crash
ONE, TWO = identity_for("one"), identity_for("two")


def tree(root: Path) -> dict[str, bytes]:
    return {
        p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name != ".lock"
    }


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("kills")
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.artifact_writer", str(base)],
        cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    steps = int(done.stdout)
    assert steps > 20
    return [base / str(step) for step in range(1, steps + 1)]


@pytest.mark.parametrize("power", ["on", "cut"])
def test_every_kill_leaves_the_old_result_or_the_new_one(trials, tmp_path, ledger, power):
    reference = ArtifactStore(tmp_path / "reference")
    commit(reference, "one")
    commit(reference, "two")
    seen: list[str] = []
    for trial in trials:
        root = tmp_path / trial.name
        # a copy has new inodes: what was lost is decided on the original
        if power == "cut":
            root = trial
            cut(root, trial.with_suffix(".synced"))
        else:
            shutil.copytree(trial, root)
        store = ArtifactStore(root)
        found = store.current("a")
        assert found is not None, trial
        assert found.identity in (ONE, TWO)
        text = "one" if found.identity == ONE else "two"
        assert (found.path / "sub" / "x.txt").read_text() == text
        assert (found.path / "y.txt").read_text() == text * 2
        seen.append(found.identity)
        store.collect_orphans()
        commit(store, "two")
        assert tree(root) == tree(tmp_path / "reference"), trial
    ledger.record(
        f"SIGKILL of an artifact commit at each step, power {power}", trials=len(seen), repaired=seen.count(ONE)
    )
    assert set(seen) == {ONE, TWO}
    # once the new result is there, no later kill takes it away
    assert seen == sorted(seen, key=[ONE, TWO].index)
