"""``embeddings``: one unit vector per document, in LanceDB."""

from pathlib import Path

import dagster as dg

from gem_assets.assets.common import GROUP_CLUSTERS, OWNERS, refresh
from gem_assets.assets.partitions import snapshots
from gem_assets.embedding.config import CODE_VERSION, LEFT_OUT_NAME
from gem_assets.orchestration.stage import Making, Stage, staged
from gem_assets.stages import EMBEDDING_SPACE, EMBEDDINGS, RAW_SHARDS
from resources import EngineResource, SettingsResource, StoreResource


@dg.asset(
    partitions_def=snapshots,
    deps=[RAW_SHARDS, EMBEDDING_SPACE],
    group_name=GROUP_CLUSTERS,
    kinds={"lancedb", "numpy"},
    owners=OWNERS,
    tags=refresh(EMBEDDINGS),
    code_version=CODE_VERSION,
    pool="lance_embeddings",
    description="Unit vectors of one snapshot, encoded shard by shard and committed to LanceDB in one atomic "
    "replacement of the snapshot. The table is named after the embedding space, so spaces never mix. Documents "
    "for which the encoder gives no finite direction are left out and named in `left_out.parquet`.",
)
@staged
def embeddings(
    context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource, engine: EngineResource
) -> Making:

    snapshot = context.partition_key
    shards, space = store.input(RAW_SHARDS, snapshot), store.input(EMBEDDING_SPACE)
    table = store.embedding_table(space)
    stage = Stage(
        store,
        EMBEDDINGS,
        partition=snapshot,
        config={"table": table},
        code_version=CODE_VERSION,
        inputs=[shards, space],
        libraries=("numpy",),
    )
    yield stage
    if stage.done is None:
        import pyarrow.parquet as pq

        from gem_assets.embedding.encode import encode_shards, files_of, left_out_documents, vector_schema
        from gem_assets.parallel.finished import keeping_finished
        from gem_assets.storage.scratch import read_scratch

        dimension = int(store.artifact(space).manifest.counts["dimension"])
        with stage.write() as draft, store.shard_folder(EMBEDDINGS, snapshot, stage.identity) as scratch:
            mapped = keeping_finished(engine.shard_map(EMBEDDINGS), scratch, Path, files_of)
            files = encode_shards(store.shards([shards])[snapshot], store.artifact(space).path, scratch, mapped)
            documents = store.artifact(shards).manifest.counts["kept"]
            left_out = left_out_documents(files, documents, settings.load().embedding.most_without_vector)
            rows = read_scratch(files, vector_schema(dimension))
            commit = store.tables.replace_snapshot(table, rows, snapshot, allow_empty=True)
            draft.lance = [commit.ref]
            draft.counts = {"documents": commit.rows, "dimension": dimension}
            if left_out.num_rows:
                pq.write_table(left_out, draft.path / LEFT_OUT_NAME)
                draft.counts["without_vector"] = left_out.num_rows
    counts = stage.artifact.manifest.counts
    return stage.result(
        {
            "dagster/row_count": counts["documents"],
            "dimension": counts["dimension"],
            "documents_without_vector": counts.get("without_vector", 0),
            "table": table,
            "table_version": stage.artifact.manifest.lance[0].version,
        }
    )
