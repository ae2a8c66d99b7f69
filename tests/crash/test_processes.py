"""Several processes at once, a clock that goes back, files that hang, and files torn after the fact."""

import json
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.dedup.known import NothingKnown
from gem_assets.corpus.ingest import TRIES, ingest_snapshot
from gem_assets.maintenance.doctor import examine, repair
from gem_assets.parallel.shard_map import ShardHungError
from gem_assets.storage.lance import LanceTables
from gem_assets.storage.lance_files import manifests
from resources import EngineResource, StoreResource
from tests.crash.graph_runner import land
from tests.crash.hanging import end_on, hang_on
from tests.crash.ledger import FULL
from tests.direct import REFRESHED, content, run_graph
from tests.resources.tables import rows

pytestmark = pytest.mark.crash
LONG = pytest.mark.skipif(not FULL, reason="one of the long faults: make test-crash")
REPOSITORY = Path(__file__).resolve().parents[2]

_WRITER = """
import sys
from gem_assets.storage.lance import LanceTables
from tests.resources.tables import rows
tables, number = LanceTables(sys.argv[1]), int(sys.argv[2])
for turn in range(int(sys.argv[3])):
    tables.replace_snapshot("t", rows("shared", 40, seed=turn), "shared")
    tables.replace_snapshot("t", rows(f"own{number}", 20 + turn, seed=number), f"own{number}")
print("done")
"""


