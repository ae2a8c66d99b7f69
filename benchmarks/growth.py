"""Six growing snapshots through `gem dev`, through `gem run`, and through a `gem dev` that is killed three times.

``python -m benchmarks.growth [--quick] [--demo]``. The text is the documentation inside of Python's standard library,
so nothing but the interpreter is needed. Each snapshot lands once everything before it is current, and a quarter of it
was in the snapshot before. With ``--demo`` the snapshots are those of ``gem demo``. The last line is one JSON object:

``red_runs``
    Runs of the daemon and of `gem run` that failed.
``useless_runs``
    Runs that made something and found all of it standing.
``idle_s_between_stages``
    The longest time between the end of one stage and the start of the next, after any landing; seconds.
``bookkeeping_over_artifacts``
    Bytes below ``dagster`` over those below ``artifacts`` and ``tables``, on the daemon's root at the end.
``idle_bytes_written``
    What a further minute of idling adds to the root.
``final_states_equal``
    Whether every result has the same version, the same bytes in its files and the same rows in its tables on all three
    roots.
"""

import argparse
import ast
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import dagster as dg

from gem_assets.corpus.landing import land
from gem_assets.definitions import code_location
from gem_assets.demo.landing import build_demo_landing
from gem_assets.orchestration.bookkeeping import tidy
from gem_assets.orchestration.history import step_owners
from gem_assets.orchestration.instance import open_instance
from gem_assets.orchestration.reconcile import MOVING
from gem_assets.orchestration.reconciler import Reconciler
from gem_assets.orchestration.run_records import run_times
from gem_assets.orchestration.timing import time_spent
from gem_assets.settings import Settings, load_settings
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.identity import digest
from gem_assets.storage.manifest import stage_name

SIZES, QUICK_SIZES = (200, 320, 440, 560, 680, 800), (120, 160)
LIMIT_S, IDLE_S = 1800.0, 60.0
TOML = """
[embedding]
dimension = 32
[teacher]
k = 6
"""
DEMO_TOML = """
[teacher]
k = 24
"""


def main(*, quick: bool, demo: bool, folder: Path) -> dict[str, Any]:
    """Run the three ways one after the other; returns the figures."""
    snapshots = demo_landing(folder / "landing", small=quick) if demo else corpus(folder / "pages", quick)
    load_before = os.getloadavg()[0]
    toml = DEMO_TOML if demo and not quick else TOML
    ways = {name: Way(folder / name, toml) for name in ("daemon", "run", "killed")}
    last = len(snapshots) - 1
    killed_at = (0, 1, last)
    for name, way in ways.items():
        for number, (snapshot, source) in enumerate(snapshots.items()):
            print(f"{name}: {snapshot}", flush=True)
            way.land(source, snapshot)
            if name == "run":
                way.run()
            else:
                kills = killed_at.count(number) if name == "killed" else 0
                way.serve(kills=kills, idle=name == "daemon" and number == last)
    states = {name: contents(way.settings.data_root) for name, way in ways.items()}
    places = {place for state in states.values() for place in state}
    differing = [place for place in places if len({state.get(place) for state in states.values()}) > 1]
    counted = [ways["daemon"].runs(), ways["run"].runs()]
    return {
        "snapshots": ways["run"].documents(),
        "red_runs": sum(red for red, _ in counted),
        "useless_runs": sum(useless for _, useless in counted),
        "idle_s_between_stages": round(max(ways["daemon"].gaps()), 1),
        "bookkeeping_over_artifacts": round(ways["daemon"].bookkeeping(), 3),
        "idle_bytes_written": ways["daemon"].idle_bytes,
        "final_states_equal": not differing,
        "differing": sorted(stage_name(*place) for place in differing),
        "seconds": {name: [round(s, 1) for s in way.seconds] for name, way in ways.items()},
        "load": [round(load_before, 1), round(os.getloadavg()[0], 1)],
    }


