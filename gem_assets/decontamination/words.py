"""Words and n-grams of texts, in compiled code.

A word is a run of letters, digits and marks of the case-folded text; in scripts that are written without blanks every
character is a word. Line ends, blanks, punctuation, underscores and invisible characters only separate words, so
neither wrapping nor case nor quotation marks change an n-gram. Words and n-grams are 64-bit hashes: among ten million
n-grams and a billion of a corpus, .0005 chance matches are expected.

Numba caches a function by the file that it is in: whoever changes ``decode`` has to touch this file.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.text.characters import ALONE, EXPANDS, SEVERAL, TABLE, WORD, Characters
from gem_assets.corpus.text.features import decode, jit

_BASIS: Final = np.uint64(0xCBF29CE484222325)
_PRIME: Final = np.uint64(0x100000001B3)
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_UNDERSCORE: Final = 0x5F


@jit
def _mixed(h: np.uint64) -> np.uint64:
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@jit
def words_of(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    tables: Characters,
    hashes: NDArray[np.uint64],
    starts: NDArray[np.int32],
    ends: NDArray[np.int32],
) -> int:
    """Write hash, first character and end of each word of one text; return how many there are.

    Parameters
    ----------
    data, start, end
        UTF-8.
    tables
        From :func:`gem_assets.corpus.text.characters.characters`.
    hashes, starts, ends
        At least ``end - start`` places each. Characters are counted from the start of the text.
    """
    flags, fold, expansions = tables.flags, tables.fold, tables.expansions
    n = chars = 0
    inside = False
    h = _BASIS
    i = start
    while i < end:
        cp, size = int(data[i]), 1
        if cp >= 0x80:
            cp, size = decode(data, i, end)
        flag = int(flags[cp]) if cp < TABLE else 0
        if cp == _UNDERSCORE:
            flag = 0
        if flag & WORD and not flag & ALONE:
            if not inside:
                inside = True
                h = _BASIS
                starts[n] = chars
            folded = int(fold[cp]) if cp < TABLE else cp
            if folded < EXPANDS:
                h = (h ^ np.uint64(folded)) * _PRIME
            else:
                for k in range(SEVERAL):
                    part = int(expansions[folded - EXPANDS, k])
                    if part:
                        h = (h ^ np.uint64(part)) * _PRIME
        else:
            if inside:
                hashes[n], ends[n] = _mixed(h), chars
                n += 1
                inside = False
            if flag & ALONE:
                hashes[n] = _mixed((_BASIS ^ np.uint64(cp)) * _PRIME)
                starts[n], ends[n] = chars, chars + 1
                n += 1
        chars += 1
        i += size
    if inside:
        hashes[n], ends[n] = _mixed(h), chars
        n += 1
    return n


@jit
def ngrams_of(hashes: NDArray[np.uint64], n: int, ngram: int, out: NDArray[np.uint64]) -> int:
    """Write the hash of every run of ``ngram`` words; return how many there are."""
    if n < ngram:
        return 0
    leaving = np.uint64(1)
    for _ in range(ngram - 1):
        leaving *= _STEP
    run = np.uint64(0)
    for i in range(n):
        if i >= ngram:
            run -= hashes[i - ngram] * leaving
        run = run * _STEP + hashes[i]
        if i >= ngram - 1:
            out[i - ngram + 1] = _mixed(run)
    return n - ngram + 1


@jit
def words_of_all(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], tables: Characters
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the hashes of the words of many texts in a row, and where those of each text begin (n + 1,)."""
    texts = offsets.shape[0] - 1
    longest = np.int64(1)
    for d in range(texts):
        longest = max(longest, offsets[d + 1] - offsets[d])
    hashes = np.empty(longest, np.uint64)
    starts, ends = np.empty(longest, np.int32), np.empty(longest, np.int32)
    bounds = np.zeros(texts + 1, np.int64)
    # counted first: room for every byte would be several times what the words need
    for d in range(texts):
        bounds[d + 1] = bounds[d] + words_of(data, offsets[d], offsets[d + 1], tables, hashes, starts, ends)
    out = np.empty(bounds[texts], np.uint64)
    for d in range(texts):
        n = words_of(data, offsets[d], offsets[d + 1], tables, hashes, starts, ends)
        out[bounds[d] : bounds[d + 1]] = hashes[:n]
    return out, bounds
