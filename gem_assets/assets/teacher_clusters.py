"""``teacher_clusters``: the GEM teacher, fitted on a seed sample of the vectors."""

from gem_assets.assets.common import GROUP_CLUSTERS, picture
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.orchestration.purpose import expensive
from gem_assets.orchestration.stage import Making, Stage
from gem_assets.storage.manifest import InputRef
from gem_assets.teacher.config import CODE_VERSION


@stage_asset(
    group=GROUP_CLUSTERS,
    kinds={"python", "numpy"},
    code_version=CODE_VERSION,
    libraries=("numpy", "scipy", "torch"),
    description="Expensive once there is a teacher, and then only made when asked for: `gem refit`, or materialize it "
    "alone.\n\nA von Mises–Fisher mixture on the hypersphere with a mixing-balance regulariser (GEM), fitted by a "
    "monotone Minorize–Maximize algorithm; the exactness of the last step is certified by its duality gap. Once there "
    "is a teacher, materializing this again is a refit: anchored on the last one, so that clusters keep their ids.",
    costly=expensive(first=True),
)
def teacher_clusters(work: Work, embedding_space: InputRef, embeddings: list[InputRef]) -> Making:
    from gem_assets.assets.refitting import teacher_stage

    conf, store = work.settings.teacher, work.store

    def stage_with(previous: InputRef | None) -> Stage:
        return work.stage(config=conf, also=[previous] if previous is not None else [], seed=conf.seed)

    stage, before = teacher_stage(store, stage_with)
    yield stage
    if stage.done is None:
        # torch takes seconds to import, and a plan only asks for the stage
        from gem_assets.corpus.sampling import sample_rows
        from gem_assets.teacher.seed_fit import fit_on_sample, load_previous

        sample = sample_rows(
            store.table_scan(embeddings), conf.seed_documents, seed=conf.seed, columns=["snapshot", "vector"]
        )
        previous = None
        if before is not None:
            last = store.artifact(before)
            same_space = any(ref.identity == embedding_space.identity for ref in last.manifest.inputs)
            previous = load_previous(last.path, same_space=same_space)
        with stage.write() as draft:
            report = fit_on_sample(sample, conf, draft.path, previous, progress=stage.progress(work.context))
            draft.counts = {"documents": report.n, "clusters": report.k}
            draft.metrics = {name: value for name, value in vars(report).items() if name not in ("n", "k")}
    manifest, folder = stage.artifact.manifest, stage.artifact.path
    return stage.result(
        {
            **manifest.counts,
            **manifest.metrics,
            "refitted_from": before.identity if before is not None and before.identity else "nothing: a first fit",
            "shares": picture(folder, "shares.png", "Cluster shares: spherical k-means and GEM"),
            "objective_curve": picture(folder, "objective.png", "Objective per iteration"),
        }
    )
