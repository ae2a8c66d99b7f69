"""Which fit of a fitted thing stands, and which earlier one a new fit continues.

The earlier result is an input like any other, so it is part of the identity: two data roots with the same documents and
different pasts may hold different teachers, and each manifest says which past. A rerun without news must find the
result that stands, whatever it was refitted from; so the results in the store are asked first, newest first.
"""

from collections.abc import Callable

from gem_assets.orchestration.stage import Stage
from gem_assets.stages import GIS_TAXONOMY, TEACHER_CLUSTERS, strategy_of
from gem_assets.storage.artifacts import Artifact
from gem_assets.storage.manifest import InputRef
from resources import StoreResource


def input_of(artifact: Artifact, asset: str) -> InputRef | None:
    """Return the one input of that name, or None."""
    return next((ref for ref in artifact.manifest.inputs if ref.asset == asset), None)


def teacher_stage(
    store: StoreResource, stage_with: Callable[[InputRef | None], Stage]
) -> tuple[Stage, InputRef | None]:
    """Return the teacher's stage that stands, or the one that would be fitted now with the teacher it continues.

    ``stage_with`` makes the stage for a previous teacher, or for none.
    """
    for found in reversed(store.artifacts.history(TEACHER_CLUSTERS)):
        previous = input_of(found, TEACHER_CLUSTERS)
        stage = stage_with(previous)
        if stage.identity == found.identity and store.artifacts.get(stage.asset, stage.identity) is not None:
            return stage, previous
    current = store.artifacts.current(TEACHER_CLUSTERS)
    previous = current.ref() if current is not None else None
    return stage_with(previous), previous


def named_before(store: StoreResource, teacher: InputRef) -> InputRef | None:
    """Return the newest taxonomy of an earlier teacher, whose names a refitted one takes over; None after a first fit.

    Taxonomies of the same teacher do not count: asking for other names has to give other names.
    """
    if input_of(store.artifact(teacher), TEACHER_CLUSTERS) is None:
        return None
    for found in reversed(store.artifacts.history(GIS_TAXONOMY)):
        of = input_of(found, TEACHER_CLUSTERS)
        if of is not None and of.identity != teacher.identity:
            return found.ref()
    return None


def made_on(store: StoreResource, name: str, base: InputRef) -> list[InputRef]:
    """Return the newest result of each asset of that name, or below it, that was made from ``base``."""
    found: list[InputRef] = []
    for asset in store.artifacts.assets():
        if asset != name and strategy_of(asset, name) is None:
            continue
        for artifact in reversed(store.artifacts.history(asset)):
            made_from = input_of(artifact, base.asset)
            if made_from is not None and made_from.identity == base.identity:
                found.append(artifact.ref())
                break
    return found
