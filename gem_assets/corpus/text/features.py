"""Hash words and characters of texts straight from Arrow buffers: the library's one tokeniser.

Both the default embedder and the student read documents through this module, so a word has the same hash in both.
No Python string is made: the kernels walk the UTF-8 bytes of an Arrow ``large_string`` array. Splitting is by byte
class, not by a Unicode word breaker, because at web scale the tokeniser is the bottleneck and not the model behind
it (a WordPiece tokeniser alone runs at 2-3 MB/s a core; this pass runs at several hundred).

What is a token:

- a run of letters of the one- and two-byte scripts (Latin, Greek, Cyrillic, Hebrew, Arabic, ...) and of Latin and
  Greek Extended (Vietnamese), lower-cased where the lower-case form has the same length in bytes;
- a run of digits, which counts by its length only (``1987`` and ``2024`` are one feature, ``42`` another);
- every other code point of three or four bytes (CJK, kana, Hangul, Indic scripts, emoji), and each pair of such
  neighbours, since those scripts have no blanks, or words too rare to be learned whole;
- everything else separates.

Hashes are 32-bit FNV-1a finished by the 32-bit finaliser of MurmurHash3. The kernels release the GIL and hold no
state: threads scale over cores.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar, cast

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Texts: TypeAlias = "pa.Array | pa.ChunkedArray | Sequence[str]"
F = TypeVar("F", bound=Callable[..., Any])

_FNV_BASIS: Final = np.uint32(0x811C9DC5)
_FNV_PRIME: Final = np.uint32(0x01000193)
_SEPARATOR, _LETTER, _DIGIT, _CODE_POINT = 0, 1, 2, 4
# a longer run of letters is base64 or a minified file: its n-grams would only be noise
_MAX_WORD: Final = 64
_BLOCK_BYTES: Final = 1 << 20


def jit(function: F) -> F:
    """Compile with numba, without the GIL, cached on disk where some cache folder can be written.

    ``cache=True`` alone makes the *import* fail on a read-only install without a writable home; compiling again in
    each process (about a second a kernel) is the lesser evil there.
    """
    try:
        return cast(F, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        return cast(F, numba.njit(nogil=True)(function))


def _two_byte_tables() -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """Class and lower-case form of each code point below U+0800 (one- and two-byte sequences)."""
    kind = np.zeros(0x800, np.uint8)
    fold = np.arange(0x800, dtype=np.uint32)
    for cp in range(0x800):
        category = unicodedata.category(chr(cp))
        if category[0] in "LM":
            kind[cp] = _LETTER
            lower = chr(cp).lower()
            if len(lower) == 1 and len(lower.encode()) == len(chr(cp).encode()):
                fold[cp] = ord(lower)
        elif category == "Nd":
            kind[cp] = _DIGIT
            fold[cp] = ord("0")
    return kind, fold


_KIND, _FOLD = _two_byte_tables()

#: Changes when the rules or the Unicode tables behind them do; models keep it and refuse to load under another.
TOKENISER_DIGEST: Final = hashlib.sha256(b"words-1" + _KIND.tobytes() + _FOLD.tobytes()).hexdigest()[:16]


@jit
def _mix(h: np.uint32) -> np.uint32:
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ (h >> np.uint32(13)))
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@jit
def _step(h: np.uint32, value: np.uint32) -> np.uint32:
    return np.uint32((h ^ value) * _FNV_PRIME)


@jit
def _text_end(data: NDArray[np.uint8], start: int, stop: int, max_chars: int) -> int:
    """Byte position behind the first ``max_chars`` characters."""
    if max_chars <= 0 or stop - start <= max_chars:
        return stop
    left = max_chars
    i = start
    while stop - i > 64:
        lead = 0
        for j in range(64):
            lead += (data[i + j] & 0xC0) != 0x80
        if lead > left:
            break
        left -= lead
        i += 64
    while i < stop:
        if (data[i] & 0xC0) != 0x80:
            if left == 0:
                return i
            left -= 1
        i += 1
    return stop


@jit
def decode(data: NDArray[np.uint8], i: int, end: int) -> tuple[int, int]:
    """Return the code point and the length of the sequence at ``i``; (0, 1) where the bytes are not UTF-8."""
    b = data[i]
    if b < 0x80:
        return int(b), 1
    if b < 0xC2 or b > 0xF4:
        return 0, 1
    n = 2 if b < 0xE0 else (3 if b < 0xF0 else 4)
    if i + n > end:
        return 0, 1
    cp = int(b) & (0x7F >> n)
    for j in range(1, n):
        c = data[i + j]
        if (c & 0xC0) != 0x80:
            return 0, 1
        cp = (cp << 6) | int(c & 0x3F)
    return cp, n


@jit
def _wide_kind(cp: int) -> int:
    """Class of a code point of three or four bytes."""
    if 0x1E00 <= cp <= 0x1FFF:  # Latin and Greek Extended: Vietnamese words are split by no one
        return _LETTER
    if 0x2000 <= cp <= 0x206F or 0x3000 <= cp <= 0x303F:  # general and CJK punctuation
        return _SEPARATOR
    return _CODE_POINT


@jit
def _tokens(data: NDArray[np.uint8], start: int, end: int, bigrams: bool, out: NDArray[np.uint32], n: int) -> int:
    """Write the token hashes of one document behind ``out[n]``; return the new length."""
    first = n
    h = _FNV_BASIS
    last = _FNV_BASIS
    before = 0
    i = start
    while i < end:
        b = data[i]
        if b < 0x80:
            # no branch at a word's end: it is unpredictable and would cost more than the hash
            kind = int(_KIND[b])
            change = kind != before
            out[n] = h
            n += int(change and (before & 3) != 0)
            h = _step(_FNV_BASIS if change else h, np.uint32(_FOLD[b]))
            before = kind
            i += 1
            continue
        cp, length = decode(data, i, end)
        i += length
        kind = int(_KIND[cp]) if cp < 0x800 else int(_wide_kind(cp))
        if kind != before or kind == _CODE_POINT:
            if (before & 3) != 0:
                out[n] = h
                n += 1
            h = _FNV_BASIS
        if cp < 0x800:
            cp = int(_FOLD[cp])
        if cp < 0x80:
            h = _step(h, np.uint32(cp))
        else:
            h = _step(h, np.uint32(cp & 0xFF))
            h = _step(h, np.uint32(cp >> 8))
        if kind == _CODE_POINT:
            out[n] = h
            n += 1
            if before == _CODE_POINT:
                out[n] = _step(last, h)
                n += 1
            last = h
        before = kind
    if (before & 3) != 0:
        out[n] = h
        n += 1
    stop = n
    if bigrams:
        for t in range(first, stop - 1):
            out[n] = _step(_step(out[t], np.uint32(0x20)), out[t + 1])
            n += 1
    for t in range(first, n):
        out[t] = _mix(out[t])
    return n


@jit
def _char_ngrams(
    data: NDArray[np.uint8], start: int, end: int, low: int, high: int, out: NDArray[np.uint32], n: int
) -> int:
    """Write the hashes of the ``low``- to ``high``-grams of each word, marked at both ends; return the new length."""
    word = np.empty(_MAX_WORD + 2, np.uint32)
    word[0] = np.uint32(0x02)
    size = 1
    i = start
    while i <= end:
        kind, length, cp = _SEPARATOR, 1, 0
        if i < end:
            cp, length = decode(data, i, end)
            kind = int(_KIND[cp]) if cp < 0x800 else int(_wide_kind(cp))
            if cp < 0x800:
                cp = int(_FOLD[cp])
        i += length
        if kind == _LETTER:
            if size <= _MAX_WORD:
                word[size] = np.uint32(cp)
                size += 1
            continue
        if size > 1:
            word[size] = np.uint32(0x03)
            size += 1
            for a in range(size - low + 1):
                # the salt keeps an n-gram apart from the word that is spelled the same
                h = _step(_FNV_BASIS, np.uint32(0x04))
                for z in range(a, min(a + high, size)):
                    h = _step(h, np.uint32(word[z] & np.uint32(0xFF)))
                    h = _step(h, np.uint32(word[z] >> np.uint32(8)))
                    if z - a + 1 >= low:
                        out[n] = _mix(h)
                        n += 1
            size = 1
    return n


@jit
def _token_block(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    max_chars: int,
    bigrams: bool,
    low: int,
    high: int,
    out: NDArray[np.uint32],
    indptr: NDArray[np.int64],
) -> int:
    n = 0
    indptr[0] = 0
    for d in range(offsets.shape[0] - 1):
        end = _text_end(data, offsets[d], offsets[d + 1], max_chars)
        n = _tokens(data, offsets[d], end, bigrams, out, n)
        if high > 0:
            n = _char_ngrams(data, offsets[d], end, low, high, out, n)
        indptr[d + 1] = n
    return n


@dataclass(frozen=True)
class TextBuffers:
    """One Arrow chunk of texts as raw memory: document ``i`` is ``data[offsets[i]:offsets[i + 1]]``."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return self.offsets.shape[0] - 1


