"""``page_history``: the same page in several snapshots."""

from gem_assets.assets.common import GROUP_CORPUS, table
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.corpus.recrawls import CODE_VERSION
from gem_assets.orchestration.stage import Making
from gem_assets.storage.manifest import InputRef


@stage_asset(
    group=GROUP_CORPUS,
    kinds={"duckdb", "parquet"},
    code_version=CODE_VERSION,
    libraries=("duckdb",),
    description="Pages followed through the snapshots by URL and content digest: first seen, unchanged, edited, gone. "
    "Also which versions of a page mixtures leave out, by `recrawls.use` (latest, all, first).",
)
def page_history(work: Work, raw_shards: list[InputRef]) -> Making:
    conf, store = work.settings.recrawls, work.store
    stage = work.stage(config=conf)
    yield stage
    if stage.done is None:
        from gem_assets.corpus.recrawls import publish_history
        from gem_assets.corpus.shards import DUPLICATES_FILE

        places = {str(ref.partition): store.artifact(ref).path / DUPLICATES_FILE for ref in raw_shards}
        with stage.write() as draft, store.scratch() as scratch:
            report = publish_history(store.shards(raw_shards), places, conf, draft.path, scratch)
            draft.counts = {"pages": report.pages, "versions": report.versions, "superseded": report.superseded}

    from gem_assets.corpus.recrawls import RECRAWL_COLUMNS, describe_recrawls

    return stage.result(
        {
            **stage.artifact.manifest.counts,
            "use": conf.use,
            "snapshots": len(raw_shards),
            "recrawls": table(describe_recrawls(stage.artifact.path), RECRAWL_COLUMNS),
        }
    )
