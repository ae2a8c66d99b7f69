"""The work of ``gem plan``: ask every asset what it would make, estimate times from past runs, print the cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from gem_assets.cli.console import Terminal, plain_table
from gem_assets.corpus.landing import landed_files, list_snapshots, validate_snapshot_name
from gem_assets.definitions import code_location
from gem_assets.orchestration.instance import open_history
from gem_assets.orchestration.plan import Plan, Rate, Task, work_of
from gem_assets.orchestration.reconcile import MOVING, Item
from gem_assets.orchestration.run_records import observations
from gem_assets.settings import Settings
from gem_assets.stages import RAW_SHARDS
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.storage.manifest import stage_name

Progress = Callable[[int, int], None]


class NothingToPlanError(ValueError):
    """Files named for a snapshot do not exist, or hold nothing."""


@dataclass(frozen=True)
class Size:
    """What a snapshot holds; estimated from its bytes where it has not been read."""

    documents: int
    tokens: int


class Survey:
    """What the reconciler says of a data root, with sizes and times."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance | None) -> None:
        self.settings, self.instance = settings, instance
        self.artifacts = ArtifactStore(settings.data_root)
        self._landed: dict[str, int] = {}
        self._rates: dict[str, Rate | None] = {}
        self._current = self.artifacts.snapshots(RAW_SHARDS)
        self._sizes = {
            name: Size(found.manifest.counts["kept"], found.manifest.counts["tokens"])
            for name, found in self._current.items()
        }

    def run(self, hypothetical: dict[str, int], progress: Progress | None = None) -> Plan:
        """Ask the reconciler; ``hypothetical`` are snapshots that have not landed, with their bytes."""
        from gem_assets.orchestration.reconciler import Reconciler

        self._landed = {s.name: s.n_bytes for s in list_snapshots(self.settings.landing)} | hypothetical
        graph = code_location(self.settings.data_root).resolve_asset_graph()
        reconciler = Reconciler(str(self.settings.data_root), graph, self.instance, notes=False)
        names = sorted({*reconciler.known(), *hypothetical})
        found = reconciler.look(names, imagined=frozenset(hypothetical), progress=progress)
        tasks = tuple(self._task(item) for item in found.items.values())
        stale = {item.asset for item in found.items.values()}
        kept = {
            node.asset: unseen
            for node in found.nodes
            if node.policy == "fitted" and node.asset not in stale
            if (unseen := self._unseen(node.asset, names))
        }
        return Plan(tasks=tasks, kept=kept)

    def _task(self, item: Item) -> Task:
        current = self.artifacts.current(item.asset, item.partition)
        size = self._size(item.asset, item.partition, current)
        if item.asset == RAW_SHARDS and item.partition is not None:
            self._sizes[item.partition] = size
        return Task(
            asset=item.asset,
            partition=item.partition,
            reasons=item.reasons,
            automatic=item.state in MOVING,
            state=item.state,
            because=item.because,
            way_out=item.way_out,
            documents=size.documents or None,
            tokens=size.tokens or None,
            seconds=self._seconds(item.asset, item.partition, size),
        )

    def _unseen(self, asset: str, names: Sequence[str]) -> int:
        """Snapshots that a fitted thing over snapshots has not seen; 0 for one over other fitted things."""
        current = self.artifacts.current(asset)
        inputs = current.manifest.inputs if current is not None else ()
        seen = {ref.partition for ref in inputs if ref.partition is not None}
        return len(set(names) - seen) if seen else 0

    def _size(self, name: str, partition: str | None, current: Artifact | None) -> Size:
        if partition is not None:
            stale = name == RAW_SHARDS or partition not in self._sizes
            return self._guess(partition) if stale else self._sizes[partition]
        total = Size(sum(s.documents for s in self._sizes.values()), sum(s.tokens for s in self._sizes.values()))
        if current is not None and "seed_documents" in current.manifest.config:
            documents = min(total.documents, int(str(current.manifest.config["seed_documents"])))
            return Size(documents, total.tokens * documents // max(total.documents, 1))
        return total

    def _guess(self, partition: str) -> Size:
        """Documents and tokens by the bytes of what has been read: of this snapshot before, else of all."""
        known = [self._current[partition]] if partition in self._current else list(self._current.values())
        bytes_ = sum(work_of(found.manifest) for found in known)
        if not bytes_:
            return Size(0, 0)
        scale = self._landed.get(partition, 0) / bytes_
        documents = sum(found.manifest.counts["kept"] for found in known)
        tokens = sum(found.manifest.counts["tokens"] for found in known)
        return Size(round(documents * scale), round(tokens * scale))

    def _seconds(self, name: str, partition: str | None, size: Size) -> float | None:
        if self.instance is None:
            return None
        if name not in self._rates:
            self._rates[name] = Rate.learn(observations(self.instance, self.artifacts, name))
        rate = self._rates[name]
        work = self._landed.get(partition or "", 0) if name == RAW_SHARDS else size.documents
        return rate.seconds(work) if rate is not None else None


def make_plan(
    settings: Settings, snapshot: str | None = None, sources: Sequence[Path] = (), progress: Progress | None = None
) -> Plan:
    """Say what would run.

    A ``snapshot`` that has not landed is given with its files or folders of files.

    Raises NothingToPlanError when files are named without a snapshot or the other way round, or do not exist.
    """
    hypothetical: dict[str, int] = {}
    if snapshot is not None:
        hypothetical[validate_snapshot_name(snapshot)] = _bytes_of(sources, snapshot, settings)
    elif sources:
        raise NothingToPlanError("files were given without a snapshot name: add --snapshot NAME")
    with open_history(settings) as instance:
        return Survey(settings, instance).run(hypothetical, progress)


def _bytes_of(sources: Sequence[Path], snapshot: str, settings: Settings) -> int:
    folder = settings.landing / snapshot
    paths = list(sources) or ([folder] if folder.is_dir() else [])
    if not paths:
        raise NothingToPlanError(f"snapshot {snapshot} has not landed: name its files, gem plan FILES --snapshot …")
    for path in paths:
        if not path.exists():
            raise NothingToPlanError(f"{path} does not exist: name the files that snapshot {snapshot} would hold")
    return sum(
        sum(file.n_bytes for file in landed_files(path)) if path.is_dir() else path.stat().st_size for path in paths
    )


def print_plan(plan: Plan, out: Terminal) -> None:
    """Print the plan as a table, then what stays as it is."""
    if not plan.tasks:
        out.print("Everything is up to date: nothing would run.")
    else:
        table = plain_table(f"Would run: {len(plan.automatic)} steps, {_time(plan.seconds)}")
        for column, justify in (("asset", "left"), ("documents", "right"), ("tokens", "right"), ("seconds", "right")):
            table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        table.add_column("why")
        for task in plan.tasks:
            cells = [f"{n:,}" if n is not None else "?" for n in (task.documents, task.tokens)]
            seconds = f"{task.seconds:,.1f}" if task.seconds is not None else "?"
            table.add_row(stage_name(task.asset, task.partition), *cells, seconds, _why(task))
        out.print(table)
        if any(task.seconds is None for task in plan.automatic):
            out.print("? : has never run here, so its time is unknown")
    for name, unseen in plan.kept.items():
        out.print(f"{name} stays as it is: fitted without {unseen} of the snapshots")


def _why(task: Task) -> str:
    why = "; ".join(reason.text for reason in task.reasons)
    if task.state == "held":
        way_out = f" ({task.way_out})" if task.way_out else ""
        return f"held: {task.because}{way_out}"
    return f"by hand only: {why}" if task.state == "by_hand" else why


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "time not known yet"
    return f"about {seconds:,.0f} s" if seconds < 600 else f"about {seconds / 60:,.0f} min"
