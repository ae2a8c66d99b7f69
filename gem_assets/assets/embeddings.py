"""``embeddings``: one unit vector per document, in LanceDB."""

from pathlib import Path

from gem_assets.assets.common import GROUP_CLUSTERS
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.embedding.config import CODE_VERSION, LEFT_OUT_NAME
from gem_assets.orchestration.stage import Making
from gem_assets.stages import EMBEDDINGS
from gem_assets.storage.manifest import InputRef


@stage_asset(
    group=GROUP_CLUSTERS,
    kinds={"lancedb", "numpy"},
    code_version=CODE_VERSION,
    pool="lance_embeddings",
    libraries=("numpy",),
    description="Unit vectors of one snapshot, encoded shard by shard and committed to LanceDB in one atomic "
    "replacement of the snapshot. The table is named after the embedding space, so spaces never mix. Documents "
    "for which the encoder gives no finite direction are left out and named in `left_out.parquet`.",
)
def embeddings(work: Work, raw_shards: InputRef, embedding_space: InputRef) -> Making:
    snapshot, store = work.partition, work.store
    table = store.embedding_table(embedding_space)
    stage = work.stage(config={"table": table})
    yield stage
    if stage.done is None:
        import pyarrow.parquet as pq

        from gem_assets.embedding.encode import encode_shards, files_of, left_out_documents, vector_schema
        from gem_assets.parallel.finished import keeping_finished
        from gem_assets.storage.scratch import read_scratch

        dimension = int(store.artifact(embedding_space).manifest.counts["dimension"])
        with stage.write() as draft, store.shard_folder(EMBEDDINGS, snapshot, stage.identity) as scratch:
            mapped = keeping_finished(work.engine.shard_map(EMBEDDINGS), scratch, Path, files_of)
            files = encode_shards(
                store.shards([raw_shards])[snapshot], store.artifact(embedding_space).path, scratch, mapped
            )
            documents = store.artifact(raw_shards).manifest.counts["kept"]
            left_out = left_out_documents(files, documents, work.settings.embedding.most_without_vector)
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
