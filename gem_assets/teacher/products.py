"""Fast approximate scores of row blocks, with a bound on their error.

Only differences between the clusters of one row matter, so the mean natural parameter is taken away first: that
shortens the vectors and with them the error. Where the processor multiplies bfloat16 natively the product runs in it,
at a quarter of the cost of float32; the constants ride along as three extra columns that hold 24 bits together. The
bound is Cauchy–Schwarz on the rounding errors as they are, not the worst ones possible.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gem_assets.teacher.rows import Rows
from gem_assets.types import Floats

CONSTANT_COLUMNS = 3
#: Widths that the processor's matrix kernels like.
PAD = 32
BFLOAT16_ROUNDING = 2.0**-8
FLOAT32_ROUNDING = 2.0**-24
#: Share of the machine's memory that the copy in bfloat16 may take; beyond, every block is rounded when it is read.
HELD_SHARE = 0.25


def native_bfloat16() -> bool:
    """Whether this processor has bfloat16 products."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in probes)


def physical_memory() -> int:
    """Bytes of memory of this machine; a cautious guess where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 8 << 30


class Products:
    """Rows kept in the precision of the product.

    Parameters
    ----------
    x
        Unit rows (n, d).
    slices
        The blocks that will be asked for.
    bfloat16
        Use bfloat16; decided by the processor when absent.

    Notes
    -----
    Holds a copy of the rows in bfloat16 where it is small beside the memory, else nothing: rows in a file may be larger
    than the memory. The blocks are the same either way.
    """

    def __init__(self, x: Rows, slices: list[slice], bfloat16: bool | None = None) -> None:
        self._x = x
        self._d = x.shape[1]
        self.bfloat16 = native_bfloat16() if bfloat16 is None else bfloat16
        #: Error of a product relative to its own size, from rounding the result.
        self.rounding = BFLOAT16_ROUNDING if self.bfloat16 else FLOAT32_ROUNDING
        self._row_error = 0.0
        if not self.bfloat16:
            return
        self._width = -(-(self._d + CONSTANT_COLUMNS) // PAD) * PAD
        held = 2 * x.shape[0] * self._width <= HELD_SHARE * physical_memory()
        self._rows = torch.empty((x.shape[0], self._width), dtype=torch.bfloat16) if held else None
        worst = 0.0
        for rows in slices:
            block = np.asarray(x[rows], dtype=np.float32)
            rounded = self._round(block)
            error = rounded[:, : self._d].to(torch.float32).numpy() - block
            worst = max(worst, float(np.einsum("ij,ij->i", error, error).max()))
            if self._rows is not None:
                self._rows[rows] = rounded
        self._row_error = float(np.sqrt(worst))

    def _round(self, block: NDArray[np.float32]) -> Any:
        """A block in bfloat16, with ones for the columns of the constants."""
        rounded = torch.zeros((len(block), self._width), dtype=torch.bfloat16)
        rounded[:, : self._d] = torch.from_numpy(block).to(torch.bfloat16)
        rounded[:, self._d : self._d + CONSTANT_COLUMNS] = 1
        return rounded

    def _fetch(self, rows: slice) -> Any:
        if not self.bfloat16:
            return np.asarray(self._x[rows], dtype=np.float32)
        if self._rows is not None:
            return self._rows[rows]
        return self._round(np.asarray(self._x[rows], dtype=np.float32))

    def prepare(self, natural: Floats, constants: Floats) -> "Prepared":
        """Ready the products with ``natural`` (K, d) plus ``constants`` (K,)."""
        centred = natural - natural.mean(axis=0)
        offsets = constants - constants.mean()
        length = np.linalg.norm(centred, axis=1)
        if not self.bfloat16:
            error = product_error(centred, offsets)
            return Prepared(self._fetch, centred.astype(np.float32), offsets.astype(np.float32), error)
        weights = torch.zeros((len(centred), self._width), dtype=torch.bfloat16)
        weights[:, : self._d] = torch.from_numpy(centred).to(torch.bfloat16)
        lost = np.linalg.norm(weights[:, : self._d].to(torch.float64).numpy() - centred, axis=1)
        rest = torch.from_numpy(offsets)
        for column in range(CONSTANT_COLUMNS):
            weights[:, self._d + column] = rest.to(torch.bfloat16)
            rest = rest - weights[:, self._d + column].to(torch.float64)
        accumulated = 2 * self._width * FLOAT32_ROUNDING * (length + np.abs(offsets))
        error = self._row_error * length + (1 + self._row_error) * lost + accumulated + np.abs(rest.numpy())
        return Prepared(self._fetch, weights, None, _single(error))


def product_error(natural: Floats, offsets: Floats) -> NDArray[np.float32]:
    """Bound on the error of unit rows times ``natural`` (K, d) plus ``offsets`` (K,) in float32: the classic one."""
    length = np.linalg.norm(natural, axis=1)
    return _single(2 * natural.shape[1] * FLOAT32_ROUNDING * length + 4 * FLOAT32_ROUNDING * np.abs(offsets))


def _single(error: Floats) -> NDArray[np.float32]:
    return np.nextafter(error.astype(np.float32), np.float32(np.inf))


class Prepared:
    """Products of row blocks with one set of parameters; ``error`` (K,) bounds what rounding the inputs does."""

    def __init__(
        self,
        fetch: Callable[[slice], Any],
        weights: Any,
        offsets: NDArray[np.float32] | None,
        error: NDArray[np.float32],
    ) -> None:
        self._fetch = fetch
        self._weights = weights
        self._offsets = offsets
        self.error = error

    def block(self, rows: slice) -> NDArray[np.float32]:
        """Approximate scores of a block, shape (B, K), up to a constant in each row."""
        if self._offsets is None:
            product = torch.nn.functional.linear(self._fetch(rows), self._weights)
            return product.to(torch.float32).numpy()
        scores = self._fetch(rows) @ self._weights.T
        scores += self._offsets
        return scores
