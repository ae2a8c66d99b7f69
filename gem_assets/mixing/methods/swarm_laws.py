"""Learned recipes as artifacts: which strategy asks which laws, and what is written for each.

Writes what every recipe writes (``frame``). The evidence of laws holds the scores of all that were tried, target by
target, and the path of proposals over the weight of the divergence. Cost: seconds for convex laws; RegMix and CLIMB fit
trees and take minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gem_assets.mixing.caps import apply_caps
from gem_assets.mixing.evidence import SearchEvidence, publish_searched, rival_points
from gem_assets.mixing.laws.mixture import SPLITS, LearnedMixture, Proposer, learn_recipe
from gem_assets.mixing.laws.ngram import NAME as NGRAM
from gem_assets.mixing.laws.ngram import ngram_laws
from gem_assets.mixing.methods.climb import ClimbResult
from gem_assets.mixing.methods.lexical import entropy_mixture, lexical_evidence, lexical_optimum
from gem_assets.mixing.recipe import Recipe
from gem_assets.mixing.recipe_artifact import MixtureFrame, draw_law
from gem_assets.mixing.swarm.design import LEXICAL
from gem_assets.mixing.swarm.runs import TrainedSwarm
from gem_assets.proxy.counts import DomainCounts
from gem_assets.proxy.lexical import LexicalProxy

ENTROPY, CLIMB, LEARNED = "entropy", "climb", "learned"


@dataclass(frozen=True)
class LawStrategy:
    """A recipe that a swarm table is enough for.

    Attributes
    ----------
    candidates
        Laws to choose from, target by target.
    proposer
        See :func:`~gem_assets.mixing.laws.mixture.learn_recipe`.
    splits
        Of the cross-fitted gain; fewer where a fit is slow.
    """

    candidates: tuple[str, ...]
    proposer: Proposer = "divergence"
    splits: int = SPLITS


#: ``bimix`` is the sum of powers that Olmix fits for targets outside the mixture; BiMix's own law of a domain's own
#: loss needs several training lengths (``laws.bimix``).
LAW_STRATEGIES: Mapping[str, LawStrategy] = {
    "regmix": LawStrategy(("lightgbm",), "simulation", 6),
    "log_linear": LawStrategy(("log_linear",), splits=12),
    "effective_exposure": LawStrategy(("effective_exposure",)),
    "bimix": LawStrategy(("bimix",)),
    "data_mixing_law": LawStrategy(("data_mixing_law",), splits=4),
    LEARNED: LawStrategy((NGRAM, "log_exposure", "effective_exposure", "bimix", "log_linear"), splits=12),
}
#: Recipes from counts alone.
COUNT_STRATEGIES = (LEXICAL, ENTROPY)
#: Every recipe that a confirmation is worth asking for.
LEARNED_STRATEGIES = (*COUNT_STRATEGIES, *LAW_STRATEGIES, CLIMB)


def publish_law_recipe(
    strategy: str, swarm: TrainedSwarm, frame: MixtureFrame, out: Path, *, lexical: LexicalProxy | None = None
) -> Recipe:
    """Learn a recipe from a swarm table and write it into ``out``.

    Parameters
    ----------
    strategy
        One of :data:`LAW_STRATEGIES`.
    lexical
        The n-gram model whose losses the strategy ``learned`` may use; without it that law is left out.

    Raises
    ------
    ValueError
        As :func:`~gem_assets.mixing.laws.mixture.learn_recipe` does.
    """
    asked = LAW_STRATEGIES[strategy]
    extra = {NGRAM: ngram_laws(lexical, list(swarm.wanted))} if lexical is not None else None
    found = learn_recipe(
        strategy,
        swarm.table,
        frame.supply,
        names=frame.names,
        taxonomy_version=frame.taxonomy_version,
        tokenizer=frame.tokenizer,
        config=frame.config,
        targets=swarm.wanted,
        candidates=[law for law in asked.candidates if law != NGRAM or lexical is not None],
        extra=extra,
        # a recipe that is defined by its law is made of it, however few runs there are; the evidence says how well
        fewer_runs=len(asked.candidates) == 1,
        proposer=asked.proposer,
        splits=asked.splits,
    )
    frame.write(found.recipe, out, {"laws": _law_scores(found), "path": _path_rows(found)})
    laws = ", ".join(sorted({f.name for f in found.targets}))
    draw_law(found.recipe, found.held_out, found.observed, laws, out)
    return found.recipe


def publish_lexical_recipe(
    lexical: LexicalProxy, importance: Mapping[str, float], frame: MixtureFrame, out: Path
) -> Recipe:
    """Write the optimum of the n-gram model, which needs no proxy."""
    optimum = lexical_optimum(lexical, frame.supply, frame.config, importance)
    evidence = lexical_evidence(lexical, optimum, frame.supply, frame.config, importance)
    recipe = frame.recipe(LEXICAL, apply_caps(optimum.shares, frame.caps), evidence)
    frame.write(recipe, out, {})
    return recipe


def publish_entropy_recipe(counts: DomainCounts, frame: MixtureFrame, out: Path) -> Recipe:
    """Write the entropy rule's mixture, which needs no target."""
    shares, evidence = entropy_mixture(counts, frame.supply, frame.config)
    recipe = frame.recipe(ENTROPY, shares, evidence)
    frame.write(recipe, out, {})
    return recipe


def publish_climb_recipe(result: ClimbResult, swarm: TrainedSwarm, frame: MixtureFrame, out: Path) -> Recipe:
    """Write where the climb ended, with the predictions of its last regressor and of resampled ones."""
    points = rival_points(result.shares, frame)
    sizes = " + ".join(str(len(r.objective)) for r in result.rounds)
    found = SearchEvidence(
        result.shares,
        result.objective,
        result.held_out,
        result.predictor.predict(points),
        result.bootstrap(points, frame.config.seed),
        law="LightGBM on the mean loss",
        told=f"LightGBM on the mean loss, rounds of {sizes}",
        doubt="resampled runs",
    )
    rounds = [
        {"round": n, "mixtures": len(r.objective), "best": float(r.objective.min()), "mean": float(r.objective.mean())}
        for n, r in enumerate(result.rounds, start=1)
    ]
    return publish_searched(CLIMB, found, swarm, frame, out, {"rounds": rounds})


def _law_scores(found: LearnedMixture) -> list[dict[str, Any]]:
    return [
        {
            "target": fitted.target,
            "law": score.law,
            "chosen": score.law == fitted.name,
            "spearman": score.spearman if np.isfinite(score.spearman) else None,
            "pairs_in_order": score.decisions if np.isfinite(score.decisions) else None,
            "error_nats": score.error,
        }
        for fitted in found.targets
        for score in fitted.scores
    ]


def _path_rows(found: LearnedMixture) -> list[dict[str, Any]]:
    return [
        {
            "lambda": proposal.kl_weight,
            "predicted_loss": proposal.predicted,
            "kl_to_prior": proposal.kl,
            "largest_share": float(proposal.shares.max()),
        }
        for proposal in found.path
    ]
