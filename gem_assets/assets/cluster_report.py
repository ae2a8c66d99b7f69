"""``cluster_report``: how balanced, coherent and stable the clusters are."""

from gem_assets.assets.common import GROUP_CLUSTERS, page_link, picture, table
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.orchestration.purpose import expensive
from gem_assets.orchestration.stage import Making
from gem_assets.storage.manifest import InputRef
from gem_assets.teacher.report_config import CODE_VERSION


@stage_asset(
    group=GROUP_CLUSTERS,
    kinds={"python", "json"},
    code_version=CODE_VERSION,
    libraries=("numpy", "scipy", "scikit-learn"),
    description="The clusters beside k-means, the same mixture without balance, a random partition and the source "
    "column: shares, coherence by vectors and by words, drop in bigram loss, stability under another seed and another "
    "half of the documents, and anisotropy of the vectors before and after.",
    costly=expensive(first=True, refits=True),
)
def cluster_report(
    work: Work, teacher_clusters: InputRef, gis_taxonomy: InputRef, raw_shards: list[InputRef]
) -> Making:
    conf, store = work.settings.cluster_report, work.store
    stage = work.stage(config=conf, inputs=[teacher_clusters, gis_taxonomy], seed=conf.seed)
    yield stage
    if stage.done is None:
        from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy
        from gem_assets.teacher.publish_report import publish_report
        from gem_assets.teacher.seed_documents import seed_documents

        names = Taxonomy.read(store.artifact(gis_taxonomy).path / TAXONOMY_NAME).names
        seed = seed_documents(store.artifact(teacher_clusters).path, store.shards(raw_shards))
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
