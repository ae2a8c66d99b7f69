"""The engine for an accelerator: all scores in float32 on one device.

A device that multiplies dense matrices a thousand times faster than it follows lists keeps everything dense: scores
are made once per E-step and stay in its memory (4 n K bytes beside the rows), Newton passes run over them, the Gram
matrix of the Hessian, which needs no accuracy, in bfloat16. The certificate is computed in float64, block by block.
The same code runs on the processor, where it serves the short fits of the start.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gem_assets.teacher.esteps import EStep, Statistics, dual_newton
from gem_assets.teacher.mstep import Sums, Theta
from gem_assets.teacher.rows import Blocks, Rows
from gem_assets.types import Floats

CPU_BLOCK = 2048
#: Scores in one block on a device; a few temporaries of this size are alive at once.
DEVICE_BLOCK_SCORES = 64_000_000


class _Scores:
    """Log densities for the dual's Newton: kept in float32, or made again in float64 at every pass."""

    def __init__(self, engine: "DeviceEngine", theta: Theta, *, exact: bool) -> None:
        self.n, self.k = engine.n, theta.k
        self._engine = engine
        self._exact = exact
        self._natural = engine.put(theta.directions().T)
        self._constants = engine.put(theta.constants())

    def block(self, rows: slice) -> torch.Tensor:
        """Log densities of a block, shape (B, K)."""
        if not self._exact:
            return self._engine.kept[rows]
        return self._engine.rows[rows].to(torch.float64) @ self._natural + self._constants

    def statistics(self, b: Floats, *, gram: bool, temperature: float = 1.0) -> Statistics:
        """Sums over rows of softmax((l + b) / temperature)."""
        engine = self._engine
        offsets = engine.put(b)

        def one(rows: slice) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
            z = self.block(rows)
            z = (z + offsets.to(z.dtype)) / temperature
            top = z.max(dim=1, keepdim=True).values
            gamma = torch.exp(z - top)
            total = gamma.sum(dim=1, keepdim=True)
            gamma /= total
            lse = (top.to(torch.float64) + torch.log(total.to(torch.float64))).sum()
            return gamma.sum(dim=0, dtype=torch.float64), lse, engine.gram(gamma) if gram else None

        pi = torch.zeros(self.k, dtype=torch.float64, device=engine.device)
        lse = torch.zeros((), dtype=torch.float64, device=engine.device)
        square = torch.zeros((self.k, self.k), dtype=torch.float64, device=engine.device)
        for part_pi, part_lse, part_square in engine.blocks.map(one):
            pi += part_pi
            lse += part_lse
            if part_square is not None:
                square += part_square
        mean_lse = temperature * float(lse) / self.n
        return Statistics(pi.cpu().numpy() / self.n, mean_lse, square.cpu().numpy() / self.n if gram else None)

    def spread(self) -> float:
        """Mean range of a row's log densities, from the first block."""
        first = self.block(self._engine.blocks.slices[0])
        return float((first.max(dim=1).values - first.min(dim=1).values).mean())


