"""Everything that is said of clean texts beside their language, in one pass over a batch of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.corpus.text import kernel
from gem_assets.corpus.text.characters import characters
from gem_assets.corpus.text.cleaning import DIGEST_BYTES
from gem_assets.corpus.text.features import TextBuffers
from gem_assets.corpus.text.scripts import SCRIPT_NAMES
from gem_assets.corpus.text.stopwords import ENGLISH_ALONE, MARKER_ENDINGS, MARKERS, STOPWORDS
from gem_assets.corpus.text.word_hashes import SLACK, new_memory

LANG_CHARS: Final = 4_000
"""Characters at the start of a text that tell its language."""

NO_PERMUTATIONS: Final = np.empty(0, np.uint32)
ALONE_IN_ENGLISH: Final = "en alone"
# case folding makes three times two bytes of the longest: U+0390
_GROWTH: Final = 3


@dataclass(frozen=True)
class TextFacts:
    """What one text shows of its language.

    Attributes
    ----------
    n_words, n_chars
        Words of the whole text; characters of its head.
    code_marks
        Signs of source code in the head.
    scripts
        Characters of the head by script, in the order of ``SCRIPT_NAMES``, without the scripts that do not occur.
    """

    n_words: int
    n_chars: int
    code_marks: int
    scripts: dict[str, int]
    _found: NDArray[np.int32]
    _distinct: NDArray[np.int32]

    def found(self, name: str) -> int:
        """Return how many words are in a list: a language with stop words, or a key of :func:`list_numbers`."""
        number = list_numbers().get(name)
        return 0 if number is None else int(self._found[number])

    def distinct(self, name: str) -> int:
        """Return how many different words are in a list of words."""
        number = list_numbers().get(name)
        return 0 if number is None else int(self._distinct[number])


@dataclass(frozen=True)
class Described:
    """Columns of a batch of texts; what is not measured of a text is 0.

    ``columns`` are as :class:`gem_assets.corpus.text.kernel.Columns` says.
    """

    texts: TextBuffers
    columns: kernel.Columns

    def count(self, column: int) -> NDArray[np.int64]:
        """Return one of the columns of :mod:`gem_assets.corpus.text.kernel`, int64 (n,)."""
        return self.columns.counts[:, column]

    def head(self, row: int) -> str:
        """Return the start of a text."""
        start = int(self.texts.offsets[row])
        return self.texts.data[start : start + int(self.columns.counts[row, kernel.HEAD_BYTES])].tobytes().decode()

    def facts(self, row: int) -> TextFacts:
        """Return what tells the language of a text."""
        counts, letters = self.columns.counts[row], self.columns.letters[row].tolist()
        return TextFacts(
            int(counts[kernel.WORDS]),
            min(int(counts[kernel.CHARS]), LANG_CHARS),
            int(counts[kernel.CODE_MARKS]),
            {name: n for name, n in zip(SCRIPT_NAMES, letters[1:], strict=True) if n},
            self.columns.found[row],
            self.columns.distinct[row],
        )

    def digests(self) -> list[str]:
        """Return what :func:`gem_assets.corpus.text.cleaning.content_digest` says of each text."""
        folded, bounds = self.columns.folded.data, pairwise([0, *self.columns.ends.tolist()])
        return [blake2b(folded[start:end], digest_size=DIGEST_BYTES).hexdigest() for start, end in bounds]


class TextReader:
    """Describes batches of clean texts; keeps the words seen, so one thread has one.

    Parameters
    ----------
    ngram
        Words in an n-gram.
    permutations
        Multipliers and summands of MinHash signatures, uint32 (n,) each.
    """

    def __init__(
        self,
        ngram: int = 5,
        permutations: tuple[NDArray[np.uint32], NDArray[np.uint32]] = (NO_PERMUTATIONS, NO_PERMUTATIONS),
    ) -> None:
        self._ngram = ngram
        self._a, self._b = permutations
        self._memory = new_memory()

    def describe(self, texts: TextBuffers, measured: NDArray[np.bool_] | None = None) -> Described:
        """Return the columns of a batch.

        Parameters
        ----------
        texts
            Clean texts, in valid UTF-8, without gaps between them.
        measured
            Texts of which more than the digest, the characters and the tokens are wanted; all where not given.
        """
        n = len(texts)
        words = vocabulary()
        wide = words.n_lists + len(MARKER_ENDINGS.get("Devanagari", {}))
        columns = kernel.Columns(
            np.zeros((n, kernel.COUNTS), np.int64),
            np.zeros((n, len(SCRIPT_NAMES) + 1), np.int32),
            np.zeros((n, wide), np.int32),
            np.zeros((n, wide), np.int32),
            np.full((n, len(self._a)), 0xFFFFFFFF, np.uint32),
            np.empty(_GROWTH * int(texts.offsets[-1] - texts.offsets[0]) + SLACK, np.uint8),
            np.zeros(n, np.int64),
        )
        measured = np.ones(n, np.bool_) if measured is None else measured
        kernel.describe(
            texts.data, texts.offsets, measured, self._ngram, LANG_CHARS, characters(), words, self._memory,
            self._a, self._b, columns,
        )  # fmt: skip
        return Described(texts, columns)

    @classmethod
    def of(cls, *texts: str) -> Described:
        """Describe a few texts, without signatures."""
        return cls().describe(buffers_of([text.encode() for text in texts]))


def buffers_of(texts: Sequence[bytes | memoryview]) -> TextBuffers:
    """Return texts in UTF-8 as one stretch of memory."""
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    # a stretch without bytes cannot be read as an array
    return TextBuffers(np.frombuffer(b"".join(texts) or b"\0", np.uint8), offsets)


def text_column(texts: TextBuffers) -> pa.LargeStringArray:
    """Return texts as an Arrow array, without a copy."""
    buffers = [None, pa.py_buffer(texts.offsets), pa.py_buffer(texts.data)]
    return pa.Array.from_buffers(pa.large_string(), len(texts), buffers)  # pyright: ignore[reportReturnType]


@cache
def _lists() -> dict[str, frozenset[str]]:
    return {
        **STOPWORDS,
        ALONE_IN_ENGLISH: ENGLISH_ALONE,
        **{marker_list(c): w for c, w in MARKERS["Devanagari"].items()},
    }


def marker_list(code: str) -> str:
    """Return the name of the list of a language's marker words."""
    return f"{code} markers"


