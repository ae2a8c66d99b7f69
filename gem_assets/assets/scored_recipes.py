"""``recipes/<strategy>`` of the methods that choose documents by quality scores (``mixing.scores``); all by hand."""

from functools import partial
from typing import TYPE_CHECKING, Any

from gem_assets.assets.recipe_confirmation import build_confirmation
from gem_assets.assets.recipe_frame import TOKENS, RecipeKind, RecipeWork, build_recipe_asset, proxy_settings
from gem_assets.settings import Settings

if TYPE_CHECKING:  # the library's mixture modules are loaded where an asset runs
    from gem_assets.mixing.recipe import Recipe

SCORES = (
    " Documents are scored by the raters in `mixing.scores.file`, or by five simple ones of the text. The recipe "
    "carries the shares that follow for the clusters; what was chosen of them is in `selection.parquet`."
)
DRAWN = {
    "qurating": "QuRating: documents drawn with odds that rise with their quality, `mixing.scores.kept` of the tokens. "
    "Nothing is trained, nothing predicted." + SCORES,
}
SEARCHED = {
    "quadmix": "QuaDMix: how much of each cluster is kept, best documents first, searched by `mixing.scores.proxies` "
    "proxies and boosted trees." + SCORES,
    "meta_rater": "Meta-rater: how much to believe each rater, searched by proxies that are each trained on the best "
    "documents under random weights." + SCORES,
}
#: Settings of ``mixing.scores`` that count, beside the file.
_COUNTS = {
    "qurating": {"on_fault", "kept", "temperature"},
    "quadmix": {"on_fault", "proxies", "tied"},
    "meta_rater": {"on_fault", "proxies", "kept"},
}
PROXY_FOLDER = "selected_proxies"


def make_drawn(work: RecipeWork) -> "Recipe":
    from gem_assets.mixing.quality.documents import load_scored
    from gem_assets.mixing.quality.recipes import publish_qurating

    config = work.settings.mixing.scores
    return publish_qurating(load_scored(work.folder(TOKENS), work.frame.supply, config), work.frame, config, work.out)


def make_searched(strategy: str, work: RecipeWork) -> "Recipe":
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
        folder=work.store.cache(PROXY_FOLDER),
        map_shards=work.map_shards,
        progress=lambda done, total, left: work.report(
            f"{done} of {total} proxies" + ("" if left is None else f", about {left:.0f} s left")
        ),
    )
    trainer = SelectionTrainer.of(train, data, wanted_targets(data))
    return publish_searched(strategy, documents, work.frame, config, trainer, work.out)


def score_settings(strategy: str, settings: Settings) -> dict[str, Any]:
    """Settings of the scores as they name a result: the digest of the file stands for the file."""
    from gem_assets.mixing.quality.scores import ScoreFileError, file_of_scores
    from resources.store import MissingInputError

    scores = settings.mixing.scores
    try:
        file = file_of_scores(scores.file)
    except ScoreFileError as error:
        # a plan lists what is missing, and goes on
        raise MissingInputError(str(error)) from error
    return {**scores.model_dump(mode="json", include=_COUNTS[strategy]), "file": file}


def drawn_settings(strategy: str, settings: Settings) -> dict[str, Any]:
    return {"mixing": settings.mixing, "scores": score_settings(strategy, settings)}


def searched_settings(strategy: str, settings: Settings) -> dict[str, Any]:
    return {**proxy_settings(settings), "scores": score_settings(strategy, settings)}


def _drawn(strategy: str) -> RecipeKind:
    return RecipeKind(
        strategy,
        DRAWN[strategy],
        make_drawn,
        partial(drawn_settings, strategy),
        needs=(TOKENS,),
        libraries=("numpy", "resiliparse", "tokenizers"),
    )


def _searched(strategy: str) -> RecipeKind:
    return RecipeKind(
        strategy,
        SEARCHED[strategy],
        partial(make_searched, strategy),
        partial(searched_settings, strategy),
        needs=(TOKENS,),
        trains=True,
        kinds=frozenset({"json", "pytorch"}),
        libraries=("torch", "lightgbm", "numpy", "resiliparse", "tokenizers"),
    )


scored_recipes = [build_recipe_asset(kind) for kind in (*map(_drawn, DRAWN), *map(_searched, SEARCHED))]
scored_confirmations = [build_confirmation(strategy) for strategy in (*DRAWN, *SEARCHED)]
