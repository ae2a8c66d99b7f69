"""``drift_statistics`` and ``drift``: how far snapshots have moved from what the teacher was fitted on."""

import dagster as dg

from gem_assets.assets.common import GROUP_LABELS, OWNERS, every_snapshot, picture, refresh, table
from gem_assets.assets.partitions import snapshots
from gem_assets.drift.config import CODE_VERSION
from gem_assets.orchestration.stage import Making, Stage, staged
from gem_assets.stages import DRIFT, DRIFT_STATISTICS, EMBEDDINGS, STUDENT_LABELS, STUDENT_MODEL, TEACHER_CLUSTERS
from resources import SettingsResource, StoreResource


@dg.asset(
    partitions_def=snapshots,
    deps=[EMBEDDINGS, STUDENT_LABELS, TEACHER_CLUSTERS],
    group_name=GROUP_LABELS,
    kinds={"parquet", "numpy"},
    owners=OWNERS,
    tags=refresh(DRIFT_STATISTICS),
    code_version=CODE_VERSION,
    description="Sums of one snapshot, per language: labels by cluster, labels below the margin, log-likelihoods of a "
    "sample under the teacher. Measured once per snapshot, so drift over many costs no second pass.",
)
@staged
def drift_statistics(context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource) -> Making:

    conf, snapshot = settings.load().drift, context.partition_key
    teacher = store.input(TEACHER_CLUSTERS)
    labels, vectors = store.input(STUDENT_LABELS, snapshot), store.input(EMBEDDINGS, snapshot)
    stage = Stage(
        store,
        DRIFT_STATISTICS,
        partition=snapshot,
        config=conf.model_dump(include={"margin", "sample"}),
        code_version=CODE_VERSION,
        inputs=[teacher, labels, vectors],
        libraries=("numpy", "scipy"),
    )
    yield stage
    if stage.done is None:
        from gem_assets.drift.statistics import Seen, publish_statistics
        from gem_assets.student.config import StudentConfig
        from gem_assets.student.distil import training_ids
        from gem_assets.teacher.seed_fit import load_seed

        student = store.artifact(store.ancestor(labels, STUDENT_MODEL)).manifest
        fitted, seed, _ = load_seed(store.artifact(teacher).path)
        with stage.write() as draft:
            draft.counts = publish_statistics(
                store.table_scan([labels])(["doc_id", "lang", "cluster", "margin"]),
                store.table_scan([vectors]),
                fitted,
                Seen(
                    by_teacher=seed.column("doc_id").combine_chunks(),
                    by_student=training_ids(seed, StudentConfig.model_validate(student.config)),
                ),
                conf,
                draft.path,
            )
    return stage.result(stage.artifact.manifest.counts)


@dg.asset(
    deps=[TEACHER_CLUSTERS, every_snapshot(DRIFT_STATISTICS)],
    group_name=GROUP_LABELS,
    kinds={"json", "parquet"},
    owners=OWNERS,
    tags=refresh(DRIFT),
    code_version=CODE_VERSION,
    description="Every snapshot against those that the teacher was fitted on: divergence of label shares, fall of the "
    "log-likelihood, rise of unsure labels, per language too. Past `drift.*.refit` the drift sensor asks for a refit.",
)
@staged
def drift(context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource) -> Making:

    conf, teacher = settings.load().drift, store.input(TEACHER_CLUSTERS)
    statistics = [
        ref
        for ref in store.inputs(DRIFT_STATISTICS)
        if any(made.identity == teacher.identity for made in store.artifact(ref).manifest.inputs)
    ]
    stage = Stage(
        store, DRIFT, config=conf, code_version=CODE_VERSION, inputs=[teacher, *statistics], libraries=("numpy",)
    )
    yield stage
    if stage.done is None:
        from gem_assets.drift.report import publish_drift

        fit = store.artifact(teacher).manifest
        fitted_on = [str(ref.partition) for ref in fit.inputs if ref.asset == EMBEDDINGS]
        folders = {str(ref.partition): store.artifact(ref).path for ref in statistics}
        with stage.write() as draft:
            report = publish_drift(folders, fitted_on, fit.counts["clusters"], str(teacher.identity), conf, draft.path)
            draft.metrics = {"level": report.level, "teacher": report.teacher}
            draft.counts = {"snapshots": len(folders)}

    from gem_assets.drift.report import PICTURE_NAME, SHOWN_COLUMNS, DriftReport, shown_rows

    folder = stage.artifact.path
    report = DriftReport.read(folder)
    return stage.result(
        {
            "level": report.level,
            "snapshots": len(statistics),
            "rows": table(shown_rows(report), SHOWN_COLUMNS),
            "over_snapshots": picture(folder, PICTURE_NAME, "Drift of each snapshot against the teacher's"),
        }
    )
