"""Words of a text, runs of its bytes, and hashes of word n-grams.

A word is a run of letters, digits, marks and underscores, case-folded. Scripts written without blanks (Han, kana, Thai,
Lao, Khmer, Burmese) count every character as a word, so that word n-grams mean something there too. All passes over a
text run in compiled code on its UTF-8 bytes; only what is not ASCII needs regular expressions. Hashes are BLAKE2b, and
kept for words seen before: text repeats its words, so one look-up a word is what hashing costs.
"""

import re
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003134f]"
)
"""One character of a script that is written without blanks between words."""

# combining marks and the vowel signs of Indic scripts are no letters for `re`, but part of words
_MARKS: Final = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u0900-\u0963\u0970-\u0dff"
)
WIDE_SIGN: Final = re.compile(f"[^\\w\x00-\x7f{_MARKS}]")
"""One character beyond ASCII that is in no word."""

LETTER: Final = 0
DIGIT: Final = 1
SIGN: Final = 2
SPACE: Final = 3
OTHER_BLANK: Final = 4
NOTHING: Final = 5
CUT: Final = "\x1f"
"""A character of the class ``NOTHING``, which separates what stands on its two sides and counts as neither."""

_MOST_KNOWN: Final = 1 << 20
_MULTIPLIER: Final = 0x9E3779B97F4A7C15


def _class_of(byte: int) -> int:
    char = chr(byte)
    if byte >= 0x80 or char.isalpha():
        return LETTER
    if char.isdigit():
        return DIGIT
    if char == CUT:
        return NOTHING
    if byte == 0x20:
        return SPACE
    return OTHER_BLANK if char.isspace() else SIGN


_CLASSES: Final = bytes(_class_of(byte) for byte in range(256))
_SPACED: Final = bytes(b if _class_of(b) in (LETTER, DIGIT) or b == ord("_") else 0x20 for b in range(256))


class _Hashes(dict[str, int]):
    """Word to 64-bit hash, filled on demand and emptied when it grows too large."""

    def __missing__(self, word: str) -> int:
        value = int.from_bytes(blake2b(word.encode("utf-8"), digest_size=8).digest(), "little")
        if len(self) >= _MOST_KNOWN:
            self.clear()
        if len(word) <= 64:
            self[word] = value
        return value


_hashes = _Hashes()


def find_words(text: str) -> list[str]:
    """Return the words of a text, case-folded, in order."""
    text = text.casefold()
    if not text.isascii():
        text = WIDE_SIGN.sub(" ", text)
        text = UNSPACED.sub(r" \g<0> ", text)
    return text.encode("utf-8").translate(_SPACED).decode("utf-8").split()


def byte_classes(raw: bytes) -> NDArray[np.uint8]:
    """Return the class of every byte of UTF-8: ``LETTER`` (and all beyond ASCII), ``DIGIT``, ``SIGN`` or a blank."""
    return np.frombuffer(raw.translate(_CLASSES), np.uint8)


def ngram_hashes(words: list[str], n: int) -> NDArray[np.uint64]:
    """Return one 64-bit hash for every run of ``n`` words, in order; a shorter text is one run.

    Returns
    -------
    numpy.ndarray
        ``max(len(words) - n + 1, 1)`` hashes, none for a text without words.
    """
    if not words:
        return np.empty(0, np.uint64)
    hashes = np.fromiter(map(_hashes.__getitem__, words), np.uint64, len(words))
    n = min(n, len(words))
    count = len(words) - n + 1
    runs = hashes[:count].copy()
    for k in range(1, n):
        # order matters: multiply before the next word comes in
        runs *= np.uint64(_MULTIPLIER)
        runs += hashes[k : k + count]
    runs ^= runs >> np.uint64(32)
    return runs
