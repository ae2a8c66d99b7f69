"""What a new snapshot costs beside the full build, and what a run without news writes.

``python -m benchmarks.increment [--quick]`` builds the whole graph with default settings on ten snapshots of resampled
passages of the real corpora, lands one more that is a tenth as large, brings everything up to date, and runs once more
without news. The last line is one JSON object:

- ``increment_cost_share``: work time of the new snapshot (every step that ``gem plan`` lists for it, which is what the
  daemon requests, checks included) over that of the full build before it;
- ``visited_cost_share``: the whole run that brought it up to date over that of the full build, with asking every other
  asset whether it stands and with the steps that Dagster has to hear of again;
- ``noop_versions``, ``noop_files``, ``noop_steps``: table versions and files (artifacts, tables, landing) that the run
  without news wrote, and steps that it started;
- ``noop_seconds``: how long it took.

Work time is the sum over steps, a run has its time on the clock; all in one process tree, one after the other. 200,000
documents, then 20,000; ``--quick`` takes a tenth of both.
"""

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.shared_data import shared_folder
from benchmarks.teacher_data import CORPORA, passages
from gem_assets.cli.planning import make_plan
from gem_assets.run import RunSummary, materialize_everything
from gem_assets.settings import load_settings
from resources import StoreResource

SNAPSHOTS = 10


def resampled(count: int, seed: int) -> list[dict[str, str]]:
    """``count`` distinct documents: two or three passages of one label of one corpus, in a random order."""
    pools: dict[str, list[str]] = {}
    for name in CORPORA:
        table = pq.read_table(shared_folder() / "corpora" / name, columns=["text", "label"])
        for row in table.to_pylist():
            pools.setdefault(f"{name}:{row['label']}", []).extend(passages(row["text"]))
    labels = sorted(pools)
    weights = np.array([len(pools[label]) for label in labels], np.float64)
    rng = np.random.default_rng(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        for pick in rng.choice(len(labels), count - len(found), p=weights / weights.sum()):
            pool = pools[labels[pick]]
            parts = [pool[i] for i in rng.integers(0, len(pool), rng.integers(2, 4))]
            found.setdefault("\n\n".join(parts), labels[pick])
    return [
        {"url": f"https://resampled.invalid/{i}", "text": text, "source": label.split(":")[1]}
        for i, (text, label) in enumerate(found.items())
    ]


def land(root: Path, snapshot: str, rows: list[dict[str, str]]) -> None:
    folder = root / "landing" / snapshot
    folder.mkdir(parents=True)
    for shard, start in enumerate(range(0, len(rows), 10_000)):
        pq.write_table(pa.Table.from_pylist(rows[start : start + 10_000]), folder / f"pages-{shard}.parquet")
    (folder / "_SUCCESS").touch()


def written(root: Path) -> dict[str, tuple[int, int]]:
    """Every file of artifacts, tables and landing, with size and time of its last change."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for folder in ("artifacts", "tables", "landing")
        for path in (root / folder).rglob("*")
        if path.is_file()
    }


def work(summary: RunSummary, chosen: set[tuple[str, str | None]] | None = None) -> tuple[float, dict[str, float]]:
    """Seconds of all steps (or of those chosen), and of each asset."""
    if summary.failed:
        raise SystemExit("; ".join(f"{step.asset} {step.snapshot}: {step.error}" for step in summary.failed))
    by_asset: Counter[str] = Counter()
    for step in summary.steps:
        if chosen is None or (step.asset, step.snapshot) in chosen:
            by_asset[step.asset] += step.seconds
    return sum(by_asset.values()), {name: round(seconds, 2) for name, seconds in by_asset.most_common(8)}


def main(count: int) -> dict[str, object]:
    rows = resampled(count + count // 10, seed=0)
    with tempfile.TemporaryDirectory(prefix="increment-") as folder:
        root = Path(folder)
        for number in range(SNAPSHOTS):
            land(root, f"base-{number:02}", rows[number * count // SNAPSHOTS : (number + 1) * count // SNAPSHOTS])
        settings, store = load_settings(root), StoreResource(root=folder)

        def step(name: str) -> RunSummary:
            summary = materialize_everything(settings)
            print(f"{name}: {summary.seconds:.1f} s, in steps {work(summary)[0]:.1f} s  {work(summary)[1]}", flush=True)
            return summary

        build = step("full build")
        full, full_by_asset = work(build)
        land(root, "new", rows[count:])
        due = {(task.asset, task.partition) for task in make_plan(settings).automatic}
        summary = step("new snapshot")
        increment, increment_by_asset = work(summary, due)
        tables = store.tables.tables()
        versions, files = {name: store.tables.versions(name) for name in tables}, written(root)
        due_again = len(make_plan(settings).automatic)
        noop = step("no news")
        after = {name: store.tables.versions(name) for name in store.tables.tables()}
        changed = written(root).items() ^ files.items()
        kept = store.artifact(store.input("domain_inventory")).manifest.counts["documents"]
    return {
        "increment_cost_share": increment / full,
        "visited_cost_share": summary.seconds / build.seconds,
        "steps_of_increment": len(due),
        "noop_steps_due": due_again,
        "noop_versions": sum(len(set(after[name]) - set(versions.get(name, ()))) for name in after),
        "noop_files": len({path for path, _ in changed}),
        "noop_steps": len(noop.steps),
        "noop_seconds": noop.seconds,
        "full_seconds": full,
        "increment_seconds": increment,
        "documents_landed": count,
        "documents_new": count // 10,
        "documents_kept_in_all": kept,
        "full_by_asset": full_by_asset,
        "increment_by_asset": increment_by_asset,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20,000 documents, then 2,000")
    parser.add_argument("--documents", type=int, help="documents of the full build; a tenth as many follow")
    given = parser.parse_args()
    print(json.dumps(main(given.documents or (20_000 if given.quick else 200_000))))
