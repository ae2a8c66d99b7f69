"""``student_model``: the fast labeller, distilled from the teacher."""

from gem_assets.assets.common import GROUP_LABELS, picture, table
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.orchestration.purpose import expensive
from gem_assets.orchestration.stage import Making
from gem_assets.storage.manifest import InputRef
from gem_assets.student.config import CODE_VERSION


@stage_asset(
    group=GROUP_LABELS,
    kinds={"pytorch", "numba"},
    code_version=CODE_VERSION,
    libraries=("numpy", "scipy", "torch", "numba"),
    description='Expensive: made once per teacher. "Materialize all" makes it on a new data root and after a refit.\n\n'
    "Text to cluster in one compiled pass: a hashed n-gram linear model distilled from the teacher's soft "
    "labels, its shares matched to the teacher's and its confidences calibrated on documents it did not train on.",
    costly=expensive(first=True, refits=True),
)
def student_model(work: Work, teacher_clusters: InputRef, raw_shards: list[InputRef]) -> Making:
    conf, store = work.settings, work.store
    stage = work.stage(config=conf.student, inputs=[teacher_clusters], seed=conf.student.seed)
    yield stage
    if stage.done is None:
        from gem_assets.student.distil import distil
        from gem_assets.taxonomy.gis import seed_influence
        from gem_assets.teacher.seed_documents import seed_documents

        seed = seed_documents(store.artifact(teacher_clusters).path, store.shards(raw_shards))
        with stage.write() as draft:
            report = distil(
                seed.table,
                seed.responsibilities(),
                seed_influence(seed.vectors, seed.table, conf.taxonomy),
                conf.student,
                draft.path,
                progress=stage.progress(work.context),
            )
            draft.counts = {"trained_on": report.trained_on}
            draft.metrics = report.model_dump()

    from gem_assets.student.distil import StudentReport

    report, folder = StudentReport.model_validate(stage.artifact.manifest.metrics), stage.artifact.path
    return stage.result(
        {
            "trained_on": report.trained_on,
            **report.summary,
            "agreement_on_top_gis": report.gis_agreement,
            "by_source": table(report.by_source, GROUP_COLUMNS),
            "by_language": table(report.by_lang, GROUP_COLUMNS),
            "by_source_and_language": table(report.by_source_and_lang, GROUP_COLUMNS),
            "by_length": table(report.by_length, GROUP_COLUMNS),
            "escalation": table(report.escalation),
            "agreement_matrix": picture(folder, "agreement.png", "Teacher's cluster by student's cluster"),
            "reliability": picture(folder, "reliability.png", "Confidence and margin, and how often they are right"),
        }
    )


GROUP_COLUMNS = ["group", "n_documents", "agreement", "mean_confidence", "low_margin_share"]
