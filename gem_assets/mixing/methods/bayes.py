"""Bayesian optimisation over a pool of mixtures (after ADMIRE-BayesOpt, Chen et al. 2025).

A Gaussian process over mixtures proposes which one to train next: the one with the largest expected improvement over
the best so far. With a pool of finished runs it answers how many of them would have been enough; with a trainer behind
``evaluate`` it spends a small budget well.

The paper's multi-fidelity part (max-value entropy search over proxy sizes) is in ``search.fidelity``. This is single
fidelity: Matérn 5/2 on the shares, exact expected improvement on a discrete pool. On the 256 published 60M runs it
finds the best mixture for Pile-CC after 12 to 13 evaluations in the median, where chance needs 128; on square roots it
takes 16.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gem_assets.mixing.methods.base import (
    SWARM,
    TEACHER,
    TOKENS,
    TRAINED_CODE_VERSION,
    Method,
    MethodWork,
    proxy_settings,
)
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.laws.gaussian import GaussianLaw
    from gem_assets.mixing.recipe import Recipe
    from gem_assets.mixing.recipe_artifact import MixtureFrame
    from gem_assets.mixing.search.candidates import Train
    from gem_assets.mixing.swarm.runs import TrainedSwarm
    from gem_assets.settings import Settings


@dataclass(frozen=True)
class PoolSearch:
    """Mixtures evaluated, in order, and what they gave.

    ``tried`` are row numbers of the pool.
    """

    tried: tuple[int, ...]
    losses: tuple[float, ...]

    @property
    def best(self) -> int:
        """Row of the pool with the lowest loss so far."""
        return self.tried[int(np.argmin(self.losses))]


def expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """Expected fall below ``best`` of a normal prediction; ``max(best - mean, 0)`` where there is no doubt."""
    from scipy.special import ndtr

    certain = deviation <= 0
    scale = np.where(certain, 1.0, deviation)
    z = (best - mean) / scale
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.where(certain, np.maximum(best - mean, 0.0), scale * (z * ndtr(z) + density))


def process(seed: int = 0) -> "GaussianLaw":
    """Return the process of the searches, unfitted."""
    from gem_assets.mixing.laws.gaussian import GaussianLaw

    return GaussianLaw(seed, smoothness=2.5, restarts=0, root=False)


def search_pool(
    pool: Floats,
    evaluate: Callable[[int], float],
    evaluations: int,
    *,
    first: int = 1,
    known: Floats | None = None,
    seed: int = 0,
) -> PoolSearch:
    """Evaluate mixtures of a pool one after the other, each the most promising given those before.

    Raises ValueError if a loss is not finite, or more evaluations are asked than the pool holds.

    Parameters
    ----------
    pool
        Mixtures ``(n, K)``.
    evaluate
        Returns the loss of a row of the pool; called at most ``evaluations`` times.
    first
        Mixtures drawn at random before the process has anything to learn from.
    known
        Losses ``(m,)`` of the first rows of the pool, which were run before; then none is drawn at random, and
        ``evaluations`` come on top.
    """
    start = np.zeros(0) if known is None else np.asarray(known, np.float64)
    drawn = 0 if len(start) else first
    if not (1 <= evaluations <= len(pool) - len(start) and drawn <= evaluations) or first < 1:
        raise ValueError(
            f"{evaluations} evaluations, {drawn} of them random, do not fit a pool of {len(pool)}, {len(start)} of it "
            "known"
        )
    rng = np.random.default_rng(seed)
    tried, losses = list(range(len(start))), [_finite(loss, i) for i, loss in enumerate(start)]
    for i in rng.choice(len(pool), drawn, replace=False) if drawn else ():
        tried.append(int(i))
        losses.append(_finite(evaluate(int(i)), int(i)))
    while len(tried) < len(start) + evaluations:
        free = np.setdiff1d(np.arange(len(pool)), tried)
        if len(tried) == 1:
            # one point says nothing about lengths: go to the mixture least like it
            apart = 1 - np.sqrt(pool[free]) @ np.sqrt(pool[tried[0]])
            chosen = int(free[int(np.argmax(apart))])
        else:
            law = process(seed).fit(pool[tried], np.array(losses))
            mean, deviation = law.predict_with_deviation(pool[free])
            chosen = int(free[int(np.argmax(expected_improvement(mean, deviation, min(losses))))])
        tried.append(chosen)
        losses.append(_finite(evaluate(chosen), chosen))
    return PoolSearch(tuple(tried), tuple(losses))


def _finite(loss: float, row: int) -> float:
    if not np.isfinite(loss):
        raise ValueError(f"mixture {row} has loss {loss}; a run that failed must not be counted")
    return float(loss)


def publish_bayes_recipe(swarm: "TrainedSwarm", train: "Train", frame: "MixtureFrame", out: Path) -> "Recipe":
    """Train a few further proxies one after the other and write the best mixture that was run.

    Best is the lowest mean of the process, which one lucky run does not move far.

    Raises ValueError when the swarm has fewer than 8 runs, or a run's loss is not finite.
    """
    from gem_assets.mixing.evidence import SearchEvidence, publish_searched, rival_points, swarm_objective
    from gem_assets.mixing.laws.base import folds
    from gem_assets.mixing.search.candidates import (
        best_mixtures,
        candidate_mixtures,
        known_runs,
        posterior_draws,
        within_caps,
    )

    objective, conf = swarm_objective(swarm), frame.config
    known, values = known_runs(swarm, objective)
    pool = np.concatenate([known, candidate_mixtures(best_mixtures(known, values), frame, conf.search.candidates)])
    found = search_pool(
        pool,
        lambda row: float(objective(train(pool[row][None], f"bayes-{row - len(known):03d}"))[0]),
        min(conf.search.proxies, len(pool) - len(known)),
        known=values,
        seed=conf.seed,
    )
    mixtures, losses = pool[list(found.tried)], np.array(found.losses)
    law = process(conf.seed).fit(mixtures, losses)
    capped = np.array([within_caps(row, frame) for row in mixtures])
    shares = capped[int(np.argmin(law.predict(capped)))]
    mean, covariance = law.joint(rival_points(shares, frame))
    held_out = np.empty(len(losses))
    for fitted, test in folds(len(losses), 5, conf.seed):
        held_out[test] = process(conf.seed).fit(mixtures[fitted], losses[fitted]).predict(mixtures[test])
    further = list(zip(found.tried, found.losses, strict=True))[len(known) :]
    evidence = SearchEvidence(
        shares,
        losses,
        held_out,
        mean,
        posterior_draws(mean, covariance, conf.seed),
        law="Gaussian process on the mean loss",
        told=f"Gaussian process on the mean loss, {len(known)} runs of the swarm + {len(further)}",
        doubt="posterior",
        notes=(f"lowest loss of the swarm {values.min():.4f}, of the search {min(loss for _, loss in further):.4f}",),
    )
    rows = [
        {"run": n, "mixture": row - len(known), "loss": loss, "largest_share": float(pool[row].max())}
        for n, (row, loss) in enumerate(further, start=1)
    ]
    return publish_searched("bayes", evidence, swarm, frame, out, {"runs": rows})


def make(work: MethodWork) -> "Recipe":
    """Search on from the pinned swarm."""
    from gem_assets.mixing.swarm.growth import read_trained

    train = work.trainer(work.swarm_spec(work.settings.proxy))
    return publish_bayes_recipe(read_trained(work.folder(SWARM)), train, work.frame, work.out)


def _settings(settings: "Settings") -> dict[str, Any]:
    search = settings.mixing.search.model_dump(include={"proxies", "candidates"})
    return {**proxy_settings(settings), "search": search}


METHOD = Method(
    "bayes",
    "learned",
    "Bayesian optimisation: a few further proxies (`mixing.search.proxies`), one after the other, each on the mixture "
    "of which a Gaussian process over the runs so far expects the most; rows join the swarm's growing table.",
    make,
    _settings,
    cost="a swarm, and 8 further proxies by default",
    use="each run is expensive",
    source="Chen et al. 2025",
    needs=(SWARM, TOKENS, TEACHER),
    trains=True,
    libraries=("scikit-learn", "torch", "numpy"),
    code_version=TRAINED_CODE_VERSION,
)
