"""What it costs to spread shards, and that it changes no result: ``python -m benchmarks.engine [--quick]``.

The last line is one JSON object:

- ``overhead_local``, ``overhead_ray``: share of the work that spreading adds to shards of 50,000 documents. It is what
  a slot takes beside the shard itself (``overhead_ms_*``, of shards that only sleep), over that and the seconds in
  which one core reads 50,000 documents (``shard_s``);
- ``busy_slots_with_stragglers``: share of 1,000 slots that works, simulated with the window that both engines use, for
  90,000 shards of which one in a thousand takes twenty times as long; ``busy_slots_ordered`` is the same with a window
  of two shards a slot in order, as it was before;
- ``digests_equal`` of ``digests``: results of the small demo that are the same on Ray as on the local engine.

What needs Ray is null where it is not installed. ``--quick`` leaves the demo out.
"""

import argparse
import heapq
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.fragments import FileJob, extract_file
from gem_assets.parallel.machine import usable_cores
from gem_assets.parallel.window import Window
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.lance import LanceTables
from resources import EngineResource

DOCUMENTS = 50_000
SLEEP_S = 0.1
SHARDS, SLOTS, STRAGGLERS, SLOWNESS = 90_000, 1_000, 0.001, 20.0


def sleep(seconds: float) -> float:
    """Work as a shard does that leaves the cores alone."""
    time.sleep(seconds)
    return seconds


def overhead_s(kind: str, shards: int) -> float:
    """Seconds of a slot that a shard takes beside its own work, once the workers are there."""
    slots = usable_cores()
    engine = EngineResource(kind=kind, workers=slots)
    list(engine.map(sleep, [SLEEP_S] * slots * 4, "starting"))
    started = time.perf_counter()
    list(engine.map(sleep, [SLEEP_S] * shards * slots, "measuring"))
    return (time.perf_counter() - started) / shards - SLEEP_S


def shard_s(documents: int) -> float:
    """Seconds in which one core reads so many documents of a JSON Lines file to candidate rows."""
    texts = [text[:4_000] for text in topics.values() if len(text) > 500]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "pages.jsonl"
        with path.open("w", encoding="utf-8") as out:
            for number in range(documents):
                text = texts[number % len(texts)]
                out.write(json.dumps({"text": f"{text} {number}", "url": f"https://e.invalid/{number}"}) + "\n")
        job = FileJob(0, str(path), path.name, None)
        took: list[float] = []
        for _ in range(2):  # the first one compiles
            started = time.process_time()
            tally = extract_file(job, scratch=scratch, config=CorpusConfig())
            took.append(time.process_time() - started)
        assert tally.candidates == documents, tally
        return took[-1]


def busy_share(start: Callable[[], int | None], finish: Callable[[int], None], seconds: np.ndarray) -> float:
    """Share of the slots that works until the last shard has ended."""
    now, ends = 0.0, list[tuple[float, int]]()
    while True:
        while len(ends) < SLOTS and (index := start()) is not None:
            heapq.heappush(ends, (now + seconds[index], index))
        if not ends:
            return float(seconds.sum() / (SLOTS * now))
        now, index = heapq.heappop(ends)
        finish(index)


def simulated(seed: int) -> dict[str, float]:
    """Share of busy slots with the window of the engines, and with the one in order that they had."""
    rng = np.random.default_rng(seed)
    seconds = np.where(rng.random(SHARDS) < STRAGGLERS, SLOWNESS, 1.0) * rng.uniform(0.9, 1.1, SHARDS)
    window = Window[None](SHARDS)

    def finish(index: int) -> None:
        window.finish(index, None, 1_000)
        for _ in window.due():
            pass

    unordered = busy_share(window.start, finish, seconds)
    ended, state = np.zeros(SHARDS, np.bool_), {"next": 0, "due": 0}

    def start_in_order() -> int | None:
        if state["next"] >= min(SHARDS, state["due"] + 2 * SLOTS):
            return None
        state["next"] += 1
        return state["next"] - 1

    def finish_in_order(index: int) -> None:
        ended[index] = True
        while state["due"] < SHARDS and ended[state["due"]]:
            state["due"] += 1

    return {
        "busy_slots_with_stragglers": round(unordered, 3),
        "busy_slots_ordered": round(busy_share(start_in_order, finish_in_order, seconds), 3),
    }


def results(root: Path) -> dict[str, Any]:
    """Digests of everything in force in a data root."""
    artifacts, tables = ArtifactStore(root), LanceTables(root / "tables")
    found: dict[str, Any] = {}
    for asset in artifacts.assets():
        for partition in artifacts.places(asset):
            current = artifacts.current(asset, partition)
            if current is not None:
                found[f"{asset}[{partition}]"] = [(file.path, file.sha256) for file in current.manifest.outputs]
    for table in tables.tables():
        for snapshot in tables.snapshots(table):
            found[f"table {table}[{snapshot}]"] = tables.digest(table, snapshot=snapshot)
    return found


def demo_on(kind: str, root: Path) -> dict[str, Any]:
    """Run the small demo on one engine."""
    command = [sys.executable, "-m", "gem_assets.cli", "demo", "--small", "--data-root", str(root)]
    subprocess.run(command, check=True, env={**os.environ, "GEM_ENGINE": kind}, stdout=sys.stderr)
    return results(root)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer shards, and no demo")
    args = parser.parse_args()
    ray = find_spec("ray") is not None
    work_s = shard_s(2_000 if args.quick else 10_000) * DOCUMENTS / (2_000 if args.quick else 10_000)
    report: dict[str, Any] = {"shard_s": round(work_s, 1)}
    for kind in ("local", "ray"):
        extra = overhead_s(kind, 20 if args.quick else 100) if ray or kind == "local" else None
        report[f"overhead_ms_{kind}"] = None if extra is None else round(1000 * extra, 1)
        report[f"overhead_{kind}"] = None if extra is None else round(extra / (extra + work_s), 5)
    report |= simulated(seed=0)
    report |= {"digests_equal": None, "digests": None}
    if ray and not args.quick:
        with tempfile.TemporaryDirectory() as scratch:
            one, other = (demo_on(kind, Path(scratch) / kind) for kind in ("local", "ray"))
        equal = sum(one[name] == other.get(name) for name in one)
        report |= {"digests_equal": equal, "digests": len(one.keys() | other.keys())}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
