"""``cluster_report``: how balanced, coherent and stable the clusters are."""

import dagster as dg

from gem_assets.assets.common import GROUP_CLUSTERS, OWNERS, every_snapshot, page_link, picture, refresh, table
from gem_assets.orchestration.purpose import expensive
from gem_assets.orchestration.stage import Making, Stage, staged
from gem_assets.stages import CLUSTER_REPORT, GIS_TAXONOMY, RAW_SHARDS, TEACHER_CLUSTERS
from gem_assets.teacher.report_config import CODE_VERSION
from resources import SettingsResource, StoreResource


@dg.asset(
    deps=[TEACHER_CLUSTERS, GIS_TAXONOMY, every_snapshot(RAW_SHARDS)],
    group_name=GROUP_CLUSTERS,
    kinds={"python", "json"},
    owners=OWNERS,
    tags=refresh(CLUSTER_REPORT),
    code_version=CODE_VERSION,
    output_required=False,
    description="The clusters beside k-means, the same mixture without balance, a random partition and the source "
    "column: shares, coherence by vectors and by words, drop in bigram loss, stability under another seed and another "
    "half of the documents, and anisotropy of the vectors before and after.",
)
@expensive(first=True, refits=True)
@staged
def cluster_report(context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource) -> Making:

    conf = settings.load().cluster_report
    teacher, named, shards = store.input(TEACHER_CLUSTERS), store.input(GIS_TAXONOMY), store.inputs(RAW_SHARDS)
    stage = Stage(
        store,
        CLUSTER_REPORT,
        config=conf,
        code_version=CODE_VERSION,
        inputs=[teacher, named],
        libraries=("numpy", "scipy", "scikit-learn"),
        seed=conf.seed,
    )
    yield stage
    if stage.done is None:
        from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy
        from gem_assets.teacher.publish_report import publish_report
        from gem_assets.teacher.seed_documents import seed_documents

        names = Taxonomy.read(store.artifact(named).path / TAXONOMY_NAME).names
        seed = seed_documents(store.artifact(teacher).path, store.shards(shards))
        with stage.write() as draft:
            report = publish_report(seed, names, conf, draft.path, version=stage.identity)
            draft.counts = {"documents": report.documents, "clusters": len(report.clusters)}

    from gem_assets.teacher.publish_report import PAGE_NAME, read_report

    folder = stage.artifact.path
    report = read_report(folder)
    return stage.result(
        {
            **stage.artifact.manifest.counts,
            "clusterings": table([c.model_dump() for c in report.clusterings]),
            "clusters": table([{**c.model_dump(), "words": ", ".join(c.words)} for c in report.clusters]),
            "mean_cosine_before": report.anisotropy_before.mean_cosine,
            "mean_cosine_after": report.anisotropy_after.mean_cosine,
            "comparison": picture(folder, "comparison.png", "Clusterings of the same documents side by side"),
            "shares": picture(folder, "shares.png", "Cluster shares: spherical k-means and GEM"),
            "spectrum": picture(folder, "spectrum.png", "Share of the squared length on the leading axes"),
            "page": page_link(folder, PAGE_NAME),
        }
    )