@dataclass(frozen=True)
class TokenBlock:
    """Token hashes of consecutive documents: ``hashes[indptr[i]:indptr[i + 1]]`` are those of ``first + i``."""

    first: int
    hashes: NDArray[np.uint32]
    indptr: NDArray[np.int64]

    def __len__(self) -> int:
        return self.indptr.shape[0] - 1


@dataclass(frozen=True)
class TokenRules:
    """Which features are read from a document.

    Attributes
    ----------
    max_chars : int
        Characters read from the start of each document; 0 reads it whole.
    bigrams : bool
        Add pairs of neighbouring tokens.
    char_ngrams : tuple of int or None
        Shortest and longest character n-gram inside words (with end marks); None for none.
    """

    max_chars: int = 0
    bigrams: bool = False
    char_ngrams: tuple[int, int] | None = None


def as_large_strings(texts: Texts) -> pa.ChunkedArray:
    """Texts as a chunked ``large_string`` array; nulls become empty documents.

    Raises TypeError if the array does not hold strings.
    """
    chunked: pa.ChunkedArray
    if isinstance(texts, pa.ChunkedArray):
        chunked = texts
    elif isinstance(texts, pa.Array):
        chunked = pa.chunked_array([texts])
    else:
        chunked = pa.chunked_array([pa.array(list(texts), pa.large_string())])
    if pa.types.is_dictionary(chunked.type) or pa.types.is_string_view(chunked.type):
        chunked = chunked.cast(pa.large_string())
    if not (pa.types.is_string(chunked.type) or pa.types.is_large_string(chunked.type)):
        raise TypeError(f"texts are {chunked.type}, expected string or large_string")
    if pa.types.is_string(chunked.type):
        chunked = chunked.cast(pa.large_string())
    return pc.fill_null(chunked, "") if chunked.null_count else chunked


