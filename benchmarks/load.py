"""Many small snapshots, and one large one of short documents: wall time, peak memory of every stage, tick time.

``python -m benchmarks.load [--quick] [--snapshots N] [--documents M]`` resamples passages of
``multidomain/webmix_dev``. The space, the teacher, the student and the taxonomy are fitted on one ordinary snapshot
first, as in a year of crawls. Then, each stage in a process of its own so that its peak memory is its own:

* N snapshots of 5 documents (1,000 unless told otherwise) through ingest, vectors, labels, sums of drift and the
  inventory, and the time of one automation tick over them when nothing is to be done, first and second;
* one snapshot of M documents of some 40 words (2 million), and one of M / 4, so that the bytes a stage needs for each
  further document can be told from what it needs anyhow (two processes of shard work each).

The last line is one JSON object; ``memory`` holds the peak of both runs in MB and the slope in bytes per document.
Peaks are ``VmHWM``, which counts mapped files as far as they are in memory, of the process itself and of its
largest worker.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.shared_data import shared_folder

FITTED = ("embedding_space", "embeddings", "teacher_clusters", "student_model", "gis_taxonomy", "student_labels")
SNAPSHOT_STAGES = ("raw_shards", "embeddings", "student_labels", "drift_statistics")
# the fits are not what is measured
SETTINGS = """
workers = 2
[embedding]
dimension = 64
fit_documents = 2000
[teacher]
k = 8
seed_documents = 1500
n_init = 1
init_rows = 256
anneal_iter = 5
[student]
hash_bits = 16
epochs = 2
"""
FILE_ROWS = 50_000


def passages() -> list[str]:
    """Sentences of the corpus, 40 to 400 characters."""
    texts = pq.read_table(shared_folder() / "corpora" / "multidomain" / "webmix_dev.parquet", columns=["text"])
    found: list[str] = []
    for text in texts.column("text").to_pylist():
        found += [part for line in text[:4000].split("\n") for part in line.split(". ") if 40 <= len(part) <= 400]
    return found


def land(root: Path, snapshot: str, documents: int, parts: list[str], seed: int) -> None:
    """Write a snapshot of short documents, three passages each."""
    folder = root / "landing" / snapshot
    folder.mkdir(parents=True)
    chance = np.random.default_rng(seed)
    for number, start in enumerate(range(0, documents, FILE_ROWS)):
        rows = min(FILE_ROWS, documents - start)
        picks = chance.integers(len(parts), size=(rows, 3))
        table = pa.table(
            {
                "text": [". ".join(parts[i] for i in row) for row in picks.tolist()],
                "url": [f"https://site{seed}.example/{start + i}" for i in range(rows)],
            }
        )
        pq.write_table(table, folder / f"pages-{number:04d}.parquet")
    (folder / "_SUCCESS").touch()


def run_stage(root: str, asset: str, snapshots: list[str | None], answer: Any) -> None:
    """Run one asset on some snapshots in this process; send seconds and peak memory, workers included."""
    os.environ["GEM_DATA_ROOT"] = root
    import dagster as dg

    from gem_assets.assets import ALL_ASSETS
    from resources import EngineResource, SettingsResource, StoreResource

    definition = next(a for a in ALL_ASSETS if a.key.to_user_string() == asset)
    handed: dict[str, Any] = {
        "settings": SettingsResource(data_root=root),
        "store": StoreResource(root=root),
        "engine": EngineResource(data_root=root),
    }
    wanted = {k: v for k, v in handed.items() if k in definition.required_resource_keys}
    watch = Watch()
    with dg.DagsterInstance.ephemeral() as instance:
        started = time.perf_counter()
        for snapshot in snapshots:
            result = definition(dg.build_asset_context(partition_key=snapshot, instance=instance), **wanted)
            if not isinstance(result, dg.MaterializeResult):
                list(result)
        seconds = time.perf_counter() - started
    answer.send({"seconds": round(seconds, 2), "mb": peak_mb("self"), "worker_mb": watch.peak_mb})


def peak_mb(process: str) -> int:
    """Return the largest resident size that a process has had, in MB.

    Not ``ru_maxrss``: that one starts at the size of the process that this one was forked from.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc", process, "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024)
    return 0


class Watch(threading.Thread):
    """Looks at the processes below this one, twice a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0
        self.start()

    def run(self) -> None:
        """Look again and again."""
        while True:
            own: list[str] = []
            waiting = [os.getpid()]
            while waiting:
                for path in Path("/proc", str(waiting.pop()), "task").glob("*/children"):
                    with contextlib.suppress(OSError):
                        own += (children := path.read_text().split())
                        waiting += map(int, children)
            self.peak_mb = max([self.peak_mb, *map(peak_mb, own)])
            time.sleep(0.5)


def stage(root: Path, asset: str, snapshots: list[str | None]) -> dict[str, float]:
    """Run one asset in a fresh process and return what it took."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=run_stage, args=(str(root), asset, snapshots, theirs))
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        raise SystemExit(f"{asset} failed; see above") from None
    finally:
        process.join()
    print(f"{asset} on {len(snapshots)}: {found}", file=sys.stderr, flush=True)
    return found


