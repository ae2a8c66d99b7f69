"""``student_model``: the fast labeller, distilled from the teacher."""

import dagster as dg

from gem_assets.assets.common import GROUP_LABELS, OWNERS, every_snapshot, picture, refresh, table
from gem_assets.orchestration.purpose import expensive
from gem_assets.orchestration.stage import Making, Stage, staged
from gem_assets.stages import RAW_SHARDS, STUDENT_MODEL, TEACHER_CLUSTERS
from gem_assets.student.config import CODE_VERSION
from resources import SettingsResource, StoreResource


@dg.asset(
    deps=[TEACHER_CLUSTERS, every_snapshot(RAW_SHARDS)],
    group_name=GROUP_LABELS,
    kinds={"pytorch", "numba"},
    owners=OWNERS,
    tags=refresh(STUDENT_MODEL),
    code_version=CODE_VERSION,
    output_required=False,
    description='Expensive: made once per teacher. "Materialize all" makes it on a new data root and after a refit.\n\n'
    "Text to cluster in one compiled pass: a hashed n-gram linear model distilled from the teacher's soft "
    "labels, its shares matched to the teacher's and its confidences calibrated on documents it did not train on.",
)
@expensive(first=True, refits=True)
@staged
def student_model(context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource) -> Making:

    conf = settings.load()
    teacher, shards = store.input(TEACHER_CLUSTERS), store.inputs(RAW_SHARDS)
    stage = Stage(
        store,
        STUDENT_MODEL,
        config=conf.student,
        code_version=CODE_VERSION,
        inputs=[teacher],
        libraries=("numpy", "scipy", "torch", "numba"),
        seed=conf.student.seed,
    )
    yield stage
    if stage.done is None:
        from gem_assets.student.distil import distil
        from gem_assets.taxonomy.gis import seed_influence
        from gem_assets.teacher.seed_documents import seed_documents

        seed = seed_documents(store.artifact(teacher).path, store.shards(shards))
        with stage.write() as draft:
            report = distil(
                seed.table,
                seed.responsibilities(),
                seed_influence(seed.vectors, seed.table, conf.taxonomy),
                conf.student,
                draft.path,
                progress=stage.progress(context),
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