def python(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    import os

    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=REPOSITORY, env={**os.environ, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(child: subprocess.Popen[str], timeout: float = 300) -> str:
    out, err = child.communicate(timeout=timeout)
    assert child.returncode == 0, err[-3000:]
    return out


@pytest.mark.slow
def test_four_processes_write_one_table(tmp_path, ledger):
    turns = 10 if FULL else 2
    children = [python(_WRITER, tmp_path / "db", number, turns) for number in range(4)]
    for child in children:
        finished(child)
    tables = LanceTables(tmp_path / "db")
    assert tables.snapshots("t") == {**{f"own{n}": 19 + turns for n in range(4)}, "shared": 40}
    keys = [(row["snapshot"], row["doc_id"]) for row in tables.read("t", columns=["snapshot", "doc_id"]).to_pylist()]
    ledger.record("4 processes writing one table", trials=4 * turns, duplicated=len(keys) - len(set(keys)))
    assert len(keys) == len(set(keys))
    for number in range(4):
        found = tables.read("t", snapshot=f"own{number}").sort_by("doc_id").to_pylist()
        assert found == rows(f"own{number}", 19 + turns, seed=number).to_pylist()


def three_files(root: Path) -> None:
    folder = root / "landing" / "s1"
    folder.mkdir(parents=True)
    for name in ("a", "slow", "z"):
        text = f"A page about {name} and nothing else, told at some length."
        (folder / f"{name}.jsonl").write_text(json.dumps({"text": text, "url": f"https://{name}.example/"}) + "\n")
    (folder / "_SUCCESS").touch()


def check_the_slow_file_is_out(root: Path, hanging_map) -> list[list[str]]:
    calls: list[list[str]] = []

    def noted(fn, items, label):
        calls.append([item.relative for item in items])
        yield from hanging_map(fn, items, label)

    three_files(root)
    report = ingest_snapshot(
        root / "landing", "s1", root / "out", CorpusConfig(), known=NothingKnown(), map_shards=noted
    )
    assert (report.kept, report.quarantined, report.hung) == (2, {"hung": 1}, ["slow.jsonl"])
    assert pq.read_table(root / "out" / "quarantine.parquet").column("reason").to_pylist() == ["hung"]
    return calls


def test_a_file_that_hangs_its_reader_is_tried_again_and_then_quarantined(tmp_path):
    def stopping_map(fn, items, label):
        for item in items:
            if item.relative == "slow.jsonl":
                # what a stopped reader leaves behind counts for nothing
                fn(item)
                raise ShardHungError(f"{label}: stopped", item)
            yield fn(item)

    calls = check_the_slow_file_is_out(tmp_path, stopping_map)
    assert calls == [["a.jsonl", "slow.jsonl", "z.jsonl"], ["slow.jsonl", "z.jsonl"], ["z.jsonl"]]
    assert sum("slow.jsonl" in names for names in calls) == TRIES


@pytest.mark.parametrize("how", ["kill", "abort", "memory"])
def test_a_file_that_ends_its_reader_is_quarantined_and_the_snapshot_is_kept(tmp_path, ledger, how):
    engine = EngineResource(kind="local", workers=2)

    def dying_map(fn, items, label):
        yield from engine.map(partial(end_on, how, "slow.jsonl", **fn.keywords), items, label)

    three_files(tmp_path)
    out = tmp_path / "out"
    report = ingest_snapshot(
        tmp_path / "landing", "s1", out, CorpusConfig(), known=NothingKnown(), map_shards=dying_map
    )
    ledger.record("a shard that ends its process twice: killed, aborted, out of memory", trials=1, repaired=1)
    assert (report.kept, report.quarantined, report.died) == (2, {"reader_died": 1}, ["slow.jsonl"])
    assert report.hung == []
    (row,) = pq.read_table(out / "quarantine.parquet").to_pylist()
    assert (row["file"], row["reason"]) == ("slow.jsonl", "reader_died")
    assert not (out / ".scratch").exists()


@pytest.mark.slow
@LONG
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_hangs_is_stopped_and_its_file_quarantined(tmp_path, ledger, workers):
    engine = EngineResource(kind="local", workers=workers, shard_timeout_s=30.0)

    def hanging_map(fn, items, label):
        yield from engine.map(partial(hang_on, "slow.jsonl", **fn.keywords), items, label)

    calls = check_the_slow_file_is_out(tmp_path, hanging_map)
    ledger.record("a shard that hangs, stopped and tried again, one worker and two", trials=TRIES, repaired=1)
    assert sum("slow.jsonl" in names for names in calls) == TRIES


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faults") / "built"
    land(root)
    run_graph(root)
    return root


def newest(root: Path, what: str) -> Path:
    """A file of the newest result of a kind."""
    artifacts, tables = root / "artifacts", StoreResource(root=str(root)).tables
    labels = next(name for name in tables.tables() if name.startswith("labels__"))
    match what:
        case "pointer":
            return artifacts / "student_labels" / "2026-02" / "CURRENT"
        case "history and pointer":
            return artifacts / "raw_shards" / "2026-01" / "HISTORY"
        case "manifest of an artifact":
            return StoreResource(root=str(root)).artifacts.current("raw_shards", "2026-02").path / "manifest.json"
        case "shard of documents":
            return StoreResource(root=str(root)).artifacts.current("raw_shards", "2026-01").path / "part-00000.parquet"
        case "recipe":
            return StoreResource(root=str(root)).artifacts.current("recipes/balanced").path / "recipe.json"
        case "newest version of a table":
            return next(iter(manifests(Path(tables.path(labels))).values()))
        case _:
            return max((Path(tables.path(labels)) / "data").iterdir(), key=lambda path: path.stat().st_mtime_ns)


TORN = [
    "newest version of a table",
    "shard of documents",
    "pointer",
    "history and pointer",
    "manifest of an artifact",
    "recipe",
    "data file of a table",
]


@LONG
@pytest.mark.slow
@pytest.mark.parametrize("how", ["truncated", "emptied"])
@pytest.mark.parametrize("what", TORN)
def test_a_torn_newest_file_is_stepped_back_from_and_made_again(built, tmp_path, ledger, what, how):
    root = tmp_path / "copy"
    shutil.copytree(built, root)
    path = newest(root, what)
    for torn in [path, path.with_name("CURRENT")] if what.startswith("history") else [path]:
        data = torn.read_bytes()
        torn.write_bytes(data[: len(data) // 2] if how == "truncated" else b"")
    computed = run_graph(root, REFRESHED)
    repair(StoreResource(root=str(root)), older_than_s=-1.0)
    same = content(root) == content(built)
    ledger.record(f"{how}: {what}", lost=not same, repaired=1)
    assert same, computed
    assert [one for one in examine(StoreResource(root=str(root)), deep=True) if one.severity == "error"] == []
    assert run_graph(root, REFRESHED) == []


@LONG
@pytest.mark.slow
def test_a_file_full_of_zeros_is_found_by_the_doctor_and_made_again(built, tmp_path, ledger):
    root = tmp_path / "copy"
    shutil.copytree(built, root)
    path = newest(root, "shard of documents")
    path.write_bytes(b"\0" * path.stat().st_size)
    (fault,) = [one for one in examine(StoreResource(root=str(root)), deep=True) if one.kind == "file_changed"]
    assert str(path.parent) in fault.remedy
    shutil.rmtree(path.parent)
    run_graph(root, REFRESHED)
    same = content(root) == content(built)
    ledger.record("zeroed, size unchanged: shard of documents", lost=not same, repaired=1)
    assert same


_RUN = """
import sys
from pathlib import Path
from tests.direct import run_graph
print(len(run_graph(Path(sys.argv[1]))))
"""
_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int found = real(id, t);
    if (id == CLOCK_REALTIME) t->tv_sec -= 3 * 86400;
    return found;
}
"""


@pytest.mark.slow
@LONG
def test_two_daemons_at_once_give_what_one_gives(built, tmp_path, ledger):
    root = tmp_path / "two"
    land(root)
    children = [python(_RUN, root) for _ in range(2)]
    for child in children:
        finished(child)
    found = content(root)
    lost = found != content(built)
    ledger.record("two daemons at once on one data root", trials=2, lost=lost)
    assert not lost
    assert [one for one in examine(StoreResource(root=str(root)), deep=True) if one.severity == "error"] == []


@pytest.mark.slow
@LONG
def test_a_clock_that_goes_back_changes_nothing(built, tmp_path, ledger):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler, so the clock of a process cannot be set back")
    (tmp_path / "clock.c").write_text(_CLOCK)
    library = tmp_path / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "clock.c", "-ldl"], check=True)
    back = finished(python("import time; print(int(time.time()))", LD_PRELOAD=str(library)))
    assert time.time() - int(back) > 2 * 86400
    root = tmp_path / "back"
    land(root)
    run_graph(root, ["raw_shards"])
    finished(python(_RUN, root, LD_PRELOAD=str(library)))
    lost = content(root) != content(built)
    ledger.record("clock three days back half-way", lost=lost)
    assert not lost
    assert run_graph(root) == []
