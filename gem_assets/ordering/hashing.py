"""Uniform numbers that depend only on a document, a seed and an epoch.

The choice of documents must not change with the order of files, the number of workers or the version of a library,
so the digest is spelled out here: FNV-1a over the bytes of the id, finished by the splitmix64 mixer. It spreads, it
does not protect: an adversary could choose ids that collide.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

KeyArray = npt.NDArray[np.uint64]

_OFFSET, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def document_keys(doc_ids: pa.Array) -> KeyArray:
    """(n,) 64-bit keys of string ids; equal ids have equal keys.

    Raises
    ------
    ValueError
        If an id is null.
    """
    if doc_ids.null_count:
        raise ValueError(f"{doc_ids.null_count} of {len(doc_ids)} doc_ids are null")
    if not len(doc_ids):
        return np.zeros(0, dtype=np.uint64)
    ids = doc_ids.cast(pa.large_string())
    _, offsets, data = ids.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[ids.offset : ids.offset + len(ids) + 1]
    text = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)
    return mix(_fnv1a(text, bounds))


def mix(keys: KeyArray) -> KeyArray:
    """The splitmix64 finisher: every input bit reaches every output bit."""
    with np.errstate(over="ignore"):
        keys = (keys ^ (keys >> np.uint64(30))) * _MIX_1
        keys = (keys ^ (keys >> np.uint64(27))) * _MIX_2
    return keys ^ (keys >> np.uint64(31))


def seeded(keys: KeyArray, seed: int, epoch: int | npt.NDArray[np.int64] = 0) -> KeyArray:
    """(n,) 64-bit numbers of (document, seed, epoch)."""
    with np.errstate(over="ignore"):
        step = mix(np.asarray([seed], dtype=np.uint64) + _GOLDEN)
        return mix(keys ^ (step + np.asarray(epoch, dtype=np.uint64) * _GOLDEN))


def unit_interval(keys: KeyArray) -> npt.NDArray[np.float64]:
    """Map 64-bit numbers to [0, 1) by their upper 53 bits."""
    return (keys >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _fnv1a(text: npt.NDArray[np.uint8], bounds: npt.NDArray[np.int64]) -> KeyArray:
    """FNV-1a of every id, one byte of all of them at a time: numpy needs a second less than a compiler to start."""
    starts, lengths = bounds[:-1], np.diff(bounds)
    state = np.full(len(starts), _OFFSET)
    shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest == longest:
        for column in np.ascontiguousarray(text[bounds[0] : bounds[-1]].reshape(len(starts), longest).T):
            state ^= column
            state *= _PRIME
        return state
    # longest first, so that the ids that still have a byte are the first ones
    by = np.argsort(-lengths, kind="stable")
    starts, left = starts[by], np.searchsorted(-lengths[by], -np.arange(longest))
    for at, rows in enumerate(left.tolist()):
        state[:rows] ^= text[starts[:rows] + at]
        state[:rows] *= _PRIME
    keys = np.empty_like(state)
    keys[by] = state
    return keys
