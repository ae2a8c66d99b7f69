"""One compiled pass over the UTF-8 of many texts: all that is counted, hashed or folded on the way to a document.

No Python string is made, and no GIL is held. Every number is what plain Python says of the same text
(``tests/corpus/text/oracle.py`` says it): lines are those of ``str.split``, blanks those of ``str.isspace``.

A word is a run of letters, digits, marks and underscores of the case-folded text. Scripts written without blanks (Han,
kana, Thai, Lao, Khmer, Burmese) count every character as a word, so that word n-grams mean something there too. Words
are hashed with BLAKE2b (:mod:`gem_assets.corpus.text.word_hashes`): n-grams decide which documents are near duplicates,
so their hashes are part of the result.

Numba caches a function by the file that it is in: whoever changes ``word_hashes`` or ``decode`` has to touch this file.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.text.characters import (
    ALONE,
    BLANK,
    CODE,
    DIGIT,
    EXPANDS,
    JOINER,
    LETTER,
    NOTHING,
    OTHER_BLANK,
    SEVERAL,
    SIGN,
    SPACE,
    TABLE,
    WORD,
    Characters,
)
from gem_assets.corpus.text.features import decode, jit
from gem_assets.corpus.text.word_hashes import look_up, packed

(
    CHARS,
    WORDS,
    WORD_CHARS,
    DIGITS,
    BLANKS,
    TOKENS,
    NGRAMS,
    DISTINCT_NGRAMS,
    LINE_CHARS,
    REPEATED_LINE_CHARS,
    REPLACEMENTS,
    CODE_MARKS,
    HEAD_BYTES,
) = range(13)
COUNTS: Final = 13
"""Columns of what is counted for each text. ``CODE_MARKS`` counts inside the head, ``HEAD_BYTES`` is its length."""

_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_REPLACEMENT: Final = 0xFFFD


class Vocabulary(NamedTuple):
    """Words that are counted, in lists.

    Attributes
    ----------
    known
        Hashes of the words, sorted uint64 (n,).
    places, lists
        The word ``i`` is in the lists ``lists[places[i] : places[i + 1]]``.
    endings
        Endings of words, uint8: a row is the bit of its list, its length and its bytes.
    n_lists
        Lists of words, behind which the lists of endings are counted.
    """

    known: NDArray[np.uint64]
    places: NDArray[np.int64]
    lists: NDArray[np.uint8]
    endings: NDArray[np.uint8]
    n_lists: int


class Columns(NamedTuple):
    """What is found out of each text, a row each.

    Attributes
    ----------
    counts
        int64 (n, ``COUNTS``).
    letters
        Characters of the head by script, int32; column 0 are those of none.
    found, distinct
        Words that are in each list of the vocabulary, all and different ones, int32.
    signatures
        uint32 (n, permutations), to be lowered.
    folded, ends
        UTF-8 of the folded texts with single blanks, and where each ends.
    """

    counts: NDArray[np.int64]
    letters: NDArray[np.int32]
    found: NDArray[np.int32]
    distinct: NDArray[np.int32]
    signatures: NDArray[np.uint32]
    folded: NDArray[np.uint8]
    ends: NDArray[np.int64]


@jit
def _put(out: NDArray[np.uint8], at: int, cp: int) -> int:
    """Write a character as UTF-8; return the place behind it."""
    if cp < 0x80:
        out[at] = cp
        return at + 1
    if cp < 0x800:
        out[at] = 0xC0 | (cp >> 6)
        out[at + 1] = 0x80 | (cp & 0x3F)
        return at + 2
    if cp < 0x10000:
        out[at] = 0xE0 | (cp >> 12)
        out[at + 1] = 0x80 | ((cp >> 6) & 0x3F)
        out[at + 2] = 0x80 | (cp & 0x3F)
        return at + 3
    out[at] = 0xF0 | (cp >> 18)
    out[at + 1] = 0x80 | ((cp >> 12) & 0x3F)
    out[at + 2] = 0x80 | ((cp >> 6) & 0x3F)
    out[at + 3] = 0x80 | (cp & 0x3F)
    return at + 4


@jit
def _run_tokens(kind: int, length: int, first: int) -> int:
    """Return the estimated tokens of a run of bytes of one class; one space belongs to the word behind it."""
    if kind == LETTER:
        return (length + 6) // 7
    if kind == DIGIT:
        return (length + 2) // 3
    if kind == SIGN:
        return (length + 1) // 2
    if kind == NOTHING:
        return 0
    return 0 if length == 1 and first == 0x20 else 1


@jit
def _distinct(hashes: NDArray[np.uint64]) -> int:
    n = hashes.shape[0]
    size = 16
    while size < 2 * n:
        size *= 2
    table = np.zeros(size, np.uint64)
    found = 0
    zero = False
    for i in range(n):
        h = hashes[i]
        if h == np.uint64(0):
            zero = True
            continue
        at = np.int64(h & np.uint64(size - 1))
        while table[at] != np.uint64(0) and table[at] != h:
            at = (at + 1) & (size - 1)
        if table[at] == np.uint64(0):
            table[at] = h
            found += 1
    return found + int(zero)


@jit
def _repeated(data: NDArray[np.uint8], lines: NDArray[np.int64], n: int) -> int:
    """Return the characters of lines seen before; ``lines`` holds start, end and characters of each."""
    size = 16
    while size < 2 * n:
        size *= 2
    table = np.zeros(size, np.int64)
    hashes = np.empty(n, np.uint64)
    repeated = 0
    for line in range(n):
        start, end = lines[line, 0], lines[line, 1]
        h = np.uint64(end - start)
        i = start
        while i + 8 <= end:
            h = (h ^ packed(data, i, 8)) * _MULTIPLIER
            h ^= h >> np.uint64(32)
            i += 8
        while i < end:
            h = (h ^ np.uint64(data[i])) * _MULTIPLIER
            i += 1
        h ^= h >> np.uint64(32)
        hashes[line] = h
        at = np.int64((h * _MULTIPLIER) >> np.uint64(32)) & (size - 1)
        while table[at] != 0:
            other = table[at] - 1
            if hashes[other] == h and lines[other, 1] - lines[other, 0] == end - start:
                same = True
                for i in range(end - start):
                    if data[start + i] != data[lines[other, 0] + i]:
                        same = False
                        break
                if same:
                    break
            at = (at + 1) & (size - 1)
        if table[at] != 0:
            repeated += lines[line, 2]
        else:
            table[at] = line + 1
    return repeated


@jit
def _ngrams(hashes: NDArray[np.uint64], words: int, n: int) -> int:
    """Turn hashes of words into those of n-grams, in place; return how many there are."""
    if words == 0:
        return 0
    n = min(n, words)
    for i in range(words - n + 1):
        run = hashes[i]
        for k in range(1, n):
            # order matters: multiply before the next word comes in
            run = run * _MULTIPLIER + hashes[i + k]
        hashes[i] = run ^ (run >> np.uint64(32))
    return words - n + 1


@jit
def sketch(hashes: NDArray[np.uint64], a: NDArray[np.uint32], b: NDArray[np.uint32], out: NDArray[np.uint32]) -> None:
    """Lower ``out`` to the MinHash signature of some n-grams, whose upper halves are hashed on."""
    for i in range(hashes.shape[0]):
        h = np.uint32(hashes[i] >> np.uint64(32))
        h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B))
        h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35))
        h = np.uint32(h ^ (h >> np.uint32(16)))
        for p in range(a.shape[0]):
            value = np.uint32(h * a[p] + b[p])
            if value < out[p]:
                out[p] = value


@jit
def _tally(
    words: NDArray[np.int64],
    seen: NDArray[np.int32],
    vocabulary: Vocabulary,
    found: NDArray[np.int32],
    distinct: NDArray[np.int32],
) -> None:
    """Add up known words by the lists that they are in, and forget them."""
    for i in range(words.shape[0]):
        word = words[i]
        for place in range(vocabulary.places[word], vocabulary.places[word + 1]):
            found[vocabulary.lists[place]] += seen[word]
            distinct[vocabulary.lists[place]] += 1
        seen[word] = 0


@jit
def describe(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    measured: NDArray[np.bool_],
    ngram: int,
    head: int,
    tables: Characters,
    vocabulary: Vocabulary,
    memory: NDArray[np.uint64],
    a: NDArray[np.uint32],
    b: NDArray[np.uint32],
    columns: Columns,
) -> None:
    """Fill the columns of each text.

    Parameters
    ----------
    data, offsets
        Clean texts, in valid UTF-8.
    measured
        Texts of which more than the folded form is wanted.
    ngram, head
        Words in an n-gram; characters of a text that tell its language.
    memory
        From :func:`gem_assets.corpus.text.word_hashes.new_memory`.
    a, b
        Permutations of the signature; none for no signatures.
    """
    flags, classes, fold, expansions, scripts = tables
    known, endings, n_lists = vocabulary.known, vocabulary.endings, vocabulary.n_lists
    counts, letters, found, distinct, signatures, folded, ends = columns
    seen = np.zeros(known.shape[0], np.int32)
    touched = np.empty(known.shape[0], np.int64)
    points = np.empty(SEVERAL, np.int64)
    out = 0
    for d in range(offsets.shape[0] - 1):
        start, end = offsets[d], offsets[d + 1]
        whole = measured[d]
        # a word needs a sign beside it, or is a character of three bytes
        hashes = np.empty((end - start) // 2 + 2 if whole else 1, np.uint64)
        lines = np.empty((_line_ends(data, start, end) + 1 if whole else 1, 3), np.int64)
        base = out
        chars = words = word_chars = digits = blanks = tokens = n_lines = line_chars = 0
        replacements = marks = n_touched = 0
        head_end = end
        kind, run, run_first = NOTHING, 0, 0
        line_start, line_end, line_from, line_to = -1, 0, 0, 0
        word, gap = -1, False
        i = start
        while i < end:
            cp, size = int(data[i]), 1
            if cp < 0x80:
                now = int(classes[cp])
                if chars < head:
                    marks += now >> 3
                    letters[d, scripts[cp]] += 1
                now &= CODE - 1
                digits += int(now == DIGIT)
                blanks += int(now >= SPACE)
                now = SPACE if now == OTHER_BLANK else now
                flag = int(flags[cp])
                weight = 1
            else:
                cp, size = decode(data, i, end)
                flag = int(flags[cp]) if cp < TABLE else 0
                if chars < head and cp < TABLE:
                    letters[d, scripts[cp]] += 1
                replacements += int(cp == _REPLACEMENT)
                # a sign is one byte here, whatever its length
                weight = size if flag & WORD else 1
                now = LETTER if flag & WORD else (NOTHING if flag & ALONE else SIGN)
                tokens += int(flag & ALONE != 0)
            if chars == head:
                head_end = i
            if now != kind:
                tokens += _run_tokens(kind, run, run_first)
                kind, run, run_first = now, 0, cp
            run += weight
            if not flag & BLANK:
                if line_start < 0:
                    line_start, line_from = i, chars
                line_end, line_to = i + size, chars + 1
            elif cp == 0x0A and line_start >= 0:
                if whole:
                    lines[n_lines, 0], lines[n_lines, 1], lines[n_lines, 2] = line_start, line_end, line_to - line_from
                n_lines += 1
                line_chars += line_to - line_from
                line_start = -1
            chars += 1
            i += size
            if cp < 0x80 and flag & WORD and word >= 0:
                # inside a word of ASCII, where most of most texts is
                folded[out] = fold[cp]
                out += 1
                word_chars += 1
                continue
            # from here on: the folded character, or characters
            points[0] = cp
            several = 1
            if cp < TABLE and fold[cp] != cp:
                folds = int(fold[cp])
                if folds < EXPANDS:
                    points[0] = folds
                    flag = int(flags[folds])
                else:
                    for k in range(SEVERAL):
                        points[k] = int(expansions[folds - EXPANDS, k])
                        several = k + 1 if points[k] else several
            for k in range(several):
                c = points[k]
                if several > 1:
                    flag = int(flags[c])
                if flag & (BLANK | JOINER | ALONE) or not flag & WORD:
                    if word >= 0:
                        if whole:
                            hashes[words], note = look_up(folded, word, out, memory, known, endings)
                            if note:
                                n_touched = _see(note, seen, touched, n_touched, found, d, n_lists)
                        words += 1
                        word = -1
                    if flag & BLANK:
                        gap = True
                        continue
                    if flag & JOINER:
                        continue
                if gap:
                    # blanks at the start are nothing
                    if out > base:
                        folded[out] = 0x20
                        out += 1
                    gap = False
                before = out
                out = _put(folded, out, c)
                if flag & WORD:
                    word_chars += 1
                    if word < 0:
                        word = before
                elif flag & ALONE:
                    word_chars += 1
                    if whole:
                        hashes[words], note = look_up(folded, before, out, memory, known, endings)
                        if note:
                            n_touched = _see(note, seen, touched, n_touched, found, d, n_lists)
                    words += 1
        if word >= 0:
            if whole:
                hashes[words], note = look_up(folded, word, out, memory, known, endings)
                if note:
                    n_touched = _see(note, seen, touched, n_touched, found, d, n_lists)
            words += 1
        ends[d] = out
        tokens += _run_tokens(kind, run, run_first)
        counts[d, CHARS], counts[d, WORDS], counts[d, WORD_CHARS] = chars, words, word_chars
        counts[d, DIGITS], counts[d, BLANKS], counts[d, TOKENS] = digits, blanks, tokens
        counts[d, REPLACEMENTS], counts[d, CODE_MARKS], counts[d, HEAD_BYTES] = replacements, marks, head_end - start
        if not whole:
            continue
        if line_start >= 0:
            lines[n_lines, 0], lines[n_lines, 1], lines[n_lines, 2] = line_start, line_end, line_to - line_from
            n_lines += 1
            line_chars += line_to - line_from
        counts[d, LINE_CHARS] = line_chars
        counts[d, REPEATED_LINE_CHARS] = _repeated(data, lines, n_lines) if n_lines > 1 else 0
        _tally(touched[:n_touched], seen, vocabulary, found[d], distinct[d])
        n = _ngrams(hashes, words, ngram)
        counts[d, NGRAMS], counts[d, DISTINCT_NGRAMS] = n, _distinct(hashes[:n])
        sketch(hashes[:n], a, b, signatures[d])


@jit
def _line_ends(data: NDArray[np.uint8], start: int, end: int) -> int:
    ends = 0
    for i in range(start, end):
        ends += int(data[i] == 0x0A)
    return ends


@jit
def _see(
    note: np.uint64,
    seen: NDArray[np.int32],
    touched: NDArray[np.int64],
    n_touched: int,
    found: NDArray[np.int32],
    d: int,
    n_lists: int,
) -> int:
    """Count a known word and a word's endings; return how many known words were touched."""
    word = np.int64(note & np.uint64(0xFFFF)) - 1
    if word >= 0:
        if seen[word] == 0:
            touched[n_touched] = word
            n_touched += 1
        seen[word] += 1
    endings = np.int64(note >> np.uint64(16))
    kind = 0
    while endings:
        found[d, n_lists + kind] += endings & 1
        endings >>= 1
        kind += 1
    return n_touched
