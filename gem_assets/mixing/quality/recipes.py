"""Recipes of the methods that choose documents by quality scores: QuRating, QuaDMix and Meta-rater.

Each decides how often every document is to be seen, and the shares of the clusters follow. A recipe carries the shares
and nothing else, so what was decided for single documents is written beside it, and the verdict says how much of the
gain is in the shares: after a search the answer is trained, with its documents and as shares alone, against all
documents in their natural shares, over seeds that the search did not use.

Writes what every recipe writes, ``evidence.json``, ``law.png`` after a search, and ``selection.parquet``: document,
cluster, scores, and how often it is taken.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.mixing.caps import apply_caps
from gem_assets.mixing.config import ScoreConfig
from gem_assets.mixing.laws.proposal import divergence
from gem_assets.mixing.methods.meta_rater import learn_weights, select_best, weighted_quality
from gem_assets.mixing.methods.quadmix import (
    QuaDMixParameters,
    QualityCorpus,
    sampling_values,
    search_quadmix,
)
from gem_assets.mixing.methods.qurating import inclusion_probabilities
from gem_assets.mixing.quality.documents import ScoredDocuments
from gem_assets.mixing.quality.trial import (
    CHECKS,
    NATURAL,
    SHARES,
    SelectionTrainer,
    arm_rows,
    arms_verdict,
    selection_job,
    train_arms,
)
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.mixing.recipe_artifact import MixtureFrame, draw_law
from gem_assets.mixing.search.trees import SearchResult

Floats = NDArray[np.float64]
Row = dict[str, Any]

QURATING, QUADMIX, META_RATER = "qurating", "quadmix", "meta_rater"
SEARCHED = (QUADMIX, META_RATER)
SCORED = (QURATING, *SEARCHED)
SELECTION_NAME = "selection.parquet"

_SHARES_ALONE = (
    "the recipe carries shares alone: orders, exports and confirmations take all documents of a cluster alike"
)


def publish_qurating(documents: ScoredDocuments, frame: MixtureFrame, config: ScoreConfig, out: Path) -> Recipe:
    """Write the shares that QuRating's draw gives the clusters on average.

    The quality of a document is the mean of its standard scores, scaled to deviation 1.
    """
    quality = _quality(documents)
    weights = inclusion_probabilities(
        quality, documents.tokens, config.kept * float(documents.tokens.sum()), tau=config.temperature
    )
    shares = _capped(documents.shares(weights), frame)
    recipe = frame.recipe(
        QURATING,
        shares,
        RecipeEvidence(
            method=QURATING,
            n_runs=0,
            law=f"inclusion odds exp(score / {config.temperature:g}), {config.kept:.0%} of the tokens",
            kl_to_prior=divergence(shares, frame.supply.token_shares),
            verdict=f"scores {documents.origin}: a rule without a prediction",
            notes=_notes(documents),
        ),
    )
    _write(recipe, documents, weights, frame, out, {"raters": _raters(documents, np.ones(len(documents.raters)))})
    return recipe


def publish_searched(
    strategy: str,
    documents: ScoredDocuments,
    frame: MixtureFrame,
    config: ScoreConfig,
    trainer: SelectionTrainer,
    out: Path,
) -> Recipe:
    """Search a rule by proxies, train its answer, and write the shares that it gives the clusters.

    Parameters
    ----------
    strategy
        One of :data:`SEARCHED`.

    Raises
    ------
    SelectionError
        When the documents cannot be chosen from.
    SelectedProxyError
        When a proxy diverged.
    """
    seed = frame.config.seed
    if strategy == QUADMIX:
        weights, search, tables = _quadmix(documents, config, trainer, seed)
    elif strategy == META_RATER:
        weights, search, tables = _meta_rater(documents, config, trainer, seed)
    else:
        raise ValueError(f"no search {strategy!r}; there are {', '.join(SEARCHED)}")
    shares = _capped(documents.shares(weights), frame)
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
            *_notes(documents),
            f"losses are those of proxies trained on the shares alone and on the natural ones, {CHECKS} seeds; the "
            f"trees expect {search.predicted:.4f} of the choice, at the seed of the search",
        ),
    )
    recipe = frame.recipe(strategy, shares, evidence)
    _write(recipe, documents, weights, frame, out, {**tables, "trained": arm_rows(arms)})
    draw_law(recipe, search.held_out, search.losses, "boosted trees on rules", out)
    return recipe


def _quadmix(
    documents: ScoredDocuments, config: ScoreConfig, trainer: SelectionTrainer, seed: int
) -> tuple[Floats, SearchResult, dict[str, list[Row]]]:
    active, domain = np.unique(documents.clusters, return_inverse=True)
    corpus = QualityCorpus(documents.scores, domain.astype(np.int64), documents.tokens)

    def evaluate(many: Iterable[Floats]) -> Floats:
        return trainer.losses([selection_job(f"{QUADMIX}-{i:03d}", v, documents, seed) for i, v in enumerate(many)])

    rule, search = search_quadmix(corpus, evaluate, tied=config.tied, runs=config.proxies, seed=seed)
    return sampling_values(corpus, rule), search, {"rule": _rule_rows(rule, active, documents.raters)}


def _meta_rater(
    documents: ScoredDocuments, config: ScoreConfig, trainer: SelectionTrainer, seed: int
) -> tuple[Floats, SearchResult, dict[str, list[Row]]]:
    budget = config.kept * float(documents.tokens.sum())

    def evaluate(many: Iterable[NDArray[np.bool_]]) -> Floats:
        chosen = (mask.astype(np.float64) for mask in many)
        return trainer.losses(
            [selection_job(f"{META_RATER}-{i:03d}", v, documents, seed) for i, v in enumerate(chosen)]
        )

    learned = learn_weights(
        documents.scores, documents.tokens, budget, evaluate, runs=config.proxies, seed=seed
    )  # fmt: skip
    chosen = select_best(documents.scores, documents.tokens, learned.weights, budget)
    return chosen.astype(np.float64), learned.search, {"raters": _raters(documents, learned.weights)}


def _quality(documents: ScoredDocuments) -> Floats:
    merged = weighted_quality(documents.scores, np.full(len(documents.raters), 1 / len(documents.raters)))
    deviation = float(merged.std())
    return merged / deviation if deviation > 0 else merged


def _capped(shares: Floats, frame: MixtureFrame) -> Floats:
    out = np.zeros(len(frame.supply.clusters))
    out[: len(shares)] = shares
    return apply_caps(out, frame.caps)


def _notes(documents: ScoredDocuments) -> tuple[str, ...]:
    return (
        f"scores {documents.origin}: {', '.join(documents.raters)}; {len(documents.doc_ids):,} documents of the "
        "prepared tokens, each standing for a part of its cluster",
        _SHARES_ALONE,
        *(f"left out: {fault}" for fault in documents.faults),
    )


def _raters(documents: ScoredDocuments, weights: Floats) -> list[Row]:
    rows = zip(documents.raters, weights / weights.sum(), documents.scores.T, strict=True)
    return [
        {"rater": name, "weight": float(weight), "mean": float(column.mean()), "deviation": float(column.std())}
        for name, weight, column in rows
    ]


def _rule_rows(rule: QuaDMixParameters, active: NDArray[np.int64], raters: Sequence[str]) -> list[Row]:
    return [
        {
            "cluster": int(k),
            "kept": float(rule.kept[m]),
            "steepness": float(rule.steepness[m]),
            "power": float(rule.power[m]),
            "rest": float(rule.rest[m]),
            **{name: float(weight) for name, weight in zip(raters, rule.merge[:, m], strict=True)},
        }
        for m, k in enumerate(active)
    ]


def _write(
    recipe: Recipe,
    documents: ScoredDocuments,
    weights: Floats,
    frame: MixtureFrame,
    out: Path,
    tables: Mapping[str, list[Row]],
) -> None:
    quality, count = _quality(documents), documents.domains
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
