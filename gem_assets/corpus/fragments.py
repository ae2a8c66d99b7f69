"""Turn one landed file into candidate rows: the part of an ingest that runs file by file on any number of workers.

Writes, below a scratch folder, Arrow files per landed file: candidate documents (all columns but those that only the
whole snapshot can tell), their MinHash signatures as raw uint32, filtered rows and quarantine rows. Memory: one batch.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import pyarrow as pa

from gem_assets.corpus.candidate_rows import CANDIDATE_SCHEMA, CandidateReader
from gem_assets.corpus.columns import bounds, integers
from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.fingerprints import copy_hashed
from gem_assets.corpus.readers.fields import folder_fields
from gem_assets.corpus.readers.records import (
    AT_ONCE_BYTES,
    AT_ONCE_ROWS,
    DIED,
    FIELDS,
    HUNG,
    Documents,
    Item,
    Quarantined,
    RawDocument,
    Skipped,
    is_fault,
)
from gem_assets.corpus.readers.registry import read_file
from gem_assets.corpus.readers.sidecars import is_sidecar
from gem_assets.corpus.row_files import ArrowFile, RowFile
from gem_assets.corpus.schema import FILTERED_SCHEMA, QUARANTINE_SCHEMA
from gem_assets.corpus.text.described import buffers_of, text_column
from gem_assets.storage.faults import is_storage_error, retried

QUARANTINE_ROW_SCHEMA: Final = pa.schema([f for f in QUARANTINE_SCHEMA if f.name != "snapshot"])

_GIVEN_UP: Final = {HUNG: "the reader was stopped each time", DIED: "the reader ended twice, the second time alone"}
_BATCH_ROWS: Final = 2048
_BATCH_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FileJob:
    """One landed file to read.

    Attributes
    ----------
    index
        Its place in the canonical order of files.
    pinned
        SHA-256 of the content that the result will say was read; empty when there was no such file then; None reads
        the file without comparing.
    """

    index: int
    path: str
    relative: str
    problem: str | None
    pinned: str | None = None

    def __str__(self) -> str:
        """Return what errors call it."""
        return self.relative


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


def files_of(tally: FileTally, *, scratch: Path) -> list[Path] | None:
    """Return where the rows of a file lie that was read, None where it was not the pinned one."""
    if tally.changed:
        return None
    return [fragment_path(scratch, tally.index, kind) for kind in ("documents", "signatures", "filtered", "quarantine")]


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
    """Read one file into fragments; running it again gives the same bytes, and it does so while the storage fails.

    Raises StorageError when the storage failed at every try; what is damaged in the file is a row.
    """
    return retried(partial(_extract_copy, job, scratch=scratch, config=config), job.path)


def _extract_copy(job: FileJob, *, scratch: str, config: CorpusConfig) -> FileTally:
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
    copy, part = (fragment_path(scratch, job.index, kind) for kind in ("source", "incoming"))
    copy.unlink(missing_ok=True)
    try:
        if _copy(Path(job.path), part) == job.pinned:
            # the whole name says that the storage has done its part, see `was_read`
            yield part.replace(copy)
        else:
            yield None
    finally:
        copy.unlink(missing_ok=True)
        part.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> str:
    """Copy a file and return the digest of what was copied; empty when something else than a file is there now."""
    try:
        return copy_hashed(source, target)
    except OSError as error:
        if is_storage_error(error):
            raise
        return ""


def was_read(job: FileJob, scratch: Path) -> bool:
    """Tell whether a reader that was stopped or ended had got all bytes of its file, so that they are its problem."""
    return job.problem is not None or job.pinned is None or fragment_path(scratch, job.index, "source").exists()


def _extract(job: FileJob, *, scratch: str, config: CorpusConfig) -> FileTally:
    read = 0
    folders = folder_fields(job.relative, config.columns)
    skipped: Counter[str] = Counter()
    with _Fragment(Path(scratch), job.index, config, folders) as fragment:
        for item in _items(job, config):
            if isinstance(item, Skipped):
                skipped[item.kind] += 1
                continue
            if isinstance(item, Quarantined):
                read += 1
                fragment.quarantine(item)
            elif isinstance(item, RawDocument):
                read += 1
                fragment.add(item)
            else:
                read += len(item)
                fragment.add_columns(item)
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

    ``reason`` is ``HUNG`` or ``DIED``.
    """
    for kind in ("source", "incoming"):
        fragment_path(Path(scratch), job.index, kind).unlink(missing_ok=True)
    with _Fragment(Path(scratch), job.index, config) as fragment:
        fragment.quarantine(Quarantined(job.relative, 0, reason, _GIVEN_UP[reason]))
    return FileTally(job.index, job.relative, 1, 0, {}, {reason: 1}, {}, {})


def _items(job: FileJob, config: CorpusConfig) -> Iterator[Item]:
    if is_sidecar(job.relative):
        yield Skipped(job.relative, 0, "sidecar")
    elif job.problem is None:
        yield from read_file(Path(job.path), job.relative, config)
    else:
        reason, _, detail = job.problem.partition(": ")
        yield Quarantined(job.relative, 0, reason, detail)


def _with_folders(documents: Documents, folders: Mapping[str, str | None]) -> Documents:
    """Add what folders say where the record says nothing."""
    given = {field: value for field, value in folders.items() if value}
    if not given:
        return documents
    filled = {f: [own if own is not None else value for own in documents.column(f)] for f, value in given.items()}
    return replace(documents, fields={**documents.fields, **filled})


