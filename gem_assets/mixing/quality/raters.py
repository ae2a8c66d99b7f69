"""Five simple raters, computed from the text that proxies are trained on: for a look without a rater of one's own.

    function_words    share of the language's most frequent function words; prose has many
    word_length       how near the mean length of a word is to that of the corpus, negative distance in characters
    no_repeats        share of the characters that stand in lines not seen before in the text
    little_redundancy negative bytes in a byte of zlib's output
    likelihood        mean log-probability of a token under bigrams of all other documents, nats

Higher is better in all of them, and none of them knows what a text is worth: they find boilerplate, lists and noise.
The first four are the signals of :mod:`gem_assets.corpus.text.quality`. Cost: a quarter of a millisecond per document,
and a second per million tokens.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.text.described import TextReader, buffers_of
from gem_assets.corpus.text.language import detect_language
from gem_assets.corpus.text.quality import signals
from gem_assets.proxy.tokens import END, EncodedDocuments
from gem_assets.types import Floats

RATERS = ("function_words", "word_length", "no_repeats", "little_redundancy", "likelihood")
#: Pseudo tokens of the unigrams below a bigram.
_BACK_OFF = 3.0


def rate(texts: Iterable[str], documents: EncodedDocuments) -> Floats:
    """Scores of documents by :data:`RATERS`, ``(n, 5)``.

    ``texts`` and ``documents`` are the same documents as text and as tokens, in the same order.
    """
    reader = TextReader()
    rows = np.array([_of_text(reader, text) for text in texts], np.float64).reshape(-1, 4)
    rows[:, 1] = -np.abs(rows[:, 1] - (rows[:, 1].mean() if len(rows) else 0.0))
    return np.column_stack([rows, likelihood(documents)])


def likelihood(documents: EncodedDocuments) -> Floats:
    """Mean log-probability of each document's tokens under bigrams of all other documents, nats, ``(n,)``.

    ``p(b | a) = (c(ab) + β q(b)) / (c(a) + β)`` with counts ``c`` that leave the document out and ``q`` the unigrams
    of all, one added to each. The first token follows the mark that closes a document.
    """
    lengths = np.diff(documents.offsets)
    tokens = documents.tokens.astype(np.int64)
    before = np.concatenate([[END], tokens[:-1]]) if len(tokens) else tokens
    before[documents.offsets[:-1][lengths > 0]] = END
    vocab = int(tokens.max(initial=0)) + 1
    of = np.repeat(np.arange(len(lengths)), lengths)
    pair, history = _elsewhere(before * vocab + tokens, of), _elsewhere(before, of)
    unigram = (np.bincount(tokens, minlength=vocab) + 1.0) / (len(tokens) + vocab)
    logs = np.log((pair + _BACK_OFF * unigram[tokens]) / (history + _BACK_OFF))
    return np.bincount(of, logs, minlength=len(lengths)) / np.maximum(lengths, 1)


def _elsewhere(codes: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each code stands in other documents than its own."""
    _, number, total = np.unique(codes, return_inverse=True, return_counts=True)
    _, own, inside = np.unique(of * (number.max(initial=0) + 1) + number, return_inverse=True, return_counts=True)
    return total[number] - inside[own]


def _of_text(reader: TextReader, text: str) -> tuple[float, float, float, float]:
    described = reader.describe(buffers_of([text.encode()]))
    language, confidence = detect_language(text, described.facts(0))
    found = signals(described, [language], [confidence])
    return (
        float(found.stopword_share[0]),
        float(found.mean_word_length[0]),
        1.0 - float(found.dup_line_share[0]),
        -float(found.compression_ratio[0]),
    )
