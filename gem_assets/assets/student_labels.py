"""``student_labels``: cluster, confidence and margin of every document."""

from pathlib import Path

from gem_assets.assets.common import GROUP_LABELS
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.orchestration.stage import Making
from gem_assets.stages import EMBEDDING_SPACE, STUDENT_LABELS, TEACHER_CLUSTERS
from gem_assets.storage.manifest import InputRef
from gem_assets.student.config import CODE_VERSION


@stage_asset(
    group=GROUP_LABELS,
    kinds={"lancedb", "numba"},
    code_version=CODE_VERSION,
    pool="lance_labels",
    libraries=("numpy", "numba"),
    description="Cluster, calibrated confidence and margin of every document of one snapshot, committed in one atomic "
    "replacement. The table is named after the teacher and the student, so labels of different models never mix. With "
    "`labels.escalate_margin` the documents that the student is unsure of are embedded and labelled by the teacher.",
)
def student_labels(work: Work, raw_shards: InputRef, student_model: InputRef) -> Making:
    snapshot, conf, store = work.partition, work.settings.labels, work.store
    table = store.label_table(student_model)
    stage = work.stage(config={"table": table, **(conf.model_dump() if conf.escalates else {})})
    yield stage
    if stage.done is None:
        from gem_assets.parallel.finished import keeping_finished
        from gem_assets.storage.scratch import read_scratch
        from gem_assets.student.distil import MODEL_FOLDER
        from gem_assets.student.label import LABEL_SCHEMA, Escalation, files_of, label_shards, summarise

        escalation = None
        if conf.escalates:
            teacher = store.ancestor(student_model, TEACHER_CLUSTERS)
            space = store.ancestor(teacher, EMBEDDING_SPACE)
            escalation = Escalation(store.artifact(space).path, store.artifact(teacher).path, conf)
        with stage.write() as draft, store.shard_folder(STUDENT_LABELS, snapshot, stage.identity) as scratch:
            files = label_shards(
                store.shards([raw_shards])[snapshot],
                store.artifact(student_model).path / MODEL_FOLDER,
                scratch,
                keeping_finished(work.engine.shard_map(STUDENT_LABELS), scratch, Path, files_of),
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
