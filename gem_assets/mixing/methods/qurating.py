"""Sample documents by quality without keeping only the best (QuRating, Wettig et al. 2024).

Documents are drawn without replacement with probability in proportion to ``exp(score / τ)``: give each the key

    score / τ + Gumbel(0, 1)

and take the largest keys until the token budget is met. ``τ = 2`` is the paper's choice, ``τ → 0`` keeps the best only,
``τ → ∞`` samples evenly. Budgets per cluster keep a mixture while quality decides inside it. A cluster that is asked
for more than it holds is taken whole as often as that goes, and the rest is sampled (WebOrganizer does the same).

Cost: one sort. What it needs is a score per document, from any rater; the paper's come from a language model.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.methods.base import TOKENS, Method, MethodWork
from gem_assets.mixing.quality.declaration import SCORES, score_settings
from gem_assets.mixing.quality.selection import SelectionError
from gem_assets.types import Floats

if TYPE_CHECKING:
    from pathlib import Path

    from gem_assets.mixing.config import ScoreConfig
    from gem_assets.mixing.quality.documents import ScoredDocuments
    from gem_assets.mixing.recipe import Recipe
    from gem_assets.mixing.recipe_artifact import MixtureFrame
    from gem_assets.settings import Settings

TAU = 2.0


@dataclass(frozen=True)
class Selection:
    """How often each document is taken.

    Attributes
    ----------
    copies : int64 array, shape (n,)
        0 for those left out.
    tokens : float64 array, shape (M,)
        Tokens taken of each cluster, copies included.
    """

    copies: NDArray[np.int64]
    tokens: Floats


def inclusion_probabilities(
    scores: Floats, tokens: NDArray[np.int64] | Floats, budget: float, *, tau: float = TAU
) -> Floats:
    """Probability of each document to be among the largest keys, ``(n,)``, in the limit of many documents.

    The order of the keys is that of exponential clocks with rates ``exp(score / τ)``: what has rung by time ``t`` has
    been drawn. So ``π_i = 1 - exp(-t · exp(s_i / τ))``, with the ``t`` at which the expected tokens meet the budget.

    Raises SelectionError if the budget is not between 0 and all tokens, or ``tau`` is not above 0.
    """
    weight = np.asarray(tokens, np.float64)
    _check(scores, weight, np.zeros(len(scores), np.int64), np.array([budget]), tau)
    if not (0 < budget <= weight.sum() and tau > 0):
        raise SelectionError(
            f"a budget of {budget:.0f} of {weight.sum():.0f} tokens at temperature {tau} cannot be met"
        )
    if budget >= weight.sum() * (1 - 1e-12):
        return np.ones(len(scores))
    # a common factor of the rates is the unit of time
    rates = np.exp((scores - scores.max()) / tau)

    def excess(log_time: float) -> float:
        return float(weight @ -np.expm1(-np.exp(log_time) * rates)) - budget

    low = high = 0.0
    while excess(low) > 0:
        low -= 8.0
    while excess(high) < 0:
        high += 8.0
    # halving an interval of eight sixty times leaves less than float64 can tell
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    return -np.expm1(-np.exp(high) * rates)


def select_by_quality(
    scores: Floats,
    tokens: NDArray[np.int64],
    budgets: Floats,
    clusters: NDArray[np.int64] | None = None,
    *,
    tau: float = TAU,
    seed: int = 0,
) -> Selection:
    """Draw documents by quality within the token budget of each cluster.

    Raises SelectionError if a score is not finite, a document has no tokens, or a cluster with a budget holds none.

    Parameters
    ----------
    scores
        Quality of each document ``(n,)``; higher is better.
    tokens
        Tokens of each document ``(n,)``.
    budgets
        Tokens wanted of each cluster ``(M,)``; of all documents when there is one entry and no clusters.
    clusters
        Cluster of each document ``(n,)``, below M.
    tau
        Temperature; 0 takes the best.
    """
    values = np.asarray(scores, np.float64)
    groups = np.zeros(len(values), np.int64) if clusters is None else np.asarray(clusters, np.int64)
    wanted = np.atleast_1d(np.asarray(budgets, np.float64))
    _check(values, tokens, groups, wanted, tau)
    gumbel = np.random.default_rng(seed).gumbel(size=len(values))
    # the order of values / tau + gumbel, without the overflow of a small tau
    keys = values + tau * gumbel
    copies = np.zeros(len(values), np.int64)
    taken = np.zeros(len(wanted))
    for k, budget in enumerate(wanted):
        rows = np.flatnonzero(groups == k)
        if budget == 0:
            continue
        if len(rows) == 0:
            raise SelectionError(f"cluster {k} is given {budget:.0f} tokens and holds no document; set its budget to 0")
        total = float(tokens[rows].sum())
        whole = int(budget // total)
        copies[rows] = whole
        order = rows[np.argsort(-keys[rows], kind="stable")]
        sums = np.concatenate([[0.0], np.cumsum(tokens[order], dtype=np.float64)])
        # the prefix that is nearest to the budget, so that the error is at most half a document
        cut = int(np.argmin(np.abs(sums - (budget - whole * total))))
        copies[order[:cut]] += 1
        taken[k] = whole * total + sums[cut]
    return Selection(copies, taken)


def _check(
    scores: Floats,
    tokens: NDArray[np.int64] | Floats,
    clusters: NDArray[np.int64],
    budgets: Floats,
    tau: float,
) -> None:
    if tokens.shape != scores.shape or clusters.shape != scores.shape:
        raise SelectionError(f"{len(scores)} scores, {len(tokens)} token counts and {len(clusters)} clusters differ")
    if not np.isfinite(scores).all():
        raise SelectionError(f"document {int(np.argmin(np.isfinite(scores)))} has no finite score; leave it out")
    if np.any(tokens <= 0):
        raise SelectionError(f"document {int(np.argmax(tokens <= 0))} has no tokens; leave it out")
    if len(clusters) and (clusters.min() < 0 or clusters.max() >= len(budgets)):
        raise SelectionError(f"clusters reach {clusters.max()}, budgets are given for {len(budgets)}")
    if np.any(budgets < 0) or not np.isfinite(budgets).all():
        raise SelectionError("budgets must be finite and not negative")
    if not (tau >= 0 and np.isfinite(tau)):
        raise SelectionError(f"tau must be finite and not negative, not {tau}")


def publish_qurating(
    documents: "ScoredDocuments", frame: "MixtureFrame", config: "ScoreConfig", out: "Path"
) -> "Recipe":
    """Write the shares that QuRating's draw gives the clusters on average.

    The quality of a document is the mean of its standard scores, scaled to deviation 1.
    """
    from gem_assets.mixing.laws.proposal import divergence
    from gem_assets.mixing.quality.recipes import capped, notes_of, rater_rows, standard_quality, write_choice
    from gem_assets.mixing.recipe import RecipeEvidence

    quality = standard_quality(documents)
    weights = inclusion_probabilities(
        quality, documents.tokens, config.kept * float(documents.tokens.sum()), tau=config.temperature
    )
    shares = capped(documents.shares(weights), frame)
    recipe = frame.recipe(
        "qurating",
        shares,
        RecipeEvidence(
            method="qurating",
            n_runs=0,
            law=f"inclusion odds exp(score / {config.temperature:g}), {config.kept:.0%} of the tokens",
            kl_to_prior=divergence(shares, frame.supply.token_shares),
            verdict=f"scores {documents.origin}: a rule without a prediction",
            notes=notes_of(documents),
        ),
    )
    write_choice(
        recipe, documents, weights, frame, out, {"raters": rater_rows(documents, np.ones(len(documents.raters)))}
    )
    return recipe


def make(work: MethodWork) -> "Recipe":
    """Draw documents of the pinned tokens and write the shares that follow."""
    from gem_assets.mixing.quality.documents import load_scored

    config = work.settings.mixing.scores
    return publish_qurating(load_scored(work.folder(TOKENS), work.frame.supply, config), work.frame, config, work.out)


def _settings(settings: "Settings") -> dict[str, Any]:
    return {"mixing": settings.mixing, "scores": score_settings(settings, {"on_fault", "kept", "temperature"})}


METHOD = Method(
    "qurating",
    "lab",
    "QuRating: documents drawn with odds that rise with their quality, `mixing.scores.kept` of the tokens. Nothing is "
    "trained, nothing predicted." + SCORES,
    make,
    _settings,
    cost="a sort; the built-in raters take a second and a half per million tokens",
    use="quality should count without taking the best only",
    source="Wettig et al. 2024",
    needs=(TOKENS,),
    libraries=("numpy", "resiliparse", "tokenizers"),
)
