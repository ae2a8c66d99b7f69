"""MinHash signatures of documents and the band layout of their LSH index.

Permutations and band layout are datasketch's (scheme ``affine32``), so a signature of ours equals the one its
``MinHash`` would hold; hashing and the permutations run as numpy over all n-grams of a text at once, which is where
the time goes.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.config import NearDuplicates

SCHEME: Final = "affine32"
EMPTY: Final = np.uint32(0xFFFFFFFF)
_AT_ONCE: Final = 2048
# candidates are checked, so a missed pair costs more than a candidate too many
_WEIGHTS: Final = (0.05, 0.95)


@lru_cache(maxsize=8)
def _permutations(num_perm: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    from datasketch import MinHash  # it imports scipy, and most who ask for a signature's settings need neither

    both = np.asarray(MinHash(num_perm=num_perm, seed=seed, scheme=SCHEME).permutations, np.uint32)
    return both[0][:, None], both[1][:, None]


def signature(ngrams: NDArray[np.uint64], near: NearDuplicates) -> NDArray[np.uint32]:
    """Return the signature of a set of n-gram hashes.

    Parameters
    ----------
    ngrams
        64-bit hashes; repeated ones count once. The upper half is what is hashed on.

    Returns
    -------
    numpy.ndarray
        uint32 (num_perm,); all ``EMPTY`` for a text without n-grams, which resembles nothing.
    """
    a, b = _permutations(near.num_perm, near.seed)
    result = np.full(near.num_perm, EMPTY, np.uint32)
    hashes = _fmix32((ngrams >> np.uint64(32)).astype(np.uint32))
    for start in range(0, len(hashes), _AT_ONCE):
        part = hashes[None, start : start + _AT_ONCE] * a
        part += b
        np.minimum(result, part.min(axis=1), out=result)
    return result


def _fmix32(h: NDArray[np.uint32]) -> NDArray[np.uint32]:
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return h


@lru_cache(maxsize=8)
def band_layout(threshold: float, num_perm: int) -> tuple[int, int]:
    """Return (bands, rows per band); threshold 0.8 and 128 permutations give 16 bands of 8."""
    if threshold >= 1.0:
        return 2, num_perm // 2
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=num_perm, weights=_WEIGHTS)
    return index.b, index.r


def band_keys(signatures: NDArray[np.uint32], band: int, rows: int) -> NDArray[np.uint64]:
    """Return one 64-bit key a document for one band; equal rows have equal keys."""
    key = np.zeros(len(signatures), np.uint64)
    for column in signatures[:, band * rows : (band + 1) * rows].T:
        key ^= column
        key *= np.uint64(0xFF51AFD7ED558CCD)
        key ^= key >> np.uint64(29)
    return key
