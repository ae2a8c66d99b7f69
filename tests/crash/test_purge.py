"""A purge killed at a random one of its file-system steps, then run again: as one that was never killed."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gem_assets.maintenance.doctor import examine
from gem_assets.takedown.blocklist import Blocklist, parse_entry
from gem_assets.takedown.certificate import certify, request_takedown
from resources import StoreResource
from tests.crash.ledger import FULL
from tests.direct import CORE, REFRESHED, content, run_graph, write_small_settings
from tests.tiny import land_parquet, passages

pytestmark = [
    pytest.mark.crash,
    pytest.mark.slow,
    pytest.mark.skipif(not FULL, reason="one of the long faults: make test-crash"),
]
TRIALS = 20
REPOSITORY = Path(__file__).resolve().parents[2]

_PURGE = """
import sys
from pathlib import Path
from gem_assets.takedown.blocklist import Blocklist
from resources import StoreResource
from gem_assets.takedown.purge import purge
from tests.crash.graph_runner import watch
root = Path(sys.argv[1])
seen = watch(root, int(sys.argv[2]) or None)
purge(StoreResource(root=str(root)), Blocklist(root).requests(), force=True)
print(seen[0])
"""


def run_purge(root: Path, kill_at: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", _PURGE, str(root), str(kill_at)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def holders(root: Path, text: bytes) -> list[str]:
    """Files that hold a text; parquet is compressed, so of shards the folder counts."""
    shards = [path.relative_to(root).as_posix() for path in root.glob("artifacts/raw_shards/*/*") if path.is_dir()]
    tables = [path for path in (root / "tables").rglob("*") if path.is_file()]
    return sorted(shards) + [path.name for path in tables if text in path.read_bytes()]


def test_a_killed_purge_is_finished_by_the_next_one(tmp_path, ledger):
    base = tmp_path / "base"
    write_small_settings(base)
    rows = [{**row, "url": row["url"].replace("#", "/")} for row in passages()[:120]]
    land_parquet(base, "2026-01", rows[:60])
    land_parquet(base, "2026-02", rows[60:])
    run_graph(base, CORE)
    store = StoreResource(root=str(base))
    request_takedown(store.artifacts, store.tables, [parse_entry(rows[7]["url"])])
    run_graph(base, REFRESHED)
    text = rows[7]["text"].split("\n")[0].encode()

    whole = tmp_path / "whole"
    shutil.copytree(base, whole)
    code, said = run_purge(whole, 0)
    assert code == 0, said
    steps, wanted = int(said.split()[-1]), content(whole)
    finished = 0
    for step in random.Random(0).sample(range(1, steps + 1), min(TRIALS, steps)):
        root = tmp_path / f"step-{step}"
        shutil.copytree(base, root)
        code, said = run_purge(root, step)
        assert code < 0, said
        finished += holders(root, text) == holders(whole, text)
        code, said = run_purge(root, 0)
        assert code == 0, said
        assert holders(root, text) == holders(whole, text), step
        assert content(root) == wanted
        again = StoreResource(root=str(root))
        assert [one for one in examine(again) if one.severity == "error"] == []
        (certificate,) = certify(again.artifacts, again.tables)
        assert certificate.state == "complete"
        assert Blocklist(root).requests() == Blocklist(base).requests()
        shutil.rmtree(root)
    trials = min(TRIALS, steps)
    ledger.record("SIGKILL of a purge at a random step", trials=trials, repaired=trials - finished)
