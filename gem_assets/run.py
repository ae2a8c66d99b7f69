"""Bring the graph up to date in this process: a loop over the reconciler, until nothing is left that it would launch.

The landing sensor is evaluated once, then every asset that is not current is materialized with its checks, on the
instance under the data root; ``gem dev`` later shows the same history. Where a daemon lives on the same data root, what
it is making is waited for and not made twice. A failure holds what needs it and nothing else.
"""

import difflib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from gem_assets.orchestration.abandoned_runs import cancel_abandoned_runs, heartbeat, named_process, process_tags
from gem_assets.orchestration.bookkeeping import tidy
from gem_assets.orchestration.dagster_home import prepare_home, running_server
from gem_assets.orchestration.instance import open_instance
from gem_assets.orchestration.places import BY_STRATEGY, FAMILIES, NODE_OF, shown
from gem_assets.orchestration.reconcile import MOVING, Asked, Item, Place
from gem_assets.settings import DATA_ROOT_VARIABLE, Settings
from gem_assets.stages import AUDITS, LANDING, ORDERS, RAW_SHARDS, RECIPES, TEACHER_CLUSTERS, result_of, strategy_of
from gem_assets.types import Progress

if TYPE_CHECKING:
    from gem_assets.orchestration.reconciler import Reconciled, Reconciler


@dataclass(frozen=True)
class Step:
    """One asset, or one snapshot of it."""

    asset: str
    snapshot: str | None
    seconds: float
    succeeded: bool
    failed_checks: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class RunSummary:
    """What ran and what came of it.

    Attributes
    ----------
    seconds
        From the look at the landing folder to the end of the last step.
    standing
        What was up to date and did not run, with the checks that its last run failed; fitted things that stay although
        there are new snapshots are not among them.
    """

    steps: tuple[Step, ...]
    seconds: float
    snapshots: tuple[str, ...] = field(default=())
    standing: tuple[Step, ...] = field(default=())

    @property
    def failed(self) -> tuple[Step, ...]:
        """Steps that did not succeed."""
        return tuple(step for step in self.steps if not step.succeeded)


class UnknownAssetError(LookupError):
    """A name that is not an asset's; the message lists the names that come close."""


class NothingLandedError(LookupError):
    """No snapshot has landed completely."""


MOST_TIMES = 3
"""How often one call makes the same thing from the same inputs, should it never become current."""
_POLL_S = 1.0
_TAKEN_OVER_S = 60.0
"""How long a daemon may be quiet before its part is done here: somebody may have switched its automation off."""


def materialize_everything(
    settings: Settings,
    progress: Progress | None = None,
    only: Sequence[str] | None = None,
    also: Sequence[str] = (),
    keep_fitted: bool | None = None,
) -> RunSummary:
    """Register what has landed and bring every asset up to date.

    Returns every step with its time; a failed snapshot is among :attr:`RunSummary.failed`, and so is what is held.

    Raises UnknownAssetError when ``only`` or ``also`` name something that is not an asset; nothing has run then.

    Parameters
    ----------
    settings
        Settings of the data root; its DAGSTER_HOME receives the run history.
    progress
        Called with (steps done, steps in all, what runs now); at the end with ``done``, or with how many steps failed.
    also
        Names of assets that run by hand and are to run now.
    keep_fitted
        Leave what is fitted as it is while it differs from a new fit only by snapshots that it has not seen. By default
        so in a run of everything, and not in one of named assets.
    """
    named = frozenset(only or ()) | frozenset(also)
    keep = only is None if keep_fitted is None else keep_fitted
    asked = Asked(everything=only is None, assets=named, keep_fitted=keep, since=time.time())
    return bring_up_to_date(settings, asked, progress, only=None if only is None else named)


def refit_everything(settings: Settings, progress: Progress | None = None) -> RunSummary:
    """Refit the teacher on all snapshots that there are, and make what follows from it.

    The embedding space stays, so that old and new vectors remain comparable.
    """
    asked = Asked(assets=frozenset({TEACHER_CLUSTERS}), keep_fitted=False, since=time.time())
    return bring_up_to_date(settings, asked, progress)