def text_buffers(texts: Texts) -> Iterator[TextBuffers]:
    """Memory of each non-empty chunk, without a copy; slices keep their offset."""
    for chunk in as_large_strings(texts).chunks:
        if len(chunk) == 0:
            continue
        _, offsets, data = chunk.buffers()
        bounds = np.frombuffer(offsets, np.int64, len(chunk) + 1, chunk.offset * 8)
        raw = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
        yield TextBuffers(raw, bounds)


def token_blocks(texts: Texts, rules: TokenRules) -> Iterator[TokenBlock]:
    """Token hashes of all documents, in blocks small enough for the CPU's cache.

    Nulls among the ``texts`` read as empty.

    Yields
    ------
    TokenBlock
        Blocks in document order. Costs one pass over the bytes.
    """
    first = 0
    for buffers in text_buffers(texts):
        for lo, hi in block_bounds(buffers.offsets, rules):
            yield tokenise(buffers, lo, hi, rules, first + lo)
        first += len(buffers)


def tokenise(buffers: TextBuffers, lo: int, hi: int, rules: TokenRules, first: int = 0) -> TokenBlock:
    """Token hashes of the documents ``lo`` to ``hi`` of one chunk, numbered from ``first``."""
    offsets = buffers.offsets[lo : hi + 1]
    low, high = rules.char_ngrams or (0, 0)
    room = int(_read_bytes(offsets, rules).sum())
    # a token ends at most once a byte; each byte of a word starts at most one n-gram of each order, and so do its marks
    per_byte = (2 if rules.bigrams else 1) + 3 * (high - low + 1 if high else 0)
    out = np.empty(room * per_byte + 2, np.uint32)
    indptr = np.empty(offsets.shape[0], np.int64)
    n = _token_block(buffers.data, offsets, rules.max_chars, rules.bigrams, low, high, out, indptr)
    return TokenBlock(first, out[:n], indptr)


def _read_bytes(offsets: NDArray[np.int64], rules: TokenRules) -> NDArray[np.int64]:
    lengths = np.diff(offsets)
    return np.minimum(lengths, 4 * rules.max_chars) if rules.max_chars > 0 else lengths


def block_bounds(offsets: NDArray[np.int64], rules: TokenRules) -> Iterator[tuple[int, int]]:
    """Runs of documents with about ``_BLOCK_BYTES`` to read, at least one document each."""
    ends = np.cumsum(_read_bytes(offsets, rules))
    n, lo = len(ends), 0
    while lo < n:
        base = int(ends[lo - 1]) if lo else 0
        hi = max(lo + 1, int(np.searchsorted(ends, base + _BLOCK_BYTES, side="right")))
        yield lo, hi
        lo = hi
