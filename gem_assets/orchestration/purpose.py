"""What is expensive runs on purpose only: "Materialize all" must refit nothing and train nothing.

A run is on purpose when the daemon started it (the reconciler decided), when it is a job's, or when it does not also
hold what the asset reads. Otherwise a result that stands is reported as it is, and one that was never made is left out,
with the way to ask for it in the log.
"""

import functools
from collections.abc import Callable, Generator
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import is_reserved_asset_job_name
from dagster._core.errors import DagsterInvalidPropertyError
from dagster._core.storage.tags import AUTOMATION_CONDITION_TAG, BACKFILL_ID_TAG

from gem_assets.orchestration.plan import differences
from gem_assets.orchestration.probe import declaration
from gem_assets.orchestration.progress import run_logger
from gem_assets.orchestration.stage import Stage, finish
from gem_assets.stages import GROWING
from gem_assets.storage.artifacts import Artifact
from gem_assets.storage.store import Store

Compute = Callable[..., dg.MaterializeResult]


def _needed(stage: Stage, current: Artifact | None, *, first: bool, refits: bool) -> bool:
    """Tell whether this is a first fit or a needed refit, of those that are let through."""
    if current is None:
        return first
    reasons = differences(current.manifest, stage.wanted, GROWING) if refits else ()
    return any(reason.kind != "snapshots" for reason in reasons)


def expensive(
    *, first: bool = False, refits: bool = False, of: Callable[[str], bool] = lambda _: True
) -> Callable[[Compute], Callable[..., Any]]:
    """Make an asset's function do its work on purpose only; its asset needs ``output_required=False``.

    Parameters
    ----------
    first
        The first result is made in any run.
    refits
        It is made again in any run when it differs by more than snapshots that it has not seen.
    of
        Tells which partitions are expensive.
    """

    def decorate(compute: Compute) -> Callable[..., Any]:
        @functools.wraps(compute)
        def on_purpose(
            context: dg.AssetExecutionContext, *, store: Store, **given: Any
        ) -> Generator[dg.MaterializeResult]:
            making = declaration(compute)(context=context, store=store, **given)
            stage = next(making)
            wanted = asked_for(context) or (context.has_partition_key and not of(context.partition_key))
            if wanted or stage.done is not None:
                yield finish(making)
                return
            current = store.artifacts.current(stage.asset, stage.partition)
            if _needed(stage, current, first=first, refits=refits):
                yield finish(making)
                return
            making.close()
            way_out = f"materialize it alone, run a job that holds it, or: gem run --until {stage.name}"
            said = "%s is expensive and this run holds what it reads, so it is left as it is. To make it, %s"
            run_logger().warning(said, stage.name, way_out)
            if current is not None:
                stage.keep(current)
                yield stage.result({"left_as_it_is": f"To make it, {way_out}"})

        return on_purpose

    return decorate


def asked_for(context: dg.AssetExecutionContext) -> bool:
    """Tell whether somebody wants this very asset made; a run of everything wants nothing in particular."""
    try:
        run = context.run
    except DagsterInvalidPropertyError:  # called as a function, without a run
        return True
    if AUTOMATION_CONDITION_TAG in run.tags or not is_reserved_asset_job_name(run.job_name):
        return True
    selected = set(run.asset_selection or context.job_def.asset_layer.executable_asset_keys)
    backfill = run.tags.get(BACKFILL_ID_TAG)
    if backfill is not None:
        found = context.instance.get_backfill(backfill)
        selected |= set(found.asset_selection or ()) if found is not None else set()
    read = {key for keys in context.assets_def.asset_deps.values() for key in keys}
    return not read & (selected - context.assets_def.keys)
