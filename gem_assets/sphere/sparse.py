"""The engine for many rows and clusters: only the scores that matter.

With kappa in the hundreds a document has one or two clusters within any distance that counts; the others have
responsibilities below e^-16. An iteration is one product in low precision whose error bound decides which clusters
can matter to a row, exact scores of those, Newton over the lists, and sums over the rows with more than one cluster
(those with one are kept as running sums). That is a third of the cost of the two dense products of plain EM.

Sums run over fixed lanes of blocks and are added in order: the result does not depend on the number of threads.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gem_assets.sphere import kernels
from gem_assets.sphere.esteps import EStep, Statistics, dual_newton
from gem_assets.sphere.mstep import Floats, Sums, Theta
from gem_assets.sphere.products import Prepared, Products
from gem_assets.sphere.rows import Rows

R = TypeVar("R")

BLOCK_ROWS = 1024
MAX_LANES = 16
#: Distance, in nats, beyond which a responsibility is left out while the fit climbs.
CLIMB_DROP = 16.0
#: The same for the certificate: what is left out is below the round-off of float64.
EXACT_DROP = 40.0
#: Lists are made with this many nats to spare, so that they outlast some movement: at first, at least, at most.
SPARE = 6.0
SPARE_BOUNDS = (3.0, 16.0)
#: Uses after which a list has lasted long.
LONG_LIVED = 5
#: A list is out of date for a row when a cluster outside it has come within this distance of the best.
MATTERS = 12.0
#: Rows on which that is watched, and the share of them that may be out of date.
WATCHED_ROWS = 1024
OUTDATED_SHARE = 1e-3
#: Factor by which lists grow each time that the offsets leave them within one E-step, and how often that may happen.
STRETCH = 1.5
MAX_REBUILDS = 24


class CertificateError(RuntimeError):
    """The last E-step could not be solved to the gap asked for."""


@dataclass
class _Block:
    """Lists of one block of rows, and the cluster of those rows that have only one."""

    rows: slice
    single: NDArray[np.int32]
    ends: NDArray[np.int32] = field(default_factory=lambda: np.zeros(1, np.int32))
    columns: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    values: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


class _Lists:
    """Scores as lists, for the dual's Newton."""

    def __init__(self, engine: "SparseEngine", constant: float) -> None:
        self.n, self.k = engine.n, engine.k
        self._engine = engine
        self._exact = engine.exact
        self._constant = constant

    def statistics(self, b: Floats, *, gram: bool, temperature: float = 1.0) -> Statistics:
        """Sums over rows of softmax((l + b) / temperature)."""
        drop = EXACT_DROP if self._exact else CLIMB_DROP
        k = self.k

        def one(blocks: list[_Block]) -> tuple[Floats, Floats, float]:
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


#: Responsibilities, columns and counts of a lane's blocks, and the mass left out.
_Entries = tuple[list[NDArray[np.float32]], list[NDArray[np.int32]], list[NDArray[np.int64]], float]


