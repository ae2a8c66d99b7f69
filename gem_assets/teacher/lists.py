"""Per-row lists of clusters for the sparse engine, with their sums and their staleness."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gem_assets.teacher import kernels
from gem_assets.teacher.esteps import Statistics
from gem_assets.teacher.mstep import Theta
from gem_assets.types import Floats

R = TypeVar("R")

#: Distance, in nats, beyond which a responsibility is left out while the fit climbs.
CLIMB_DROP = 14.0
#: The same for the certificate: what is left out is below the round-off of float64.
EXACT_DROP = 40.0
#: A list is out of date for a row when a cluster outside it has come within this distance of the best.
MATTERS = 8.0
#: Rows on which that is watched, and the share of them that may be out of date.
WATCHED_ROWS = 4096
OUTDATED_SHARE = 5e-4


@dataclass
class Block:
    """Lists of one block of rows, and the cluster of those rows that have only one."""

    rows: slice
    single: NDArray[np.int32]
    ends: NDArray[np.int32] = field(default_factory=lambda: np.zeros(1, np.int32))
    columns: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    values: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


class Listed(Protocol):
    """What :class:`ListScores` sums over."""

    n: int
    k: int
    exact: bool
    single_counts: Floats

    def over_lanes(self, fn: Callable[[list[Block]], R]) -> list[R]:
        """Results of ``fn`` on every lane of blocks, in order."""
        ...


class ListScores:
    """Scores as lists, for the dual's Newton."""

    def __init__(self, engine: "Listed", constant: float) -> None:
        self.n, self.k = engine.n, engine.k
        self._engine = engine
        self._exact = engine.exact
        self._constant = constant

    def statistics(self, b: Floats, *, gram: bool, temperature: float = 1.0) -> Statistics:
        """Sums over rows of softmax((l + b) / temperature)."""
        drop = EXACT_DROP if self._exact else CLIMB_DROP
        k = self.k

        def one(blocks: list[Block]) -> tuple[Floats, Floats, float]:
            mass = np.zeros(k)
            square = np.zeros((k, k) if gram else (0, 0))
            total = 0.0
            for block in blocks:
                total += kernels.list_statistics(
                    block.ends, block.columns, block.values, b, temperature, drop, self._exact, mass, square
                )
            return mass, square, total

        pi = np.zeros(k)
        square = np.zeros((k, k)) if gram else None
        total = 0.0
        for part_mass, part_square, part_total in self._engine.over_lanes(one):
            pi += part_mass
            total += part_total
            if square is not None:
                square += part_square
        if not self._exact:
            counts = self._engine.single_counts
            pi += counts
            total += self._constant + float(counts @ b)
            if square is not None:
                square[np.diag_indices(k)] += counts
        return Statistics(pi / self.n, total / self.n, None if square is None else square / self.n)

    def spread(self) -> float:
        """The least: lists say nothing about offsets far away, so smoothing would lead astray."""
        return 1.0


class Watch:
    """Full scores of a few rows when lists were made, to see when the lists have gone out of date."""

    def __init__(self, x: NDArray[np.float32], theta: Theta, b: Floats, window: float) -> None:
        self._x = x
        self._window = window
        scores = self._scores(theta, b)
        self._unlisted = scores < scores.max(axis=1, keepdims=True) - np.float32(window)

    def covers(self, made: Floats, b: Floats) -> bool:
        """Whether lists made at offsets ``made`` hold all that matters at ``b``, for the density they were made for.

        This is certain, where :meth:`holds` goes by the watched rows.
        """
        return float(np.ptp(b - made)) <= self._window - MATTERS

    def holds(self, theta: Theta, b: Floats) -> bool:
        """Whether hardly any watched row has a cluster that matters outside its list."""
        scores = self._scores(theta, b)
        missed = self._unlisted & (scores >= scores.max(axis=1, keepdims=True) - np.float32(MATTERS))
        return int(missed.any(axis=1).sum()) <= OUTDATED_SHARE * len(scores)

    def _scores(self, theta: Theta, b: Floats) -> NDArray[np.float32]:
        product = self._x @ theta.directions().astype(np.float32).T
        product += (theta.constants() + b).astype(np.float32)
        return product
