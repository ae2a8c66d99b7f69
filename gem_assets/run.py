"""Run the whole graph in this process, in the order in which the daemon would.

The landing sensor is evaluated once, then every asset is materialized with its checks, snapshot by snapshot where it
is partitioned, on the instance under the data root; ``gem dev`` later shows the same history. A snapshot whose ingest
fails is reported and left out, exactly as on the daemon. Nothing is forced: what is current already is not visited,
and what is fitted is not refitted because a snapshot came in.
"""

import difflib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from gem_assets.abandoned import PROCESS_TAG, cancel_abandoned_runs, named_process
from gem_assets.dagster_home import prepare_home, running_server
from gem_assets.settings import DATA_ROOT_VARIABLE, Settings


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
    steps
        What ran, in order.
    seconds
        From the look at the landing folder to the end of the last step.
    snapshots
        All that are registered.
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
    """A name that is no asset's; the message lists the names that come close."""


Progress = Callable[[int, int, str], None]
#: Assets with one result a snapshot, and what their snapshots are made of.
SNAPSHOT_ASSETS = (
    "landing",
    "raw_shards",
    "page_history",
    "embeddings",
    "student_labels",
    "cluster_counts",
    "drift_statistics",
)
#: Whether it concerns a snapshot is compared by that snapshot itself: that it is made again is no reason.
COMPARED = ("page_history",)
TEACHER = "teacher_clusters"


def materialize_everything(
    settings: Settings,
    progress: Progress | None = None,
    only: Sequence[str] | None = None,
    also: Sequence[str] = (),
    keep_fitted: bool | None = None,
) -> RunSummary:
    """Register what has landed and bring every asset up to date.

    Parameters
    ----------
    settings
        Settings of the data root; its DAGSTER_HOME receives the run history.
    progress
        Called with (steps done, steps in all, what runs now); at the end with ``done``, or with how many steps failed.
    only
        Names of the assets to materialize; all of them by default.
    also
        Names of assets that run by hand and are to run now.
    keep_fitted
        Leave what is fitted as it is while it differs from a new fit only by snapshots that it has not seen. By default
        so in a run of everything, and not in one of named assets.

    Returns
    -------
    RunSummary
        Every step with its time; a failed snapshot is among :attr:`RunSummary.failed`.

    Raises
    ------
    UnknownAssetError
        When ``only`` or ``also`` name something that is no asset; nothing has run then.
    """
    os.environ[DATA_ROOT_VARIABLE] = str(settings.data_root)
    from gem_assets.definitions import code_location
    from resources.standing import Standing
    from resources.store import RAW_SHARDS

    started = time.monotonic()
    defs = code_location(settings.data_root)
    _check_names(defs, [*(only or ()), *also])
    home = prepare_home(settings)
    # what a killed process left would hold its places in the pools, and this run would wait for them for ever
    cancel_abandoned_runs(home, server=running_server(home) is None)
    with open_instance(settings) as instance, named_process(home) as process:
        _register_landed(defs, instance)
        snapshots = tuple(sorted(instance.get_dynamic_partitions("snapshot")))
        plan = [(key, s) for key, s in _plan(defs, snapshots, also) if only is None or key.to_user_string() in only]
        steps: list[Step] = []
        standing: list[Step] = []
        broken: set[str] = set()
        number = 0
        keep = only is None if keep_fitted is None else keep_fitted
        known = Standing(defs, instance, settings, SNAPSHOT_ASSETS)
        last_ingest = max((i for i, (key, _) in enumerate(plan) if key.to_user_string() == RAW_SHARDS), default=-1)
        for number, (asset, snapshot) in enumerate(plan):
            if progress is not None and snapshot not in broken:
                progress(number, len(plan), f"{asset.to_user_string()}{f' [{snapshot}]' if snapshot else ''}")
            looks, halted = [(asset, snapshot)], False
            if number == last_ingest and any(step.asset == RAW_SHARDS for step in steps):
                # a text that one snapshot left to another may have gone from there in this very run
                looks += [entry for entry in plan[:number] if entry[0] == asset]
            for key, partition in looks:
                if partition in broken:
                    continue
                found = known.ask(key, partition)
                if found.stands:
                    if (key, partition) == (asset, snapshot):
                        standing.append(Step(key.to_user_string(), partition, 0.0, True, found.failed_checks))
                    continue
                if found.kept and keep:
                    continue
                step = _materialize(defs, instance, key, partition, {PROCESS_TAG: process})
                steps.append(step)
                if not step.succeeded and partition is not None:
                    broken.add(partition)
                halted = not step.succeeded and partition is None
            if halted:
                break
        failed = sum(not step.succeeded for step in steps)
        if progress is not None and failed:
            progress(min(number, len(plan) - failed), len(plan), f"{failed} failed")
        elif progress is not None:
            progress(len(plan), len(plan), "done")
    return RunSummary(tuple(steps), time.monotonic() - started, snapshots, tuple(standing))


