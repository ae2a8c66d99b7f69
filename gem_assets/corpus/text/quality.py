"""Quality signals of a text: one float per signal and document, without a verdict.

Cheap and old on purpose (Gopher and C4 rules, Rae et al. 2021, appendix A): each can be recomputed by hand and argued
about. Cost is a few passes over the words; compression looks at a prefix only.
"""

import zlib
from collections import Counter
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.config import QualityFilters
from gem_assets.corpus.text.stopwords import STOPWORDS
from gem_assets.corpus.text.words import DIGIT, SPACE, byte_classes

COMPRESSED_BYTES: Final = 16_384


class Signals(NamedTuple):
    """The signals of one text, named as the columns without their ``q_``.

    Attributes
    ----------
    chars
        Characters.
    mean_word_length
        Characters a word; 0 without words.
    symbol_ratio, digit_ratio
        Signs outside words, and the digits 0 to 9, among characters that are no ASCII blanks.
    dup_line_share
        Characters in lines seen before in the text, among characters in lines.
    dup_ngram_share
        Word n-grams seen before in the text, among all.
    stopword_share
        Stop words of the text's language among its words; 0 for a language without a list.
    compression_ratio
        Bytes in a byte of zlib's output over the first 16 kB: large is repetitive.
    lang_confidence
        From :mod:`gem_assets.corpus.text.language`; 1 where the data gave the language.
    """

    chars: float
    mean_word_length: float
    symbol_ratio: float
    digit_ratio: float
    dup_line_share: float
    dup_ngram_share: float
    stopword_share: float
    compression_ratio: float
    lang_confidence: float


def signals(
    text: str, raw: bytes, words: list[str], ngrams: NDArray[np.uint64], lang: str, confidence: float
) -> Signals:
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
    return Signals(
        chars=len(text),
        mean_word_length=in_words / max(len(words), 1),
        symbol_ratio=max(visible - in_words, 0) / visible,
        digit_ratio=classes[DIGIT] / visible,
        dup_line_share=_repeated_lines(text),
        dup_ngram_share=1.0 - len(np.unique(ngrams)) / len(ngrams) if len(ngrams) else 0.0,
        stopword_share=sum(map(stops.__contains__, words)) / max(len(words), 1) if stops else 0.0,
        compression_ratio=len(prefix) / len(zlib.compress(prefix, 1)) if prefix else 0.0,
        lang_confidence=confidence,
    )


def _repeated_lines(text: str) -> float:
    if "\n" not in text:
        return 0.0
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    total = sum(map(len, lines))
    repeated = sum(len(line) * (count - 1) for line, count in Counter(lines).items() if count > 1)
    return repeated / total if total else 0.0


def refusal(text: str, found: Signals, lang: str, filters: QualityFilters) -> str | None:
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
        if bound is not None and getattr(found, name) > bound:
            return name
    if (
        filters.min_stopword_share is not None
        and lang in STOPWORDS
        and found.stopword_share < filters.min_stopword_share
    ):
        return "stopword_share"
    if filters.min_lang_confidence is not None and found.lang_confidence < filters.min_lang_confidence:
        return "lang_confidence"
    return None
