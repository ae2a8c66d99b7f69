"""Which law to believe, target by target.

Every law that the number of runs allows predicts each run from the others (K folds, the same for all laws). Laws are
compared by the rank correlation of those predictions with the truth, and by pairwise decision accuracy: the part of
pairs of mixtures that the prediction puts in the right order (the metric of DataDecide). Ties in correlation within one
point go to the earlier, simpler law of the registry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from gem_assets.mixing.laws.base import Law, folds
from gem_assets.mixing.laws.registry import LAWS, LawEntry
from gem_assets.types import Floats

MARGIN = 0.01
FOLDS = 5


@dataclass(frozen=True)
class LawScore:
    """How well one law predicts runs of one target that it has not seen.

    Attributes
    ----------
    spearman
        Rank correlation of held-out predictions; NaN when the predictions are constant.
    decisions
        Part of pairs put in the right order; ties in the prediction count half.
    error
        Root mean squared error, nats.
    """

    law: str
    spearman: float
    decisions: float
    error: float


@dataclass(frozen=True)
class FittedTarget:
    """The law chosen for one target, fitted on all runs, with the scores of all that were tried.

    ``entry`` makes unfitted laws of the same kind; ``held_out`` ``(n,)`` is what folds without a run predict for it.
    """

    target: str
    name: str
    law: Law
    scores: tuple[LawScore, ...]
    entry: LawEntry
    held_out: Floats

    @property
    def score(self) -> LawScore:
        """Score of the chosen law."""
        return next(s for s in self.scores if s.law == self.name)


def spearman(predicted: Floats, true: Floats) -> float:
    """Spearman rank correlation; NaN if either side is constant or there are fewer than two values."""
    if len(predicted) < 2:
        return float("nan")
    a, b = rankdata(predicted) - (len(predicted) + 1) / 2, rankdata(true) - (len(true) + 1) / 2
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else float("nan")


def pairwise_decisions(predicted: Floats, true: Floats) -> float:
    """Part of pairs that the prediction orders as the truth does; pairs that are truly equal do not count."""
    rows, columns = np.triu_indices(len(true), 1)
    real = np.sign(true[rows] - true[columns])
    guess = np.sign(predicted[rows] - predicted[columns])
    counted = real != 0
    if not counted.any():
        return float("nan")
    return float(np.mean(np.where(guess[counted] == 0, 0.5, guess[counted] == real[counted])))


def predict_held_out(entry: LawEntry, mixtures: Floats, losses: Floats, *, seed: int = 0) -> Floats:
    """Predict each run ``(n,)`` from the folds that it is not in."""
    held_out = np.empty(len(losses))
    for train, test in folds(len(losses), FOLDS, seed):
        held_out[test] = entry.make(seed).fit(mixtures[train], losses[train]).predict(mixtures[test])
    return held_out


def _score(name: str, held_out: Floats, losses: Floats) -> LawScore:
    return LawScore(
        law=name,
        spearman=spearman(held_out, losses),
        decisions=pairwise_decisions(held_out, losses),
        error=float(np.sqrt(np.mean((held_out - losses) ** 2))),
    )


def choose_laws(
    mixtures: Floats,
    losses: Mapping[str, Floats],
    *,
    candidates: Sequence[str] | None = None,
    extra: Mapping[str, Mapping[str, LawEntry]] | None = None,
    fewer_runs: bool = False,
    seed: int = 0,
) -> list[FittedTarget]:
    """Choose and fit a law for every target.

    Raises ValueError for an unknown candidate, or when no candidate can work with so few runs.

    Parameters
    ----------
    mixtures
        ``(n, K)``.
    losses
        Losses ``(n,)`` per target.
    candidates
        Names of laws; those that need more runs than there are in a fold's training part are passed over. All by
        default.
    extra
        Laws that know their target, such as the n-gram model's losses: name of the law, then of the target. They come
        before those of the registry.
    fewer_runs
        Use candidates with fewer runs than they are worth trying with: for a recipe that is defined by its law.
    """
    own = extra or {}
    known = [*own, *LAWS]
    names = known if candidates is None else list(candidates)
    unknown = [n for n in names if n not in known]
    if unknown:
        raise ValueError(f"unknown law {unknown[0]!r}; there are {', '.join(known)}")

    def entry(name: str, target: str) -> LawEntry:
        return own[name][target] if name in own else LAWS[name]

    n, k = mixtures.shape
    in_training = n - -(-n // FOLDS)
    least = {name: max(entry(name, target).least_runs(k) for target in losses) for name in names}
    able = [name for name in names if fewer_runs or least[name] <= in_training]
    if not able:
        fewest = min(least.values())
        raise ValueError(
            f"{n} runs leave {in_training} to train a fold; {', '.join(names)} need at least {fewest}; train more "
            "proxies"
        )
    fitted: list[FittedTarget] = []
    for target, values in losses.items():
        predicted = {name: predict_held_out(entry(name, target), mixtures, values, seed=seed) for name in able}
        scores = tuple(_score(name, held_out, values) for name, held_out in predicted.items())
        best = max((s.spearman for s in scores if np.isfinite(s.spearman)), default=float("nan"))
        chosen = next((s.law for s in scores if s.spearman >= best - MARGIN), able[0])
        best_entry = entry(chosen, target)
        law = best_entry.make(seed).fit(mixtures, values)
        fitted.append(FittedTarget(target, chosen, law, scores, best_entry, predicted[chosen]))
    return fitted
