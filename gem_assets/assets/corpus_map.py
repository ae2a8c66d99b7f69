"""``corpus_map``: where each cluster stands on the explorer's map."""

from gem_assets.assets.common import GROUP_CLUSTERS
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.explorer.corpus_map import CODE_VERSION
from gem_assets.orchestration.stage import Making
from gem_assets.stages import CORPUS_MAP, TEACHER_CLUSTERS
from gem_assets.storage.manifest import InputRef


@stage_asset(
    group=GROUP_CLUSTERS,
    kinds={"numpy"},
    code_version=CODE_VERSION,
    libraries=("numpy",),
    description="Where each cluster stands on the map of `gem explore`. Documents of a new snapshot are placed between "
    "the clusters without moving the others; after a refit the map is turned onto the one before.",
)
def corpus_map(work: Work, teacher_clusters: InputRef) -> Making:
    from gem_assets.assets.refitting import input_of, made_on

    store = work.store
    last = input_of(store.artifact(teacher_clusters), TEACHER_CLUSTERS)
    before = next(iter(made_on(store, CORPUS_MAP, last)), None) if last is not None else None
    stage = work.stage(config={}, also=[before] if before is not None else [])
    yield stage
    if stage.done is None:
        from gem_assets.explorer.corpus_map import publish_map

        with stage.write() as draft:
            fitted = publish_map(
                store.artifact(teacher_clusters).path,
                draft.path,
                store.artifact(before).path if before is not None else None,
            )
            draft.counts = {"clusters": len(fitted.clusters)}
    return stage.result({**stage.artifact.manifest.counts})
