"""The engine for many rows and clusters: only the scores that matter.

With kappa in the hundreds a document has one or two clusters within any distance that counts; the others have
responsibilities below e^-14. One product in low precision, whose error bound decides which clusters can matter to a
row, makes the lists. They are kept for as long as they serve: an iteration is exact scores of what is listed, Newton
over the lists, and sums over the rows with more than one cluster (those with one are kept as running sums). Where the
offsets of a few clusters move far within one E-step, only their columns and rows are scored again. All of it together
takes a third to a half of the time of the two dense products of plain EM.

Sums run over fixed lanes of blocks and are added in order: the result does not depend on the number of threads.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gem_assets.teacher import kernels, list_kernels
from gem_assets.teacher.esteps import EStep, dual_newton
from gem_assets.teacher.lists import CLIMB_DROP, EXACT_DROP, WATCHED_ROWS, Block, ListScores, R, Watch
from gem_assets.teacher.mstep import Sums, Theta
from gem_assets.teacher.products import Prepared, Products, product_error
from gem_assets.teacher.rows import Rows
from gem_assets.types import Floats

BLOCK_ROWS = 1024
MAX_LANES = 16
#: Lists are made with this many nats to spare, so that they outlast some movement: at first, at least, at most.
SPARE = 6.0
SPARE_BOUNDS = (3.0, 16.0)
#: Uses after which a list has lasted long.
LONG_LIVED = 5
#: Factor by which lists grow each time that the offsets leave them within one E-step, and how often that may happen.
STRETCH = 1.5
MAX_REBUILDS = 24
#: Share of the clusters whose offsets may have moved far for the lists to be mended and not made again.
PATCHED_SHARE = 1 / 8


class CertificateError(RuntimeError):
    """The last E-step could not be solved to the gap asked for."""


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
    left_out = float(np.exp(-CLIMB_DROP))

    def __init__(
        self, x: Rows, target: Floats, pool: ThreadPoolExecutor | None = None, bfloat16: bool | None = None
    ) -> None:
        self.n, self.d = x.shape
        self.k = len(target)
        self._x = x
        self._target = target
        self._pool = pool
        slices = [slice(i, min(i + BLOCK_ROWS, self.n)) for i in range(0, self.n, BLOCK_ROWS)]
        blocks = [Block(rows, np.full(rows.stop - rows.start, -1, np.int32)) for rows in slices]
        share = -(-len(blocks) // MAX_LANES)
        self._lanes = [blocks[i : i + share] for i in range(0, len(blocks), share)]
        self._products = Products(x, slices, bfloat16)
        self.single_counts = np.zeros(self.k)
        self._single_sums = np.zeros((self.k, self.d))
        self._b = np.zeros(self.k)
        self.exact = False
        self._spare = SPARE
        self._age = 0
        self._watch: Watch | None = None
        watched = np.unique(np.linspace(0, self.n - 1, min(self.n, WATCHED_ROWS)).astype(np.int64))
        self._watched_rows = np.asarray(x[watched], dtype=np.float32)

    def over_lanes(self, fn: Callable[[list[Block]], R]) -> list[R]:
        """Results of ``fn`` on every lane, in order."""
        if self._pool is None:
            return [fn(lane) for lane in self._lanes]
        return list(self._pool.map(fn, self._lanes))

    def e_step(self, theta: Theta, lam: float, gap_tol: float) -> EStep:
        """Bring the lists up to date for ``theta`` and solve for the offsets.

        Lists serve until, on the watched rows, they miss something that matters. Then they are made again at the
        offsets that the old lists lead to, and until they are sure to hold all that matters at the solution.
        """
        b = theta.b
        made = self._watch is None
        constant = self._make_lists(theta, b) if self._watch is None else self._rescore(theta)
        result = dual_newton(ListScores(self, constant), lam, self._target, b, gap_tol=gap_tol)
        reach = np.inf
        for attempt in range(MAX_REBUILDS):
            if self._watch is not None and (
                self._watch.covers(b, result.b) if made else self._watch.holds(theta, result.b)
            ):
                break
            # the offsets went where the lists know nothing: follow as far as they do, and look again from there
            step = np.clip(result.b - b, -reach, reach)
            b = b + step
            step -= np.median(step)
            far = np.abs(step) > self._spare / 2
            if made and far.sum() <= PATCHED_SHARE * self.k:
                constant = self._patch_lists(theta, b, np.flatnonzero(far & (step > 0)), far & (step < 0))
            else:
                constant = self._make_lists(theta, b, STRETCH**attempt)
            made = True
            reach = self._spare * STRETCH**attempt
            result = dual_newton(ListScores(self, constant), lam, self._target, b, gap_tol=gap_tol)
        if made:
            self._trim_lists(theta, result.b)
        self._b = result.b
        self._age += 1
        return result

    def renew(self) -> None:
        """Forget the lists: the next E-step makes its own and is sure to miss nothing that matters."""
        self._watch = None

    def certify(self, theta: Theta, lam: float, gap_tol: float) -> EStep:
        """Solve once more with float64 scores of everything within 40 nats, which is everything float64 can see."""
        self.exact = True
        self._watch = None
        b, spare = theta.b, SPARE
        for _ in range(MAX_REBUILDS):
            self._fill_lists(theta, b, EXACT_DROP + spare)
            result = dual_newton(ListScores(self, 0.0), lam, self._target, b, gap_tol=gap_tol)
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

        def one(blocks: list[Block]) -> tuple[Floats, Floats]:
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

        def one(blocks: list[Block]) -> list[NDArray[np.int32]]:
            return [kernels.list_labels(block.ends, block.columns, block.values, self._b) for block in blocks]

        return np.concatenate([labels for lane in self.over_lanes(one) for labels in lane])

    def outliers(self, count: int) -> Floats:
        """Rows with the least best score."""

        def one(blocks: list[Block]) -> list[Floats]:
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
            blocks: list[Block],
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
        self._watch = Watch(self._watched_rows, theta, b, window)
        return self._fill_lists(theta, b, window)

    def _patch_lists(self, theta: Theta, b: Floats, risen: NDArray[np.intp], fallen: NDArray[np.bool_]) -> float:
        """Bring lists made for this density up to date for offsets ``b`` that moved far for a few clusters only.

        A cluster that has ``risen`` (J,) may matter to any row: its column is scored again. One that has ``fallen``
        (K,) leaves its rows with another best cluster: these rows are scored again.
        """
        window = CLIMB_DROP + self._spare
        self._watch = Watch(self._watched_rows, theta, b, window)
        offsets = self._constants + b
        error = product_error(theta.directions(), offsets)
        clusters = risen.astype(np.int32)
        natural = self._natural.astype(np.float32, copy=False)

        def one(blocks: list[Block]) -> tuple[Floats, Floats]:
            counts, sums = np.zeros(self.k), np.zeros((self.k, self.d))
            for block in blocks:
                x = self._block(block.rows)
                ends, columns = block.ends, block.columns
                again = list_kernels.lists_with(ends, columns, fallen)
                if again.any():
                    approx = x[again] @ natural.T + offsets.astype(np.float32)
                    found = kernels.find_candidates(approx, error, 0.0, window)
                    ends, columns = list_kernels.replace_lists(ends, columns, again, *found)
                if risen.size:
                    values = kernels.score_lists(x, natural, self._constants, ends, columns, True)
                    approx = x @ natural[risen].T + offsets[risen].astype(np.float32)
                    ends, columns = list_kernels.merge_columns(
                        ends, columns, values, b, clusters, approx, error[risen], window
                    )
                block.ends, block.columns = ends, columns
                block.values = kernels.score_lists(x, natural, self._constants, ends, columns, False)
                self._move_singles(block, x, counts, sums)
            return counts, sums

        self._add_singles(self.over_lanes(one))
        return self._density_of_singles(theta)

    def _trim_lists(self, theta: Theta, b: Floats) -> None:
        """Shorten fresh lists to what lies in their window at the offsets that were found."""
        window = CLIMB_DROP + self._spare

        def one(blocks: list[Block]) -> tuple[Floats, Floats]:
            counts, sums = np.zeros(self.k), np.zeros((self.k, self.d))
            for block in blocks:
                block.ends, block.columns, block.values = list_kernels.trim_lists(
                    block.ends, block.columns, block.values, b, window
                )
                self._move_singles(block, self._block(block.rows), counts, sums)
            return counts, sums

        self._add_singles(self.over_lanes(one))
        self._watch = Watch(self._watched_rows, theta, b, window)

    def _add_singles(self, parts: list[tuple[Floats, Floats]]) -> None:
        for counts, sums in parts:
            self.single_counts += counts
            self._single_sums += sums

    def _rescore(self, theta: Theta) -> float:
        """Scores of the listed clusters under ``theta``; returns the log density of the rows with one cluster."""
        self._natural = theta.directions().astype(np.float32)
        self._constants = theta.constants()

        def one(blocks: list[Block]) -> None:
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

        def one(blocks: list[Block]) -> tuple[Floats, Floats]:
            counts, sums = np.zeros(self.k), np.zeros((self.k, self.d))
            for block in blocks:
                self._fill(block, prepared, window, counts, sums)
            return counts, sums

        self._add_singles(self.over_lanes(one))
        return self._density_of_singles(theta)

    def _fill(self, block: Block, prepared: Prepared, window: float, counts: Floats, sums: Floats) -> None:
        x = self._block(block.rows)
        approx = prepared.block(block.rows)
        block.ends, block.columns = kernels.find_candidates(approx, prepared.error, self._products.rounding, window)
        block.values = kernels.score_lists(x, self._natural, self._constants, block.ends, block.columns, self.exact)
        self._move_singles(block, x, counts, sums)

    def _move_singles(self, block: Block, x: NDArray[np.float32], counts: Floats, sums: Floats) -> None:
        single = list_kernels.only_candidates(block.ends, block.columns)
        list_kernels.move_singles(x, block.single, single, counts, sums)
        block.single = single

    def _block(self, rows: slice) -> NDArray[np.float32]:
        return np.asarray(self._x[rows], dtype=np.float32)
