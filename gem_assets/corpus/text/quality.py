"""Quality signals of a text: one float per signal and document, without a verdict.

Cheap and old on purpose (Gopher and C4 rules, Rae et al. 2021, appendix A): each can be recomputed by hand and argued
about. All but compression, which looks at a prefix only, are ratios of what the kernel counts.
"""

import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.config import QualityFilters
from gem_assets.corpus.text import kernel
from gem_assets.corpus.text.described import Described, list_numbers
from gem_assets.corpus.text.features import TextBuffers
from gem_assets.corpus.text.stopwords import STOPWORDS

COMPRESSED_BYTES: Final = 16_384
Floats = NDArray[np.float64]


class Signals(NamedTuple):
    """The signals of some texts, named as the columns without their ``q_``; float64 (n,) each.

    Attributes
    ----------
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

    chars: Floats
    mean_word_length: Floats
    symbol_ratio: Floats
    digit_ratio: Floats
    dup_line_share: Floats
    dup_ngram_share: Floats
    stopword_share: Floats
    compression_ratio: Floats
    lang_confidence: Floats


def signals(described: Described, languages: Sequence[str], confidences: Sequence[float]) -> Signals:
    """Return the signals of some texts."""
    count = described.count
    visible = np.maximum(count(kernel.CHARS) - count(kernel.BLANKS), 1)
    words, in_words = np.maximum(count(kernel.WORDS), 1), count(kernel.WORD_CHARS)
    repeated, in_lines = count(kernel.REPEATED_LINE_CHARS), count(kernel.LINE_CHARS)
    ngrams, different = count(kernel.NGRAMS), count(kernel.DISTINCT_NGRAMS)
    stops = [
        described.columns.found[row, list_numbers()[lang]] if lang in STOPWORDS else 0
        for row, lang in enumerate(languages)
    ]
    return Signals(
        chars=count(kernel.CHARS).astype(np.float64),
        mean_word_length=in_words / words,
        symbol_ratio=np.maximum(visible - in_words, 0) / visible,
        digit_ratio=count(kernel.DIGITS) / visible,
        dup_line_share=repeated / np.maximum(in_lines, 1),
        dup_ngram_share=np.where(ngrams > 0, 1.0 - different / np.maximum(ngrams, 1), 0.0),
        stopword_share=np.array(stops, np.int64) / words,
        compression_ratio=_compression(described.texts),
        lang_confidence=np.array(confidences, np.float64),
    )


def _compression(texts: TextBuffers) -> Floats:
    ratios = np.zeros(len(texts))
    bounds = texts.offsets.tolist()
    for row in range(len(texts)):
        prefix = texts.data[bounds[row] : min(bounds[row + 1], bounds[row] + COMPRESSED_BYTES)]
        if len(prefix):
            ratios[row] = len(prefix) / len(zlib.compress(prefix.data, 1))
    return ratios


def refusals(
    described: Described, found: Signals, languages: Sequence[str], filters: QualityFilters
) -> list[str | None]:
    """Return for each text the reason for which the filters refuse it, a key of ``FILTER_REASONS``, or None."""
    reasons = np.full(len(languages), None, np.object_)

    def refuse(where: NDArray[np.bool_], reason: str) -> None:
        # the first reason counts
        reasons[where & (reasons == None)] = reason  # noqa: E711

    if filters.max_replacement_share is not None:
        allowed = filters.max_replacement_share * found.chars
        refuse(described.count(kernel.REPLACEMENTS) > allowed, "garbled")
    for name in (
        "mean_word_length",
        "symbol_ratio",
        "digit_ratio",
        "dup_line_share",
        "dup_ngram_share",
        "compression_ratio",
    ):
        bound: float | None = getattr(filters, f"max_{name}")
        if bound is not None:
            refuse(getattr(found, name) > bound, name)
    if filters.min_stopword_share is not None:
        listed = np.array([lang in STOPWORDS for lang in languages], np.bool_)
        refuse(listed & (found.stopword_share < filters.min_stopword_share), "stopword_share")
    if filters.min_lang_confidence is not None:
        refuse(found.lang_confidence < filters.min_lang_confidence, "lang_confidence")
    return reasons.tolist()
