"""``corpus_map``: where each cluster stands on the explorer's map."""

import dagster as dg

from gem_assets.assets.common import GROUP_CLUSTERS, OWNERS, refresh
from gem_assets.explorer.corpus_map import CODE_VERSION
from gem_assets.orchestration.stage import Making, Stage, staged
from gem_assets.stages import CORPUS_MAP, TEACHER_CLUSTERS
from resources import StoreResource


@dg.asset(
    deps=[TEACHER_CLUSTERS],
    group_name=GROUP_CLUSTERS,
    kinds={"numpy"},
    owners=OWNERS,
    tags=refresh(CORPUS_MAP),
    code_version=CODE_VERSION,
    output_required=False,
    description="Where each cluster stands on the map of `gem explore`. Documents of a new snapshot are placed between "
    "the clusters without moving the others; after a refit the map is turned onto the one before.",
)
@staged
def corpus_map(context: dg.AssetExecutionContext, store: StoreResource) -> Making:
    from gem_assets.assets.refitting import input_of, made_on

    teacher = store.input(TEACHER_CLUSTERS)
    last = input_of(store.artifact(teacher), TEACHER_CLUSTERS)
    before = next(iter(made_on(store, CORPUS_MAP, last)), None) if last is not None else None
    stage = Stage(
        store,
        CORPUS_MAP,
        config={},
        code_version=CODE_VERSION,
        inputs=[teacher, *([before] if before is not None else [])],
        libraries=("numpy",),
    )
    yield stage
    if stage.done is None:
        from gem_assets.explorer.corpus_map import publish_map

        with stage.write() as draft:
            fitted = publish_map(
                store.artifact(teacher).path, draft.path, store.artifact(before).path if before is not None else None
            )
            draft.counts = {"clusters": len(fitted.clusters)}
    return stage.result({**stage.artifact.manifest.counts})
