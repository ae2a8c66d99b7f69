"""Hashes of words inside compiled code: BLAKE2b, and a memory of words seen before.

Text repeats its words, so a look-up is what hashing costs. The memory is one array, in which a word has one place and
takes it from whoever had it; words of more than ``_LONGEST`` bytes are hashed each time.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.text.features import jit

PLACES: Final = 1 << 16
SLACK: Final = 8
"""Bytes that have to lie behind the last word."""
_WIDTH: Final = 6
_LONGEST: Final = 32
_VALUE, _NOTE = 4, 5
_BLOCK: Final = 128
_IV: Final = np.array(
    [
        *(0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1),
        *(0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179),
    ],
    np.uint64,
)
# a digest of 8 bytes, without a key, of one text
_FIRST: Final = np.uint64(0x6A09E667F3BCC908 ^ 0x01010000 ^ 8)
_SIGMA: Final = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    np.uint8,
)


def new_memory() -> NDArray[np.uint64]:
    """Return an empty memory, for one thread."""
    return np.zeros((PLACES, _WIDTH), np.uint64)


@jit
def _turned(x: np.uint64, by: int) -> np.uint64:
    return np.uint64((x >> np.uint64(by)) | (x << np.uint64(64 - by)))


@jit
def _mixed(
    a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64, x: np.uint64, y: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    a += b + x
    d = _turned(d ^ a, 32)
    c += d
    b = _turned(b ^ c, 24)
    a += b + y
    d = _turned(d ^ a, 16)
    c += d
    return a, _turned(b ^ c, 63), c, d


@jit
def word_hash(data: NDArray[np.uint8], start: int, end: int) -> np.uint64:
    """Return BLAKE2b of some bytes, 64 bits, little-endian."""
    h = _IV.copy()
    m: Any = np.empty(16, np.uint64)
    h[0] = _FIRST
    at = start
    while True:
        m[:] = 0
        stop = min(at + _BLOCK, end)
        for i in range(stop - at):
            m[i >> 3] |= np.uint64(data[at + i]) << np.uint64(8 * (i & 7))
        v0, v1, v2, v3, v4, v5, v6, v7 = h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]
        v8, v9, v10, v11, v12, v13, v14, v15 = _IV[0], _IV[1], _IV[2], _IV[3], _IV[4], _IV[5], _IV[6], _IV[7]
        v12 ^= np.uint64(stop - start)
        if stop == end:
            v14 = ~v14
        for turn in range(12):
            v0, v4, v8, v12 = _mixed(v0, v4, v8, v12, m[_SIGMA[turn, 0]], m[_SIGMA[turn, 1]])
            v1, v5, v9, v13 = _mixed(v1, v5, v9, v13, m[_SIGMA[turn, 2]], m[_SIGMA[turn, 3]])
            v2, v6, v10, v14 = _mixed(v2, v6, v10, v14, m[_SIGMA[turn, 4]], m[_SIGMA[turn, 5]])
            v3, v7, v11, v15 = _mixed(v3, v7, v11, v15, m[_SIGMA[turn, 6]], m[_SIGMA[turn, 7]])
            v0, v5, v10, v15 = _mixed(v0, v5, v10, v15, m[_SIGMA[turn, 8]], m[_SIGMA[turn, 9]])
            v1, v6, v11, v12 = _mixed(v1, v6, v11, v12, m[_SIGMA[turn, 10]], m[_SIGMA[turn, 11]])
            v2, v7, v8, v13 = _mixed(v2, v7, v8, v13, m[_SIGMA[turn, 12]], m[_SIGMA[turn, 13]])
            v3, v4, v9, v14 = _mixed(v3, v4, v9, v14, m[_SIGMA[turn, 14]], m[_SIGMA[turn, 15]])
        h[0] ^= v0 ^ v8
        h[1] ^= v1 ^ v9
        h[2] ^= v2 ^ v10
        h[3] ^= v3 ^ v11
        h[4] ^= v4 ^ v12
        h[5] ^= v5 ^ v13
        h[6] ^= v6 ^ v14
        h[7] ^= v7 ^ v15
        at = stop
        if at == end:
            return h[0]


@jit
def packed(data: NDArray[np.uint8], at: int, size: int) -> np.uint64:
    """Return the first bytes, eight at most, as one number; reads eight whatever the size."""
    # one load to the compiler; a loop over the bytes would end at a place that no processor foresees
    value = (
        np.uint64(data[at])
        | np.uint64(data[at + 1]) << np.uint64(8)
        | np.uint64(data[at + 2]) << np.uint64(16)
        | np.uint64(data[at + 3]) << np.uint64(24)
        | np.uint64(data[at + 4]) << np.uint64(32)
        | np.uint64(data[at + 5]) << np.uint64(40)
        | np.uint64(data[at + 6]) << np.uint64(48)
        | np.uint64(data[at + 7]) << np.uint64(56)
    )
    return value if size >= 8 else value & ((np.uint64(1) << np.uint64(8 * size)) - np.uint64(1))


@jit
def _note(
    value: np.uint64,
    data: NDArray[np.uint8],
    start: int,
    end: int,
    known: NDArray[np.uint64],
    endings: NDArray[np.uint8],
) -> np.uint64:
    """Return what is known of a word: its place among the known ones, one above, and behind 16 bits its endings."""
    note = np.uint64(0)
    at = np.searchsorted(known, value)
    if at < known.shape[0] and known[at] == value:
        note = np.uint64(at + 1)
    # the endings that are looked for are all beyond ASCII
    if data[end - 1] < 0x80:
        return note
    found = whole = 0
    for row in range(endings.shape[0]):
        size = int(endings[row, 1])
        if end - start < size:
            continue
        same = True
        for i in range(size):
            same &= data[end - size + i] == endings[row, 2 + i]
        if same:
            found |= 1 << int(endings[row, 0])
            # a word that is nothing but an ending has none
            whole |= (end - start == size) << int(endings[row, 0])
    return note | np.uint64((found & ~whole) << 16)


@jit
def look_up(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    memory: NDArray[np.uint64],
    known: NDArray[np.uint64],
    endings: NDArray[np.uint8],
) -> tuple[np.uint64, np.uint64]:
    """Return the hash of a word and what is known of it; see ``_note``.

    Parameters
    ----------
    data, start, end
        The word, folded; ``SLACK`` bytes lie behind it, whatever they are.
    known
        Sorted hashes of the words that are counted.
    endings
        A row each: its bit, its length, its bytes.
    """
    if end - start > _LONGEST:
        value = word_hash(data, start, end)
        return value, _note(value, data, start, end, known, endings)
    # no byte of a word is zero, so that padding with zeros tells lengths apart
    size = end - start
    k0, k1, k2, k3 = packed(data, start, size), np.uint64(0), np.uint64(0), np.uint64(0)
    if size > 8:
        k1 = packed(data, start + 8, size - 8)
        if size > 16:
            k2 = packed(data, start + 16, size - 16)
            if size > 24:
                k3 = packed(data, start + 24, size - 24)
    mixed = k0 * np.uint64(0x9E3779B97F4A7C15) ^ k1 * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= k2 * np.uint64(0x165667B19E3779F9) ^ k3 * np.uint64(0x85EBCA77C2B2AE63)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0xFF51AFD7ED558CCD)
    at = np.int64(mixed >> np.uint64(40)) & (memory.shape[0] - 1)
    if memory[at, 0] != k0 or memory[at, 1] != k1 or memory[at, 2] != k2 or memory[at, 3] != k3:
        memory[at, 0], memory[at, 1], memory[at, 2], memory[at, 3] = k0, k1, k2, k3
        memory[at, _VALUE] = word_hash(data, start, end)
        memory[at, _NOTE] = _note(memory[at, _VALUE], data, start, end, known, endings)
    return memory[at, _VALUE], memory[at, _NOTE]
