"""``domain_inventory``: what there is of each cluster, snapshot and language."""

import dagster as dg

from gem_assets.assets.common import GROUP_LABELS, OWNERS, every_snapshot, picture, refresh, table, without_vector
from gem_assets.mixing.config import CODE_VERSION
from gem_assets.orchestration.stage import Making, Stage, staged
from gem_assets.stages import DOMAIN_INVENTORY, GIS_TAXONOMY, PAGE_HISTORY, STUDENT_LABELS, STUDENT_MODEL
from resources import StoreResource


@dg.asset(
    deps=[GIS_TAXONOMY, PAGE_HISTORY, every_snapshot(STUDENT_LABELS)],
    group_name=GROUP_LABELS,
    kinds={"arrow", "parquet"},
    owners=OWNERS,
    tags=refresh(DOMAIN_INVENTORY),
    code_version=CODE_VERSION,
    description="Documents, tokens and bytes per cluster, snapshot and language, over every snapshot that is labelled. "
    "A snapshot that failed is listed, not fatal; versions of a page that `recrawls.use` leaves out are not counted.",
)
@staged
def domain_inventory(context: dg.AssetExecutionContext, store: StoreResource) -> Making:
    from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy

    named, model, pages = store.input(GIS_TAXONOMY), store.input(STUDENT_MODEL), store.input(PAGE_HISTORY)
    labels = store.inputs(STUDENT_LABELS, lance_table=store.label_table(model))
    stage = Stage(
        store,
        DOMAIN_INVENTORY,
        config={},
        code_version=CODE_VERSION,
        inputs=[named, pages, *labels],
    )
    yield stage
    names = Taxonomy.read(store.artifact(named).path / TAXONOMY_NAME).names
    if stage.done is None:
        from gem_assets.corpus.recrawls import Selection
        from gem_assets.mixing.inventory import publish_inventory

        columns = ["doc_id", "cluster", "snapshot", "lang", "n_tokens", "n_bytes"]
        selection = Selection.read(store.artifact(pages).path)
        with stage.write() as draft:
            found = publish_inventory(selection.used(store.table_scan(labels)(columns)), names, draft.path)
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
            "snapshots": len(labels),
            "documents_without_vector": without_vector(store, labels),
            "not_labelled": ", ".join(store.absent(STUDENT_LABELS)) or "none",
            "recrawls": table(describe_recrawls(store.artifact(pages).path), RECRAWL_COLUMNS),
            "clusters": table(describe_inventory(folder, names)),
            "over_snapshots": picture(folder, "snapshots.png", "Token share of each cluster, by snapshot"),
        }
    )
