"""``carried_evidence``: recipes and swarm of the taxonomy before a refit, in the clusters after it."""

import dagster as dg

from gem_assets.assets.common import GROUP_EVIDENCE
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.mixing.config import CODE_VERSION
from gem_assets.orchestration.stage import Making
from gem_assets.stages import PROXY_SWARM, RECIPES
from gem_assets.storage.manifest import InputRef


@stage_asset(
    group=GROUP_EVIDENCE,
    kinds={"json", "parquet"},
    code_version=CODE_VERSION,
    libraries=("numpy",),
    description="After a refit: the recipes and the swarm table of the earlier taxonomy, in terms of the new clusters "
    "(by the documents that both have labelled) and marked as carried. Empty after a first fit.",
)
def carried_evidence(
    work: Work, teacher_clusters: InputRef, gis_taxonomy: InputRef, domain_inventory: InputRef
) -> Making:
    from gem_assets.assets.refitting import input_of, made_on

    store = work.store
    last, before = (input_of(store.artifact(ref), ref.asset) for ref in (teacher_clusters, gis_taxonomy))
    recipes = made_on(store, RECIPES, before) if before is not None else []
    swarms = made_on(store, PROXY_SWARM, last) if last is not None else []
    stage = work.stage(config={}, also=[*recipes, *swarms])
    yield stage
    if stage.done is None:
        from gem_assets.mixing.carried_evidence import SWARM_FILE, publish_carried
        from gem_assets.mixing.recipe import RECIPE_NAME
        from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy
        from gem_assets.teacher.crosswalk import Crosswalk

        taxonomy = Taxonomy.read(store.artifact(gis_taxonomy).path / TAXONOMY_NAME)
        with stage.write() as draft:
            draft.counts = {"recipes": 0, "swarm_runs": 0}
            if recipes or swarms:
                walk = Crosswalk.read(store.artifact(teacher_clusters).path)
                draft.counts = publish_carried(
                    {ref.asset.split("/")[1]: store.artifact(ref).path / RECIPE_NAME for ref in recipes},
                    store.artifact(swarms[0]).path / SWARM_FILE if swarms else None,
                    walk,
                    store.artifact(domain_inventory).path,
                    taxonomy.names,
                    taxonomy.version,
                    draft.path,
                )
                draft.metrics = {"kept": walk.kept, "from": before.identity if before is not None else None}
    manifest = stage.artifact.manifest
    return stage.result(
        {**manifest.counts, **manifest.metrics, "files": dg.MetadataValue.path(str(stage.artifact.path))}
    )
