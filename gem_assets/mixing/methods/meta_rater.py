"""Meta-rater: learn how to weigh many quality scores (Zhuang et al. 2025, opendatalab/Meta-rater).

Documents carry S quality scores. Random weight vectors on the scores each select the best part of the corpus by
weighted sum, a proxy is trained on each selection, boosted trees learn loss from weights, and the best weights by
prediction are used: 256 proxies of 18M parameters and 25 scores in the paper.

The project publishes its raters, not this search nor the weights that it found. How the scores are scaled before they
are summed is not said there; here they are standard scores.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.methods.base import TOKENS, TRAINED_CODE_VERSION, Method, proxy_settings
from gem_assets.mixing.methods.qurating import select_by_quality
from gem_assets.mixing.quality.declaration import SCORES, make_searched, score_settings
from gem_assets.mixing.quality.selection import SelectionError, weighted_quality
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.config import ScoreConfig
    from gem_assets.mixing.quality.documents import ScoredDocuments
    from gem_assets.mixing.quality.trial import SelectionTrainer
    from gem_assets.mixing.search.trees import SearchResult
    from gem_assets.settings import Settings


@dataclass(frozen=True)
class ScoreWeights:
    """Learned weights.

    ``weights`` are ``(S,)``, sum 1.
    """

    weights: Floats
    search: "SearchResult"


def select_best(scores: Floats, tokens: NDArray[np.int64], weights: Floats, budget: float) -> NDArray[np.bool_]:
    """Documents of the largest weighted quality that fill a token budget, ``(n,)``."""
    if not 0 < budget <= tokens.sum():
        raise SelectionError(f"a budget of {budget:.0f} tokens does not fit the {tokens.sum()} there are")
    return select_by_quality(weighted_quality(scores, weights), tokens, np.array([budget]), tau=0.0).copies > 0


def learn_weights(
    scores: Floats,
    tokens: NDArray[np.int64],
    budget: float,
    evaluate: Callable[[Iterable[NDArray[np.bool_]]], Floats],
    *,
    runs: int = 256,
    candidates: int = 20_000,
    seed: int = 0,
) -> ScoreWeights:
    """Learn the weights of the scores.

    Raises SelectionError if the documents cannot be selected from.

    Parameters
    ----------
    scores
        ``(n, S)``, higher is better.
    evaluate
        Losses of models each trained on one of the selections ``(n,)`` that it is given, in their order.
    """
    width = np.asarray(scores).shape[1]

    def draw(rng: np.random.Generator, n: int) -> Floats:
        return rng.dirichlet(np.ones(width), n)

    from gem_assets.mixing.search.trees import search_parameters

    found = search_parameters(
        draw,
        lambda rows: evaluate(select_best(scores, tokens, row, budget) for row in rows),
        runs=runs,
        candidates=candidates,
        averaged=1,
        seed=seed,
    )
    return ScoreWeights(found.parameters / found.parameters.sum(), found)


def search_documents(
    documents: "ScoredDocuments", config: "ScoreConfig", trainer: "SelectionTrainer", seed: int
) -> tuple[Floats, "SearchResult", dict[str, list[dict[str, Any]]]]:
    """Search weights of the raters by the losses of proxies."""
    from gem_assets.mixing.quality.recipes import rater_rows
    from gem_assets.mixing.quality.trial import selection_job

    budget = config.kept * float(documents.tokens.sum())

    def evaluate(many: Iterable[NDArray[np.bool_]]) -> Floats:
        chosen = (mask.astype(np.float64) for mask in many)
        return trainer.losses([selection_job(f"meta_rater-{i:03d}", v, documents, seed) for i, v in enumerate(chosen)])

    learned = learn_weights(documents.scores, documents.tokens, budget, evaluate, runs=config.proxies, seed=seed)
    chosen = select_best(documents.scores, documents.tokens, learned.weights, budget)
    return chosen.astype(np.float64), learned.search, {"raters": rater_rows(documents, learned.weights)}


def _settings(settings: "Settings") -> dict[str, Any]:
    return {**proxy_settings(settings), "scores": score_settings(settings, {"on_fault", "proxies", "kept"})}


METHOD = Method(
    "meta_rater",
    "lab",
    "Meta-rater: how much to believe each rater, searched by proxies that are each trained on the best documents under "
    "random weights." + SCORES,
    partial(make_searched, "meta_rater", search_documents),
    _settings,
    cost="the proxies: 32 by default",
    use="there are many raters, and nobody knows which to believe",
    source="Zhuang et al. 2025",
    needs=(TOKENS,),
    trains=True,
    libraries=("torch", "lightgbm", "numpy", "resiliparse", "tokenizers"),
    code_version=TRAINED_CODE_VERSION,
)
