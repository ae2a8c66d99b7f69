"""Recipes of the methods that choose documents by quality scores: QuRating, QuaDMix and Meta-rater.

Each decides how often every document is to be seen, and the shares of the clusters follow. A recipe carries the shares
and nothing else, so what was decided for single documents is written beside it, and the verdict says how much of the
gain is in the shares: after a search the answer is trained, with its documents and as shares alone, against all
documents in their natural shares, over seeds that the search did not use.

Writes what every recipe writes, ``evidence.json``, ``law.png`` after a search, and ``selection.parquet``: document,
cluster, scores, and how often it is taken.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.mixing.caps import apply_caps
from gem_assets.mixing.config import ScoreConfig
from gem_assets.mixing.laws.proposal import divergence
from gem_assets.mixing.quality.documents import ScoredDocuments
from gem_assets.mixing.quality.selection import weighted_quality
from gem_assets.mixing.quality.trial import (
    CHECKS,
    NATURAL,
    SHARES,
    SelectionTrainer,
    arm_rows,
    arms_verdict,
    train_arms,
)
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.mixing.recipe_artifact import MixtureFrame, draw_law
from gem_assets.mixing.search.trees import SearchResult
from gem_assets.types import Floats

Row = dict[str, Any]
Search = Callable[
    [ScoredDocuments, ScoreConfig, SelectionTrainer, int], tuple[Floats, SearchResult, dict[str, list[Row]]]
]
"""From documents, settings, losses and a seed to how often each document is taken, every run, and tables to show."""

SELECTION_NAME = "selection.parquet"

_SHARES_ALONE = (
    "the recipe carries shares alone: orders, exports and confirmations take all documents of a cluster alike"
)


def publish_searched(
    strategy: str,
    search_rule: Search,
    documents: ScoredDocuments,
    frame: MixtureFrame,
    config: ScoreConfig,
    trainer: SelectionTrainer,
    out: Path,
) -> Recipe:
    """Search a rule by proxies, train its answer, and write the shares that it gives the clusters.

    Raises
    ------
    SelectionError
        When the documents cannot be chosen from.
    SelectedProxyError
        When a proxy diverged.
    """
    seed = frame.config.seed
    weights, search, tables = search_rule(documents, config, trainer, seed)
    shares = capped(documents.shares(weights), frame)
    given, natural = (p[: documents.domains] for p in (shares, frame.supply.token_shares))
    arms = train_arms(documents, weights, given, natural, trainer, seed)
    correlation = search.cv_spearman
    paired = arms[SHARES] - arms[NATURAL]
    evidence = RecipeEvidence(
        method=strategy,
        n_runs=len(search.losses),
        target=trainer.target,
        law=f"boosted trees from the rule to the loss, {len(search.losses)} choices of documents",
        cv_spearman=correlation if np.isfinite(correlation) else None,
        predicted_loss=float(arms[SHARES].mean()),
        predicted_interval=(float(arms[SHARES].min()), float(arms[SHARES].max())),
        predicted_loss_proportional=float(arms[NATURAL].mean()),
        predicted_gain_interval=(float(paired.min()), float(paired.max())),
        kl_to_prior=divergence(shares, frame.supply.token_shares),
        verdict=f"scores {documents.origin}: {arms_verdict(arms)}",
        notes=(
            *notes_of(documents),
            f"losses are those of proxies trained on the shares alone and on the natural ones, {CHECKS} seeds; the "
            f"trees expect {search.predicted:.4f} of the choice, at the seed of the search",
        ),
    )
    recipe = frame.recipe(strategy, shares, evidence)
    write_choice(recipe, documents, weights, frame, out, {**tables, "trained": arm_rows(arms)})
    draw_law(recipe, search.held_out, search.losses, "boosted trees on rules", out)
    return recipe


def standard_quality(documents: ScoredDocuments) -> Floats:
    """Mean of the standard scores of each document, scaled to deviation 1, ``(n,)``."""
    merged = weighted_quality(documents.scores, np.full(len(documents.raters), 1 / len(documents.raters)))
    deviation = float(merged.std())
    return merged / deviation if deviation > 0 else merged


def capped(shares: Floats, frame: MixtureFrame) -> Floats:
    """Shares of all clusters within the caps, from those of the clusters that documents stand for."""
    out = np.zeros(len(frame.supply.clusters))
    out[: len(shares)] = shares
    return apply_caps(out, frame.caps)


def notes_of(documents: ScoredDocuments) -> tuple[str, ...]:
    """Say what the scores are and what the recipe leaves out, for its evidence."""
    return (
        f"scores {documents.origin}: {', '.join(documents.raters)}; {len(documents.doc_ids):,} documents of the "
        "prepared tokens, each standing for a part of its cluster",
        _SHARES_ALONE,
        *(f"left out: {fault}" for fault in documents.faults),
    )


def rater_rows(documents: ScoredDocuments, weights: Floats) -> list[Row]:
    """One row per rater, with the part that it has in the quality."""
    rows = zip(documents.raters, weights / weights.sum(), documents.scores.T, strict=True)
    return [
        {"rater": name, "weight": float(weight), "mean": float(column.mean()), "deviation": float(column.std())}
        for name, weight, column in rows
    ]


def write_choice(
    recipe: Recipe,
    documents: ScoredDocuments,
    weights: Floats,
    frame: MixtureFrame,
    out: Path,
    tables: Mapping[str, list[Row]],
) -> None:
    """Write the recipe with its tables, and the documents with how often each is taken."""
    quality, count = standard_quality(documents), documents.domains
    tokens = np.bincount(documents.clusters, documents.tokens, minlength=count)
    taken = np.bincount(documents.clusters, documents.tokens * weights, minlength=count)
    mean = np.bincount(documents.clusters, documents.tokens * quality, minlength=count)
    clusters = [
        {
            "cluster": int(k),
            "name": frame.names.get(int(k), f"Cluster {k}"),
            "mean_quality": float(mean[k] / tokens[k]),
            "seen_on_average": float(taken[k] / tokens[k]),
        }
        for k in np.flatnonzero(tokens)
    ]
    frame.write(recipe, out, {**tables, "choice": clusters})
    scores = {name: pa.array(column) for name, column in zip(documents.raters, documents.scores.T, strict=True)}
    table = {"doc_id": list(documents.doc_ids), "cluster": documents.clusters, "copies": weights, **scores}
    pq.write_table(pa.table(table), out / SELECTION_NAME, compression="zstd")
