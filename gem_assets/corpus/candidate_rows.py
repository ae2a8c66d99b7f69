"""Documents as read to candidate rows, a batch at a time: cleaned, named, described and filtered."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.corpus.columns import bounds, flags, numbers, strings
from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.dedup.minhash import permutations
from gem_assets.corpus.readers.dates import has_open_day, iso_date
from gem_assets.corpus.readers.records import Documents
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
    """Turns documents into candidate rows; one thread has one."""

    def __init__(self, config: CorpusConfig) -> None:
        self._config = config
        near = config.near
        lowered = permutations(near.num_perm, near.seed) if near.enabled else (NO_PERMUTATIONS, NO_PERMUTATIONS)
        self._reader = TextReader(near.ngram, lowered)
        self._count_tokens = None if config.tokenizer == ESTIMATE else token_counter(config.tokenizer)[1]

    def read(self, documents: Documents) -> CandidateBatch:
        """Return the rows of some documents, in their order."""
        config = self._config
        clean, lengths = _cut(*clean_texts(TextBuffers(*_memory(documents.texts))), config)
        too_long = lengths > config.max_text_chars
        # a text without characters is never a document, whatever the minimum
        too_short = lengths < max(config.min_text_chars, 1)
        described = self._reader.describe(clean, ~(too_long | too_short))
        given = documents.column("lang")
        known = {name: language_code(name) for name in set(given)}
        codes = [known[name] for name in given]
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
        dates = [iso_date(date) if keep else None for date, keep in zip(documents.column("date"), kept, strict=True)]
        tokens = np.maximum(self._tokens(described), 1)
        columns = [
            strings(ids),
            strings(sources),
            strings(documents.column("url")),
            strings(dates),
            strings(languages),
            text_column(clean),
            numbers(sizes),
            numbers(tokens),
            strings(digests),
            strings([documents.file] * len(documents)),
            numbers(documents.offsets),
            strings(documents.column("label")),
            strings(documents.column("license")),
            *(numbers(signal.astype(np.float32)) for signal in found),
        ]
        batch = pa.RecordBatch.from_arrays(columns, schema=CANDIDATE_SCHEMA)
        urls, offsets = documents.column("url"), documents.offsets.tolist()
        return CandidateBatch(
            batch if kept.all() else batch.filter(flags(kept)),
            described.columns.signatures[kept],
            [
                (ids[row], urls[row], documents.file, offsets[row], reason, int(sizes[row]))
                for row, reason in enumerate(reasons)
                if reason is not None
            ],
            _unread(documents, dates, codes, kept),
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


def _memory(texts: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    # a stretch without bytes cannot be read as an array
    return np.frombuffer(texts.buffers()[2] or b"\0", np.uint8), bounds(texts)


def _names(documents: Documents, digests: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the source and the id of each document."""
    own, urls, names = documents.column("source"), documents.column("url"), documents.column("id")
    sources = [source or host_source(url) or file_source(documents.file) for source, url in zip(own, urls, strict=True)]
    ids = [
        # an id tells the rows of one data set apart; only an address is a page that others know too
        document_id(source, url or name or f"{documents.file}#{offset}", "", digest=digest)
        for source, url, name, offset, digest in zip(
            sources, urls, names, documents.offsets.tolist(), digests, strict=True
        )
    ]
    return sources, ids


def _excluded(language: str, config: CorpusConfig) -> str | None:
    return "language" if config.languages is not None and language not in config.languages else None


def _unread(
    documents: Documents, dates: Sequence[str | None], codes: Sequence[str | None], kept: NDArray[np.bool_]
) -> Counter[str]:
    unread = Counter[str]()
    rows = zip(documents.column("date"), dates, documents.column("lang"), codes, kept.tolist(), strict=True)
    for given, date, lang, code, keep in rows:
        if keep:
            unread["date"] += given is not None and date is None
            unread["day and month"] += given is not None and has_open_day(given)
            unread["lang"] += code is None and (lang or "und").strip().lower() not in NO_LANGUAGE
    return unread
