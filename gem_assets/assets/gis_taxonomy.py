"""``gis_taxonomy``: names, keywords and exemplars of the clusters."""

from typing import TYPE_CHECKING

import dagster as dg

from gem_assets.assets.common import GROUP_CLUSTERS, page_link, picture, table
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.orchestration.purpose import expensive
from gem_assets.orchestration.stage import Making
from gem_assets.stages import BLOCKLIST, TEACHER_CLUSTERS
from gem_assets.storage.manifest import InputRef
from gem_assets.taxonomy.config import CODE_VERSION

if TYPE_CHECKING:
    from gem_assets.taxonomy.hierarchy import Hierarchy
    from gem_assets.taxonomy.refit import RefitRecord
    from gem_assets.taxonomy.taxonomy import Taxonomy


@stage_asset(
    group=GROUP_CLUSTERS,
    kinds={"python", "json"},
    code_version=CODE_VERSION,
    libraries=("numpy", "scikit-learn"),
    description="The named taxonomy: documents are ranked inside their cluster by the Geometric Influence Score "
    "(confidence, centrality, local density), the best distinct ones are its exemplars, class TF-IDF gives its "
    "keywords, and the name comes from those or from a language model where one is set. Clusters are grouped into "
    "named parents by agglomeration on the sphere; names of clusters and parents stay through refits.",
    costly=expensive(first=True, refits=True),
    reads=[BLOCKLIST],
)
def gis_taxonomy(work: Work, teacher_clusters: InputRef, raw_shards: list[InputRef]) -> Making:
    from gem_assets.assets.refitting import named_before
    from gem_assets.takedown.certificate import taken_down
    from gem_assets.takedown.holdings import blocked_seed
    from gem_assets.takedown.request import blocklist_input
    from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy, namer_version

    conf, store = work.settings.taxonomy, work.store
    before = named_before(store, teacher_clusters)
    fitted = store.artifact(teacher_clusters)
    blocked = blocked_seed(taken_down(store.artifacts), fitted)
    stage = work.stage(
        # a reworded prompt gives other names, so it gives another identity too
        config=conf if conf.namer is None else {**conf.model_dump(mode="json"), "named_by": namer_version(conf)},
        inputs=[teacher_clusters, *([before] if before is not None else []), *blocklist_input(blocked)],
        seed=conf.seed,
    )
    yield stage
    if stage.done is None:
        from gem_assets.assets.refitting import input_of
        from gem_assets.taxonomy.publish import namer_of, publish_taxonomy, refitted
        from gem_assets.teacher.seed_documents import seed_documents

        seed = seed_documents(fitted.path, store.shards(raw_shards), exclude=blocked)
        lineage = None
        last = input_of(fitted, TEACHER_CLUSTERS)
        if last is not None:
            names = Taxonomy.read(store.artifact(before).path / TAXONOMY_NAME) if before is not None else None
            lineage = refitted(fitted.path, store.artifact(last).path, names)
        with stage.write() as draft:
            taxonomy = publish_taxonomy(
                seed,
                conf,
                draft.path,
                version=stage.identity,
                namer=namer_of(conf, store.cache("namer")),
                lineage=lineage,
            )
            draft.counts = {"clusters": len(taxonomy.clusters), "documents": taxonomy.documents}
            draft.metrics = {"seed_documents_without_text": seed.missing}

    from gem_assets.taxonomy.publish import PAGE_NAME, TREE_NAME

    folder = stage.artifact.path
    taxonomy = Taxonomy.read(folder / TAXONOMY_NAME)
    return stage.result(
        {
            **stage.artifact.manifest.counts,
            **stage.artifact.manifest.metrics,
            "namer": taxonomy.namer,
            **(refit_figures(taxonomy.refit) if taxonomy.refit is not None else {}),
            "page": page_link(folder, PAGE_NAME),
            "clusters": table(taxonomy.to_table().to_pylist(), CLUSTER_COLUMNS),
            "explorer": cluster_links(taxonomy),
            **(parent_figures(taxonomy.hierarchy) if taxonomy.hierarchy is not None else {}),
            "map": picture(folder, "map.png", "Seed documents between the centres of the clusters they resemble"),
            **({"tree": picture(folder, TREE_NAME, "Clusters and their parents")} if taxonomy.hierarchy else {}),
        }
    )


# keywords and neighbours stand on the page: here they would make every row five lines high
CLUSTER_COLUMNS = ["cluster", "name", "documents", "share", "coherence", "kappa", "parent"]


def cluster_links(taxonomy: "Taxonomy") -> dg.MetadataValue:
    """Link the explorer's page of each cluster."""
    from gem_assets.orchestration.links import EXPLORER
    from gem_assets.report.tables import escape_markdown

    lines = (f"- [{escape_markdown(c.name)}]({EXPLORER}/#/clusters/{c.domain})" for c in taxonomy.clusters)
    return dg.MetadataValue.md("\n".join(lines))


def parent_figures(hierarchy: "Hierarchy") -> dict[str, dg.MetadataValue]:
    """Show the parents as a table, for the asset's page."""
    rows = [
        {
            "parent": p.name,
            "clusters": len(p.clusters),
            "share": p.share,
            "coherence": p.coherence,
            "keywords": ", ".join(p.keywords),
        }
        for p in sorted(hierarchy.parents, key=lambda p: -p.share)
    ]
    return {"parents": table(rows)}


def refit_figures(refit: "RefitRecord") -> dict[str, str | float | int]:
    """Say what the last refit did, for the asset's page."""
    return {
        "refit_kept_documents": refit.kept,
        "refit_continued": len(refit.continued),
        "refit_births": ", ".join(map(str, refit.births)) or "none",
        "refit_deaths": ", ".join(f"{d} {refit.died_names.get(d, '')}".strip() for d in refit.deaths) or "none",
        "refit_splits": "; ".join(f"{m.domain} into {', '.join(map(str, m.parts))}" for m in refit.splits) or "none",
        "refit_merges": "; ".join(f"{m.domain} from {', '.join(map(str, m.parts))}" for m in refit.merges) or "none",
    }
