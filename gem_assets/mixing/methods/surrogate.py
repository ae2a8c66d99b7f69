"""Search parameters of a data filter as RegMix searches mixtures: try some, fit trees, average the best of many.

Shared by QuaDMix and Meta-rater. ``evaluate`` is what costs: it selects data with the parameters, trains a proxy on it
and returns the loss; everything else takes seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gem_assets.mixing.laws.base import Floats, folds
from gem_assets.mixing.laws.select import spearman
from gem_assets.mixing.laws.trees import TreesLaw

Sampler = Callable[[np.random.Generator, int], Floats]


class SearchError(ValueError):
    """A search that cannot be carried out; the message names the run."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    parameters
        ``(d,)``: the average of the best by prediction, or the best that was tried where that is predicted better.
    predicted
        Loss that the trees predict for it.
    tried : float64 array, shape (n, d)
        Parameters that were evaluated.
    losses : float64 array, shape (n,)
        Their losses.
    cv_spearman
        Rank correlation of the trees with losses of runs that they did not see, over five folds.
    """

    parameters: Floats
    predicted: float
    tried: Floats
    losses: Floats
    cv_spearman: float


def search_parameters(
    sample: Sampler,
    evaluate: Callable[[Floats], float],
    *,
    runs: int,
    candidates: int = 20_000,
    averaged: int = 16,
    seed: int = 0,
) -> SearchResult:
    """Try ``runs`` random parameters, then rank ``candidates`` by trees.

    Parameters
    ----------
    sample
        Draws that many parameter vectors, ``(n, d)``.
    evaluate
        Loss of one vector; lower is better.
    averaged
        Best candidates that are averaged; 1 takes the best alone.

    Raises
    ------
    SearchError
        If there are fewer than 16 runs, or a loss is not finite.
    """
    if runs < 16:
        raise SearchError(f"{runs} runs are too few to fit trees to; 16 at least, hundreds in the papers")
    rng = np.random.default_rng(seed)
    tried = np.asarray(sample(rng, runs), np.float64)
    losses = np.array([float(evaluate(row)) for row in tried])
    if not np.isfinite(losses).all():
        raise SearchError(f"run {int(np.argmin(np.isfinite(losses)))} has no finite loss; leave its parameters out")
    trees = TreesLaw(seed).fit_features(tried, losses)
    held_out = np.empty(runs)
    for train, test in folds(runs, 5, seed):
        fold = TreesLaw(seed, rounds=trees.rounds_).fit_features(tried[train], losses[train])
        held_out[test] = fold.predict(tried[test])
    pool = np.vstack([tried, np.asarray(sample(rng, candidates), np.float64)])
    predicted = trees.predict(pool)
    best = np.argsort(predicted, kind="stable")[:averaged]
    # the average of good parameters need not be good; the best one alone is the other answer
    answers = np.vstack([pool[best].mean(axis=0), pool[best[0]]])
    values = trees.predict(answers)
    chosen = int(np.argmin(values))
    return SearchResult(answers[chosen], float(values[chosen]), tried, losses, spearman(held_out, losses))