def refit_everything(settings: Settings, progress: Progress | None = None) -> RunSummary:
    """Refit the teacher on all snapshots that there are, and make again what follows from it.

    The embedding space stays, so that old and new vectors remain comparable.
    """
    from gem_assets.definitions import code_location

    return materialize_everything(settings, progress, with_followers(code_location(settings.data_root), TEACHER))


def with_followers(defs: dg.Definitions, asset: str) -> list[str]:
    """Return an asset and everything that is made from it, directly or not."""
    graph: Any = defs.resolve_asset_graph()
    chosen, waiting = {asset}, [dg.AssetKey(asset.split("/"))]
    while waiting:
        for child in graph.get(waiting.pop()).child_keys:
            if child.to_user_string() not in chosen:
                chosen.add(child.to_user_string())
                waiting.append(child)
    return sorted(chosen)


def asset_names(defs: dg.Definitions) -> frozenset[str]:
    """Return the name of every asset of the graph."""
    return frozenset(key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys())


def _check_names(defs: dg.Definitions, names: Sequence[str]) -> None:
    known = asset_names(defs)
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), 5)
            meant = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(sorted(known))}"
            raise UnknownAssetError(f"there is no asset {name!r}; {meant}")


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Open the Dagster instance of a data root, whose home is made when it is not there yet."""
    os.environ["DAGSTER_HOME"] = str(prepare_home(settings))
    return dg.DagsterInstance.get()


def _register_landed(defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
    repository = defs.get_repository_def()
    sensor = repository.get_sensor_def("landing")
    with dg.build_sensor_context(instance=instance, repository_def=repository, resources=defs.resources) as context:
        outcome = sensor.evaluate_tick(context)
    for request in outcome.dynamic_partitions_requests or []:
        if isinstance(request, dg.AddDynamicPartitionsRequest):
            instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    latest = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey("landing"), dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
    )
    for event in outcome.asset_events:
        if isinstance(event, dg.AssetCheckEvaluation):
            continue
        known = latest.get(str(event.partition), {}).get("dagster/data_version")
        if known != (event.tags or {}).get("dagster/data_version"):
            instance.report_runless_asset_event(event)


def asset_order(defs: dg.Definitions, also: Sequence[str] = ()) -> list[Any]:
    """Return the nodes of the assets that run by themselves, and those of ``also``, each after what it depends on."""
    graph: Any = defs.resolve_asset_graph()
    nodes = [graph.get(key) for level in graph.toposorted_asset_keys_by_level for key in sorted(level)]
    return [
        node
        for node in nodes
        if node.is_materializable and (node.tags.get("gem/refresh") != "by_hand" or node.key.to_user_string() in also)
    ]


def _plan(
    defs: dg.Definitions, snapshots: tuple[str, ...], also: Sequence[str]
) -> Iterator[tuple[dg.AssetKey, str | None]]:
    for node in asset_order(defs, also):
        if node.is_partitioned:
            yield from ((node.key, snapshot) for snapshot in snapshots)
        else:
            yield node.key, None


def _materialize(
    defs: dg.Definitions, instance: dg.DagsterInstance, asset: dg.AssetKey, snapshot: str | None, tags: dict[str, str]
) -> Step:
    started = time.monotonic()
    # the selection goes to the run, which records it: it is what the page of runs shows as its target
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[asset], partition_key=snapshot, tags=tags, raise_on_error=False
    )
    checks = tuple(e.check_name for e in result.get_asset_check_evaluations() if not e.passed)
    failure = next((e for e in result.all_events if e.is_step_failure), None)
    error = ""
    if failure is not None:
        cause = failure.step_failure_data.error
        error = _in_words((cause.cause or cause).message.strip()) if cause is not None else ""
    return Step(
        asset=asset.to_user_string(),
        snapshot=snapshot,
        seconds=time.monotonic() - started,
        succeeded=result.success,
        failed_checks=checks,
        error=error,
    )


def _in_words(message: str) -> str:
    """Leave out the class before the message of an error of this project; what no one foresaw keeps it."""
    kind, _, said = message.partition(": ")
    return said if said and kind.split(".")[0] in ("gem_assets", "resources", "sensors") else message
