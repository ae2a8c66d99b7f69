"""What Unicode says of every character, as flat tables for the kernels that walk over UTF-8.

Built once per process from the running Python's own tables, so that a kernel and ``str`` never disagree. Characters
from ``TABLE`` on are signs that no rule changes: private use, tags and planes without letters.
"""

import re
import unicodedata
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.text.scripts import SCRIPT_NAMES, script_table

TABLE: Final = 0x34000
"""Characters in a table."""

WORD: Final = 1
"""Part of a word."""
ALONE: Final = 2
"""A word by itself: a character of a script that is written without blanks."""
BLANK: Final = 4
"""White space, as ``str.isspace`` has it."""
JOINER: Final = 8
"""Invisible in the form that the digest reads."""
EXPANDS: Final = 0x4000_0000
"""In ``fold``: the rest of the number is a row of ``expansions``."""

LETTER, DIGIT, SIGN, SPACE, OTHER_BLANK, NOTHING = range(6)
"""Classes of ASCII for the token estimate; all words beyond ASCII are letters."""
CODE: Final = 8
"""Added to the class of the signs that source code is full of."""

PLAIN, NEWLINE, GAP, DROPPED, MARK, FOREIGN = range(6)
"""What cleaning does with a character: keeps it, ends the line, keeps it inside a line only, drops it, looks at what it
stands behind, or leaves the whole text to the slow way."""

CUT: Final = 0x1F
CODE_SIGNS: Final = "{}()[];=<>_"
SEVERAL: Final = 3
"""Most characters that one character becomes by case folding."""

_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003134f]+"
)
# combining marks and the vowel signs of Indic scripts are not letters for `re`, but they are part of words
_MARKS: Final = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u0900-\u0963\u0970-\u0dff"
)
_SIGNS: Final = re.compile(f"[^\\w\x00-\x7f{_MARKS}]+")
_BLANKS: Final = re.compile(r"\s+")
_JOINERS: Final = re.compile(r"[\u200c-\u200f\u202a-\u202e\u2066-\u2069]+")
_ODD_NEWLINES: Final = "\n\x0b\x0c\u2028\u2029"
_INVISIBLE: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\xad\u200b\u2060\ufeff\ufff9-\ufffb]+")
_C1: Final = re.compile(r"[\x80-\x9f]+")


class Characters(NamedTuple):
    """Tables by code point, below ``TABLE`` unless said otherwise.

    Attributes
    ----------
    flags
        ``WORD``, ``ALONE``, ``BLANK`` and ``JOINER``, uint8.
    classes
        Class of each ASCII character for the token estimate, with ``CODE``, uint8 (128,).
    fold
        The folded character, or a row of ``expansions`` behind ``EXPANDS``, uint32.
    expansions
        Case folding to several characters, uint32 (n, ``SEVERAL``); 0 fills.
    scripts
        Place in ``SCRIPT_NAMES``, one above; 0 for none, uint8.
    """

    flags: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    fold: NDArray[np.uint32]
    expansions: NDArray[np.uint32]
    scripts: NDArray[np.uint8]


class Normal(NamedTuple):
    """What tells that a text is clean and in NFC.

    Attributes
    ----------
    actions
        ``PLAIN`` and so on, by code point, uint8.
    combining
        Canonical combining class, by code point, uint8.
    joins
        Whether a character may become one with what stands before it, by code point, bool.
    composed
        Whether a character is composed of others, syllables of Hangul aside, by code point, bool.
    pairs
        Two characters that become one, ``first << 32 | second``, sorted uint64.
    """

    actions: NDArray[np.uint8]
    combining: NDArray[np.uint8]
    joins: NDArray[np.bool_]
    composed: NDArray[np.bool_]
    pairs: NDArray[np.uint64]


@cache
def characters() -> Characters:
    """Return the tables for words, digests and tokens."""
    every = _every()
    flags = np.full(TABLE, WORD, np.uint8)
    for code in range(0x80):
        flags[code] = WORD if chr(code).isalnum() or chr(code) == "_" else 0
    _mark(flags, _UNSPACED, ALONE)
    _mark(flags, _SIGNS, 0)
    for pattern, bit in ((_BLANKS, BLANK), (_JOINERS, JOINER)):
        for match in pattern.finditer(every):
            flags[match.start() : match.end()] |= bit
    classes = np.array([_class_of(chr(code)) + CODE * (chr(code) in CODE_SIGNS) for code in range(0x80)], np.uint8)
    fold = np.arange(TABLE, dtype=np.uint32)
    expansions: list[list[int]] = []
    # each character by itself, as one may become several
    for code, char in enumerate(every):
        if (folded := char.casefold()) != char:
            fold[code] = ord(folded) if len(folded) == 1 else EXPANDS | len(expansions)
            if len(folded) > 1:
                expansions.append([*map(ord, folded), *[0] * (SEVERAL - len(folded))])
    scripts = script_table(TABLE)
    assert len(SCRIPT_NAMES) < 0xFF
    return Characters(flags, classes, fold, np.array(expansions, np.uint32), scripts)


@cache
def normal() -> Normal:
    """Return the tables for cleaning."""
    actions = np.full(TABLE, PLAIN, np.uint8)
    combining = np.fromiter(map(unicodedata.combining, _every()), np.uint8, TABLE)
    joins, composed = np.zeros(TABLE, np.bool_), np.zeros(TABLE, np.bool_)
    pairs: list[int] = []
    for code, parts in enumerate(map(unicodedata.decomposition, _every())):
        if not parts or parts.startswith("<"):
            continue
        composed[code] = True
        if unicodedata.normalize("NFC", chr(code)) != chr(code):
            actions[code] = FOREIGN
        else:
            first, second = (int(part, 16) for part in parts.split())
            pairs.append(first << 32 | second)
            joins[second] = True
    # vowels and final consonants of Hangul
    joins[0x1161:0x1176] = joins[0x11A8:0x11C3] = True
    actions[((combining > 0) | joins) & (actions != FOREIGN)] = MARK
    _mark(actions, _BLANKS, GAP, over=PLAIN)
    _mark(actions, _INVISIBLE, DROPPED)
    _mark(actions, _C1, FOREIGN)
    for char in _ODD_NEWLINES:
        actions[ord(char)] = NEWLINE
    # a carriage return is half of a line end, or a whole one
    actions[ord("\r")] = NEWLINE
    return Normal(actions, combining, joins, composed, np.array(sorted(pairs), np.uint64))


@cache
def _every() -> str:
    return "".join(map(chr, range(TABLE)))


def _mark(table: NDArray[np.uint8], pattern: re.Pattern[str], value: int, over: int | None = None) -> None:
    for match in pattern.finditer(_every()):
        part = table[match.start() : match.end()]
        part[slice(None) if over is None else part == over] = value


def _class_of(char: str) -> int:
    if char.isalpha():
        return LETTER
    if char.isdigit():
        return DIGIT
    if ord(char) == CUT:
        return NOTHING
    if char == " ":
        return SPACE
    return OTHER_BLANK if char.isspace() else SIGN
