"""Evidence of recipes found by a search over trained mixtures: CLIMB, Bayesian optimisation, several model sizes.

Every search ends with a model of the objective that was fitted to its runs, the rank correlation of that model on runs
it has not seen, and its predictions, with intervals, for the answer, for proportional and for uniform. A recipe is
supported if the correlation is at least 0.7 and the intervals of its gains over both lie below zero.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gem_assets.mixing.laws.mixture import INTERVAL, LEAST_CORRELATION
from gem_assets.mixing.laws.proposal import divergence
from gem_assets.mixing.laws.selection import spearman
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.mixing.recipe_artifact import MixtureFrame, Tables, draw_law
from gem_assets.mixing.swarm.design import baseline_mixtures
from gem_assets.mixing.swarm.runs import TrainedSwarm
from gem_assets.types import Floats

RIVALS = ("proportional", "uniform")


@dataclass(frozen=True)
class SearchEvidence:
    """What is known at the end of a search.

    Attributes
    ----------
    shares
        The answer, ``(K,)``.
    observed, held_out
        Objective of runs ``(n,)``, and what models that had not seen them predicted.
    predicted
        For the answer, proportional and uniform, ``(3,)``.
    doubted
        The same by resampled models, or drawn from a posterior, ``(b, 3)``.
    law, told
        The model's name, and what is said of it and its runs.
    runs
        Runs in all; those of ``observed`` when None.
    """

    shares: Floats
    observed: Floats
    held_out: Floats
    predicted: Floats
    doubted: Floats
    law: str
    told: str
    doubt: str
    notes: tuple[str, ...] = ()
    runs: int | None = None


def swarm_objective(swarm: TrainedSwarm) -> Callable[[Floats], Floats]:
    """Return the function from losses ``(m, J)`` of the swarm's targets to the weighted mean ``(m,)``."""
    weights = np.array([swarm.wanted.get(t, 0.0) for t in swarm.table.targets])
    return lambda losses: losses @ (weights / weights.sum())


def rival_points(shares: Floats, frame: MixtureFrame) -> Floats:
    """Stack an answer on proportional and uniform, ``(3, K)``."""
    rivals = baseline_mixtures(frame.supply, frame.config)
    return np.array([shares, *(rivals[name] for name in RIVALS)])


def publish_searched(
    strategy: str, found: SearchEvidence, swarm: TrainedSwarm, frame: MixtureFrame, out: Path, tables: Tables
) -> Recipe:
    """Judge the end of a search and write its recipe into ``out``."""
    low, high = np.percentile(found.doubted[:, 0], INTERVAL)
    gains = np.percentile(found.doubted[:, :1] - found.doubted[:, 1:], INTERVAL, axis=0)
    correlation, other = spearman(found.held_out, found.observed), swarm.other_budget(frame.budget, frame.supply)
    supported = correlation >= LEAST_CORRELATION and bool((gains[1] < 0).all())
    verdict = (
        "supported by the proxies: better than proportional and uniform"
        if supported
        else f"not supported: correlation {correlation:.2f}, or a gain that may be none"
    )
    evidence = RecipeEvidence(
        method=strategy,
        swarm_digest=swarm.table.identity,
        n_runs=len(found.observed) if found.runs is None else found.runs,
        target=", ".join(swarm.wanted),
        law=found.told,
        cv_spearman=correlation if np.isfinite(correlation) else None,
        predicted_loss=float(found.predicted[0]),
        predicted_interval=(float(low), float(high)),
        predicted_loss_proportional=float(found.predicted[1]),
        predicted_loss_uniform=float(found.predicted[2]),
        predicted_gain_interval=(float(gains[0, 0]), float(gains[1, 0])),
        kl_to_prior=divergence(found.shares, frame.supply.token_shares),
        verdict=verdict if other is None else f"{verdict}; {other}",
        notes=(
            *(
                f"gain over {name}: {gains[0, i]:.4f} … {gains[1, i]:.4f} nats ({found.doubt})"
                for i, name in enumerate(RIVALS)
            ),
            *found.notes,
        ),
    )
    recipe = frame.recipe(strategy, found.shares, evidence)
    frame.write(recipe, out, tables)
    draw_law(recipe, found.held_out, found.observed, found.law, out)
    return recipe
