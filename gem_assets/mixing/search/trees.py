"""Search parameters of a data filter as RegMix searches mixtures: try some, fit trees, average the best of many.

Shared by QuaDMix and Meta-rater. ``evaluate`` is what costs: it selects data with each row of parameters, trains a
proxy on each selection and returns the losses; everything else takes seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gem_assets.mixing.laws.base import folds
from gem_assets.mixing.laws.selection import spearman
from gem_assets.mixing.laws.trees import TreesLaw
from gem_assets.types import Floats

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
    tried : float64 array, shape (n, d)
        Parameters that were evaluated.
    held_out : float64 array, shape (n,)
        Losses that the trees predict for runs that they did not see, over five folds.
    cv_spearman
        Rank correlation of those with the losses; nan where one of the two is constant.
    """

    parameters: Floats
    predicted: float
    tried: Floats
    losses: Floats
    held_out: Floats
    cv_spearman: float


def search_parameters(
    sample: Sampler,
    evaluate: Callable[[Floats], Floats],
    *,
    runs: int,
    candidates: int = 20_000,
    averaged: int = 16,
    seed: int = 0,
) -> SearchResult:
    """Try ``runs`` random parameters, then rank ``candidates`` by trees.

    Raises SearchError if there are fewer than 16 runs, or a loss is not finite.

    Parameters
    ----------
    sample
        Draws that many parameter vectors, ``(n, d)``.
    evaluate
        Loss of each row of parameters, ``(n, d)`` to ``(n,)``; lower is better.
    averaged
        Best candidates that are averaged; 1 takes the best alone.
    """
    if runs < 16:
        raise SearchError(f"{runs} runs are too few to fit trees to; 16 at least, hundreds in the papers")
    rng = np.random.default_rng(seed)
    tried = np.asarray(sample(rng, runs), np.float64)
    losses = np.asarray(evaluate(tried), np.float64)
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
    return SearchResult(answers[chosen], float(values[chosen]), tried, losses, held_out, spearman(held_out, losses))
