"""``page_history``: the same page in several snapshots."""

import dagster as dg

from gem_assets.assets.common import GROUP_CORPUS, OWNERS, every_snapshot, refresh, table
from gem_assets.corpus.recrawls import CODE_VERSION
from gem_assets.orchestration.stage import Making, Stage, staged
from gem_assets.stages import PAGE_HISTORY, RAW_SHARDS
from resources import SettingsResource, StoreResource


@dg.asset(
    deps=[every_snapshot(RAW_SHARDS)],
    group_name=GROUP_CORPUS,
    kinds={"duckdb", "parquet"},
    owners=OWNERS,
    tags=refresh(PAGE_HISTORY),
    code_version=CODE_VERSION,
    description="Pages followed through the snapshots by URL and content digest: first seen, unchanged, edited, gone. "
    "Also which versions of a page mixtures leave out, by `recrawls.use` (latest, all, first).",
)
@staged
def page_history(context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource) -> Making:

    conf = settings.load().recrawls
    shards = store.inputs(RAW_SHARDS)
    stage = Stage(store, PAGE_HISTORY, config=conf, code_version=CODE_VERSION, inputs=shards, libraries=("duckdb",))
    yield stage
    if stage.done is None:
        from gem_assets.corpus.recrawls import publish_history
        from gem_assets.corpus.shards import DUPLICATES_FILE

        places = {str(ref.partition): store.artifact(ref).path / DUPLICATES_FILE for ref in shards}
        with stage.write() as draft, store.scratch() as scratch:
            report = publish_history(store.shards(shards), places, conf, draft.path, scratch)
            draft.counts = {"pages": report.pages, "versions": report.versions, "superseded": report.superseded}

    from gem_assets.corpus.recrawls import RECRAWL_COLUMNS, describe_recrawls

    return stage.result(
        {
            **stage.artifact.manifest.counts,
            "use": conf.use,
            "snapshots": len(shards),
            "recrawls": table(describe_recrawls(stage.artifact.path), RECRAWL_COLUMNS),
        }
    )
