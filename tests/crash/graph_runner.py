"""Build a small graph in child processes, killed at random file-system steps below the data root; run as a script.

Prints one JSON object. Children are forked from a process that has imported the slow libraries and started nothing, so
that a trial costs its work and not its imports. Each chain begins with an empty data root and is killed and started
again until one run gets to its end; then it has to hold what an uninterrupted run gives.
"""

import importlib
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import matplotlib.pyplot
import numba
import pandas
import scipy.sparse
import sklearn.cluster
import torch

from tests.direct import content, run_step, steps, write_small_settings
from tests.tiny import land_jsonl, land_parquet, passages

# what the stages import inside their functions; Lance is left out, for it must not be forked
for _name in (
    "corpus.ingest",
    "embedding.space",
    "teacher.seed_fit",
    "student.distil",
    "student.label",
    "taxonomy.publish",
    "mixing.recipe_artifact",
    "mixing.inventory",
    "ordering.training_order",
    "lineage.audit",
):
    importlib.import_module(f"gem_assets.{_name}")
SLOW_IMPORTS = (duckdb, matplotlib.pyplot, numba, pandas, scipy.sparse, sklearn.cluster, torch)
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "fcntl.flock", "os.truncate"}


def land(root: Path) -> None:
    """Two snapshots: one repeats texts of the other, and holds damaged files.

    Without near duplicates: a snapshot that is read again after a later one leaves to it what it had dropped as nearly
    the same, so that the same texts are kept, but by others.
    """
    write_small_settings(root)
    with (root / "gem.toml").open("a", encoding="utf-8") as handle:
        handle.write("[corpus.near]\nenabled = false\n")
    rows = passages()
    land_parquet(root, "2026-01", rows[:70])
    land_jsonl(root, "2026-02", rows[60:120], damaged=True)


def watch(root: Path, kill_at: int | None, jitter: float = 0.0) -> list[int]:
    """Count file-system steps below ``root`` from now on; at number ``kill_at``, kill this process a moment later."""
    prefix, seen = str(root), [0]

    def end() -> None:
        time.sleep(jitter)
        os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event not in EVENTS or not args:
            return
        # a lock has no name, and is below the root here
        if event != "fcntl.flock" and not str(args[0]).startswith(prefix):
            return
        seen[0] += 1
        if seen[0] == kill_at:
            if jitter:
                threading.Thread(target=end, daemon=True).start()
            else:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return seen


def build(root: Path, acks: Path) -> None:
    """Run every asset, noting each one that is done."""
    os.environ["GEM_DATA_ROOT"] = str(root)
    for asset, snapshot in steps(root):
        run_step(root, asset, snapshot)
        with acks.open("a") as handle:
            handle.write(f"{asset}[{snapshot}]\n")


def in_child(work: Callable[[], Any], report: Path | None = None) -> int:
    """Run ``work`` in a fork; returns its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            result = work()
            if report is not None:
                report.write_text(json.dumps(result))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def counted(root: Path, acks: Path, kill_at: int | None, jitter: float) -> int:
    seen = watch(root, kill_at, jitter)
    build(root, acks)
    return seen[0]


def compare(root: Path, wanted: dict[str, Any]) -> dict[str, int]:
    """Differences from the uninterrupted run, repeated keys, and what killed runs left behind."""
    from gem_assets.maintenance.doctor import examine, repair
    from resources import StoreResource

    found = json.loads(json.dumps(content(root)))
    store = StoreResource(root=str(root))
    lost = sorted(name for name in wanted if found.get(name) != wanted[name])
    tables = store.tables
    ids = [row for name in tables.tables() for row in _keys(tables, name)]
    faults = [str(one) for one in examine(store) if one.severity == "error"]
    left = repair(store, older_than_s=-1.0)
    extra = sorted(set(found) - set(wanted))
    return {"lost": len(lost) + len(faults) + len(extra), "duplicated": len(ids) - len(set(ids)), "left": len(left)}


def _keys(tables: Any, name: str) -> list[tuple[str, str, str]]:
    rows = tables.read(name, columns=["snapshot", "doc_id"]).to_pylist()
    return [(name, row["snapshot"], row["doc_id"]) for row in rows]


def acknowledged_stand(root: Path, acks: Path) -> int:
    """Results that a killed run had acknowledged and that are not there."""
    from gem_assets.storage.artifacts import ArtifactStore

    store, missing = ArtifactStore(root), 0
    for line in acks.read_text().split() if acks.exists() else []:
        asset, _, rest = line.partition("[")
        partition = rest.rstrip("]")
        missing += store.current(asset, None if partition == "None" else partition) is None
    return missing


def main(base: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    reference, report = base / "reference", base / "report.json"
    in_child(lambda: land(reference))
    pristine = base / "pristine"
    shutil.copytree(reference, pristine)
    if in_child(lambda: counted(reference, base / "reference.acks", None, 0.0), report) != 0:
        raise SystemExit("the uninterrupted run failed")
    total = int(json.loads(report.read_text()))
    in_child(lambda: content(reference), report)
    wanted = json.loads(report.read_text())
    done = {"events": total, "kills": 0, "chains": 0, "lost": 0, "duplicated": 0, "repaired": 0, "failed": 0}
    while done["kills"] < kills:
        root, acks = base / f"chain{done['chains']}", base / f"chain{done['chains']}.acks"
        shutil.copytree(pristine, root)
        while True:
            moment = chance.randint(1, total) if done["kills"] < kills else None
            jitter = chance.uniform(0, 0.05) if chance.random() < 0.5 else 0.0
            code = in_child(lambda: counted(root, acks, moment, jitter))  # noqa: B023
            if code == 0:
                break
            if code != -signal.SIGKILL:
                done["failed"] += 1
                break
            done["kills"] += 1
            in_child(lambda: acknowledged_stand(root, acks), report)  # noqa: B023
            done["lost"] += int(json.loads(report.read_text()))
        in_child(lambda: compare(root, wanted), report)  # noqa: B023
        found = json.loads(report.read_text())
        done["lost"] += found["lost"]
        done["duplicated"] += found["duplicated"]
        done["repaired"] += found["left"] > 0
        done["chains"] += 1
        shutil.rmtree(root)
    print(json.dumps(done))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