def _as_columns(rows: Sequence[tuple[RawDocument, bytes]]) -> Documents:
    documents, texts = zip(*rows, strict=True)
    return Documents(
        documents[0].file,
        np.array([document.offset for document in documents], np.int64),
        text_column(buffers_of(texts)),
        np.array([document.n_bytes for document in documents], np.int64),
        {field: [getattr(document, field) for document in documents] for field in FIELDS},
    )


def _joined(parts: Sequence[Documents]) -> Documents:
    if len(parts) == 1:
        return parts[0]
    return Documents(
        parts[0].file,
        np.concatenate([part.offsets for part in parts]),
        pa.concat_arrays([part.texts for part in parts]),
        np.concatenate([part.n_bytes for part in parts]),
        {field: [value for part in parts for value in part.column(field)] for field in FIELDS},
    )


class _Fragment:
    """Collects the items of one file, and writes their rows batch by batch in the order of the file."""

    def __init__(
        self, scratch: Path, index: int, config: CorpusConfig, folders: Mapping[str, str | None] | None = None
    ) -> None:
        self._reader = CandidateReader(config)
        self._folders = folders or {}
        self._documents = ArrowFile(fragment_path(scratch, index, "documents"), CANDIDATE_SCHEMA)
        self._filtered = RowFile(fragment_path(scratch, index, "filtered"), FILTERED_SCHEMA)
        self._quarantine = RowFile(fragment_path(scratch, index, "quarantine"), QUARANTINE_ROW_SCHEMA)
        self._signatures = fragment_path(scratch, index, "signatures")
        self._stack = ExitStack()
        self._waiting: list[tuple[RawDocument, bytes] | Documents | Quarantined] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._kept: list[pa.RecordBatch] = []
        self._kept_rows = self._kept_bytes = 0
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
        try:
            if error is None:
                self._settle()
                self._flush()
        finally:
            self._stack.close()

    def quarantine(self, item: Quarantined) -> None:
        self._wait(item, 1, 0)

    def add(self, document: RawDocument) -> None:
        try:
            text = document.text.encode("utf-8")
        except UnicodeEncodeError as error:
            self.quarantine(_refused(document.file, document.offset, document.n_bytes, document.url, error))
        else:
            self._wait((document, text), 1, len(text))

    def add_columns(self, documents: Documents) -> None:
        ends = bounds(documents.texts)
        self._wait(documents, len(documents), int(ends[-1] - ends[0]))

    def _wait(self, item: tuple[RawDocument, bytes] | Documents | Quarantined, n_rows: int, n_bytes: int) -> None:
        self._waiting.append(item)
        self._waiting_rows += n_rows
        self._waiting_bytes += n_bytes
        if self._waiting_rows >= AT_ONCE_ROWS or self._waiting_bytes >= AT_ONCE_BYTES:
            self._settle()

    def _settle(self) -> None:
        """Write the rows of what waits."""
        waiting, self._waiting, self._waiting_rows, self._waiting_bytes = self._waiting, [], 0, 0
        for _, group in groupby(waiting, key=type):
            rows, parts = [], []
            for item in group:
                if isinstance(item, Quarantined):
                    self._quarantined(item)
                elif isinstance(item, Documents):
                    parts.append(item)
                else:
                    rows.append(item)
            if rows:
                parts.append(_as_columns(rows))
            if parts:
                self._read(_with_folders(_joined(parts), self._folders))

    def _quarantined(self, item: Quarantined) -> None:
        self.quarantined[item.reason] += 1
        self._quarantine.add((item.file, item.offset, item.reason, item.detail, item.url, item.n_bytes))

    def _read(self, documents: Documents) -> None:
        """Write the rows of some documents; where that fails, of each by itself, so that one costs no other."""
        try:
            batch = self._reader.read(documents)
        except BaseException as error:
            if not is_fault(error):
                raise
            if len(documents) == 1:
                offset, n_bytes, url = int(documents.offsets[0]), int(documents.n_bytes[0]), documents.column("url")[0]
                self._quarantined(_refused(documents.file, offset, n_bytes, url, error))
                return
            for row in range(len(documents)):
                self._read(documents.part(row, row + 1))
            return
        for row in batch.filtered:
            self.filtered[row[4]] += 1
            self._filtered.add(row)
        self.unread.update(batch.unread)
        self.candidates += batch.documents.num_rows
        self._signature_file.write(batch.signatures.tobytes())
        self._keep(batch.documents)

    def _keep(self, batch: pa.RecordBatch) -> None:
        first = 0
        for row, n_bytes in enumerate(integers(batch.column("n_bytes")).tolist(), 1):
            self._kept_rows += 1
            self._kept_bytes += n_bytes
            if self._kept_rows >= _BATCH_ROWS or self._kept_bytes >= _BATCH_BYTES:
                self._kept.append(batch.slice(first, row - first))
                self._flush()
                first = row
        if first < batch.num_rows:
            self._kept.append(batch.slice(first))

    def _flush(self) -> None:
        if self._kept:
            (whole,) = pa.Table.from_batches(self._kept).combine_chunks().to_batches()
            self._kept = []
            self._documents.write(whole)
        self._kept_rows = self._kept_bytes = 0


def _refused(file: str, offset: int, n_bytes: int, url: str | None, error: BaseException) -> Quarantined:
    surrogates = isinstance(error, UnicodeEncodeError)
    reason, detail = ("invalid_unicode", "lone surrogates") if surrogates else ("reader_error", type(error).__name__)
    return Quarantined(file, offset, reason, detail, n_bytes, url)
