"""What a data root holds: snapshots, assets and recipes, read from the landing folder and the artifact store.

Nothing is computed or changed. What is stale or held comes from the reconciler, as for ``gem plan`` and the daemon.
"""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict
from rich.console import Group
from rich.table import Table
from rich.text import Text

from gem_assets.cli.console import Terminal, plain_table
from gem_assets.corpus.landing import list_snapshots
from gem_assets.corpus.readers.records import SKIP_KINDS
from gem_assets.orchestration.dagster_home import CONFIG_NAME, running_server
from gem_assets.orchestration.plan import State
from gem_assets.orchestration.reconcile import MOVING, holds_up
from gem_assets.settings import Settings
from gem_assets.stages import RAW_SHARDS, RECIPES, strategy_of
from gem_assets.storage.artifacts import Artifact, ArtifactStore

_TAKEDOWNS = ("blocklist.jsonl", "blocklist.head.json", "takedowns")
COUNTS = ("read", "kept", "duplicates", "filtered", "quarantined", "tokens")
"""Counts of ``raw_shards`` that are shown; the others are in its manifest and in ``--json``."""

LandedState = Literal["complete", "waiting", "refused", "absent"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class SnapshotStatus(_Frozen):
    """One snapshot: what was landed, and what happened to it.

    Attributes
    ----------
    landed
        ``complete`` has its ``_SUCCESS``; ``waiting`` lacks it; ``refused`` has a name or content that cannot be
        taken; ``absent`` was ingested before and is no longer in the landing folder.
    counts
        Counts of its ``raw_shards``; empty when not ingested.
    skipped
        Records that carried no document (requests, pictures, …) by kind; they are not among those read.
    """

    name: str
    landed: LandedState
    files: int = 0
    bytes: int = 0
    problem: str | None = None
    ingested: bool = False
    counts: dict[str, int] = {}
    skipped: dict[str, int] = {}


class AssetStatus(_Frozen):
    """One asset: how many partitions it has, and its current identity and counts when it is unpartitioned."""

    name: str
    partitions: list[str] | None = None
    identity: str | None = None
    counts: dict[str, int] = {}


class StaleStatus(_Frozen):
    """One result that is not current.

    ``holds_up`` are the names of the results that wait for this one while it is held.
    """

    name: str
    state: State
    reasons: list[str]
    because: str = ""
    way_out: str = ""
    again_at: float | None = None
    holds_up: list[str] = []


class Status(_Frozen):
    """All of it.

    ``blocklist_problem`` says why the list of takedowns cannot be believed; nothing that depends on it is made until
    then.
    """

    data_root: str
    blocklist_problem: str | None = None
    server: str | None
    snapshots: list[SnapshotStatus]
    assets: list[AssetStatus]
    recipes: list[AssetStatus]
    stale: list[StaleStatus] = []


def collect_status(settings: Settings) -> Status:
    """Read what the data root of these settings holds."""
    store = ArtifactStore(settings.data_root)
    server = running_server(settings.dagster_home)
    assets = [_asset(store, name) for name in store.assets()]
    snapshots = _snapshots(settings, store)
    return Status(
        data_root=str(settings.data_root),
        blocklist_problem=_blocklist_problem(store),
        server=server.url if server is not None else None,
        snapshots=snapshots,
        assets=[asset for asset in assets if not strategy_of(asset.name, RECIPES)],
        recipes=[asset for asset in assets if strategy_of(asset.name, RECIPES)],
        stale=_stale(settings) if snapshots else [],
    )


def _stale(settings: Settings) -> list[StaleStatus]:
    """Ask the reconciler; nothing is written, not even into a history that is not there yet."""
    from gem_assets.definitions import code_location
    from gem_assets.orchestration.instance import open_instance
    from gem_assets.orchestration.reconciler import Reconciler

    graph = code_location(settings.data_root).resolve_asset_graph()
    home = settings.dagster_home
    with contextlib.ExitStack() as stack:
        writable = (home / CONFIG_NAME).is_file() and os.access(home, os.W_OK)
        instance = stack.enter_context(open_instance(settings)) if writable else None
        reconciler = Reconciler(str(settings.data_root), graph, instance, notes=False)
        items = reconciler.look(reconciler.known()).items
    waiting = holds_up(items)
    return [
        StaleStatus(
            name=item.name,
            state=item.state,
            reasons=[reason.text for reason in item.reasons],
            because=item.because,
            way_out=item.way_out,
            again_at=item.again_at,
            holds_up=waiting.get(place, []),
        )
        for place, item in items.items()
        if item.behind not in items
    ]


def _blocklist_problem(store: ArtifactStore) -> str | None:
    if not any((Path(store.root) / name).exists() for name in _TAKEDOWNS) and not _refused_rows(store):
        return None  # nobody asked for anything, and the imports below take longer than all else here
    from gem_assets.takedown.blocklist import BlocklistError
    from gem_assets.takedown.certificate import checked_requests

    try:
        checked_requests(store)
    except (BlocklistError, OSError) as error:
        return str(error)
    return None


def _refused_rows(store: ArtifactStore) -> bool:
    found = (store.current(RAW_SHARDS, name) for name in store.partitions(RAW_SHARDS))
    return any(artifact is not None and artifact.manifest.metrics.get("blocked_by") for artifact in found)


def _snapshots(settings: Settings, store: ArtifactStore) -> list[SnapshotStatus]:
    names = store.partitions(RAW_SHARDS) if RAW_SHARDS in store.assets() else []
    ingested = {name: store.current(RAW_SHARDS, name) for name in names}
    found: list[SnapshotStatus] = []
    landed = list_snapshots(settings.landing) if settings.landing.is_dir() else []
    for entry in landed:
        state: LandedState = "refused" if entry.problem else "complete" if entry.complete else "waiting"
        artifact = ingested.pop(entry.name, None)
        found.append(
            SnapshotStatus(
                name=entry.name,
                landed=state,
                files=entry.n_files,
                bytes=entry.n_bytes,
                problem=entry.problem,
                ingested=artifact is not None,
                counts=dict(artifact.manifest.counts) if artifact is not None else {},
                skipped=_skipped(artifact),
            )
        )
    for name, artifact in sorted(ingested.items()):
        if artifact is not None:
            counts = dict(artifact.manifest.counts)
            skipped = _skipped(artifact)
            found.append(SnapshotStatus(name=name, landed="absent", ingested=True, counts=counts, skipped=skipped))
    return found


def _skipped(artifact: Artifact | None) -> dict[str, int]:
    return cast(dict[str, int], artifact.manifest.metrics.get("skipped_by_type", {})) if artifact is not None else {}


def _asset(store: ArtifactStore, name: str) -> AssetStatus:
    whole: Artifact | None = store.current(name)
    if whole is not None:
        return AssetStatus(name=name, identity=whole.identity, counts=dict(whole.manifest.counts))
    return AssetStatus(name=name, partitions=store.partitions(name))


def print_status(status: Status, out: Terminal) -> None:
    """Print the status as tables."""
    out.print(status.data_root, style="bold")
    out.print(f"Server: {status.server}" if status.server else "Server: not running (start it with `gem dev`)")
    if status.blocklist_problem:
        out.print("The blocklist is damaged: ", style="bold red", end="")
        out.print(status.blocklist_problem)
    out.print()
    if not status.snapshots:
        out.print("No snapshot has been landed. Land one with: gem land FILES --snapshot NAME")
        return
    out.print(Group(snapshot_table(status.snapshots), Text()))
    if any(snapshot.skipped for snapshot in status.snapshots):
        out.print(Group(skipped_table(status.snapshots), Text()))
    if not status.assets:
        out.print("Nothing has been built yet. `gem dev` and `gem run` ingest complete snapshots.")
        print_stale(status.stale, out)
        return
    table = plain_table("Assets")
    for column in ("asset", "current", "counts"):
        table.add_column(column)
    for asset in [*status.assets, *status.recipes]:
        current = asset.identity[:12] if asset.identity else f"{len(asset.partitions or [])} snapshots"
        table.add_row(asset.name, current, counts_text(asset.counts))
    out.print(table)

    print_stale(status.stale, out)


def print_stale(stale: list[StaleStatus], out: Terminal) -> None:
    """Say what is held, why, and what a person can do; then what would run by itself."""
    for one in stale:
        if one.state != "held":
            continue
        holds = f"; holds up {', '.join(one.holds_up[:4])}" if one.holds_up else ""
        holds += f" and {len(one.holds_up) - 4} more" if len(one.holds_up) > 4 else ""
        out.print(f"Held: {one.name}: {one.because}{holds}")
        if one.again_at is not None:
            out.print(
                f"  tried again at {time.strftime('%H:%M:%S', time.localtime(one.again_at))}; now with: {one.way_out}"
            )
        elif one.way_out:
            out.print(f"  {one.way_out}")
    moving = sum(one.state in MOVING for one in stale)
    by_hand = sum(one.state == "by_hand" for one in stale)
    if moving:
        out.print(f"{moving} steps are due: `gem dev` and `gem run` make them; `gem plan` lists them")
    if by_hand:
        out.print(f"{by_hand} results differ from the current settings or libraries: `gem run` makes them again")


def snapshot_table(snapshots: list[SnapshotStatus]) -> Table:
    """Return the snapshots with what was read, kept and refused."""
    table = plain_table("Snapshots")
    table.add_column("snapshot", no_wrap=True)
    table.add_column("landed", min_width=16)
    for column in (*COUNTS[:-1], "skipped"):
        table.add_column(column, justify="right", no_wrap=True)
    for snapshot in snapshots:
        skipped = f"{sum(snapshot.skipped.values()):,}" if snapshot.ingested else "–"
        files = f"{snapshot.files:,} file{'s' if snapshot.files != 1 else ''}, {size_text(snapshot.bytes)}"
        state = {
            "complete": files,
            "waiting": f"no _SUCCESS yet; {files}",
            "refused": f"refused: {snapshot.problem}",
            "absent": "no longer there",
        }[snapshot.landed]
        table.add_row(snapshot.name, state, *count_cells(snapshot.counts)[:-1], skipped)
    return table


def skipped_table(snapshots: list[SnapshotStatus]) -> Table:
    """Return what was skipped in all snapshots together, by kind."""
    totals: Counter[str] = Counter()
    for snapshot in snapshots:
        totals.update(snapshot.skipped)
    table = plain_table("Skipped: sound records without a document, not among those read")
    table.add_column("kind", no_wrap=True)
    table.add_column("records", justify="right", no_wrap=True)
    table.add_column("what it is")
    for kind, count in sorted(totals.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(kind, f"{count:,}", SKIP_KINDS.get(kind, ""))
    return table


def count_cells(counts: Mapping[str, int]) -> list[str]:
    """Return the shown counts as table cells; a dash where one is not known."""
    return [f"{counts[name]:,}" if name in counts else "–" for name in COUNTS]


def counts_text(counts: dict[str, int]) -> str:
    """Return counts as one line."""
    return " · ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in counts.items())


def size_text(size: int) -> str:
    """Return a size in the unit that gives one to three digits before the point."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
