"""What the methods that choose documents by quality scores have in common, as methods of the graph."""

from functools import partial
from typing import TYPE_CHECKING, Any

from gem_assets.mixing.methods.base import TOKENS, MethodWork, MissingSettingError

if TYPE_CHECKING:
    from gem_assets.mixing.quality.recipes import Search
    from gem_assets.mixing.recipe import Recipe
    from gem_assets.settings import Settings

SCORES = (
    " Documents are scored by the raters in `mixing.scores.file`, or by five simple ones of the text. The recipe "
    "carries the shares that follow for the clusters; what was chosen of them is in `selection.parquet`."
)
PROXY_FOLDER = "selected_proxies"


def score_settings(settings: "Settings", counts: set[str]) -> dict[str, Any]:
    """Return the settings of the scores as they name a result: the digest of the file stands for the file.

    ``counts`` are the settings of ``mixing.scores`` that the method uses, beside the file.

    Raises MissingSettingError when the file is not there.
    """
    from gem_assets.mixing.quality.scores import ScoreFileError, file_of_scores

    scores = settings.mixing.scores
    try:
        file = file_of_scores(scores.file)
    except ScoreFileError as error:
        raise MissingSettingError(str(error)) from error
    return {**scores.model_dump(mode="json", include=counts), "file": file}


def make_searched(strategy: str, search: "Search", work: MethodWork) -> "Recipe":
    """Search a rule by proxies that are trained on the documents that it chooses, and write its recipe."""
    from gem_assets.mixing.quality.documents import load_scored
    from gem_assets.mixing.quality.proxies import run_selections
    from gem_assets.mixing.quality.recipes import publish_searched
    from gem_assets.mixing.quality.trial import SelectionTrainer
    from gem_assets.mixing.swarm.growth import swarm_spec, wanted_targets

    config, data = work.settings.mixing.scores, work.folder(TOKENS)
    documents = load_scored(data, work.frame.supply, config)
    train = partial(
        run_selections,
        spec=swarm_spec(work.settings.proxy, data, work.frame.taxonomy_version, documents.domains),
        folder=work.cache(PROXY_FOLDER),
        map_shards=work.map_shards,
        progress=work.proxies,
    )
    trainer = SelectionTrainer.of(train, data, wanted_targets(data))
    return publish_searched(strategy, search, documents, work.frame, config, trainer, work.out)
