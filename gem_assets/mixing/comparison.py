"""Recipes side by side, and the one function that says which to use; the terminal, the pages and the assets ask it.

It is deliberately dull. A learned recipe is recommended when a confirmation run at the next model size found it better
than proportional and uniform in every seed; of several, the one with the largest mean gain. Without one, uniform is
where it was better than proportional in every seed that was trained. Otherwise proportional is, whatever the proxies
predict. A row says what was found; only :func:`decide` says what to use.

The lexical recipe rests on counts and must not wait for proxies, so how well it ranks them is not part of it. That is
looked up here, in the swarm of the same tokens; no run was used to fit it, so nothing has to be held out.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.confirmation import RIVALS, Confirmation, Standing
from gem_assets.mixing.laws.proposal import divergence
from gem_assets.mixing.recipe import Recipe
from gem_assets.mixing.swarm.design import LEXICAL
from gem_assets.proxy.lexical import LABEL
from gem_assets.report.tables import effective_number

PROPORTIONAL, UNIFORM = RIVALS


@dataclass(frozen=True)
class StageZero:
    """How the n-gram model of a swarm's counts ranks the trained mixtures.

    Attributes
    ----------
    spearman
        Rank correlation, mean over the targets; None where the losses are all the same.
    mixtures
        Trained mixtures that were ranked.
    """

    spearman: float | None
    mixtures: int


@dataclass(frozen=True)
class Decision:
    """Which recipe to use, and why."""

    recommended: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """Recipes side by side.

    Attributes
    ----------
    rows
        One a recipe: ``recipe``, ``recommended`` (of one row, true), ``law``, ``runs``, ``cv_spearman``,
        ``predicted_loss``, ``predicted_gain`` and ``measured_gain`` (loss less that of proportional, so a gain is
        negative; nats per token), ``predicted_gain_interval`` and ``measured_gain_interval`` (least and largest of the
        paired gain), ``in_domain_gain``, ``over_proportional``, ``over_uniform`` and ``wins`` (both) of ``seeds``,
        ``kl_to_prior``, ``effective_clusters``, ``most_epochs``, ``verdict``. What is not known is None.
        ``cv_spearman`` of the lexical recipe is that of :class:`StageZero`.
    """

    rows: tuple[dict[str, Any], ...]
    decision: Decision

    @property
    def recommended(self) -> str:
        """Strategy to use."""
        return self.decision.recommended

    @property
    def reason(self) -> str:
        """Why."""
        return self.decision.reason


def compare_recipes(
    recipes: Sequence[Recipe], confirmations: Mapping[str, Confirmation], stage_zero: StageZero | None = None
) -> Comparison:
    """Put recipes side by side.

    Raises ValueError when the recipes speak of different taxonomies, or there is none.

    Parameters
    ----------
    confirmations
        By strategy, for those that were confirmed or refuted; they must be of the recipes given.
    stage_zero
        Of the swarm over the same tokens, where there is one.
    """
    versions = {recipe.taxonomy_version for recipe in recipes}
    if len(versions) != 1:
        raise ValueError(
            "recipes of different taxonomies cannot stand side by side; materialize them again"
            if versions
            else "there is no recipe yet; materialize recipes first"
        )
    runs = {**confirmations, **_of_rivals(confirmations)}
    standings = {name: found.standing(name) for name, found in runs.items()}
    decision = decide(standings, [recipe.strategy for recipe in recipes])
    rows = tuple(
        {**_row(recipe, runs.get(recipe.strategy), stage_zero), "recommended": recipe.strategy == decision.recommended}
        for recipe in recipes
    )
    return Comparison(rows, decision)


def decide(standings: Mapping[str, Standing], recipes: Collection[str]) -> Decision:
    """Say which recipe to use.

    ``standings`` tell how confirmation runs came out, by strategy, the baselines among them.
    """
    tried = {name: found for name, found in standings.items() if name not in RIVALS and name in recipes}
    confirmed = {name: found for name, found in tried.items() if found.over_both == found.seeds}
    if confirmed:
        best = min(confirmed, key=lambda name: (confirmed[name].gain, name))
        found = confirmed[best]
        gain = f"{-found.gain:.4f} nats better than proportional"
        return Decision(best, f"{gain}, and better than uniform, in {_seeds(found.seeds)}")
    if not tried:
        return Decision(PROPORTIONAL, "no learned recipe has been confirmed at the next model size: gem confirm RECIPE")
    none = f"no recipe that was tried beats proportional and uniform in every seed ({', '.join(sorted(tried))})"
    uniform = standings.get(UNIFORM)
    if UNIFORM in recipes and uniform is not None and uniform.over_proportional == uniform.seeds:
        gain = f"{-uniform.gain:.4f} nats better than proportional in {_seeds(uniform.seeds)}"
        return Decision(UNIFORM, f"{gain}, and {none}")
    return Decision(PROPORTIONAL, none)


def _seeds(count: int) -> str:
    return f"all {count} seeds" if count > 1 else "the one seed"


def _of_rivals(confirmations: Mapping[str, Confirmation]) -> dict[str, Confirmation]:
    """Return what is known of the baselines: every pair of theirs that was trained, each once."""
    pairs: dict[tuple[int, float, float], NDArray[np.float64]] = {}
    for found in confirmations.values():
        places = [found.arms.index(arm) for arm in RIVALS]
        for s, seed in enumerate(found.seeds):
            first, second = found.target[places, s].tolist()
            pairs[seed, first, second] = found.in_domain[places, s]
    if not pairs:
        return {}
    target = np.array([losses for _, *losses in pairs]).T
    together = Confirmation(RIVALS, tuple(seed for seed, *_ in pairs), target, np.array(list(pairs.values())).T)
    return dict.fromkeys(RIVALS, together)


def seeds_text(row: Mapping[str, Any], rival: str) -> str:
    """In how many of the paired seeds a recipe was better than a baseline; nothing for itself or where not measured."""
    counted = row[f"over_{rival}"]
    return "" if counted is None or row["recipe"] == rival else f"{counted} / {row['seeds']}"


def _row(recipe: Recipe, found: Confirmation | None, stage_zero: StageZero | None) -> dict[str, Any]:
    evidence = recipe.evidence
    predicted = evidence.predicted_loss if evidence is not None else None
    baseline = evidence.predicted_loss_proportional if evidence is not None else None
    name = recipe.strategy
    # the words of the evidence are replaced by those of the run that put it to the test
    verdict = found.verdict(name) if found is not None else evidence.verdict if evidence is not None else None
    if evidence is not None and LABEL in evidence.method and verdict is not None and LABEL not in verdict:
        verdict = f"{LABEL}; {verdict}"
    correlation = evidence.cv_spearman if evidence is not None else None
    if name == LEXICAL and correlation is None:
        correlation = stage_zero.spearman if stage_zero is not None else None
        verdict = f"{verdict}; {_ranking(stage_zero)}"
    standing = found.standing(name) if found is not None else None
    available = np.array([entry.tokens_available for entry in recipe.entries], np.float64)
    return {
        "recipe": name,
        "law": evidence.law if evidence is not None else None,
        "runs": evidence.n_runs if evidence is not None else None,
        "cv_spearman": correlation,
        "predicted_loss": predicted,
        "predicted_gain": predicted - baseline if predicted is not None and baseline is not None else None,
        "predicted_gain_interval": evidence.predicted_gain_interval if evidence is not None else None,
        "measured_gain": standing.gain if standing is not None else None,
        "measured_gain_interval": (standing.low, standing.high) if standing is not None else None,
        "in_domain_gain": standing.in_domain if standing is not None else None,
        "over_proportional": standing.over_proportional if standing is not None else None,
        "over_uniform": standing.over_uniform if standing is not None else None,
        "wins": standing.over_both if standing is not None else None,
        "seeds": standing.seeds if standing is not None else None,
        "kl_to_prior": evidence.kl_to_prior
        if evidence is not None and evidence.kl_to_prior is not None
        else divergence(recipe.shares, available / max(available.sum(), 1.0)),
        "effective_clusters": effective_number(recipe.shares),
        "most_epochs": max(e.implied_epochs for e in recipe.entries),
        "verdict": verdict,
    }


def _ranking(found: StageZero | None) -> str:
    if found is None:
        return "no proxies of these tokens were trained, so how it ranks mixtures is not known (gem swarm run)"
    if found.spearman is None:
        return f"the losses of {found.mixtures} trained mixtures do not differ, so how it ranks them is not known"
    return f"ranks {found.mixtures} trained mixtures, to none of which it was fitted, with ρ = {found.spearman:.2f}"
