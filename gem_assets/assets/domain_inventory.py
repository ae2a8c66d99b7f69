"""``domain_inventory``: what there is of each cluster, snapshot and language."""

from gem_assets.assets.common import GROUP_LABELS, picture, table, without_vector
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.mixing.config import CODE_VERSION
from gem_assets.orchestration.stage import Making
from gem_assets.stages import STUDENT_LABELS
from gem_assets.storage.manifest import InputRef


@stage_asset(
    group=GROUP_LABELS,
    kinds={"arrow", "parquet"},
    code_version=CODE_VERSION,
    description="Documents, tokens and bytes per cluster, snapshot and language, over every snapshot that is labelled. "
    "A snapshot that failed is listed, not fatal; versions of a page that `recrawls.use` leaves out are not counted.",
)
def domain_inventory(
    work: Work, gis_taxonomy: InputRef, page_history: InputRef, student_labels: list[InputRef]
) -> Making:
    from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy

    store = work.store
    stage = work.stage(config={})
    yield stage
    names = Taxonomy.read(store.artifact(gis_taxonomy).path / TAXONOMY_NAME).names
    if stage.done is None:
        from gem_assets.corpus.recrawls import Selection
        from gem_assets.mixing.inventory import publish_inventory

        columns = ["doc_id", "cluster", "snapshot", "lang", "n_tokens", "n_bytes"]
        selection = Selection.read(store.artifact(page_history).path)
        with stage.write() as draft:
            found = publish_inventory(selection.used(store.table_scan(student_labels)(columns)), names, draft.path)
            draft.counts = {
                **found,
                "superseded_documents": selection.documents,
                "superseded_tokens": selection.tokens,
                "superseded_bytes": selection.n_bytes,
            }
            draft.metrics = {"tokenizer": store.tokenizer()}

    from gem_assets.corpus.recrawls import RECRAWL_COLUMNS, describe_recrawls
    from gem_assets.mixing.inventory import describe_inventory

    folder = stage.artifact.path
    return stage.result(
        {
            **stage.artifact.manifest.counts,
            "snapshots": len(student_labels),
            "documents_without_vector": without_vector(store, student_labels),
            "not_labelled": ", ".join(store.absent(STUDENT_LABELS)) or "none",
            "recrawls": table(describe_recrawls(store.artifact(page_history).path), RECRAWL_COLUMNS),
            "clusters": table(describe_inventory(folder, names)),
            "over_snapshots": picture(folder, "snapshots.png", "Token share of each cluster, by snapshot"),
        }
    )
