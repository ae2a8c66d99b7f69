"""Documents as read to candidate rows, a batch at a time: cleaned, named, described and filtered."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.dedup.minhash import permutations
from gem_assets.corpus.readers.dates import has_open_day, iso_date
from gem_assets.corpus.readers.records import RawDocument
from gem_assets.corpus.schema import DOCUMENT_SCHEMA
from gem_assets.corpus.text import kernel
from gem_assets.corpus.text.cleaning import document_id, file_source, host_source
from gem_assets.corpus.text.described import NO_PERMUTATIONS, Described, TextReader, buffers_of, text_column
from gem_assets.corpus.text.features import TextBuffers
from gem_assets.corpus.text.language import UNKNOWN, detect_language
from gem_assets.corpus.text.language_codes import NO_LANGUAGE, language_code
from gem_assets.corpus.text.quality import refusals, signals
from gem_assets.corpus.text.tidy import clean_texts
from gem_assets.corpus.text.tokens import ESTIMATE, token_counter

CANDIDATE_SCHEMA: Final = pa.schema([f for f in DOCUMENT_SCHEMA if f.name not in ("snapshot", "dup_count")])

FilteredRow = tuple[str, str | None, str, int, str, int]


@dataclass(frozen=True)
class CandidateBatch:
    """What a batch of documents gave.

    Attributes
    ----------
    documents
        Rows of ``CANDIDATE_SCHEMA``.
    signatures
        MinHash signatures of these rows, uint32 (n, permutations); without columns where near duplicates are off.
    filtered
        Rows of ``FILTERED_SCHEMA``.
    unread
        By field, documents among the rows whose given date or language was not understood.
    """

    documents: pa.RecordBatch
    signatures: NDArray[np.uint32]
    filtered: list[FilteredRow]
    unread: Counter[str]


class CandidateReader:
    """Turns documents into candidate rows; one thread has one.

    Parameters
    ----------
    config
        Settings of the ingest.
    """

    def __init__(self, config: CorpusConfig) -> None:
        self._config = config
        near = config.near
        lowered = permutations(near.num_perm, near.seed) if near.enabled else (NO_PERMUTATIONS, NO_PERMUTATIONS)
        self._reader = TextReader(near.ngram, lowered)
        self._count_tokens = None if config.tokenizer == ESTIMATE else token_counter(config.tokenizer)[1]

    def read(self, documents: Sequence[RawDocument], texts: Sequence[bytes]) -> CandidateBatch:
        """Return the rows of some documents, in their order.

        Parameters
        ----------
        documents, texts
            The documents, and the text of each in UTF-8.
        """
        config = self._config
        clean, lengths = _cut(*clean_texts(texts), config)
        too_long = lengths > config.max_text_chars
        # a text without characters is never a document, whatever the minimum
        too_short = lengths < max(config.min_text_chars, 1)
        described = self._reader.describe(clean, ~(too_long | too_short))
        codes = [language_code(document.lang) for document in documents]
        languages, confidences = self._languages(described, codes, too_long | too_short)
        found = signals(described, languages, confidences)
        refused = refusals(described, found, languages, config.filters)
        reasons = [
            "too_long" if long else "too_short" if short else _excluded(language, config) or reason
            for long, short, language, reason in zip(
                too_long.tolist(), too_short.tolist(), languages, refused, strict=True
            )
        ]
        digests, sizes = described.digests(), np.diff(clean.offsets)
        sources, ids = _names(documents, digests)
        kept = np.array([reason is None for reason in reasons], np.bool_)
        rows = np.flatnonzero(kept).tolist()
        chosen = [documents[row] for row in rows]
        dates = [iso_date(document.date) for document in chosen]
        columns = [
            [ids[row] for row in rows],
            [sources[row] for row in rows],
            [document.url for document in chosen],
            dates,
            [languages[row] for row in rows],
            text_column(clean) if kept.all() else text_column(clean).filter(pa.array(kept)),
            sizes[kept],
            np.maximum(self._tokens(described)[kept], 1),
            [digests[row] for row in rows],
            [document.file for document in chosen],
            [document.offset for document in chosen],
            [document.label for document in chosen],
            [document.license for document in chosen],
            *(signal[kept].astype(np.float32) for signal in found),
        ]
        arrays = [pa.array(c, field.type) for c, field in zip(columns, CANDIDATE_SCHEMA, strict=True)]
        return CandidateBatch(
            pa.RecordBatch.from_arrays(arrays, schema=CANDIDATE_SCHEMA),
            described.columns.signatures[kept],
            [
                (ids[row], document.url, document.file, document.offset, reason, int(sizes[row]))
                for row, (document, reason) in enumerate(zip(documents, reasons, strict=True))
                if reason is not None
            ],
            _unread(chosen, dates, [codes[row] for row in rows]),
        )

    def _languages(
        self, described: Described, codes: list[str | None], skipped: NDArray[np.bool_]
    ) -> tuple[list[str], list[float]]:
        languages, confidences = [UNKNOWN] * len(codes), [0.0] * len(codes)
        for row, skip in enumerate(skipped.tolist()):
            if (code := codes[row]) is not None:
                languages[row], confidences[row] = code, 1.0
            elif not skip:
                languages[row], confidences[row] = detect_language(described.head(row), described.facts(row))
        return languages, confidences

    def _tokens(self, described: Described) -> NDArray[np.int64]:
        if self._count_tokens is None:
            return described.count(kernel.TOKENS)
        return np.array([self._count_tokens(text) for text in text_column(described.texts).to_pylist()], np.int64)


def _cut(texts: TextBuffers, lengths: NDArray[np.int64], config: CorpusConfig) -> tuple[TextBuffers, NDArray[np.int64]]:
    """Cut texts above the most characters where that is asked for."""
    if config.overlong == "filter" or not (lengths > config.max_text_chars).any():
        return texts, lengths
    whole: list[str] = text_column(texts).to_pylist()
    for row in np.flatnonzero(lengths > config.max_text_chars).tolist():
        cut = whole[row][: config.max_text_chars]
        # half a word at the end is worse than a few characters less, unless there are no blanks to cut at
        whole[row] = cut.rsplit(None, 1)[0] if any(map(str.isspace, cut[-1000:])) else cut
    return buffers_of([text.encode() for text in whole]), np.array([len(text) for text in whole], np.int64)


def _names(documents: Sequence[RawDocument], digests: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the source and the id of each document."""
    sources = [d.source or host_source(d.url) or file_source(d.file) for d in documents]
    ids = [
        # an id tells the rows of one data set apart; only an address is a page that others know too
        document_id(source, d.url or d.id or f"{d.file}#{d.offset}", "", digest=digest)
        for d, source, digest in zip(documents, sources, digests, strict=True)
    ]
    return sources, ids


def _excluded(language: str, config: CorpusConfig) -> str | None:
    return "language" if config.languages is not None and language not in config.languages else None


def _unread(documents: Sequence[RawDocument], dates: Sequence[str | None], codes: Sequence[str | None]) -> Counter[str]:
    unread = Counter[str]()
    for document, date, code in zip(documents, dates, codes, strict=True):
        unread["date"] += document.date is not None and date is None
        unread["day and month"] += document.date is not None and has_open_day(document.date)
        named = (document.lang or "und").strip().lower()
        unread["lang"] += code is None and named not in NO_LANGUAGE
    return unread