def ending_list(code: str) -> str:
    """Return the name of the list of a language's endings."""
    return f"{code} endings"


@cache
def list_numbers() -> dict[str, int]:
    """Return the column of each list: languages with stop words, marker words, and endings behind them."""
    names = [*_lists(), *map(ending_list, MARKER_ENDINGS["Devanagari"])]
    return {name: number for number, name in enumerate(names)}


@cache
def vocabulary() -> kernel.Vocabulary:
    """Return the words that are counted in every text."""
    member: dict[int, list[int]] = {}
    for number, words in enumerate(_lists().values()):
        for word in words:
            value = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
            member.setdefault(value, []).append(number)
    known = sorted(member)
    sizes = [len(member[value]) for value in known]
    endings = [
        (bit, ending.encode()) for bit, all_of in enumerate(MARKER_ENDINGS["Devanagari"].values()) for ending in all_of
    ]
    rows = np.zeros((len(endings), 2 + max(len(raw) for _, raw in endings)), np.uint8)
    for row, (bit, raw) in zip(rows, endings, strict=True):
        row[0], row[1] = bit, len(raw)
        row[2 : 2 + len(raw)] = np.frombuffer(raw, np.uint8)
    return kernel.Vocabulary(
        np.array(known, np.uint64),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.array([number for value in known for number in member[value]], np.uint8),
        rows,
        len(_lists()),
    )
