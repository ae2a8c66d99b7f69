"""``embedding_space``: the fitted text-to-vector map."""

from typing import TYPE_CHECKING

from gem_assets.assets.common import GROUP_CLUSTERS
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.embedding.config import CODE_VERSION
from gem_assets.orchestration.purpose import expensive
from gem_assets.orchestration.stage import Making
from gem_assets.stages import EMBEDDING_SPACE
from gem_assets.storage.manifest import InputRef
from gem_assets.storage.store import MissingInputError
from resources import StoreResource

if TYPE_CHECKING:
    from gem_assets.embedding.config import EmbeddingConfig


@stage_asset(
    group=GROUP_CLUSTERS,
    kinds={"python", "numpy"},
    code_version=CODE_VERSION,
    libraries=("numpy", "scipy", "scikit-learn", "numba"),
    description="Text to unit vector, fitted once on a seeded sample of what has landed, then frozen so that old and "
    "new vectors stay comparable. The default is lexical and needs no download; see `embedding.method` for what a "
    "sentence encoder would buy.",
    costly=expensive(first=True),
)
def embedding_space(work: Work, raw_shards: list[InputRef]) -> Making:
    conf, store = work.settings.embedding, work.store
    stage = work.stage(config=conf, also=encoder_input(store, conf), seed=conf.seed)
    documents = sum(store.artifact(ref).manifest.counts["kept"] for ref in raw_shards)
    if store.artifacts.current(EMBEDDING_SPACE) is None and documents < conf.fewest_documents:
        raise MissingInputError(
            f"embedding_space needs {conf.fewest_documents} documents for embedding.dimension = {conf.dimension} and "
            f"has {documents}: land more, or set a smaller dimension in gem.toml"
        )
    yield stage
    if stage.done is None:
        from gem_assets.embedding.space import fit_space

        with stage.write() as draft:
            report = fit_space(store.shards(raw_shards), conf, draft.path, progress=stage.progress(work.context))
            draft.counts = {"documents": report.documents, "dimension": report.dimension}
            draft.metrics = report.model_dump()

    from gem_assets.embedding.space import SpaceReport

    report = SpaceReport.model_validate(stage.artifact.manifest.metrics)
    return stage.result(
        {
            "method": report.method,
            "documents": report.documents,
            "dimension": report.dimension,
            "mean_cosine": report.mean_cosine,
            "snapshots": len(raw_shards),
        }
    )


def encoder_input(store: StoreResource, conf: "EmbeddingConfig") -> list[InputRef]:
    """Pin a trained encoder by its content: one that was replaced under its name is another one.

    Where it is no longer on this machine, the one that the space in force was made from is taken for the same: the
    space holds a copy.
    """
    if conf.method != "sentence-transformers":
        return []
    from gem_assets.embedding.encoder_files import encoder_version

    version = encoder_version(conf, store.cache("encoders"), fetch=not store.only_asks)
    if version is not None:
        return [InputRef(asset="encoder", data_version=version)]
    current = store.artifacts.current(EMBEDDING_SPACE)
    return [ref for ref in current.manifest.inputs if ref.asset == "encoder"] if current is not None else []
