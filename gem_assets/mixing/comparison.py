"""All recipes of a taxonomy side by side: what was predicted, what was measured, and which one to use.

The recommendation is deliberately dull. A learned recipe is recommended when a confirmation run at the next model size
found it better than proportional and uniform in every seed; of several, the one with the largest mean gain. Otherwise
proportional is, whatever the proxies predict.

The lexical recipe rests on counts and must not wait for proxies, so how well it ranks them is no part of it. It is
looked up here, in the swarm of the same tokens; no run was used to fit it, so nothing has to be held out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gem_assets.mixing.confirm import Confirmation
from gem_assets.mixing.design import LEXICAL
from gem_assets.mixing.recipe import Recipe
from gem_assets.proxy.lexical import LABEL
from gem_assets.report.plots import effective_number

PROPORTIONAL = "proportional"


@dataclass(frozen=True)
class StageZero:
    """How the n-gram model of a swarm's counts ranks the trained mixtures.

    Attributes
    ----------
    spearman
        Rank correlation, mean over the targets.
    mixtures
        Trained mixtures that were ranked.
    """

    spearman: float
    mixtures: int


@dataclass(frozen=True)
class Comparison:
    """Recipes side by side.

    Attributes
    ----------
    rows
        One a recipe: ``recipe``, ``law``, ``runs``, ``cv_spearman``, ``predicted_loss``, ``predicted_interval``,
        ``predicted_gain`` and ``measured_gain`` (loss less that of proportional, so a gain is negative; nats a token),
        ``in_domain_gain``, ``wins`` of ``seeds``, ``kl_to_prior``, ``effective_clusters``, ``most_epochs``,
        ``verdict``. What is not known is None. ``cv_spearman`` of the lexical recipe is that of :class:`StageZero`.
    recommended, reason
        Strategy to use, and why.
    """

    rows: tuple[dict[str, Any], ...]
    recommended: str
    reason: str


def compare_recipes(
    recipes: Sequence[Recipe], confirmations: Mapping[str, Confirmation], stage_zero: StageZero | None = None
) -> Comparison:
    """Put recipes side by side.

    Parameters
    ----------
    recipes
        Any number, of one taxonomy version.
    confirmations
        By strategy, for those that were confirmed or refuted; they must be of the recipes given.
    stage_zero
        Of the swarm over the same tokens, where there is one.

    Raises
    ------
    ValueError
        When the recipes speak of different taxonomies, or there is none.
    """
    versions = {recipe.taxonomy_version for recipe in recipes}
    if len(versions) != 1:
        raise ValueError(
            "recipes of different taxonomies cannot stand side by side; materialize them again"
            if versions
            else "there is no recipe yet; materialize recipes first"
        )
    rows = tuple(_row(recipe, confirmations.get(recipe.strategy), stage_zero) for recipe in recipes)
    confirmed = {
        name: float(found.difference(name, PROPORTIONAL).mean())
        for name, found in confirmations.items()
        if found.confirmed(name)
    }
    if confirmed:
        best = min(confirmed, key=lambda name: confirmed[name])
        seeds = len(confirmations[best].seeds)
        reason = f"{-confirmed[best]:.4f} nats better than proportional, and better than uniform, in all {seeds} seeds"
        return Comparison(rows, best, reason)
    tried = sorted(confirmations)
    reason = (
        f"nothing that was confirmed beats proportional and uniform in every seed ({', '.join(tried)} tried)"
        if tried
        else "no learned recipe has been confirmed at the next model size: materialize recipe_confirmation/<strategy>"
    )
    return Comparison(rows, PROPORTIONAL, reason)


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
    inside = (
        found.in_domain[found.arms.index(name)] - found.in_domain[found.arms.index(PROPORTIONAL)] if found else None
    )
    return {
        "recipe": name,
        "law": evidence.law if evidence is not None else None,
        "runs": evidence.n_runs if evidence is not None else None,
        "cv_spearman": correlation,
        "predicted_loss": predicted,
        "predicted_interval": evidence.predicted_interval if evidence is not None else None,
        "predicted_gain": predicted - baseline if predicted is not None and baseline is not None else None,
        "measured_gain": float(found.difference(name, PROPORTIONAL).mean()) if found is not None else None,
        "in_domain_gain": float(inside.mean()) if inside is not None else None,
        "wins": found.wins(name) if found is not None else None,
        "seeds": len(found.seeds) if found is not None else None,
        "kl_to_prior": evidence.kl_to_prior if evidence is not None else None,
        "effective_clusters": effective_number(recipe.shares),
        "most_epochs": max(e.implied_epochs for e in recipe.entries),
        "verdict": verdict,
    }


def _ranking(found: StageZero | None) -> str:
    if found is None:
        return "no proxies of these tokens were trained, so how it ranks mixtures is not known (gem swarm run)"
    return f"ranks {found.mixtures} trained mixtures, to none of which it was fitted, with ρ = {found.spearman:.2f}"
