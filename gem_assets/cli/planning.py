"""``gem plan``: ask every asset what it would make, learn rates from past runs, print what a change costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console

from gem_assets.cli.console import plain_table
from gem_assets.corpus.landing import landed_files, list_snapshots, validate_snapshot_name
from gem_assets.definitions import code_location
from gem_assets.lineage.artifacts import Artifact, ArtifactStore
from gem_assets.lineage.manifest import stage_name
from gem_assets.plan import Plan, Rate, Reason, Task, differences, is_automatic, work_of
from gem_assets.run import COMPARED, SNAPSHOT_ASSETS, asset_order, open_instance
from gem_assets.settings import Settings
from resources.probe import probe
from resources.run_records import observations

Progress = Callable[[int, int], None]
RAW = "raw_shards"


class NothingToPlanError(ValueError):
    """Files named for a snapshot do not exist, or hold nothing."""


@dataclass(frozen=True)
class Size:
    """What a snapshot holds; estimated from its bytes where it has not been read."""

    documents: int
    tokens: int


@dataclass
class Survey:
    """One look at a data root; tasks are found in the order in which they would run."""

    settings: Settings
    instance: dg.DagsterInstance
    landed: dict[str, int] = field(default_factory=lambda: {})
    tasks: list[Task] = field(default_factory=lambda: [])
    kept: dict[str, int] = field(default_factory=lambda: {})

    def __post_init__(self) -> None:
        self.artifacts = ArtifactStore(self.settings.data_root)
        self._rates: dict[str, Rate | None] = {}
        self._current = {
            name: found for name in self.artifacts.partitions(RAW) if (found := self.artifacts.current(RAW, name))
        }
        self._sizes = {
            name: Size(found.manifest.counts["kept"], found.manifest.counts["tokens"])
            for name, found in self._current.items()
        }

    def run(self, hypothetical: dict[str, int], progress: Progress | None = None) -> Plan:
        """Ask every asset; ``hypothetical`` are snapshots that have not landed, with their bytes."""
        self.landed = {s.name: s.n_bytes for s in _complete(self.settings)} | hypothetical
        names = sorted(self.landed.keys() | self._current.keys())
        defs = code_location(self.settings.data_root)
        order = asset_order(defs)
        steps = [(node, name) for node in order for name in (names if node.is_partitioned else [None])]
        for number, (node, name) in enumerate(steps):
            if progress is not None:
                progress(number, len(steps))
            self._ask(node, defs.get_assets_def(node.key), name, imagined=name in hypothetical)
        return Plan(tasks=tuple(self.tasks), kept=self.kept)

    def _ask(self, node: Any, asset: dg.AssetsDefinition, partition: str | None, *, imagined: bool) -> None:
        name, policy = node.key.to_user_string(), node.tags.get("gem/refresh")
        if policy == "by_hand":
            return
        current = self.artifacts.current(name, partition)
        reasons = list(self._upstream(node, partition, whole=current is None))
        if imagined:
            reasons.insert(0, Reason(kind="landing" if name == RAW else "missing", text="not landed yet"))
        elif current is None:
            reasons.insert(0, Reason(kind="missing", text="never made"))
        else:
            reasons = [*self._own(asset, current, partition, reasons), *reasons]
        if policy == "fitted" and current is not None and not is_automatic(policy, reasons):
            reasons = [r for r in reasons if r.kind != "snapshots"]
            unseen = self._unseen(current)
            if unseen and not reasons:
                self.kept[name] = unseen
        if not reasons:
            return
        size = self._size(name, partition, current)
        if name == RAW and partition is not None:
            self._sizes[partition] = size
        self.tasks.append(
            Task(
                asset=name,
                partition=partition,
                reasons=tuple(reasons),
                automatic=imagined or is_automatic(policy, reasons),
                documents=size.documents or None,
                tokens=size.tokens or None,
                seconds=self._seconds(name, partition, size),
            )
        )

    def _own(
        self, asset: dg.AssetsDefinition, current: Artifact, partition: str | None, upstream: Sequence[Reason]
    ) -> Sequence[Reason]:
        if partition is not None and partition not in self.landed and asset.key.to_user_string() == RAW:
            return ()  # no longer in the landing folder: kept as it was ingested
        found = probe(asset, self.settings, partition)
        if found.missing:
            return () if upstream else (Reason(kind="upstream", text=found.missing),)
        if found.stage is None:
            return (Reason(kind="texts", text="another snapshot let go a text that was left to it"),)
        if found.stage.identity == current.identity:
            return ()
        return differences(current.manifest, found.stage.wanted, SNAPSHOT_ASSETS)

    def _upstream(self, node: Any, partition: str | None, *, whole: bool) -> Sequence[Reason]:
        """Reasons from assets before this one that run; a fitted thing that exists is not moved by snapshots."""
        fitted = node.tags.get("gem/refresh") == "fitted" and not whole
        parents = {key.to_user_string() for key in node.parent_keys}
        running = [
            task
            for task in self.tasks
            if task.automatic
            and task.asset in parents
            and (partition is None or task.partition in (None, partition))
            and not (fitted and task.asset in SNAPSHOT_ASSETS)
            and not (partition is not None and task.asset in COMPARED)
        ]
        names = list(dict.fromkeys(stage_name(task.asset, task.partition) for task in running))
        if not names:
            return ()
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        return (Reason(kind="upstream", text=f"{', '.join(names[:2])}{more} made before it"),)

    def _unseen(self, current: Artifact) -> int:
        """Snapshots that a fitted thing over snapshots has not seen; 0 for one over other fitted things."""
        seen = {ref.partition for ref in current.manifest.inputs if ref.partition is not None}
        return len((self.landed.keys() | self._current.keys()) - seen) if seen else 0

    def _size(self, name: str, partition: str | None, current: Artifact | None) -> Size:
        if partition is not None:
            stale = name == RAW or partition not in self._sizes
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
        scale = self.landed.get(partition, 0) / bytes_
        documents = sum(found.manifest.counts["kept"] for found in known)
        tokens = sum(found.manifest.counts["tokens"] for found in known)
        return Size(round(documents * scale), round(tokens * scale))

    def _seconds(self, name: str, partition: str | None, size: Size) -> float | None:
        if name not in self._rates:
            self._rates[name] = Rate.learn(observations(self.instance, self.artifacts, name))
        rate = self._rates[name]
        work = self.landed.get(partition or "", 0) if name == RAW else size.documents
        return rate.seconds(work) if rate is not None else None


def make_plan(
    settings: Settings, snapshot: str | None = None, sources: Sequence[Path] = (), progress: Progress | None = None
) -> Plan:
    """Say what would run.

    Parameters
    ----------
    settings
        Of the data root.
    snapshot, sources
        A snapshot that has not landed, and its files or folders of files.

    Raises
    ------
    NothingToPlanError
        When files are named without a snapshot or the other way round, or do not exist.
    """
    hypothetical: dict[str, int] = {}
    if snapshot is not None:
        hypothetical[validate_snapshot_name(snapshot)] = _bytes_of(sources, snapshot, settings)
    elif sources:
        raise NothingToPlanError("files are given without the snapshot that they would be: add --snapshot NAME")
    with open_instance(settings) as instance:
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


def _complete(settings: Settings) -> list[Any]:
    return [s for s in list_snapshots(settings.landing) if s.complete and s.problem is None]


def print_plan(plan: Plan, out: Console) -> None:
    """Print the plan as a table, then what stays as it is."""
    if not plan.tasks:
        out.print("Everything is up to date: nothing would run.")
    else:
        table = plain_table(f"Would run: {len(plan.automatic)} steps, {_time(plan.seconds)}")
        for column, justify in (("asset", "left"), ("documents", "right"), ("tokens", "right"), ("seconds", "right")):
            table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        table.add_column("why")
        for task in plan.tasks:
            why = "; ".join(reason.text for reason in task.reasons)
            cells = [f"{n:,}" if n is not None else "?" for n in (task.documents, task.tokens)]
            seconds = f"{task.seconds:,.1f}" if task.seconds is not None else "?"
            hand = "" if task.automatic else "by hand only: "
            table.add_row(stage_name(task.asset, task.partition), *cells, seconds, hand + why)
        out.print(table)
        if any(task.seconds is None for task in plan.automatic):
            out.print("? : never run here, so its time is not known yet", markup=False)
    for name, unseen in plan.kept.items():
        out.print(f"{name} stays as it is: fitted without {unseen} of the snapshots", markup=False)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "time not known yet"
    return f"about {seconds:,.0f} s" if seconds < 600 else f"about {seconds / 60:,.0f} min"
