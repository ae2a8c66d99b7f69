"""The standard library's shuffle, bit for bit, over numpy arrays.

``random.Random.shuffle`` walks a Python list: 100 million samples would be 100 million objects. This runs the
same Mersenne Twister and the same rejection rule, compiled, over an index array of 8 bytes per sample.
"""

import random
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

_BLOCK = 1 << 16
# one 32-bit draw an item: beyond this the standard library takes two
_MOST = (1 << 32) - 1


def python_shuffle(values: npt.NDArray[np.int64], seed: int | random.Random) -> npt.NDArray[np.int64]:
    """Shuffle as ``random.Random(seed).shuffle`` does.

    Parameters
    ----------
    values
        (n,) array; it is not changed.
    seed
        Seed, or a generator to continue; the generator then stands where `shuffle` would have left it.

    Returns
    -------
    (n,) shuffled copy.
    """
    if len(values) > _MOST:
        raise ValueError(f"shuffle is exact up to {_MOST} values, got {len(values)}")
    out = values.copy()
    rng = seed if isinstance(seed, random.Random) else random.Random(seed)
    version, internal, gauss = rng.getstate()
    twister: Any = np.random.MT19937()
    twister.state = {
        "bit_generator": "MT19937",
        "state": {"key": np.array(internal[:-1], dtype=np.uint32), "pos": internal[-1]},
    }
    at = len(out) - 1
    while at > 0:
        before = twister.state
        at, used = _swap_down(out, at, twister.random_raw(_BLOCK).astype(np.uint32))
        if at == 0:
            twister.state = before
            twister.random_raw(used, output=False)
    after: Any = twister.state["state"]
    rng.setstate((version, (*(int(w) for w in after["key"]), int(after["pos"])), gauss))
    return out


@nb.njit(cache=True)
def _swap_down(
    values: npt.NDArray[np.int64], at: int, draws: npt.NDArray[np.uint32]
) -> tuple[int, int]:  # pragma: no cover - compiled
    """Fisher-Yates from `at` towards 1 until it ends or the draws do; return the next `at` and draws used."""
    used = 0
    while at > 0:
        bits = 0
        while (at + 1) >> bits:
            bits += 1
        pick = at + 1
        while pick > at:
            if used == len(draws):
                return at, used
            pick = np.int64(draws[used]) >> (32 - bits)
            used += 1
        values[at], values[pick] = values[pick], values[at]
        at -= 1
    return at, used
