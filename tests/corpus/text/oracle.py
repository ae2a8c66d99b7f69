"""What plain Python says of a text: the words, signals, tokens, signatures and languages that the kernel gives."""

import re
import zlib
from collections import Counter
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.config import NearDuplicates, QualityFilters
from gem_assets.corpus.dedup.minhash import EMPTY, permutations
from gem_assets.corpus.text.described import LANG_CHARS
from gem_assets.corpus.text.language import (
    _CODE_LINE,
    _CODE_LINE_SHARE,
    _CODE_SIGN_SHARE,
    _EVIDENCE,
    _FAR,
    _FEW_LANGUAGES,
    _FEW_WORDS,
    _FEWEST,
    _FLOOR,
    _LATIN,
    _MAIN,
    _NEAR,
    _PROSE,
    _SETTLES,
    CODE,
    UNKNOWN,
    _confidence,
    _confident,
    _nearest,
)
from gem_assets.corpus.text.quality import COMPRESSED_BYTES
from gem_assets.corpus.text.scripts import _RANGES, SCRIPT_LANGUAGES
from gem_assets.corpus.text.stopwords import ENGLISH_ALONE, MARKER_ENDINGS, MARKER_LETTERS, MARKERS, STOPWORDS

_CODE_SIGNS: Final = "{}()[];=<>_"
_AT_ONCE: Final = 2048

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


# all blanks are one kind of run; then bytes a token in a run of letters, digits, signs, blanks, nothing
_KINDS: Final = np.array([0, 1, 2, 3, 3, 4], np.uint8)
_RUN_BYTES: Final = np.array([7, 3, 2, 1 << 40, 1 << 40], np.int64)