class DeviceEngine:
    """All scores on one device.

    Parameters
    ----------
    x
        Unit rows (n, d); copied to the device in float32.
    target
        Shares aimed at, shape (K,).
    device
        A torch device, such as ``"cuda"`` or ``"cpu"``.
    pool
        Threads for the row blocks on the processor.
    """

    noise = 1e-7
    left_out = 0.0

    def __init__(self, x: Rows, target: Floats, device: str = "cpu", pool: ThreadPoolExecutor | None = None) -> None:
        self.n, self.d = x.shape
        self.device = torch.device(device)
        on_cpu = self.device.type == "cpu"
        size = CPU_BLOCK if on_cpu else max(1, DEVICE_BLOCK_SCORES // len(target))
        self.blocks = Blocks(self.n, size, pool if on_cpu else None)
        self.rows = torch.empty((self.n, self.d), dtype=torch.float32, device=self.device)
        for rows in self.blocks.slices:
            self.rows[rows] = torch.from_numpy(np.array(x[rows], dtype=np.float32))
        self.kept = torch.empty((self.n, len(target)), dtype=torch.float32, device=self.device)
        self._gram_type = torch.float32 if on_cpu else torch.bfloat16
        self._target = target
        self._b = np.zeros(len(target))
        self._scores: _Scores | None = None

    def put(self, values: Floats) -> torch.Tensor:
        """A float64 array on the device."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def gram(self, gamma: torch.Tensor) -> torch.Tensor:
        """``gamma^T gamma`` in the precision that the Hessian needs, returned as float64."""
        rounded = gamma.to(self._gram_type)
        return (rounded.T @ rounded).to(torch.float64)

    def e_step(self, theta: Theta, lam: float, gap_tol: float) -> EStep:
        """Score all rows and solve for the offsets."""
        natural = self.put(theta.directions().T).to(torch.float32)
        constants = self.put(theta.constants()).to(torch.float32)

        def one(rows: slice) -> None:
            torch.addmm(constants, self.rows[rows], natural, out=self.kept[rows])

        for _ in self.blocks.map(one):
            pass
        return self._solve(theta, lam, gap_tol, exact=False)

    def certify(self, theta: Theta, lam: float, gap_tol: float) -> EStep:
        """Solve once more on float64 scores."""
        return self._solve(theta, lam, gap_tol, exact=True)

    def _solve(self, theta: Theta, lam: float, gap_tol: float, *, exact: bool) -> EStep:
        self._scores = _Scores(self, theta, exact=exact)
        result = dual_newton(self._scores, lam, self._target, theta.b, gap_tol=gap_tol)
        self._b = result.b
        return result

    def accept(self) -> None:
        """Nothing is carried from one E-step to the next but the offsets."""

    def renew(self) -> None:
        """Nothing to drop: every E-step scores all rows."""

    def sums(self) -> Sums:
        """Responsibility-weighted sums of the last E-step."""
        k = len(self._b)

        def one(rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
            gamma = self._gamma(rows)
            resultant = gamma.to(torch.float32).T @ self.rows[rows]
            return gamma.sum(dim=0, dtype=torch.float64), resultant.to(torch.float64)

        mass = torch.zeros(k, dtype=torch.float64, device=self.device)
        resultant = torch.zeros((k, self.d), dtype=torch.float64, device=self.device)
        for part_mass, part_resultant in self.blocks.map(one):
            mass += part_mass
            resultant += part_resultant
        return Sums(mass.cpu().numpy(), resultant.cpu().numpy())

    def labels(self) -> NDArray[np.int32]:
        """Most responsible cluster of every row."""
        parts = self.blocks.map(lambda rows: self._gamma(rows).argmax(dim=1).to(torch.int32).cpu().numpy())
        return np.concatenate(list(parts))

    def outliers(self, count: int) -> Floats:
        """Rows with the least best score."""
        best = np.concatenate(list(self.blocks.map(lambda rows: self.kept[rows].max(dim=1).values.cpu().numpy())))
        worst = np.sort(np.argsort(best, kind="stable")[:count])
        return self.rows[torch.from_numpy(worst).to(self.device)].cpu().numpy().astype(np.float64)

    def sparse_responsibilities(self, drop_nats: float) -> tuple[csr_array, float]:
        """Responsibilities within ``drop_nats`` of each row's largest, and the mean mass that was left out."""
        data: list[NDArray[np.float32]] = []
        columns: list[NDArray[np.int32]] = []
        counts: list[NDArray[np.int64]] = []
        dropped = 0.0
        for rows in self.blocks.slices:
            gamma = self._gamma(rows)
            keep = gamma >= gamma.max(dim=1, keepdim=True).values * float(np.exp(-drop_nats))
            dropped += float(gamma[~keep].sum(dtype=torch.float64))
            data.append(gamma[keep].to(torch.float32).cpu().numpy())
            columns.append(keep.nonzero()[:, 1].to(torch.int32).cpu().numpy())
            counts.append(keep.sum(dim=1).cpu().numpy())
        indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        entries = (np.concatenate(data), np.concatenate(columns), indptr)
        return csr_array(entries, shape=(self.n, len(self._b))), dropped / self.n

    def _gamma(self, rows: slice) -> torch.Tensor:
        assert self._scores is not None
        scores = self._scores.block(rows)
        return torch.softmax(scores + self.put(self._b).to(scores.dtype), dim=1)
