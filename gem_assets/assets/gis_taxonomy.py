"""``gis_taxonomy``: names, keywords and exemplars of the clusters."""

import dagster as dg

from gem_assets.assets.common import GROUP_CLUSTERS, OWNERS, every_snapshot, picture, refresh, table
from gem_assets.taxonomy.config import CODE_VERSION
from resources import SettingsResource, Stage, StoreResource


@dg.asset(
    deps=["teacher_clusters", every_snapshot("raw_shards")],
    group_name=GROUP_CLUSTERS,
    kinds={"python", "json"},
    owners=OWNERS,
    tags=refresh("fitted"),
    code_version=CODE_VERSION,
    description="The named taxonomy: documents are ranked inside their cluster by the Geometric Influence Score "
    "(confidence, centrality, local density), the best distinct ones are its exemplars, class TF-IDF gives its "
    "keywords, and the name comes from those or from a language model where one is set.",
)
def gis_taxonomy(
    context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource
) -> dg.MaterializeResult:
    from gem_assets.taxonomy.publish import PAGE_NAME, TAXONOMY_NAME, namer_of, publish_taxonomy
    from gem_assets.taxonomy.seed import seed_documents
    from gem_assets.taxonomy.taxonomy import Taxonomy

    conf = settings.load().taxonomy
    teacher, shards = store.input("teacher_clusters"), store.inputs("raw_shards")
    stage = Stage(
        store,
        "gis_taxonomy",
        config=conf,
        code_version=CODE_VERSION,
        inputs=[teacher],
        libraries=("numpy", "scikit-learn"),
        seed=conf.seed,
    )
    if stage.done is None:
        seed = seed_documents(store.artifact(teacher).path, store.shards(shards))
        with stage.write() as draft:
            taxonomy = publish_taxonomy(
                seed, conf, draft.path, version=stage.identity, namer=namer_of(conf, store.cache("namer"))
            )
            draft.counts = {"clusters": len(taxonomy.clusters), "documents": taxonomy.documents}
            draft.metrics = {"seed_documents_without_text": seed.missing}
    folder = stage.artifact.path
    taxonomy = Taxonomy.read(folder / TAXONOMY_NAME)
    return stage.result(
        {
            **stage.artifact.manifest.counts,
            **stage.artifact.manifest.metrics,
            "namer": taxonomy.namer,
            "clusters": table(taxonomy.to_table().to_pylist()),
            "map": picture(folder, "map.png", "Seed documents by cluster, two principal components"),
            "page": dg.MetadataValue.path(str(folder / PAGE_NAME)),
        }
    )