def estimate_tokens(text: str) -> int:
    """Return the estimated number of tokens, by the rule above."""
    unspaced = 0
    if not text.isascii():
        text = WIDE_SIGN.sub("!", text)
        text, unspaced = UNSPACED.subn(CUT, text)
    classes = byte_classes(text.encode("utf-8"))
    if not len(classes):
        return unspaced
    kinds = _KINDS[classes]
    starts = np.concatenate([[0], np.flatnonzero(kinds[1:] != kinds[:-1]) + 1])
    lengths = np.diff(starts, append=len(kinds))
    tokens = -(-lengths // _RUN_BYTES[kinds[starts]])
    # one space belongs to the word behind it
    free = ((lengths == 1) & (classes[starts] == SPACE)) | (classes[starts] == NOTHING)
    return unspaced + int(tokens[~free].sum())


def signals(
    text: str, raw: bytes, words: list[str], ngrams: NDArray[np.uint64], lang: str, confidence: float
) -> dict[str, float]:
    """Return the signals of one text.

    Parameters
    ----------
    text, raw
        Clean text, and the same in UTF-8.
    words, ngrams
        From :mod:`gem_assets.corpus.text.words`.
    lang, confidence
        Its language.
    """
    classes = np.bincount(byte_classes(raw), minlength=SPACE + 2).tolist()
    visible = max(len(text) - sum(classes[SPACE:]), 1)
    in_words = len("".join(words))
    stops = STOPWORDS.get(lang)
    prefix = raw[:COMPRESSED_BYTES]
    return {
        "chars": len(text),
        "mean_word_length": in_words / max(len(words), 1),
        "symbol_ratio": max(visible - in_words, 0) / visible,
        "digit_ratio": classes[DIGIT] / visible,
        "dup_line_share": _repeated_lines(text),
        "dup_ngram_share": 1.0 - len(np.unique(ngrams)) / len(ngrams) if len(ngrams) else 0.0,
        "stopword_share": sum(map(stops.__contains__, words)) / max(len(words), 1) if stops else 0.0,
        "compression_ratio": len(prefix) / len(zlib.compress(prefix, 1)) if prefix else 0.0,
        "lang_confidence": confidence,
    }


def _repeated_lines(text: str) -> float:
    if "\n" not in text:
        return 0.0
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    total = sum(map(len, lines))
    repeated = sum(len(line) * (count - 1) for line, count in Counter(lines).items() if count > 1)
    return repeated / total if total else 0.0


def refusal(text: str, found: dict[str, float], lang: str, filters: QualityFilters) -> str | None:
    """Return the reason for which the filters refuse a text, a key of ``FILTER_REASONS``, or None."""
    most = filters.max_replacement_share
    if most is not None and text.count("\ufffd") > most * len(text):
        return "garbled"
    for name in (
        "mean_word_length",
        "symbol_ratio",
        "digit_ratio",
        "dup_line_share",
        "dup_ngram_share",
        "compression_ratio",
    ):
        bound: float | None = getattr(filters, f"max_{name}")
        if bound is not None and found[name] > bound:
            return name
    if (
        filters.min_stopword_share is not None
        and lang in STOPWORDS
        and found["stopword_share"] < filters.min_stopword_share
    ):
        return "stopword_share"
    if filters.min_lang_confidence is not None and found["lang_confidence"] < filters.min_lang_confidence:
        return "lang_confidence"
    return None


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
    a, b = (part[:, None] for part in permutations(near.num_perm, near.seed))
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


def scripts_of(text: str) -> Counter[str]:
    """Return how many characters of each script a text has; signs, digits and blanks are of none."""
    if text.isascii():
        letters = sum(map(str.isalpha, text))
        return Counter({"Latin": letters} if letters else {})
    counts: Counter[str] = Counter()
    for char in text:
        code = ord(char)
        name = next((n for n, rs in _RANGES.items() if any(a <= code <= b for a, b in rs)), None)
        if name is not None:
            counts[name] += 1
    return Counter({name: counts[name] for name in sorted(counts)})


def detect_language(text: str, words: list[str]) -> tuple[str, float]:
    """Return a language code and a confidence from 0 to 1; ``und`` and 0 where nothing fits, ``code`` for source code.

    Parameters
    ----------
    text
        Clean text, of which the first ``LANG_CHARS`` characters count.
    words
        Its words.
    """
    text = text[:LANG_CHARS]
    # a list of clauses looks like code, but for its function words
    if (share := _code_share(text)) >= _CODE_LINE_SHARE and _evidence(words, "en") < _PROSE:
        return CODE, share
    scripts = scripts_of(text)
    letters = sum(scripts.values())
    if not letters:
        return UNKNOWN, 0.0
    for script, least in _SETTLES:
        if scripts[script] >= least * letters:
            return SCRIPT_LANGUAGES[script][0], (scripts[script] + scripts["Han"]) / letters
    script, found = max(scripts.items(), key=lambda item: item[1])
    if found < _MAIN * letters:
        return UNKNOWN, 0.0
    if script == "Latin":
        return _latin_language(text, words)
    languages = SCRIPT_LANGUAGES.get(script, ())
    if len(languages) == 1:
        return languages[0], found / letters
    if (marked := _marked_language(script, text, words)) is not None:
        return marked
    if script in MARKERS or not languages:
        return UNKNOWN, 0.0
    nearest = _nearest(text, list(languages))
    if len(languages) == _FEW_LANGUAGES:
        # one of two is likely enough, however far
        return (nearest[0][0] if nearest else languages[0]), max(_confidence(nearest[0][1]) if nearest else 0.0, 0.5)
    return _confident(*nearest[0]) if nearest else (UNKNOWN, 0.0)


def _code_share(text: str) -> float:
    """Return the share of lines that look like source code, 0 where too few of its signs are used."""
    if sum(map(text.count, _CODE_SIGNS)) <= _CODE_SIGN_SHARE * len(text):
        return 0.0
    lines = len([line for line in text.split("\n") if line.strip()])
    return len(_CODE_LINE.findall(text)) / lines if lines > 1 else 0.0


def _latin_language(text: str, words: list[str]) -> tuple[str, float]:
    nearest = _nearest(text, _LATIN)
    best = nearest[0] if nearest else (UNKNOWN, _FAR)
    other = next((code for code, _ in nearest if code != "en"), UNKNOWN)
    if _is_english(words, other) and (best[0] != "en" or _confidence(best[1]) < _FLOOR):
        return "en", max(_confidence(best[1]), 0.5)
    for code, distance in nearest:
        if distance > best[1] + _NEAR:
            break
        if code == "en" or _evidence(words, code) >= _EVIDENCE:
            return _confident(code, distance)
    return UNKNOWN, 0.0


def _marked_language(script: str, text: str, words: list[str]) -> tuple[str, float] | None:
    """Decide by what one language of a script has and its neighbours have not; None where that settles nothing."""
    votes: Counter[str] = Counter()
    for code, letters in MARKER_LETTERS.get(script, {}).items():
        votes[code] += sum(map(text.count, letters))
    if script in MARKERS:
        for code, markers in MARKERS[script].items():
            votes[code] += sum(map(markers.__contains__, words))
        for code, endings in MARKER_ENDINGS.get(script, {}).items():
            votes[code] += sum(word.endswith(endings) and word not in endings for word in words)
    (first, most), (_, second) = [*votes.most_common(2), (UNKNOWN, 0), (UNKNOWN, 0)][:2]
    if most < 2 * second or most < max(1, 0.02 * len(words)):
        return None
    return first, most / (most + second + 1)


def _evidence(words: list[str], code: str) -> float:
    """Return the share of words that are function words of a language; one word alone is an accident in a long text."""
    stops = STOPWORDS.get(code, frozenset())
    found = [word for word in words if word in stops]
    few = min(len(words) // _FEW_WORDS, _FEWEST)
    return len(found) / len(words) if len(set(found)) > few else 0.0


def _is_english(words: list[str], other: str) -> bool:
    ours, theirs = _evidence(words, "en"), _evidence(words, other)
    alone = sum(map(ENGLISH_ALONE.__contains__, words))
    return ours > theirs and (alone >= 0.02 * len(words) or ours >= 0.15)
