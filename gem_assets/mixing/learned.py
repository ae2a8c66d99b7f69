"""Learned recipes as artifacts: which strategy asks which laws, and what is written for each.

Writes what every recipe writes (``publish``), ``evidence.json`` (scores of all laws that were tried, target by target,
and the path of proposals over the weight of the divergence) and ``law.png``. Cost: seconds for convex laws; RegMix and
CLIMB fit trees and take minutes.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.caps import apply_caps, share_caps
from gem_assets.mixing.climb import ClimbResult
from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.design import LEXICAL, baseline_mixtures
from gem_assets.mixing.laws.ngram import NAME as NGRAM
from gem_assets.mixing.laws.ngram import ngram_laws
from gem_assets.mixing.learn import INTERVAL, LEAST_CORRELATION, SPLITS, LearnedMixture, Proposer, learn_recipe
from gem_assets.mixing.propose import divergence
from gem_assets.mixing.publish import write_recipe
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.mixing.stage_zero import entropy_mixture, lexical_evidence, lexical_optimum
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.mixing.trained import TrainedSwarm
from gem_assets.proxy.counts import DomainCounts
from gem_assets.proxy.lexical import LexicalProxy
from gem_assets.report.swarm_plots import law_fit

Floats = NDArray[np.float64]

EVIDENCE_NAME = "evidence.json"
LAW_PICTURE = "law.png"
ENTROPY, CLIMB, LEARNED = "entropy", "climb", "learned"


@dataclass(frozen=True)
class LawStrategy:
    """A recipe that a swarm table is enough for.

    Attributes
    ----------
    candidates
        Laws to choose from, target by target.
    proposer
        See :func:`~gem_assets.mixing.learn.learn_recipe`.
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


@dataclass(frozen=True)
class MixtureFrame:
    """What every recipe of one inventory and taxonomy shares."""

    supply: ClusterSupply
    names: Mapping[int, str]
    taxonomy_version: str
    tokenizer: str
    config: MixingConfig

    @property
    def budget(self) -> int:
        """Tokens to train on."""
        return self.config.token_budget if self.config.token_budget is not None else self.supply.total_tokens

    @property
    def caps(self) -> Floats:
        """Largest share of each cluster, ``(K,)``."""
        return share_caps(self.supply.tokens, self.budget, self.config.repetition_cap)

    def recipe(self, strategy: str, shares: Floats, evidence: RecipeEvidence) -> Recipe:
        """Freeze shares with their evidence."""
        return Recipe.create(
            strategy,
            shares,
            self.supply,
            names=self.names,
            taxonomy_version=self.taxonomy_version,
            tokenizer=self.tokenizer,
            repetition_cap=self.config.repetition_cap,
            token_budget=self.budget,
            evidence=evidence,
            seed=self.config.seed,
        )


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
        As :func:`~gem_assets.mixing.learn.learn_recipe` does.
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
    _write(found.recipe, frame, out, laws=_law_scores(found), path=_path_rows(found))
    _draw(found.held_out, found.observed, ", ".join(sorted({f.name for f in found.targets})), found.recipe, out)
    return found.recipe


def publish_lexical_recipe(
    lexical: LexicalProxy, importance: Mapping[str, float], frame: MixtureFrame, out: Path
) -> Recipe:
    """Write the optimum of the n-gram model, which needs no proxy."""
    optimum = lexical_optimum(lexical, frame.supply, frame.config, importance)
    evidence = lexical_evidence(lexical, optimum, frame.supply, frame.config, importance)
    recipe = frame.recipe(LEXICAL, apply_caps(optimum.shares, frame.caps), evidence)
    _write(recipe, frame, out)
    return recipe


def publish_entropy_recipe(counts: DomainCounts, frame: MixtureFrame, out: Path) -> Recipe:
    """Write the entropy rule's mixture, which needs no target."""
    shares, evidence = entropy_mixture(counts, frame.supply, frame.config)
    recipe = frame.recipe(ENTROPY, shares, evidence)
    _write(recipe, frame, out)
    return recipe


def publish_climb_recipe(result: ClimbResult, swarm: TrainedSwarm, frame: MixtureFrame, out: Path) -> Recipe:
    """Write where the climb ended, with the predictions of its last regressor and of resampled ones."""
    rivals = baseline_mixtures(frame.supply, frame.config)
    points = np.array([result.shares, rivals["proportional"], rivals["uniform"]])
    predicted = result.predictor.predict(points)
    resampled = result.bootstrap(points, frame.config.seed)
    low, high = np.percentile(resampled[:, 0], INTERVAL)
    gains = np.percentile(resampled[:, :1] - resampled[:, 1:], INTERVAL, axis=0)
    correlation = result.correlation
    sizes = " + ".join(str(len(r.objective)) for r in result.rounds)
    supported = correlation >= LEAST_CORRELATION and bool((gains[1] < 0).all())
    evidence = RecipeEvidence(
        method=CLIMB,
        swarm_digest=swarm.table.identity,
        n_runs=len(result.objective),
        target=", ".join(swarm.wanted),
        law=f"LightGBM on the mean loss, rounds of {sizes}",
        cv_spearman=correlation if np.isfinite(correlation) else None,
        predicted_loss=float(predicted[0]),
        predicted_interval=(float(low), float(high)),
        predicted_loss_proportional=float(predicted[1]),
        predicted_loss_uniform=float(predicted[2]),
        kl_to_prior=divergence(result.shares, frame.supply.token_shares),
        verdict="supported by the proxies: better than proportional and uniform; confirm it at the next model size"
        if supported
        else f"not supported: correlation {correlation:.2f}, or a gain that may be none; use proportional",
        notes=tuple(
            f"gain over {name}: {gains[0, i]:.4f} … {gains[1, i]:.4f} nats (resampled runs)"
            for i, name in enumerate(("proportional", "uniform"))
        ),
    )
    recipe = frame.recipe(CLIMB, result.shares, evidence)
    rounds = [
        {"round": n, "mixtures": len(r.objective), "best": float(r.objective.min()), "mean": float(r.objective.mean())}
        for n, r in enumerate(result.rounds, start=1)
    ]
    _write(recipe, frame, out, rounds=rounds)
    _draw(result.held_out, result.objective, "LightGBM on the mean loss", recipe, out)
    return recipe


def describe_evidence(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Read ``evidence.json`` back: tables by name, empty when there were none."""
    return json.loads((folder / EVIDENCE_NAME).read_text(encoding="utf-8"))


def climb_objective(swarm: TrainedSwarm) -> Callable[[Floats], Floats]:
    """Return the function from losses ``(m, J)`` of the swarm's targets to the weighted mean ``(m,)``."""
    weights = np.array([swarm.wanted.get(t, 0.0) for t in swarm.table.targets])
    return lambda losses: losses @ (weights / weights.sum())


def _write(recipe: Recipe, frame: MixtureFrame, out: Path, **tables: list[dict[str, Any]]) -> None:
    write_recipe(recipe, frame.supply, out)
    (out / EVIDENCE_NAME).write_text(json.dumps(tables, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _draw(held_out: Floats, observed: Floats, law: str, recipe: Recipe, out: Path) -> None:
    correlation = recipe.evidence.cv_spearman if recipe.evidence is not None else None
    told = correlation if correlation is not None else float("nan")
    (out / LAW_PICTURE).write_bytes(law_fit(held_out, observed, law, told))


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
