"""Turn one landed file into candidate rows: the part of an ingest that runs file by file on any number of workers.

Writes, below a scratch folder, Arrow files per landed file: candidate documents (all columns but those that only the
whole snapshot can tell), their MinHash signatures as raw uint32, filtered rows and quarantine rows. Memory: one batch.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.dedup.minhash import signature
from gem_assets.corpus.landed import open_regular
from gem_assets.corpus.readers.dates import has_open_day, iso_date
from gem_assets.corpus.readers.fields import folder_fields
from gem_assets.corpus.readers.records import Quarantined, RawDocument, Skipped, is_fault
from gem_assets.corpus.readers.registry import read_file
from gem_assets.corpus.readers.sidecars import is_sidecar
from gem_assets.corpus.schema import DOCUMENT_SCHEMA, FILTERED_SCHEMA, QUARANTINE_SCHEMA
from gem_assets.corpus.text.cleaning import clean_text, content_digest, document_id, file_source, host_source
from gem_assets.corpus.text.language import detect_language
from gem_assets.corpus.text.language_codes import NO_LANGUAGE, language_code
from gem_assets.corpus.text.quality import refusal, signals
from gem_assets.corpus.text.tokens import token_counter
from gem_assets.corpus.text.words import find_words, ngram_hashes

CANDIDATE_SCHEMA: Final = pa.schema([f for f in DOCUMENT_SCHEMA if f.name not in ("snapshot", "dup_count")])
QUARANTINE_ROW_SCHEMA: Final = pa.schema([f for f in QUARANTINE_SCHEMA if f.name != "snapshot"])

HUNG: Final = "hung"
DIED: Final = "reader_died"
_GIVEN_UP: Final = {HUNG: "the reader was stopped each time", DIED: "the reader ended twice, the second time alone"}
_BATCH_ROWS: Final = 2048
_BATCH_BYTES: Final = 16 << 20
_COPY_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FileJob:
    """One landed file to read.

    Attributes
    ----------
    index
        Its place in the canonical order of files.
    pinned
        SHA-256 of the content that the result will say was read; empty when the file could not be opened then; None
        reads the file without comparing.
    """

    index: int
    path: str
    relative: str
    problem: str | None
    pinned: str | None = None


@dataclass(frozen=True, slots=True)
class FileTally:
    """What one file gave before anything is known of the other files; nothing when it is not the pinned one.

    ``unread`` counts, by field, documents whose given date or language was not understood.
    """

    index: int
    relative: str
    read: int
    candidates: int
    filtered: dict[str, int]
    quarantined: dict[str, int]
    skipped: dict[str, int]
    unread: dict[str, int]
    changed: bool = False


def fragment_path(scratch: Path, index: int, kind: str) -> Path:
    """Return where a file's rows lie; ``kind`` is documents, signatures, filtered or quarantine."""
    return scratch / f"{index:06d}.{kind}"


