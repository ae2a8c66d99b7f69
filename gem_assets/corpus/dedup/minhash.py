"""MinHash signatures of documents and the band layout of their LSH index.

Permutations and band layout are datasketch's (scheme ``affine32``), so a signature of ours equals the one its
``MinHash`` would hold. Signatures are made where n-grams are: in :mod:`gem_assets.corpus.text.kernel`.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

SCHEME: Final = "affine32"
EMPTY: Final = np.uint32(0xFFFFFFFF)
"""All of the signature of a text without n-grams, which resembles nothing."""
# candidates are checked, so a missed pair costs more than a candidate too many
_WEIGHTS: Final = (0.05, 0.95)


@lru_cache(maxsize=8)
def permutations(num_perm: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the multipliers and summands of a signature's hash functions, uint32 (num_perm,) each.

    Drawn here as ``datasketch.MinHash`` draws them, from a stream that numpy keeps as it is: datasketch imports scipy,
    which is 25 MB in every process that reads files.
    """
    rng = np.random.RandomState(seed)
    # an odd multiplier makes a bijection of 32-bit numbers
    multipliers = 2 * rng.randint(0, 1 << 31, num_perm, np.uint32) + np.uint32(1)
    return multipliers, rng.randint(0, 1 << 32, num_perm, np.uint32)


@lru_cache(maxsize=8)
def band_layout(threshold: float, num_perm: int) -> tuple[int, int]:
    """Return (bands, rows per band); threshold 0.8 and 128 permutations give 16 bands of 8."""
    if threshold >= 1.0:
        return 2, num_perm // 2
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=num_perm, weights=_WEIGHTS)
    return index.b, index.r


def band_keys(signatures: NDArray[np.uint32], band: int, rows: int) -> NDArray[np.uint64]:
    """Return one 64-bit key per document for one band; equal rows have equal keys."""
    key = np.zeros(len(signatures), np.uint64)
    for column in signatures[:, band * rows : (band + 1) * rows].T:
        key ^= column
        key *= np.uint64(0xFF51AFD7ED558CCD)
        key ^= key >> np.uint64(29)
    return key