class SparseEngine:
    """Lists of the clusters that matter.

    Parameters
    ----------
    x
        Unit rows (n, d).
    target
        Shares aimed at, shape (K,).
    pool
        Threads for the lanes.
    bfloat16
        Precision of the search for candidates; decided by the processor when absent. The result does not depend on
        it beyond round-off.
    """

    noise = 1e-8

    def __init__(
        self, x: Rows, target: Floats, pool: ThreadPoolExecutor | None = None, bfloat16: bool | None = None
    ) -> None:
        self.n, self.d = x.shape
        self.k = len(target)
        self._x = x
        self._target = target
        self._pool = pool
        slices = [slice(i, min(i + BLOCK_ROWS, self.n)) for i in range(0, self.n, BLOCK_ROWS)]
        blocks = [_Block(rows, np.full(rows.stop - rows.start, -1, np.int32)) for rows in slices]
        share = -(-len(blocks) // MAX_LANES)
        self._lanes = [blocks[i : i + share] for i in range(0, len(blocks), share)]
        self._products = Products(x, slices, bfloat16)
        self.single_counts = np.zeros(self.k)
        self._single_sums = np.zeros((self.k, self.d))
        self._b = np.zeros(self.k)
        self.exact = False
        self._spare = SPARE
        self._age = 0
        self._watch: _Watch | None = None
        watched = np.unique(np.linspace(0, self.n - 1, min(self.n, WATCHED_ROWS)).astype(np.int64))
        self._watched_rows = np.asarray(x[watched], dtype=np.float32)

    def over_lanes(self, fn: Callable[[list[_Block]], R]) -> list[R]:
        """Results of ``fn`` on every lane, in order."""
        if self._pool is None:
            return [fn(lane) for lane in self._lanes]
        return list(self._pool.map(fn, self._lanes))

    def e_step(self, theta: Theta, lam: float, gap_tol: float) -> EStep:
        """Bring the lists up to date for ``theta`` and solve for the offsets.

        Lists serve until, on the watched rows, they miss something that matters; then all are made anew.
        """
        b = theta.b
        if self._watch is not None and self._watch.holds(theta, b):
            constant = self._rescore(theta)
        else:
            constant = self._make_lists(theta, b)
        result = dual_newton(_Lists(self, constant), lam, self._target, b, gap_tol=gap_tol)
        for attempt in range(MAX_REBUILDS):
            if self._watch is not None and self._watch.holds(theta, result.b):
                break
            # the offsets went where the lists know nothing: follow as far as they do, and look again from there
            reach = self._spare * STRETCH**attempt
            b = b + np.clip(result.b - b, -reach, reach)
            constant = self._make_lists(theta, b, STRETCH**attempt)
            result = dual_newton(_Lists(self, constant), lam, self._target, b, gap_tol=gap_tol)
        self._b = result.b
        self._age += 1
        return result

    def certify(self, theta: Theta, lam: float, gap_tol: float) -> EStep:
        """Solve once more with float64 scores of everything within 40 nats, which is everything float64 can see."""
        self.exact = True
        self._watch = None
        b, spare = theta.b, SPARE
        for _ in range(MAX_REBUILDS):
            self._fill_lists(theta, b, EXACT_DROP + spare)
            result = dual_newton(_Lists(self, 0.0), lam, self._target, b, gap_tol=gap_tol)
            self._b = result.b
            if float(np.ptp(result.b - b)) <= spare:
                return result
            b = b + np.clip(result.b - b, -spare / 2, spare / 2)
            spare *= STRETCH
        raise CertificateError("the offsets of the last E-step do not settle: a defect, not a property of the data")

    def list_length(self, theta: Theta) -> float:
        """Mean length of the lists for ``theta`` and its offsets."""
        self._make_lists(theta, theta.b)
        return sum(block.columns.size for lane in self._lanes for block in lane) / self.n

    def accept(self) -> None:
        """Nothing is carried from one E-step to the next but the offsets."""

    def sums(self) -> Sums:
        """Responsibility-weighted sums of the last E-step."""
        b, k, d, exact = self._b, self.k, self.d, self.exact
        drop = EXACT_DROP if exact else CLIMB_DROP

        def one(blocks: list[_Block]) -> tuple[Floats, Floats]:
            mass, resultant, nothing = np.zeros(k), np.zeros((k, d)), np.zeros((0, 0))
            for block in blocks:
                lists = (block.ends, block.columns, block.values)
                kernels.list_statistics(*lists, b, 1.0, drop, False, mass, nothing)
                kernels.list_sums(self._block(block.rows), *lists, b, drop, resultant)
            return mass, resultant

        mass, resultant = self.single_counts.copy(), self._single_sums.copy()
        for part_mass, part_resultant in self.over_lanes(one):
            mass += part_mass
            resultant += part_resultant
        return Sums(mass, resultant)

    def labels(self) -> NDArray[np.int32]:
        """Most responsible cluster of every row."""

        def one(blocks: list[_Block]) -> list[NDArray[np.int32]]:
            return [kernels.list_labels(block.ends, block.columns, block.values, self._b) for block in blocks]

        return np.concatenate([labels for lane in self.over_lanes(one) for labels in lane])

    def outliers(self, count: int) -> Floats:
        """Rows with the least best score."""

        def one(blocks: list[_Block]) -> list[Floats]:
            best: list[Floats] = []
            for block in blocks:
                values = kernels.score_lists(
                    self._block(block.rows), self._natural, self._constants, block.ends, block.columns, True
                )
                best.append(np.maximum.reduceat(values, block.ends[:-1]))
            return best

        best = np.concatenate([values for lane in self.over_lanes(one) for values in lane])
        worst = np.argsort(best, kind="stable")[:count]
        return np.asarray(self._x[np.sort(worst)], dtype=np.float64)

    def sparse_responsibilities(self, drop_nats: float) -> tuple[csr_array, float]:
        """Responsibilities within ``drop_nats`` of each row's largest, and the mean mass that was left out.

        To be asked after :meth:`certify`, whose lists hold all of them.
        """

        def one(
            blocks: list[_Block],
        ) -> tuple[list[NDArray[np.float32]], list[NDArray[np.int32]], list[NDArray[np.int64]], float]:
            data: list[NDArray[np.float32]] = []
            columns: list[NDArray[np.int32]] = []
            counts: list[NDArray[np.int64]] = []
            dropped = 0.0
            for block in blocks:
                gamma = kernels.list_responsibilities(block.ends, block.columns, block.values, self._b)
                starts = block.ends[:-1]
                lengths = np.diff(block.ends)
                top = np.repeat(np.maximum.reduceat(gamma, starts), lengths)
                keep = gamma >= top * np.exp(-drop_nats)
                dropped += float(gamma[~keep].sum())
                data.append(gamma[keep].astype(np.float32))
                columns.append(block.columns[keep])
                counts.append(np.add.reduceat(keep.astype(np.int64), starts))
            return data, columns, counts, dropped

        parts = self.over_lanes(one)
        counts = np.concatenate([c for part in parts for c in part[2]])
        data = np.concatenate([c for part in parts for c in part[0]])
        columns = np.concatenate([c for part in parts for c in part[1]])
        indptr = np.concatenate([[0], np.cumsum(counts)])
        unlisted = self.k * np.exp(-EXACT_DROP)
        mean = sum(part[3] for part in parts) / self.n + float(unlisted)
        return csr_array((data, columns, indptr), shape=(self.n, self.k)), mean

    def _make_lists(self, theta: Theta, b: Floats, stretch: float = 1.0) -> float:
        """New lists for ``theta`` and ``b``; returns the summed log density of the rows with one cluster."""
        if self._watch is not None:
            # lists that lasted one step were too short to pay, those that lasted long were longer than needed
            factor = 1.4 if self._age <= 1 else 0.8 if self._age > LONG_LIVED else 1.0
            self._spare = float(np.clip(factor * self._spare, *SPARE_BOUNDS))
        self.exact = False
        self._age = 0
        window = CLIMB_DROP + stretch * self._spare
        self._watch = _Watch(self._watched_rows, theta, b, window)
        return self._fill_lists(theta, b, window)

    def _rescore(self, theta: Theta) -> float:
        """Scores of the listed clusters under ``theta``; returns the log density of the rows with one cluster."""
        self._natural = theta.directions().astype(np.float32)
        self._constants = theta.constants()

        def one(blocks: list[_Block]) -> None:
            for block in blocks:
                block.values = kernels.score_lists(
                    self._block(block.rows), self._natural, self._constants, block.ends, block.columns, False
                )

        self.over_lanes(one)
        return self._density_of_singles(theta)

    def _density_of_singles(self, theta: Theta) -> float:
        by_constant = float(self.single_counts @ theta.constants())
        return by_constant + float(np.sum(theta.directions() * self._single_sums))

    def _fill_lists(self, theta: Theta, b: Floats, window: float) -> float:
        exact = self.exact
        self._natural = theta.directions() if exact else theta.directions().astype(np.float32)
        self._constants = theta.constants()
        prepared = self._products.prepare(theta.directions(), self._constants + b)

        def one(blocks: list[_Block]) -> tuple[Floats, Floats]:
            counts, sums = np.zeros(self.k), np.zeros((self.k, self.d))
            for block in blocks:
                self._fill(block, prepared, window, counts, sums)
            return counts, sums

        for counts, sums in self.over_lanes(one):
            self.single_counts += counts
            self._single_sums += sums
        return self._density_of_singles(theta)

    def _fill(self, block: _Block, prepared: Prepared, window: float, counts: Floats, sums: Floats) -> None:
        x = self._block(block.rows)
        approx = prepared.block(block.rows)
        block.ends, block.columns = kernels.find_candidates(approx, prepared.error, self._products.rounding, window)
        block.values = kernels.score_lists(x, self._natural, self._constants, block.ends, block.columns, self.exact)
        single = kernels.only_candidates(block.ends, block.columns)
        kernels.move_singles(x, block.single, single, counts, sums)
        block.single = single

    def _block(self, rows: slice) -> NDArray[np.float32]:
        return np.asarray(self._x[rows], dtype=np.float32)


class _Watch:
    """Full scores of a few rows when lists were made, to see when the lists have gone out of date."""

    def __init__(self, x: NDArray[np.float32], theta: Theta, b: Floats, window: float) -> None:
        self._x = x
        scores = self._scores(theta, b)
        self._unlisted = scores < scores.max(axis=1, keepdims=True) - np.float32(window)

    def holds(self, theta: Theta, b: Floats) -> bool:
        """Whether hardly any watched row has a cluster that matters outside its list."""
        scores = self._scores(theta, b)
        missed = self._unlisted & (scores >= scores.max(axis=1, keepdims=True) - np.float32(MATTERS))
        return int(missed.any(axis=1).sum()) <= OUTDATED_SHARE * len(scores)

    def _scores(self, theta: Theta, b: Floats) -> NDArray[np.float32]:
        product = self._x @ theta.directions().astype(np.float32).T
        product += (theta.constants() + b).astype(np.float32)
        return product