def run_until(
    settings: Settings,
    progress: Progress | None = None,
    *,
    until: str | None = None,
    snapshot: str | None = None,
    strategy: str | None = None,
) -> RunSummary:
    """Make what is stale: everything, or one asset with all that it is made from.

    Parameters
    ----------
    snapshot
        Of what is made per snapshot, only this one.
    strategy
        A mixture whose recipe, training order and audit are made too.

    Raises
    ------
    UnknownAssetError
        When there is no such asset, snapshot or mixture; nothing has run then.
    NothingLandedError
        When there is nothing to make anything from.
    """
    from gem_assets.corpus.landing import SUCCESS, list_snapshots
    from gem_assets.definitions import code_location
    from gem_assets.storage.artifacts import ArtifactStore

    landed = {one.name: one.complete for one in list_snapshots(settings.landing)}
    known = {name for name, complete in landed.items() if complete}
    known |= set(ArtifactStore(settings.data_root).partitions(RAW_SHARDS))
    if not known:
        raise NothingLandedError("no snapshot has landed: land one with gem land FILES --snapshot NAME")
    if snapshot is not None:
        if snapshot in landed and snapshot not in known:
            raise UnknownAssetError(f"snapshot {snapshot!r} has not landed completely: it has no {SUCCESS}")
        _check_known("snapshot", snapshot, known)
    defs = code_location(settings.data_root)
    wanted = {until} if until is not None else set[str]()
    if strategy is not None:
        mixtures = [name for asset in asset_names(defs) if (name := strategy_of(asset, RECIPES))]
        _check_known("mixture", strategy, mixtures)
        wanted |= {result_of(kind, strategy) for kind in (RECIPES, ORDERS, AUDITS)}
    _check_names(defs, sorted(wanted))
    asked = Asked(everything=True, assets=frozenset(wanted), since=time.time())
    only = _with_ancestors(defs, wanted) if until is not None else None
    return bring_up_to_date(settings, asked, progress, only=only, snapshots=None if snapshot is None else [snapshot])


def _with_ancestors(defs: dg.Definitions, assets: set[str]) -> frozenset[str]:
    from gem_assets.orchestration.reconciler import nodes_of

    found = set(assets)
    for node in reversed(nodes_of(defs.resolve_asset_graph())):  # each comes after its parents
        if node.asset in found:
            found.update(node.parents)
    return frozenset(found)


def bring_up_to_date(
    settings: Settings,
    asked: Asked,
    progress: Progress | None = None,
    *,
    only: frozenset[str] | None = None,
    snapshots: Sequence[str] | None = None,
) -> RunSummary:
    """Run what the reconciler calls ready until there is nothing left.

    ``asked`` is what a person wants beyond what runs by itself.

    Raises UnknownAssetError when an asset that was named is none; nothing has run then.
    """
    os.environ[DATA_ROOT_VARIABLE] = str(settings.data_root)
    from gem_assets.definitions import code_location
    from gem_assets.orchestration.reconciler import Reconciler

    started = time.monotonic()
    defs = code_location(settings.data_root)
    _check_names(defs, sorted(asked.assets | (only or frozenset())))
    home = prepare_home(settings)
    # what a killed process left would hold its places in the pools, and this run would wait for them for ever
    cancel_abandoned_runs(home, server=running_server(home) is None)
    with (
        open_instance(settings) as instance,
        named_process(home) as process,
        heartbeat(instance, home, process),
        _interruptions() as interrupted,
    ):
        _register_landed(defs, instance)
        reconciler = Reconciler(str(settings.data_root), defs.resolve_asset_graph(), instance)
        chosen = reconciler.known() if snapshots is None else list(snapshots)
        unknown = sorted(set(chosen) - set(reconciler.registered()))
        if unknown:
            instance.add_dynamic_partitions("snapshot", unknown)
        steps: list[Step] = []
        times: Counter[tuple[Place, str]] = Counter()
        quiet_since = time.monotonic()
        while True:
            theirs = _daemons(reconciler, chosen, home) if time.monotonic() - quiet_since < _TAKEN_OVER_S else set()
            found = reconciler.look(chosen, asked=asked, only=only)
            ready = [item for item in found.items.values() if item.state == "ready" and item.place not in theirs]
            ready = [item for item in ready if times[item.place, item.basis] < MOST_TIMES]
            running = any(item.state == "running" for item in found.items.values())
            if not ready and not running and not theirs & found.items.keys():
                break
            left = sum(item.state in MOVING for item in found.items.values())
            for number, item in enumerate(ready):
                if progress is not None:
                    progress(len(steps), len(steps) + left - number, item.name)
                times[item.place, item.basis] += 1
                steps.append(_materialize(defs, instance, item.place, process_tags(home, process)))
                if interrupted():
                    raise KeyboardInterrupt
            if ready or running:
                quiet_since = time.monotonic()
            if not ready:
                time.sleep(_POLL_S)
        failures = {(step.asset, step.snapshot): step for step in steps if not step.succeeded}
        held = [_held(item) for item in found.items.values() if item.place not in failures and _stopped(item, found)]
        standing = [
            Step(asset, partition, 0.0, True, reconciler.failed_checks((asset, partition)))
            for asset, partition in reconciler.current(found)
            if not any((step.asset, step.snapshot) == (asset, partition) for step in steps)
        ]
        tidy(instance, home)
        if progress is not None:
            failed = len(failures) + len(held)
            progress(len(steps), len(steps), f"{failed} failed" if failed else "done")
    return RunSummary((*steps, *held), time.monotonic() - started, tuple(chosen), tuple(standing))