def read_fragment(path: Path, *, without: str | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a fragment, ``without`` one column; nothing where the file gave no such rows."""
    if not path.exists():
        return
    with pa.OSFile(str(path), "rb") as source:
        options: pa.ipc.IpcReadOptions | None = None
        if without is not None:
            with pa.ipc.open_file(source) as whole:
                wanted = [i for i, name in enumerate(whole.schema.names) if name != without]
            options = pa.ipc.IpcReadOptions(included_fields=wanted)
        with pa.ipc.open_file(source, options=options) as reader:
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)


def extract_file(job: FileJob, *, scratch: str, config: CorpusConfig) -> FileTally:
    """Read one file into fragments; running it again gives the same bytes.

    Parameters
    ----------
    job
        The file.
    scratch
        Folder for the fragments.
    config
        Settings of the ingest.
    """
    with _private_copy(job, Path(scratch)) as path:
        if path is None:
            return FileTally(job.index, job.relative, 0, 0, {}, {}, {}, {}, changed=True)
        return _extract(replace(job, path=str(path)), scratch=scratch, config=config)


@contextmanager
def _private_copy(job: FileJob, scratch: Path) -> Generator[Path | None]:
    """Give a file whose bytes are the pinned ones and stay so while they are read; None when they are others.

    What lies in the landing folder may be written to at any time, and back again. So it is copied while it is hashed,
    and the copy is read.
    """
    if job.problem is not None or job.pinned is None:
        yield Path(job.path)
        return
    copy = fragment_path(scratch, job.index, "source")
    try:
        found = _copy(Path(job.path), copy)
        # what cannot be opened is a row, as long as it could not be opened before
        yield (copy if found else Path(job.path)) if found == job.pinned else None
    finally:
        copy.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> str:
    """Copy a file and return the digest of what was copied; empty when it cannot be opened."""
    digest = hashlib.sha256()
    try:
        handle = open_regular(source)
    except OSError:
        return ""
    with handle, target.open("wb") as out:
        while block := handle.read(_COPY_BLOCK):
            digest.update(block)
            out.write(block)
    return digest.hexdigest()


def _extract(job: FileJob, *, scratch: str, config: CorpusConfig) -> FileTally:
    read = 0
    folders = folder_fields(job.relative, config.columns)
    skipped: Counter[str] = Counter()
    with _Fragment(Path(scratch), job.index, config) as fragment:
        for item in _items(job, config):
            if isinstance(item, Skipped):
                skipped[item.kind] += 1
                continue
            read += 1
            if isinstance(item, Quarantined):
                fragment.quarantine(item)
            else:
                fragment.add(_with_folders(item, folders))
    return FileTally(
        job.index,
        job.relative,
        read,
        fragment.candidates,
        dict(sorted(fragment.filtered.items())),
        dict(sorted(fragment.quarantined.items())),
        dict(sorted(skipped.items())),
        dict(sorted(fragment.unread.items())),
    )


def give_up_file(job: FileJob, reason: str, *, scratch: str, config: CorpusConfig) -> FileTally:
    """Put a file that takes its reader with it into quarantine as a whole, over whatever that reader left of it.

    Parameters
    ----------
    job
        The file.
    reason
        ``HUNG`` or ``DIED``.
    scratch
        Folder for the fragments.
    config
        Settings of the ingest.
    """
    fragment_path(Path(scratch), job.index, "source").unlink(missing_ok=True)
    with _Fragment(Path(scratch), job.index, config) as fragment:
        fragment.quarantine(Quarantined(job.relative, 0, reason, _GIVEN_UP[reason]))
    return FileTally(job.index, job.relative, 1, 0, {}, {reason: 1}, {}, {})


def _items(job: FileJob, config: CorpusConfig) -> Iterator[RawDocument | Quarantined | Skipped]:
    if is_sidecar(job.relative):
        yield Skipped(job.relative, 0, "sidecar")
    elif job.problem is None:
        yield from read_file(Path(job.path), job.relative, config)
    else:
        reason, _, detail = job.problem.partition(": ")
        yield Quarantined(job.relative, 0, reason, detail)


def _with_folders(document: RawDocument, folders: dict[str, str | None]) -> RawDocument:
    """Add what folders say where the record says nothing."""
    missing = {field: value for field, value in folders.items() if value and getattr(document, field) is None}
    return replace(document, **missing) if missing else document


class _Fragment:
    """Collects the rows of one file and writes them batch by batch."""

    def __init__(self, scratch: Path, index: int, config: CorpusConfig) -> None:
        self._config = config
        self._count_tokens = token_counter(config.tokenizer)[1]
        self._documents = _RowFile(fragment_path(scratch, index, "documents"), CANDIDATE_SCHEMA)
        self._filtered = _RowFile(fragment_path(scratch, index, "filtered"), FILTERED_SCHEMA)
        self._quarantine = _RowFile(fragment_path(scratch, index, "quarantine"), QUARANTINE_ROW_SCHEMA)
        self._signatures = fragment_path(scratch, index, "signatures")
        self._stack = ExitStack()
        self._waiting: list[NDArray[np.uint32]] = []
        self._waiting_bytes = 0
        self.candidates = 0
        self.filtered: Counter[str] = Counter()
        self.quarantined: Counter[str] = Counter()
        self.unread: Counter[str] = Counter()

    def __enter__(self) -> Self:
        for rows in (self._documents, self._filtered, self._quarantine):
            self._stack.callback(rows.close)
        self._signature_file = self._stack.enter_context(self._signatures.open("wb"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        self._stack.close()

    def quarantine(self, item: Quarantined) -> None:
        self.quarantined[item.reason] += 1
        self._quarantine.add((item.file, item.offset, item.reason, item.detail, item.url, item.n_bytes))

    def add(self, document: RawDocument) -> None:
        try:
            self._add(document)
        except UnicodeEncodeError:
            self.quarantine(_refused(document, "invalid_unicode", "lone surrogates"))
        except BaseException as error:
            if not is_fault(error):
                raise
            self.quarantine(_refused(document, "reader_error", type(error).__name__))

    def _add(self, document: RawDocument) -> None:
        config = self._config
        text, reason = _sized(clean_text(document.text), config)
        raw = text.encode("utf-8")
        digest = content_digest(text)
        source = document.source or host_source(document.url) or file_source(document.file)
        # an id tells the rows of one data set apart; only an address is a page that others know too
        locator = document.url or document.id or f"{document.file}#{document.offset}"
        doc_id = document_id(source, locator, text, digest=digest)
        row: tuple[Any, ...] = ()
        sketch: NDArray[np.uint32] | None = None
        if reason is None:
            words = find_words(text)
            ngrams = ngram_hashes(words, config.near.ngram)
            given = language_code(document.lang)
            lang, confidence = (given, 1.0) if given is not None else detect_language(text, words)
            found = signals(text, raw, words, ngrams, lang, confidence)
            reason = _excluded(lang, config) or refusal(text, found, lang, config.filters)
            if reason is None:
                sketch = signature(ngrams, config.near) if config.near.enabled else None
                written = iso_date(document.date)
                self.unread["date"] += document.date is not None and written is None
                self.unread["day and month"] += document.date is not None and has_open_day(document.date)
                named = (document.lang or "und").strip().lower()
                self.unread["lang"] += given is None and named not in NO_LANGUAGE
                row = (
                    doc_id,
                    source,
                    document.url,
                    written,
                    lang,
                    text,
                    len(raw),
                    max(self._count_tokens(text), 1),
                    digest,
                    document.file,
                    document.offset,
                    document.label,
                    document.license,
                    *found,
                )
        if reason is not None:
            self.filtered[reason] += 1
            self._filtered.add((doc_id, document.url, document.file, document.offset, reason, len(raw)))
            return
        self.candidates += 1
        self._documents.add(row)
        if sketch is not None:
            self._waiting.append(sketch)
        self._waiting_bytes += len(raw)
        if len(self._documents) >= _BATCH_ROWS or self._waiting_bytes >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._documents.flush()
        if self._waiting:
            self._signature_file.write(np.stack(self._waiting).tobytes())
        self._waiting, self._waiting_bytes = [], 0


def _refused(document: RawDocument, reason: str, detail: str) -> Quarantined:
    return Quarantined(document.file, document.offset, reason, detail, document.n_bytes, document.url)


def _sized(text: str, config: CorpusConfig) -> tuple[str, str | None]:
    """Return the text, cut where that is asked for, and the reason why its length refuses it."""
    if len(text) > config.max_text_chars:
        if config.overlong == "filter":
            return text, "too_long"
        cut = text[: config.max_text_chars]
        # half a word at the end is worse than a few characters less, unless there are no blanks to cut at
        text = cut.rsplit(None, 1)[0] if any(map(str.isspace, cut[-1000:])) else cut
    # a text without characters is never a document, whatever the minimum
    return text, "too_short" if len(text) < max(config.min_text_chars, 1) else None


def _excluded(lang: str, config: CorpusConfig) -> str | None:
    return "language" if config.languages is not None and lang not in config.languages else None


class _RowFile:
    """Rows as tuples into an Arrow file, which is created with the first row."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._rows: list[tuple[Any, ...]] = []
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self._path.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: tuple[Any, ...]) -> None:
        self._rows.append(row)
        # documents are flushed by their bytes; rows without text need no such care
        if len(self._rows) >= _BATCH_ROWS * 4:
            self.flush()

    def flush(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_file(os.fspath(self._path), self._schema, options=options)
        columns = [
            pa.array(values, field.type)
            for values, field in zip(zip(*self._rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._rows = []

    def close(self) -> None:
        self.flush()
        if self._writer is not None:
            self._writer.close()
