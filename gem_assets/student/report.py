"""How far the student agrees with the teacher, and where it does not.

Agreement over all held-out documents hides the hard ones, so the report breaks it down by source, language, length
and cluster, shows which clusters are taken for which, how far the cluster shares drift from the teacher's, and whether
a confidence of .8 is right eight times in ten. A margin is checked in the same way: among documents of margin .3 the
label should be the teacher's .3 more often than the runner-up is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gem_assets.report.tables import effective_number
from gem_assets.student.labeller import StudentPrediction

#: Upper ends, in bytes, of the length buckets of the report.
LENGTH_BUCKETS = (200, 500, 1000, 2000, 5000, 20_000)

_GROUP_SCHEMA = pa.schema(
    [
        ("by", pa.string()),
        ("group", pa.string()),
        ("n_documents", pa.int64()),
        ("agreement", pa.float64()),
        ("mean_confidence", pa.float64()),
        ("low_margin_share", pa.float64()),
    ]
)


@dataclass(frozen=True)
class AgreementReport:
    """Agreement of n labelled documents.

    Attributes
    ----------
    n_documents : int
        Documents compared.
    agreement : float
        Share of documents with the teacher's label.
    confident_agreement : float
        The same among the documents at or above the margin threshold; nan when there are none.
    low_margin_share : float
        Share of documents below the margin threshold: the escalation set.
    margin_threshold : float
        The threshold.
    share_drift : float
        Total variation distance between the cluster shares of student and teacher.
    calibration_error : float
        Mean over documents of |share right - mean confidence| of their reliability bin.
    effective_clusters : float
        exp of the entropy of the student's cluster shares.
    groups : Table
        One row per group: by (source, lang, length, cluster), group, n_documents, agreement, mean_confidence,
        low_margin_share. Clusters are the teacher's.
    confusion : int64 array, shape (K, K)
        Documents by (teacher's cluster, student's cluster).
    reliability : Table
        Confidence bins: lower, upper, n_documents, mean_confidence, agreement.
    margins : Table or None
        Margin bins: lower, upper, n_documents, mean_margin, lead (share where the label is the teacher's minus share
        where the runner-up is); None where the runners-up were not given.
    margin_error : float or None
        Mean over documents of |lead - mean margin| of their bin.
    """

    n_documents: int
    agreement: float
    confident_agreement: float
    low_margin_share: float
    margin_threshold: float
    share_drift: float
    calibration_error: float
    effective_clusters: float
    groups: pa.Table
    confusion: NDArray[np.int64]
    reliability: pa.Table
    margins: pa.Table | None = None
    margin_error: float | None = None

    def confusion_table(self) -> pa.Table:
        """Non-zero cells of the confusion matrix: teacher, student, n_documents."""
        teacher, student = np.nonzero(self.confusion)
        return pa.table(
            {
                "teacher": teacher.astype(np.int16),
                "student": student.astype(np.int16),
                "n_documents": self.confusion[teacher, student],
            }
        )

    def summary(self) -> dict[str, float]:
        """The plain numbers, for a manifest or a metadata entry."""
        return {
            "n_documents": self.n_documents,
            "agreement": self.agreement,
            # a manifest holds no nan; with a margin that no document reaches, nothing is confident and right
            "confident_agreement": 0.0 if np.isnan(self.confident_agreement) else self.confident_agreement,
            "low_margin_share": self.low_margin_share,
            "margin_threshold": self.margin_threshold,
            "share_drift": self.share_drift,
            "calibration_error": self.calibration_error,
            "effective_clusters": self.effective_clusters,
            **({} if self.margin_error is None else {"margin_error": self.margin_error}),
        }


def agreement_report(
    labels: NDArray[Any],
    prediction: StudentPrediction,
    n_clusters: int,
    *,
    n_bytes: NDArray[Any] | None = None,
    groups: Mapping[str, Sequence[str | None] | pa.Array | pa.ChunkedArray] | None = None,
    runner_up: NDArray[Any] | None = None,
    margin_threshold: float = 0.2,
    bins: int = 10,
) -> AgreementReport:
    """Compare the student's labels with the teacher's on documents that neither the fit nor the calibration saw.

    Parameters
    ----------
    labels : int array, shape (n,)
        The teacher's clusters.
    prediction : StudentPrediction
        The student's labels of the same documents.
    n_clusters : int
        K.
    n_bytes : int array, shape (n,), or None
        Length of each text; adds the groups by length.
    groups : mapping of name to n values, or None
        Further ways to group, such as ``{"source": ..., "lang": ...}``.
    runner_up : int array, shape (n,), or None
        The student's second choice; adds the check of the margins.
    margin_threshold : float
        Documents below it are the ones worth escalating.
    bins : int
        Confidence and margin bins of equal width.

    Raises
    ------
    ValueError
        If there is no document, or the lengths differ.
    """
    truth = np.asarray(labels).astype(np.int64)
    n = len(truth)
    if n == 0 or len(prediction) != n:
        raise ValueError(f"{n} labels and {len(prediction)} predictions, expected as many, and at least one")
    right = prediction.cluster == truth
    low = prediction.margin < margin_threshold
    confusion = np.zeros((n_clusters, n_clusters), np.int64)
    np.add.at(confusion, (truth, prediction.cluster.astype(np.int64)), 1)
    shares = confusion.sum(axis=0) / n
    reliability = _binned(right, prediction.confidence, bins, "mean_confidence", "agreement")
    margins = None
    if runner_up is not None:
        if len(runner_up) != n:
            raise ValueError(f"{len(runner_up)} runners-up for {n} documents")
        lead = right.astype(np.float64) - (np.asarray(runner_up) == truth)
        margins = _binned(lead, prediction.margin, bins, "mean_margin", "lead")

    by: dict[str, NDArray[np.str_]] = {"cluster": truth.astype(np.str_)}
    if n_bytes is not None:
        by["length"] = _length_names()[np.searchsorted(np.array(LENGTH_BUCKETS), np.asarray(n_bytes), side="left")]
    for name, values in (groups or {}).items():
        listed = _listed(values)
        if len(listed) != n:
            raise ValueError(f"group {name!r} has {len(listed)} values for {n} documents")
        by[name] = np.array(["" if v is None else str(v) for v in listed], np.str_)
    rows = [row for name, values in by.items() for row in _group_rows(name, values, right, prediction.confidence, low)]
    return AgreementReport(
        n_documents=n,
        agreement=float(right.mean()),
        confident_agreement=float(right[~low].mean()) if (~low).any() else float("nan"),
        low_margin_share=float(low.mean()),
        margin_threshold=margin_threshold,
        # the rounding of a sum can pass one
        share_drift=min(float(0.5 * np.abs(shares - confusion.sum(axis=1) / n).sum()), 1.0),
        calibration_error=_calibration_error(reliability, "mean_confidence", "agreement"),
        effective_clusters=effective_number(shares),
        groups=pa.Table.from_pylist(rows, _GROUP_SCHEMA),
        confusion=confusion,
        reliability=reliability,
        margins=margins,
        margin_error=None if margins is None else _calibration_error(margins, "mean_margin", "lead"),
    )


def held_out_mask(
    doc_ids: Sequence[str] | pa.Array | pa.ChunkedArray,
    share: float,
    seed: int,
    strata: NDArray[Any] | None = None,
) -> NDArray[np.bool_]:
    """Choose held-out documents by the hash of their id, the same share of every stratum.

    The choice does not depend on the order of the documents. Within a stratum of n documents the round(share * n) of
    lowest hash are held out, at least one where n > 1.

    Parameters
    ----------
    doc_ids : sequence of str
        Ids, n of them.
    share : float
        Share to hold out, in (0, 1).
    seed : int
        Another seed is another choice.
    strata : array, shape (n,), or None
        Group of each document, such as the teacher's cluster or the source; None is one group.

    Returns
    -------
    bool array, shape (n,)
        True where held out.
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}, expected a number between 0 and 1")
    ids = _listed(doc_ids)
    key = seed.to_bytes(8, "little")
    ranks = np.array(
        [int.from_bytes(blake2b(str(i).encode(), digest_size=8, key=key).digest(), "little") for i in ids], np.uint64
    )
    groups = np.zeros(len(ids), np.int64) if strata is None else np.unique(strata, return_inverse=True)[1].ravel()
    if len(groups) != len(ids):
        raise ValueError(f"{len(groups)} strata for {len(ids)} documents")
    mask = np.zeros(len(ids), np.bool_)
    order = np.lexsort((ranks, groups))
    bounds = np.flatnonzero(np.diff(groups[order], prepend=-1, append=-2))
    for lo, hi in pairwise(bounds.tolist()):
        size = hi - lo
        take = min(max(round(share * size), 1), size - 1)
        mask[order[lo : lo + take]] = True
    return mask


