"""What an order holds, counted while it is written."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gem_assets.ordering.draw import Supply
from gem_assets.ordering.plan import RunPlan

_WINDOWS = 100
_LEAST_DOCUMENTS, _LEAST_OF_A_CLUSTER = 200, 20


def window_count(rows: int, clusters: int) -> int:
    """Windows in which shares along a run can be looked at: 100, fewer where they would hold too few documents.

    Shares hold to one document of each cluster, so a window of a few documents shows their lengths and not the mixture.
    """
    return max(1, min(_WINDOWS, rows // max(_LEAST_DOCUMENTS, _LEAST_OF_A_CLUSTER * clusters)))


@dataclass(frozen=True)
class ClusterReport:
    """One cluster of an order.

    Attributes
    ----------
    cluster
        Cluster id.
    target_tokens, tokens
        Tokens that the recipe asks for, and tokens drawn; they differ by at most half a document.
    share
        Part of the order's tokens.
    documents, tokens_available
        What there was to draw from.
    exposures
        Rows of the order.
    epochs
        Tokens drawn over tokens available.
    most_repeats
        Most often that one document comes.
    mean_weight
        Mean weight of its tokens in the draw: 1 unless the order rehydrates by duplicate count.
    over_cap
        Whether epochs exceed the recipe's cap, which happens when documents left since the recipe was made.
    """

    cluster: int
    target_tokens: float
    tokens: int
    share: float
    documents: int
    tokens_available: int
    exposures: int
    epochs: float
    most_repeats: int
    mean_weight: float
    over_cap: bool


@dataclass(frozen=True)
class OrderReport:
    """Totals of an order.

    Attributes
    ----------
    rows, tokens
        Exposures and their tokens.
    clusters
        One report per cluster with a share.
    share_error
        Largest absolute difference between a cluster's token share and the recipe's.
    window_share_error
        The same over consecutive windows of the run (100, fewer in a short run: :func:`window_count`) against each
        window's phase; windows that two phases share are left out.
    phase_starts
        Position of the first document of each phase.
    metadata_until
        Position from which documents carry no metadata prefix; None without the option.
    left_out
        Documents that were not candidates, by reason.
    files
        Parquet files written.
    """

    rows: int
    tokens: int
    clusters: tuple[ClusterReport, ...]
    share_error: float
    window_share_error: float
    phase_starts: tuple[int, ...]
    metadata_until: int | None
    left_out: Mapping[str, int]
    files: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class RunTally:
    """Counts of an order as its rows pass by."""

    def __init__(self, plan: RunPlan, supply: Supply) -> None:
        self.plan, self.supply = plan, supply
        self.files = 0
        k, p = len(plan.clusters), len(plan.bounds) - 1
        self._tokens = np.zeros(k, dtype=np.int64)
        self._rows = np.zeros(k, dtype=np.int64)
        self._repeats = np.zeros(k, dtype=np.int64)
        rows = int((plan.targets * supply.documents / np.maximum(supply.tokens, 1)).sum())
        self._windows = np.zeros((window_count(rows, k), k))
        self._phase_rows = np.zeros(p, dtype=np.int64)
        self._metadata_rows = 0
        self._budget = float(plan.targets.sum())

    def add(
        self,
        index: npt.NDArray[np.int32],
        n_tokens: npt.NDArray[np.int64],
        epoch: npt.NDArray[np.int32],
        phase: npt.NDArray[np.int16],
        metadata: npt.NDArray[np.bool_],
    ) -> None:
        """Count rows in training order: cluster position, tokens, epoch, phase and prefix of each."""
        k = len(self._tokens)
        before = float(self._tokens.sum())
        middle = before + np.cumsum(n_tokens) - n_tokens / 2
        count = len(self._windows)
        window = np.minimum((middle / self._budget * count).astype(np.int64), count - 1)
        self._windows += np.bincount(window * k + index, weights=n_tokens, minlength=count * k).reshape(count, k)
        self._tokens += np.bincount(index, weights=n_tokens, minlength=k).astype(np.int64)
        self._rows += np.bincount(index, minlength=k)
        np.maximum.at(self._repeats, index, epoch.astype(np.int64) + 1)
        self._phase_rows += np.bincount(phase, minlength=len(self._phase_rows))
        self._metadata_rows += int(metadata.sum())

    def report(self, left_out: Mapping[str, int], *, metadata: bool = False) -> OrderReport:
        """Close the count."""
        plan, total = self.plan, int(self._tokens.sum())
        targets = plan.targets
        shares = self._tokens / max(total, 1)
        epochs = self._tokens / np.maximum(self.supply.tokens, 1)
        return OrderReport(
            rows=int(self._rows.sum()),
            tokens=total,
            clusters=tuple(
                ClusterReport(
                    cluster=int(plan.clusters[i]),
                    target_tokens=float(targets[i]),
                    tokens=int(self._tokens[i]),
                    share=float(shares[i]),
                    documents=int(self.supply.documents[i]),
                    tokens_available=int(self.supply.tokens[i]),
                    exposures=int(self._rows[i]),
                    epochs=float(epochs[i]),
                    most_repeats=int(self._repeats[i]),
                    mean_weight=float(self.supply.weighted_tokens[i] / max(self.supply.tokens[i], 1)),
                    over_cap=bool(epochs[i] > plan.caps[i] * 1.01),
                )
                for i in range(len(targets))
            ),
            share_error=float(np.abs(shares - targets / targets.sum()).max()),
            window_share_error=self._window_error(),
            phase_starts=tuple((np.cumsum(self._phase_rows) - self._phase_rows).tolist()),
            metadata_until=self._metadata_rows if metadata else None,
            left_out=dict(left_out),
            files=self.files,
        )

    def _window_error(self) -> float:
        edges = np.linspace(0, 1, len(self._windows) + 1)
        worst = 0.0
        for p, (low, high) in enumerate(zip(self.plan.bounds, self.plan.bounds[1:], strict=False)):
            inside = (edges[:-1] >= low - 1e-9) & (edges[1:] <= high + 1e-9)
            windows = self._windows[inside]
            filled = windows.sum(axis=1)
            windows, filled = windows[filled > 0], filled[filled > 0]
            if len(windows):
                wanted = self.plan.tokens[p] / self.plan.tokens[p].sum()
                worst = max(worst, float(np.abs(windows / filled[:, None] - wanted).max()))
        return worst
