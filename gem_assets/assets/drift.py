"""``drift_statistics`` and ``drift``: how far snapshots have moved from what the teacher was fitted on."""

from gem_assets.assets.common import GROUP_LABELS, picture, table
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.drift.config import CODE_VERSION
from gem_assets.orchestration.stage import Making
from gem_assets.stages import EMBEDDINGS, STUDENT_MODEL
from gem_assets.storage.manifest import InputRef


@stage_asset(
    group=GROUP_LABELS,
    kinds={"parquet", "numpy"},
    code_version=CODE_VERSION,
    libraries=("numpy", "scipy"),
    description="Sums of one snapshot, per language: labels by cluster, labels below the margin, log-likelihoods of a "
    "sample under the teacher. Measured once per snapshot, so drift over many costs no second pass.",
)
def drift_statistics(work: Work, teacher_clusters: InputRef, student_labels: InputRef, embeddings: InputRef) -> Making:
    conf, store = work.settings.drift, work.store
    stage = work.stage(config=conf.model_dump(include={"margin", "sample"}))
    yield stage
    if stage.done is None:
        from gem_assets.drift.statistics import Seen, publish_statistics
        from gem_assets.student.config import StudentConfig
        from gem_assets.student.distil import training_ids
        from gem_assets.teacher.seed_fit import load_seed

        student = store.artifact(store.ancestor(student_labels, STUDENT_MODEL)).manifest
        fitted, seed, _ = load_seed(store.artifact(teacher_clusters).path)
        with stage.write() as draft:
            draft.counts = publish_statistics(
                store.table_scan([student_labels])(["doc_id", "lang", "cluster", "margin"]),
                store.table_scan([embeddings]),
                fitted,
                Seen(
                    by_teacher=seed.column("doc_id").combine_chunks(),
                    by_student=training_ids(seed, StudentConfig.model_validate(student.config)),
                ),
                conf,
                draft.path,
            )
    return stage.result(stage.artifact.manifest.counts)


@stage_asset(
    group=GROUP_LABELS,
    kinds={"json", "parquet"},
    code_version=CODE_VERSION,
    libraries=("numpy",),
    description="Every snapshot against those that the teacher was fitted on: divergence of label shares, fall of the "
    "log-likelihood, rise of unsure labels, per language too. Past `drift.*.refit` the drift sensor asks for a refit.",
)
def drift(work: Work, teacher_clusters: InputRef, drift_statistics: list[InputRef]) -> Making:
    conf, store = work.settings.drift, work.store
    statistics = [
        ref
        for ref in drift_statistics
        if any(made.identity == teacher_clusters.identity for made in store.artifact(ref).manifest.inputs)
    ]
    stage = work.stage(config=conf, inputs=[teacher_clusters, *statistics])
    yield stage
    if stage.done is None:
        from gem_assets.drift.report import publish_drift

        fit = store.artifact(teacher_clusters).manifest
        fitted_on = [str(ref.partition) for ref in fit.inputs if ref.asset == EMBEDDINGS]
        folders = {str(ref.partition): store.artifact(ref).path for ref in statistics}
        with stage.write() as draft:
            report = publish_drift(
                folders, fitted_on, fit.counts["clusters"], str(teacher_clusters.identity), conf, draft.path
            )
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