@contextmanager
def _interruptions() -> Generator[Callable[[], bool]]:
    """Give a function that tells whether Ctrl-C or SIGTERM has come since it was asked last.

    Dagster takes one that comes inside a step for a failure of that step, and forgets one that comes between two; both
    mean the whole run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def interrupted() -> bool:
        try:
            return any(number in (signal.SIGINT, signal.SIGTERM) for number in os.read(reading, 65536))
        except BlockingIOError:
            return False

    try:
        yield interrupted
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


def _daemons(reconciler: "Reconciler", snapshots: Sequence[str], home: Path) -> set[Place]:
    """Return what a daemon on the same data root makes by itself: that is left to it, so that nothing races."""
    if running_server(home) is None:
        return set()
    return {place for place, item in reconciler.look(snapshots).items.items() if item.state in MOVING}


def _stopped(item: Item, found: "Reconciled") -> bool:
    """Tell whether a person has to hear of it: it is held by itself, or it never became current."""
    return item.state == "ready" or (item.state == "held" and (item.behind is None or item.behind not in found.items))


def _held(item: Item) -> Step:
    because = item.because or f"was made {MOST_TIMES} times and is still not current: please report it"
    return Step(item.asset, item.partition, 0.0, succeeded=False, error=because)


def asset_names(defs: dg.Definitions) -> frozenset[str]:
    """Return the name of everything that the graph makes or is told of, as the store has it."""
    from gem_assets.orchestration.reconciler import nodes_of

    graph = defs.resolve_asset_graph()
    outside = graph.get_all_asset_keys() - graph.materializable_asset_keys
    return frozenset({*(node.asset for node in nodes_of(graph)), *(key.to_user_string() for key in outside)})


def _check_names(defs: dg.Definitions, names: Sequence[str]) -> None:
    for name in names:
        if name in BY_STRATEGY or name in FAMILIES:
            folder, strategies = (RECIPES, FAMILIES[name]) if name in FAMILIES else (name, tuple(NODE_OF))
            raise UnknownAssetError(
                f"{name} has a partition for each strategy; name one, such as {folder}/{strategies[-1]} "
                f"({', '.join(strategies)})"
            )
        _check_known("asset", name, asset_names(defs))


def _check_known(what: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, sorted(known), 5)
        folders = (one.partition("/") for one in known)
        short = sorted({f"{folder}/STRATEGY" if strategy else folder for folder, _, strategy in folders})
        meant = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(short) or 'none'}"
        raise UnknownAssetError(f"there is no {what} {name!r}; {meant}")


def _register_landed(defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
    repository = defs.get_repository_def()
    sensor = repository.get_sensor_def("landing")
    with dg.build_sensor_context(instance=instance, repository_def=repository, resources=defs.resources) as context:
        outcome = sensor.evaluate_tick(context)
    for request in outcome.dynamic_partitions_requests or []:
        if isinstance(request, dg.AddDynamicPartitionsRequest):
            instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    latest = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey(LANDING), dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
    )
    for event in outcome.asset_events:
        if isinstance(event, dg.AssetCheckEvaluation):
            continue
        known = latest.get(str(event.partition), {}).get("dagster/data_version")
        if known != (event.tags or {}).get("dagster/data_version"):
            instance.report_runless_asset_event(event)


def _materialize(defs: dg.Definitions, instance: dg.DagsterInstance, place: Place, tags: dict[str, str]) -> Step:
    from gem_assets.orchestration.history import in_words

    key, partition = shown(place)
    started = time.monotonic()
    # the selection goes to the run, which records it: it is what the page of runs shows as its target
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[key], partition_key=partition, tags=tags, raise_on_error=False
    )
    checks = tuple(e.check_name for e in result.get_asset_check_evaluations() if not e.passed)
    failure = next((e for e in result.all_events if e.is_step_failure), None)
    error = ""
    if failure is not None:
        cause = failure.step_failure_data.error
        error = in_words((cause.cause or cause).message.strip()) if cause is not None else ""
    return Step(
        asset=place[0],
        snapshot=place[1],
        seconds=time.monotonic() - started,
        succeeded=result.success,
        failed_checks=checks,
        error=error,
    )
