"""A training order as an artifact: the rows, the report, the four guidelines in figures, and two pictures.

Writes ``part-*.parquet``, ``report.json`` (see ``training_order``), ``guidelines.json``, ``curve.png`` and
``shares.png``.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from gem_assets.mixing.recipe import Recipe
from gem_assets.ordering.config import OrderingConfig
from gem_assets.ordering.plots import order_curve, shares_along
from gem_assets.ordering.report import OrderReport
from gem_assets.ordering.review import review_order
from gem_assets.ordering.scores import with_scores
from gem_assets.ordering.training_order import build_order

GUIDELINES_NAME = "guidelines.json"
CURVE_NAME, SHARES_NAME = "curve.png", "shares.png"
MEANING = {
    "boundary_head": "boundary: mean rank of the first tenth",
    "boundary_tail": "boundary: mean rank of the last tenth",
    "cyclic_gap": "cyclic: longest part of the run without one of the lowest tenth",
    "cyclic_descent": "cyclic: sum of all falls of the smoothed curve",
    "continuity_step": "continuity: largest step between neighbours",
    "continuity_batch_step": "continuity: largest step between batch means",
    "diversity": "local diversity: deviation of rank inside a batch",
}


@dataclass(frozen=True)
class PublishedOrder:
    """What was written.

    Attributes
    ----------
    report
        Totals, shares and exposures.
    guidelines
        One row per figure: what it is, its value inside clusters (averaged by documents) and over all documents.
    """

    report: OrderReport
    guidelines: list[dict[str, str | float]]


def publish_order(
    documents: Iterable[pa.RecordBatch], recipe: Recipe, config: OrderingConfig, out: Path, scores: Sequence[Path] = ()
) -> PublishedOrder:
    """Draw and order a recipe's documents, look at the result and write all of it into ``out``.

    Parameters
    ----------
    documents
        Batches of the candidates; with ``scores``, without the score column.
    scores
        Files that hold the score.

    Raises
    ------
    ValueError
        See :func:`gem_assets.ordering.training_order.build_order`.
    """
    report = build_order(with_scores(documents, scores, config, out), recipe, config, out)
    review = review_order(out)
    inside, overall = review.within_mean(), review.overall.as_dict()
    guidelines: list[dict[str, str | float]] = [
        {"figure": meaning, "inside clusters": inside[name], "over all documents": overall[name]}
        for name, meaning in MEANING.items()
    ]
    (out / GUIDELINES_NAME).write_text(json.dumps(guidelines, indent=1) + "\n", encoding="utf-8")
    (out / CURVE_NAME).write_bytes(order_curve(review, config.curve.strategy, config.score))
    names = {entry.cluster: entry.name for entry in recipe.entries}
    (out / SHARES_NAME).write_bytes(shares_along(review, names))
    return PublishedOrder(report, guidelines)