def tick_seconds(root: Path, snapshots: list[str]) -> dict[str, float]:
    """Report everything as made, then time two evaluations of every condition."""
    import dagster as dg

    from gem_assets.definitions import code_location
    from resources import StoreResource

    defs, store = code_location(root), StoreResource(root=str(root))
    with tempfile.TemporaryDirectory() as home, dg.DagsterInstance.local_temp(home) as instance:
        instance.add_dynamic_partitions("snapshot", snapshots)
        for snapshot in snapshots:
            shards = store.artifacts.current("raw_shards", snapshot)
            landed = shards.data_version.split(":")[0] if shards is not None else ""
            _report(instance, "landing", snapshot, landed)
            for asset in SNAPSHOT_STAGES:
                made = store.artifacts.current(asset, snapshot)
                if made is not None:
                    _report(instance, asset, snapshot, made.data_version)
        for asset in store.artifacts.assets():
            made = store.artifacts.current(asset)
            if made is not None:
                _report(instance, asset, None, made.data_version)
        cursor, found = None, {}
        for name in ("first", "second"):
            started = time.perf_counter()
            outcome = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=cursor)
            found[name], cursor = round(time.perf_counter() - started, 2), outcome.cursor
    return found


def _report(instance: Any, asset: str, partition: str | None, version: str) -> None:
    import dagster as dg

    from gem_assets.orchestration.places import shown

    tags = {"dagster/data_version": version}
    key, partition = shown((asset, partition))
    event = dg.AssetMaterialization(key, partition=partition, tags=tags)
    instance.report_runless_asset_event(event)


def main(snapshots: int, documents: int) -> dict[str, Any]:
    parts = passages()
    with tempfile.TemporaryDirectory(prefix="gem-load-") as folder:
        root = Path(folder)
        (root / "gem.toml").write_text(SETTINGS, encoding="utf-8")
        land(root, "base", 1_500, parts, 0)
        stage(root, "raw_shards", ["base"])
        for asset in FITTED:
            stage(root, asset, ["base"] if asset in SNAPSHOT_STAGES else [None])
        small = [f"small-{number:04d}" for number in range(snapshots)]
        for number, name in enumerate(small, 1):
            land(root, name, 5, parts, number)
        many = {asset: stage(root, asset, list(small)) for asset in SNAPSHOT_STAGES}
        many["page_history"] = stage(root, "page_history", [None])
        many["domain_inventory"] = stage(root, "domain_inventory", [None])
        ticks = tick_seconds(root, ["base", *small])
        sizes = {"quarter": documents // 4, "large": documents}
        large: dict[str, dict[str, dict[str, float]]] = {}
        for number, (name, size) in enumerate(sizes.items()):
            land(root, name, size, parts, 10_000_000 + number)
            large[name] = {asset: stage(root, asset, [name]) for asset in SNAPSHOT_STAGES}
            large[name]["page_history"] = stage(root, "page_history", [None])
            large[name]["domain_inventory"] = stage(root, "domain_inventory", [None])
    further = sizes["large"] - sizes["quarter"]
    memory = {
        asset: {
            "mb": [large[name][asset]["mb"] for name in sizes],
            "worker_mb": [large[name][asset]["worker_mb"] for name in sizes],
            "bytes_a_document": round((large["large"][asset]["mb"] - large["quarter"][asset]["mb"]) * 2**20 / further),
        }
        for asset in large["large"]
    }
    return {
        "snapshots": snapshots,
        "documents": documents,
        "seconds_a_small_snapshot": {
            asset: round(took["seconds"] / snapshots, 4) for asset, took in many.items() if asset in SNAPSHOT_STAGES
        },
        "inventory_over_all_seconds": many["domain_inventory"]["seconds"],
        "small_snapshots_mb": {asset: took["mb"] for asset, took in many.items()},
        "tick_seconds": ticks,
        "documents_a_second": {
            asset: round(documents / max(large["large"][asset]["seconds"], 1e-9)) for asset in SNAPSHOT_STAGES
        },
        "memory": memory,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 snapshots and 8,000 documents")
    parser.add_argument("--snapshots", type=int)
    parser.add_argument("--documents", type=int)
    asked = parser.parse_args()
    print(
        json.dumps(
            main(
                asked.snapshots or (20 if asked.quick else 1_000),
                asked.documents or (8_000 if asked.quick else 2_000_000),
            )
        )
    )