def _listed(values: Any) -> list[Any]:
    return values.to_pylist() if isinstance(values, pa.Array | pa.ChunkedArray) else list(values)


def _length_names() -> NDArray[np.str_]:
    edges = [0, *LENGTH_BUCKETS]
    names = [f"{lo + 1 if lo else 0}-{hi}" for lo, hi in pairwise(edges)]
    return np.array([*names, f">{LENGTH_BUCKETS[-1]}"], np.str_)


def _group_rows(
    name: str,
    values: NDArray[np.str_],
    right: NDArray[np.bool_],
    confidence: NDArray[np.float32],
    low: NDArray[np.bool_],
) -> list[dict[str, Any]]:
    found, inverse = np.unique(values, return_inverse=True)
    sizes = np.bincount(inverse)
    means = [np.bincount(inverse, column) / sizes for column in (right, confidence, low)]
    return [
        {
            "by": name,
            "group": str(group),
            "n_documents": int(sizes[g]),
            "agreement": float(means[0][g]),
            "mean_confidence": float(means[1][g]),
            "low_margin_share": float(means[2][g]),
        }
        for g, group in enumerate(found)
    ]


def _binned(
    observed: NDArray[Any], said: NDArray[np.float32], bins: int, said_name: str, observed_name: str
) -> pa.Table:
    edges = np.linspace(0, 1, bins + 1)
    which = np.clip(np.searchsorted(edges, said, side="right") - 1, 0, bins - 1)
    sizes = np.bincount(which, minlength=bins)
    filled = np.maximum(sizes, 1)
    empty = sizes == 0
    return pa.table(
        {
            "lower": edges[:-1],
            "upper": edges[1:],
            "n_documents": sizes.astype(np.int64),
            said_name: pa.array(np.bincount(which, said, bins) / filled, mask=empty),
            observed_name: pa.array(np.bincount(which, observed, bins) / filled, mask=empty),
        }
    )


def _calibration_error(table: pa.Table, said: str, observed: str) -> float:
    """Expected calibration error (Guo et al. 2017, equation 3)."""
    filled = table.filter(pc.field("n_documents") > 0)
    sizes = filled["n_documents"].to_numpy()
    return float((np.abs(filled[observed].to_numpy() - filled[said].to_numpy()) * sizes).sum() / sizes.sum())