class Way:
    """One data root and how it is kept current.

    Parameters
    ----------
    root
        Data root.
    toml
        Its settings.
    """

    def __init__(self, root: Path, toml: str = TOML) -> None:
        root.mkdir(parents=True)
        (root / "gem.toml").write_text(toml, encoding="utf-8")
        self.settings: Settings = load_settings(root)
        self.landed: list[float] = []
        self.seconds: list[float] = []
        self.idle_bytes = 0

    def land(self, source: Path, snapshot: str) -> None:
        """Land one snapshot."""
        land([source], self.settings.landing, snapshot)
        self.landed.append(time.time())

    def run(self) -> None:
        """Make everything with `gem run`."""
        done = subprocess.run(self._command("run"), check=False)
        if done.returncode:
            print(f"gem run ended with {done.returncode}", flush=True)
        self.seconds.append(time.time() - self.landed[-1])

    def serve(self, *, kills: int, idle: bool) -> None:
        """Let `gem dev --no-ui` make everything, and kill it some times while it is at work."""
        server = self._start()
        try:
            graph = code_location(self.settings.data_root).resolve_asset_graph()
            with open_instance(self.settings) as instance:
                reconciler = Reconciler(str(self.settings.data_root), graph, instance, notes=False)
                while (moving := self._moving(reconciler)) and time.time() < self.landed[-1] + LIMIT_S:
                    if kills and any(state == "running" for state in moving):
                        time.sleep(8)  # in the middle of something
                        kills -= 1
                        server.send_signal(signal.SIGKILL)
                        server.wait()
                        print("killed", flush=True)
                        server = self._start()
                    time.sleep(2)
                if moving:
                    raise SystemExit(f"not current after {LIMIT_S:.0f} s")
                self.seconds.append(time.time() - self.landed[-1])
            if idle:
                time.sleep(IDLE_S)  # what had happened is tidied up once it is quiet
                before = size_of(self.settings.data_root)
                time.sleep(IDLE_S)
                self.idle_bytes = size_of(self.settings.data_root) - before
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()

    def documents(self) -> list[int]:
        """Return how many documents each snapshot was read from."""
        found = ArtifactStore(self.settings.data_root).snapshots("raw_shards")
        return [found[snapshot].manifest.counts["read"] for snapshot in sorted(found)]

    def runs(self) -> tuple[int, int]:
        """Return how many runs failed, and how many changed nothing."""
        red = useless = 0
        with open_instance(self.settings) as instance:
            for run in instance.get_runs():
                made = [
                    record.event_log_entry.asset_materialization
                    for record in instance.get_records_for_run(
                        run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
                    ).records
                ]
                computed = [one.metadata["computed"].value for one in made if one and "computed" in one.metadata]
                red += run.status == dg.DagsterRunStatus.FAILURE
                useless += bool(computed) and not any(computed)
        return red, useless

    def gaps(self) -> Iterator[float]:
        """Yield the longest gap between stages after each landing."""
        owners = dict(step_owners(code_location(self.settings.data_root).resolve_asset_graph()))
        with open_instance(self.settings) as instance:
            for landed, following in zip(self.landed, [*self.landed[1:], float("inf")], strict=True):
                runs = [run for run in run_times(instance, landed, owners) if run.created < following]
                spent = time_spent(landed, runs)
                if spent is not None:
                    print(json.dumps({"after_landing": spent.seconds, "gap": spent.longest_gap, "runs": spent.runs}))
                    yield spent.longest_gap

    def bookkeeping(self) -> float:
        """Return Dagster's bytes over those of results."""
        root = self.settings.data_root
        with open_instance(self.settings) as instance:
            tidy(instance, self.settings.dagster_home)
        return size_of(self.settings.dagster_home) / (size_of(root / "artifacts") + size_of(root / "tables"))

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "gem_assets.cli", *arguments, "--data-root", str(self.settings.data_root)]

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command("dev", "--no-ui"))

    def _moving(self, reconciler: Reconciler) -> list[str]:
        items = reconciler.look(reconciler.known()).items.values()
        return [item.state for item in items if item.state in MOVING or item.state == "running"]


COUNTS_WRITES = frozenset({"lineage.json", "lineage.html", "croissant.json"})


def contents(data_root: Path) -> dict[tuple[str, str | None], str]:
    """Return a digest of every result in force: its version, the bytes of its files, its rows in tables.

    The lineage of an audit pack and the file that lists its digest are left out: they name versions of tables, and a
    version counts writes, those of a killed run included.
    """
    store = ArtifactStore(data_root)
    found: dict[tuple[str, str | None], str] = {}
    for place in ((asset, partition) for asset in store.assets() for partition in store.places(asset)):
        artifact = store.current(*place)
        if artifact is not None:
            kept = [file.path for file in artifact.manifest.outputs if file.path not in COUNTS_WRITES]
            files = {path: sha256((artifact.path / path).read_bytes()) for path in kept}
            rows = [(ref.table, ref.rows, ref.digest) for ref in artifact.manifest.lance]
            digests = {path: file.hexdigest() for path, file in files.items()}
            found[place] = digest([artifact.data_version, digests, rows])
    return found


def demo_landing(folder: Path, *, small: bool) -> dict[str, Path]:
    """Write the demo's snapshots; returns their folders by name."""
    return {one.name: one.path for one in build_demo_landing(folder, small=small).snapshots}


def corpus(folder: Path, quick: bool) -> dict[str, Path]:
    """Write one JSONL file per snapshot; returns them by the snapshot's name."""
    sizes = QUICK_SIZES if quick else SIZES
    folder.mkdir(parents=True)
    pages = documentation()
    found: dict[str, Path] = {}
    last: list[dict[str, str]] = []
    for number, size in enumerate(sizes):
        again = last[: size // 4]
        fresh = [next(pages) for _ in range(size - len(again))]
        last = [*fresh, *again]
        snapshot = f"2026-{number + 1:02d}"
        found[snapshot] = folder / f"{snapshot}.jsonl"
        found[snapshot].write_text("".join(json.dumps(page) + "\n" for page in last), encoding="utf-8")
    return found


def documentation() -> Iterator[dict[str, str]]:
    """Yield the longer docstrings of the standard library, in the order of its files."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        if {"site-packages", "test", "tests"} & set(path.parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        name = path.relative_to(library).as_posix()
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node) or ""
                if len(text) > 150:
                    line = getattr(node, "lineno", 0)
                    yield {"url": f"https://{name.split('/')[0].split('.')[0]}.invalid/{name}#{line}", "text": text}


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    found = 0
    for path in folder.rglob("*"):
        try:
            found += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # a database's log that has just been merged
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two snapshots of 120 and 160 documents")
    parser.add_argument("--demo", action="store_true", help="the demo's snapshots; with --quick those of the small one")
    parser.add_argument("--data-root", type=Path, help="keep the three data roots below this folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(
            json.dumps(main(quick=arguments.quick, demo=arguments.demo, folder=arguments.data_root or Path(temporary)))
        )
