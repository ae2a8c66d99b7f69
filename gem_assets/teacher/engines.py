"""The interface through which a fit sees its rows: scores, sums and labels for given parameters.

:class:`DenseEngine` keeps all n x K scores in float64. It is the reference that faster engines are tested against,
and fast enough up to some ten million scores. Cost of an iteration: two products of 2 n K d operations, and one to
five passes over the scores for the offsets.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gem_assets.teacher.config import EStepName
from gem_assets.teacher.esteps import (
    DenseScores,
    EStep,
    SoftEStep,
    Statistics,
    dual_newton,
    mirror_step,
    proximal_step,
    softmax_rows,
)
from gem_assets.teacher.mstep import Sums, Theta
from gem_assets.teacher.rows import Blocks, Rows
from gem_assets.types import Floats

BLOCK_ROWS = 2048


class Engine(Protocol):
    """What the ascent needs from the rows."""

    n: int
    d: int
    #: Round-off that F may show between two iterations, relative to its size.
    noise: float
    #: What the engine's F may miss, in nats per document, because it works on a selection of the scores.
    left_out: float

    def e_step(self, theta: Theta, lam: float, gap_tol: float) -> EStep:
        """Solve the E-step for ``theta``, starting from its offsets."""
        ...

    def accept(self) -> None:
        """Make the last E-step the one that the next starts from."""
        ...

    def renew(self) -> None:
        """Drop whatever approximation is carried from one E-step to the next."""
        ...

    def sums(self) -> Sums:
        """Responsibility-weighted sums of the last E-step."""
        ...

    def labels(self) -> NDArray[np.int32]:
        """Most responsible cluster of every row in the last E-step."""
        ...

    def outliers(self, count: int) -> Floats:
        """Rows that the mixture explains worst in the last E-step, shape (count, d)."""
        ...


class DenseEngine:
    """All scores in float64.

    Parameters
    ----------
    x
        Unit rows, shape (n, d); may be memory-mapped.
    target
        Shares aimed at, shape (K,).
    e_step
        Which E-step.
    pool
        Threads for the row blocks.
    precision
        Of scores and responsibilities. In float32, which is meant for short fits and takes the dual E-step only, an
        iteration costs a third.
    """

    left_out = 0.0

    def __init__(
        self,
        x: Rows,
        target: Floats,
        e_step: EStepName = "dual",
        pool: ThreadPoolExecutor | None = None,
        precision: type[np.float32] | type[np.float64] = np.float64,
    ) -> None:
        if precision is np.float32 and e_step != "dual":
            raise ValueError(f"float32 takes the dual E-step, not {e_step!r}: leave the precision at float64")
        self._precision = precision
        self.noise = 1e-12 if precision is np.float64 else 1e-8
        self.n, self.d = x.shape
        self._x = x
        self._target = target
        self._kind = e_step
        self._blocks = Blocks(self.n, BLOCK_ROWS, pool)
        self._scores = DenseScores(np.empty((0, len(target))), self._blocks)
        self._base = np.zeros(self.n)
        self._b = np.zeros(len(target))
        self._soft: SoftEStep | None = None
        self._accepted: SoftEStep | None = None

    def e_step(self, theta: Theta, lam: float, gap_tol: float) -> EStep:
        """Score all rows under ``theta`` and solve for the responsibilities."""
        values = self.score(theta)
        self._soft = None
        if self._kind == "dual" or lam == 0:
            result = dual_newton(self._scores, lam, self._target, theta.b, gap_tol=gap_tol)
            self._b = result.b
            return result
        if self._accepted is None:
            gamma = softmax_rows(values + theta.b)[0]
            curvature = None
        else:
            gamma, curvature = self._accepted.gamma, self._accepted.curvature
        step = (
            proximal_step(values, gamma, lam, self._target, curvature)
            if self._kind == "proximal"
            else (mirror_step(values, gamma, lam, self._target))
        )
        self._soft = step
        pi = step.gamma.mean(axis=0)
        self._b = -lam * (pi - self._target)
        return EStep(self._b, pi, step.objective, np.inf, 1)

    def score(self, theta: Theta) -> NDArray[Any]:
        """Log densities of all rows under the fixed prior, shape (n, K); in float32 less the largest of each row."""
        natural = theta.directions().astype(self._precision).T
        constants = theta.constants().astype(self._precision)
        values = np.empty((self.n, theta.k), self._precision)
        base = np.zeros(self.n)

        def one(rows: slice) -> None:
            np.matmul(self._x[rows].astype(self._precision), natural, out=values[rows])
            values[rows] += constants
            if self._precision is np.float32:
                top = values[rows].max(axis=1)
                values[rows] -= top[:, None]
                base[rows] = top

        for _ in self._blocks.map(one):
            pass
        self._scores, self._base = DenseScores(values, self._blocks, base), base
        return values

    def accept(self) -> None:
        """Keep the responsibilities of the last step for the next one."""
        self._accepted = self._soft

    def certify(self, theta: Theta, lam: float, gap_tol: float) -> EStep:
        """Exact E-step by the dual, whatever the engine's own is."""
        kind, self._kind = self._kind, "dual"
        try:
            return self.e_step(theta, lam, gap_tol)
        finally:
            self._kind = kind

    def renew(self) -> None:
        """Nothing to drop: every E-step scores all rows."""

    def sums(self) -> Sums:
        """Responsibility-weighted sums of the last E-step."""
        k = self._scores.k

        def one(rows: slice) -> tuple[Floats, Floats]:
            gamma = self._gamma(rows)
            resultant = gamma.T @ self._x[rows].astype(gamma.dtype)
            return gamma.sum(axis=0, dtype=np.float64), resultant.astype(np.float64)

        mass, resultant = np.zeros(k), np.zeros((k, self.d))
        for part_mass, part_resultant in self._blocks.map(one):
            mass += part_mass
            resultant += part_resultant
        return Sums(mass, resultant)

    def statistics(self, b: Floats) -> Statistics:
        """Sums over the rows as last scored, for given offsets."""
        return self._scores.statistics(b, gram=True)

    def sums_at(self, b: Floats) -> Sums:
        """Responsibility-weighted sums for the rows as last scored and given offsets."""
        self._soft, self._b = None, b
        return self.sums()

    def labels(self) -> NDArray[np.int32]:
        """Most responsible cluster of every row."""
        if self._soft is not None:
            return self._soft.gamma.argmax(axis=1).astype(np.int32)
        parts = self._blocks.map(lambda rows: (self._scores.values[rows] + self._b).argmax(axis=1))
        return np.concatenate(list(parts)).astype(np.int32)

    def outliers(self, count: int) -> Floats:
        """Rows with the least best score."""
        best = self._scores.values.max(axis=1) + self._base
        worst = np.argsort(best, kind="stable")[:count]
        return self._x[np.sort(worst)].astype(np.float64)

    def sparse_responsibilities(self, drop_nats: float) -> tuple[csr_array, float]:
        """Responsibilities within ``drop_nats`` of each row's largest, and the mean mass that was left out."""
        data: list[NDArray[np.float32]] = []
        columns: list[NDArray[np.int32]] = []
        counts: list[NDArray[np.int64]] = []
        dropped = 0.0
        for rows in self._blocks.slices:
            gamma = self._gamma(rows)
            keep = gamma >= gamma.max(axis=1, keepdims=True) * np.exp(-drop_nats)
            data.append(gamma[keep].astype(np.float32))
            columns.append(np.nonzero(keep)[1].astype(np.int32))
            counts.append(keep.sum(axis=1))
            dropped += float(gamma[~keep].sum())
        indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        shape = (self.n, self._scores.k)
        return csr_array((np.concatenate(data), np.concatenate(columns), indptr), shape=shape), dropped / self.n

    def _gamma(self, rows: slice) -> NDArray[Any]:
        if self._soft is not None:
            return self._soft.gamma[rows]
        return softmax_rows(self._scores.values[rows] + self._b.astype(self._precision))[0]
