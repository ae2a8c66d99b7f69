"""A learned recipe with its evidence, or the honest answer that there is none.

From a swarm: choose a law per target by cross-validation, propose a mixture for the weighted mean of the predictions
under divergence and caps, and ask how sure that is. An optimum looks better than it is to the very laws that it was
sought with, so the gain is cross-fitted: the runs are split in halves many times, one half proposes a mixture and laws
fitted on the other half, which had no say in it, compare that with the proportional and the uniform one. A mixture
counts as supported when the laws rank unseen runs well (mean cross-validated correlation of at least 0.7) and the
interval of these gains lies below zero for both. That is evidence from proxies; a confirmation run at the next model
size is another matter.

Cost: per split two fits of the chosen laws and a proposal; seconds for convex laws, minutes for trees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gem_assets.mixing.caps import apply_caps
from gem_assets.mixing.laws.base import Law, SmoothLaw
from gem_assets.mixing.laws.proposal import (
    AVERAGED,
    KL_WEIGHT,
    LAMBDA_PATH,
    SIMULATED,
    SPLITS,
    Proposal,
    Proposer,
    divergence,
    lambda_path,
    mean_prediction,
    propose_convex,
    search,
    simulate,
)
from gem_assets.mixing.laws.registry import LawEntry
from gem_assets.mixing.laws.selection import FittedTarget, choose_laws
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.mixing.recipe_artifact import MixtureFrame
from gem_assets.mixing.swarm.table import SwarmTable
from gem_assets.types import Floats

LEAST_CORRELATION = 0.7
_SEARCH_DRAWS = 20_000
_SPLIT_DRAWS = 2_000
INTERVAL = (5.0, 95.0)


@dataclass(frozen=True)
class LearnedMixture:
    """A recipe with everything that led to it.

    Attributes
    ----------
    recipe
        The proposal within the caps, evidence included. Whether it should be used is ``supported``.
    supported
        Whether the evidence speaks for it against proportional and uniform.
    targets
        The law chosen for each target, with the scores of all that were tried.
    path
        Proposals under several weights of the divergence; empty when a chosen law has no gradient.
    weights
        Importance of the targets, ``(J,)``, sum 1.
    observed
        Weighted mean loss of each run over the targets, ``(n,)``.
    """

    recipe: Recipe
    supported: bool
    targets: tuple[FittedTarget, ...]
    path: tuple[Proposal, ...]
    weights: Floats
    observed: Floats

    @property
    def held_out(self) -> Floats:
        """Weighted mean over the targets of the held-out predictions of each run, ``(n,)``."""
        return np.column_stack([f.held_out for f in self.targets]) @ self.weights


def learn_recipe(
    strategy: str,
    swarm: SwarmTable,
    frame: MixtureFrame,
    *,
    targets: Mapping[str, float] | None = None,
    candidates: Sequence[str] | None = None,
    extra: Mapping[str, Mapping[str, LawEntry]] | None = None,
    fewer_runs: bool = False,
    proposer: Proposer = "divergence",
    splits: int = SPLITS,
    reservation: str | None = None,
) -> LearnedMixture:
    """Learn a mixture from a swarm.

    Parameters
    ----------
    swarm
        Runs whose domains are the cluster ids as text (``"0"``, ``"1"`` …), all of the supply's clusters.
    targets
        Importance of the targets to optimise; all equally by default.
    candidates, extra, fewer_runs
        Laws to choose from; see :func:`~gem_assets.mixing.laws.selection.choose_laws`.
    proposer
        ``divergence``: convex where the laws have gradients, else a search, under :data:`KL_WEIGHT` and caps.
        ``simulation``: RegMix's average of the best simulated mixtures, brought within the caps afterwards.
    reservation
        What the verdict has to add, such as that the runs speak for another budget.

    Raises
    ------
    ValueError
        If domains and clusters differ, a target is unknown, or there are too few runs.
    InfeasibleMixtureError
        If the caps do not let the budget be met.
    """
    supply, seed = frame.supply, frame.config.seed
    wanted = {str(int(c)) for c in supply.clusters}
    if set(swarm.domains) != wanted:
        strange = sorted(set(swarm.domains) ^ wanted)
        raise ValueError(
            f"the swarm and the inventory do not speak of the same clusters: {', '.join(strange[:5])} stand in one "
            "only; train the swarm on the current taxonomy or carry it over"
        )
    columns = [swarm.domains.index(str(int(c))) for c in supply.clusters]
    mixtures = swarm.mixtures[:, columns]
    importance = dict(targets) if targets is not None else dict.fromkeys(swarm.targets, 1.0)
    losses = {name: swarm.loss_of(name) for name in importance}
    weights = np.array(list(importance.values()))
    fitted = choose_laws(mixtures, losses, candidates=candidates, extra=extra, fewer_runs=fewer_runs, seed=seed)

    caps = frame.caps
    laws: list[Law] = [f.law for f in fitted]
    problem = _Problem(supply.token_shares, caps, weights, seed, proposer)
    proposal = problem.propose(laws, SIMULATED if proposer == "simulation" else _SEARCH_DRAWS)
    smooth = proposer == "divergence" and all(isinstance(law, SmoothLaw) for law in laws)
    path = lambda_path(laws, problem.prior, caps, kl_weights=LAMBDA_PATH, weights=weights) if smooth else []
    shares = apply_caps(proposal.shares, caps)
    rivals = {
        "proportional": apply_caps(problem.prior, caps),
        "uniform": apply_caps((supply.tokens > 0).astype(np.float64), caps),
    }
    points = np.array([shares, *rivals.values()])
    predicted = mean_prediction(laws, weights)(points)
    expected, gained = _cross_fitted(fitted, mixtures, losses, problem, points, splits)
    low, high = np.percentile(expected, INTERVAL)
    gains = {name: np.percentile(gained[:, i], INTERVAL).tolist() for i, name in enumerate(rivals)}
    correlation = float(np.mean([f.score.spearman for f in fitted]))
    supported, verdict = _verdict(correlation, gains)
    evidence = RecipeEvidence(
        method=strategy,
        swarm_digest=swarm.identity,
        n_runs=len(swarm.runs),
        target=", ".join(importance),
        law=", ".join(f"{f.target}: {f.name}" for f in fitted),
        cv_spearman=correlation if np.isfinite(correlation) else None,
        predicted_loss=float(predicted[0]),
        predicted_interval=(float(low), float(high)),
        predicted_loss_proportional=float(predicted[1]),
        predicted_loss_uniform=float(predicted[2]),
        predicted_gain_interval=(gains["proportional"][0], gains["proportional"][1]),
        kl_to_prior=divergence(shares, problem.prior),
        verdict=verdict if reservation is None else f"{verdict}; {reservation}",
        notes=tuple(
            f"gain over {name}: {bounds[0]:.4f} … {bounds[1]:.4f} nats ({INTERVAL[1] - INTERVAL[0]:.0f} % of {splits} "
            "splits)"
            for name, bounds in gains.items()
        ),
    )
    recipe = frame.recipe(strategy, shares, evidence)
    scaled = weights / weights.sum()
    observed = np.column_stack([losses[f.target] for f in fitted]) @ scaled
    return LearnedMixture(recipe, supported, tuple(fitted), tuple(path), scaled, observed)


@dataclass(frozen=True)
class _Problem:
    prior: Floats
    caps: Floats
    weights: Floats
    seed: int
    proposer: Proposer

    def propose(self, laws: Sequence[Law], draws: int) -> Proposal:
        if self.proposer == "simulation":
            # draws from the prior lie far beyond the caps of many small clusters, so only their average is capped
            averaged = max(16, round(draws * AVERAGED / SIMULATED))
            return simulate(mean_prediction(laws, self.weights), self.prior, draws=draws, averaged=averaged)
        if all(isinstance(law, SmoothLaw) for law in laws):
            return propose_convex(laws, self.prior, self.caps, weights=self.weights)
        predict = mean_prediction(laws, self.weights)

        def penalised(mixtures: Floats) -> Floats:
            ratio = np.log(np.maximum(mixtures, 1e-300) / np.maximum(self.prior, 1e-300))
            return predict(mixtures) + KL_WEIGHT * np.sum(np.where(mixtures > 0, mixtures * ratio, 0.0), axis=1)

        found = search(penalised, self.prior, self.caps, draws=draws, seed=self.seed)
        return replace(found, predicted=float(predict(found.shares[None])[0]), kl_weight=KL_WEIGHT)


def _cross_fitted(
    fitted: Sequence[FittedTarget],
    mixtures: Floats,
    losses: Mapping[str, Floats],
    problem: _Problem,
    points: Floats,
    splits: int,
) -> tuple[Floats, Floats]:
    """Predictions for the proposal by half-fits ``(splits,)``, and gains of half-proposals over the rivals
    ``(splits, 2)``.
    """
    rng = np.random.default_rng([problem.seed, 1])
    n = len(mixtures)
    expected, gained = np.empty(splits), np.empty((splits, len(points) - 1))
    for turn in range(splits):
        order = rng.permutation(n)
        mine, other = (
            [f.entry.make(problem.seed).fit(mixtures[half], losses[f.target][half]) for f in fitted]
            for half in (np.sort(order[: n // 2]), np.sort(order[n // 2 :]))
        )
        expected[turn] = mean_prediction(mine, problem.weights)(points[:1])[0]
        candidate = apply_caps(problem.propose(mine, _SPLIT_DRAWS).shares, problem.caps)
        judged = mean_prediction(other, problem.weights)(np.array([candidate, *points[1:]]))
        gained[turn] = judged[0] - judged[1:]
    return expected, gained


def _verdict(correlation: float, gains: Mapping[str, Sequence[float]]) -> tuple[bool, str]:
    if not correlation >= LEAST_CORRELATION:
        return False, (
            f"not supported: the laws rank unseen runs with a correlation of {correlation:.2f}, below "
            f"{LEAST_CORRELATION}"
        )
    if gains["proportional"][1] >= 0:
        return False, "not supported: the gain over proportional may be none"
    if gains["uniform"][1] >= 0:
        return False, "better than proportional, but the gain over uniform may be none"
    return True, "supported by the proxies: better than proportional and uniform"
