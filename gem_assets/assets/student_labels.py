"""``student_labels``: cluster, confidence and margin of every document."""

from pathlib import Path

import dagster as dg

from gem_assets.assets.common import GROUP_LABELS, OWNERS, refresh
from gem_assets.assets.partitions import snapshots
from gem_assets.orchestration.stage import Making, Stage, staged
from gem_assets.stages import EMBEDDING_SPACE, RAW_SHARDS, STUDENT_LABELS, STUDENT_MODEL, TEACHER_CLUSTERS
from gem_assets.student.config import CODE_VERSION
from resources import EngineResource, SettingsResource, StoreResource


@dg.asset(
    partitions_def=snapshots,
    deps=[RAW_SHARDS, STUDENT_MODEL],
    group_name=GROUP_LABELS,
    kinds={"lancedb", "numba"},
    owners=OWNERS,
    tags=refresh(STUDENT_LABELS),
    code_version=CODE_VERSION,
    pool="lance_labels",
    description="Cluster, calibrated confidence and margin of every document of one snapshot, committed in one atomic "
    "replacement. The table is named after the teacher and the student, so labels of different models never mix. With "
    "`labels.escalate_margin` the documents that the student is unsure of are embedded and labelled by the teacher.",
)
@staged
def student_labels(
    context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource, engine: EngineResource
) -> Making:

    snapshot, conf = context.partition_key, settings.load().labels
    shards, model = store.input(RAW_SHARDS, snapshot), store.input(STUDENT_MODEL)
    table = store.label_table(model)
    stage = Stage(
        store,
        STUDENT_LABELS,
        partition=snapshot,
        config={"table": table, **(conf.model_dump() if conf.escalates else {})},
        code_version=CODE_VERSION,
        inputs=[shards, model],
        libraries=("numpy", "numba"),
    )
    yield stage
    if stage.done is None:
        from gem_assets.parallel.finished import keeping_finished
        from gem_assets.storage.scratch import read_scratch
        from gem_assets.student.distil import MODEL_FOLDER
        from gem_assets.student.label import LABEL_SCHEMA, Escalation, files_of, label_shards, summarise

        escalation = None
        if conf.escalates:
            teacher = store.ancestor(model, TEACHER_CLUSTERS)
            space = store.ancestor(teacher, EMBEDDING_SPACE)
            escalation = Escalation(store.artifact(space).path, store.artifact(teacher).path, conf)
        with stage.write() as draft, store.shard_folder(STUDENT_LABELS, snapshot, stage.identity) as scratch:
            files = label_shards(
                store.shards([shards])[snapshot],
                store.artifact(model).path / MODEL_FOLDER,
                scratch,
                keeping_finished(engine.shard_map(STUDENT_LABELS), scratch, Path, files_of),
                escalation,
            )
            draft.metrics = summarise(files)
            rows = read_scratch(files, LABEL_SCHEMA)
            commit = store.tables.replace_snapshot(table, rows, snapshot, allow_empty=True)
            draft.lance = [commit.ref]
            draft.counts = {"documents": commit.rows}
    manifest = stage.artifact.manifest
    return stage.result(
        {
            "dagster/row_count": manifest.counts["documents"],
            **manifest.metrics,
            "table": table,
            "table_version": manifest.lance[0].version,
        }
    )
