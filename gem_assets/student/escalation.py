"""Send documents with unsure labels to the teacher.

The student is right on nearly all documents above a margin and wrong on a third of those below. Embedding only the
latter and asking the teacher lifts agreement for a small part of the price of embedding everything: the escalated
share times the embedder's cost per document, on top of the student's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.corpus.text.features import Texts, as_large_strings
from gem_assets.embedding.base import Embedder, has_direction
from gem_assets.student.labeller import StudentPrediction

#: Margins at which a report tells what escalation would cost and give.
MARGINS = (0.05, 0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True)
class Escalated:
    """Labels after escalation.

    Attributes
    ----------
    prediction : StudentPrediction
        The student's, with the teacher's cluster in the escalated rows; confidence and margin are 1 there, since
        confidence is the probability of the teacher's label.
    escalated : bool array, shape (n,)
        Rows that the teacher labelled.
    changed : int
        Escalated rows whose label the teacher changed.
    """

    prediction: StudentPrediction
    escalated: NDArray[np.bool_]
    changed: int


def escalate(
    texts: Texts,
    prediction: StudentPrediction,
    embedder: Embedder,
    predict: Callable[[NDArray[np.float32]], NDArray[Any]],
    *,
    margin: float,
    at_most: float = 1.0,
) -> Escalated:
    """Label the documents below a margin by the teacher.

    Parameters
    ----------
    texts : Array, ChunkedArray or sequence of str
        n documents.
    prediction : StudentPrediction
        The student's labels of them.
    embedder : Embedder
        The space that the teacher lives in.
    predict : callable
        Unit vectors (m, d) to cluster ids (m,): the teacher's ``predict``.
    margin : float
        Documents below it are escalated.
    at_most : float
        Largest share of documents to escalate; the lowest margins go first.

    Raises
    ------
    ValueError
        If texts and prediction differ in length.
    """
    chunked = as_large_strings(texts)
    if len(chunked) != len(prediction):
        raise ValueError(f"{len(chunked)} texts and {len(prediction)} predictions")
    rows = np.flatnonzero(prediction.margin < margin)
    limit = int(at_most * len(prediction))
    if len(rows) > limit:
        rows = np.sort(rows[np.argsort(prediction.margin[rows], kind="stable")[:limit]])
    mask = np.zeros(len(prediction), np.bool_)
    mask[rows] = True
    if len(rows) == 0:
        return Escalated(prediction, mask, 0)
    vectors = embedder.transform(chunked.take(pa.array(rows)))
    usable = has_direction(vectors)
    if not usable.all():
        # the teacher knows nothing of a text without a direction: the student's label stays
        mask[rows[~usable]] = False
        vectors, rows = vectors[usable], rows[usable]
    if len(rows) == 0:
        return Escalated(prediction, mask, 0)
    teacher = np.asarray(predict(vectors)).astype(np.int16)
    cluster, confidence = prediction.cluster.copy(), prediction.confidence.copy()
    margins = prediction.margin.copy()
    changed = int((teacher != cluster[rows]).sum())
    cluster[rows], confidence[rows], margins[rows] = teacher, 1, 1
    return Escalated(StudentPrediction(cluster, confidence, margins, prediction.n_features), mask, changed)


def escalation_table(
    prediction: StudentPrediction, labels: NDArray[Any], margins: Sequence[float] = MARGINS
) -> pa.Table:
    """What escalation below each margin would cost and give on held-out documents.

    Returns
    -------
    Table
        ``margin``; ``escalated``, the share of documents below it; ``agreement_below`` and ``agreement_above``, the
        student's own on either side (null where there is none); ``agreement``, over all documents once the teacher has
        labelled those below.
    """
    right = prediction.cluster == np.asarray(labels)
    rows: list[dict[str, float | None]] = []
    for margin in margins:
        low = prediction.margin < margin
        rows.append(
            {
                "margin": margin,
                "escalated": float(low.mean()),
                "agreement_below": float(right[low].mean()) if low.any() else None,
                "agreement_above": float(right[~low].mean()) if not low.all() else None,
                "agreement": float((right | low).mean()),
            }
        )
    names = ("margin", "escalated", "agreement_below", "agreement_above", "agreement")
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.float64()) for name in names]))
