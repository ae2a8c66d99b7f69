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

import pyarrow as pa

from gem_assets.corpus.candidate_rows import CANDIDATE_SCHEMA, CandidateReader
from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.landed import open_regular
from gem_assets.corpus.readers.fields import folder_fields
from gem_assets.corpus.readers.records import DIED, HUNG, Quarantined, RawDocument, Skipped, is_fault
from gem_assets.corpus.readers.registry import read_file
from gem_assets.corpus.readers.sidecars import is_sidecar
from gem_assets.corpus.schema import FILTERED_SCHEMA, QUARANTINE_SCHEMA

QUARANTINE_ROW_SCHEMA: Final = pa.schema([f for f in QUARANTINE_SCHEMA if f.name != "snapshot"])

_GIVEN_UP: Final = {HUNG: "the reader was stopped each time", DIED: "the reader ended twice, the second time alone"}
_BATCH_ROWS: Final = 2048
_BATCH_BYTES: Final = 16 << 20
# what is described at once stays in the caches of a core
_AT_ONCE_ROWS: Final = 512
_AT_ONCE_BYTES: Final = 2 << 20
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
    """Collects the items of one file, and writes their rows batch by batch in the order of the file."""

    def __init__(self, scratch: Path, index: int, config: CorpusConfig) -> None:
        self._reader = CandidateReader(config)
        self._documents = _ArrowFile(fragment_path(scratch, index, "documents"), CANDIDATE_SCHEMA)
        self._filtered = _RowFile(fragment_path(scratch, index, "filtered"), FILTERED_SCHEMA)
        self._quarantine = _RowFile(fragment_path(scratch, index, "quarantine"), QUARANTINE_ROW_SCHEMA)
        self._signatures = fragment_path(scratch, index, "signatures")
        self._stack = ExitStack()
        self._waiting: list[tuple[RawDocument, bytes] | Quarantined] = []
        self._waiting_bytes = 0
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
        self._wait(item, 0)

    def add(self, document: RawDocument) -> None:
        try:
            text = document.text.encode("utf-8")
        except UnicodeEncodeError as error:
            self.quarantine(_refused(document, error))
        else:
            self._wait((document, text), len(text))

    def _wait(self, item: tuple[RawDocument, bytes] | Quarantined, n_bytes: int) -> None:
        self._waiting.append(item)
        self._waiting_bytes += n_bytes
        if len(self._waiting) >= _AT_ONCE_ROWS or self._waiting_bytes >= _AT_ONCE_BYTES:
            self._settle()

    def _settle(self) -> None:
        """Write the rows of what waits."""
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        documents: list[tuple[RawDocument, bytes]] = []
        for item in waiting:
            if isinstance(item, Quarantined):
                self._read(documents)
                documents = []
                self._quarantined(item)
            else:
                documents.append(item)
        self._read(documents)

    def _quarantined(self, item: Quarantined) -> None:
        self.quarantined[item.reason] += 1
        self._quarantine.add((item.file, item.offset, item.reason, item.detail, item.url, item.n_bytes))

    def _read(self, documents: list[tuple[RawDocument, bytes]]) -> None:
        """Write the rows of some documents; where that fails, of each by itself, so that one costs no other."""
        if not documents:
            return
        try:
            batch = self._reader.read([document for document, _ in documents], [text for _, text in documents])
        except BaseException as error:
            if not is_fault(error):
                raise
            if len(documents) == 1:
                self._quarantined(_refused(documents[0][0], error))
                return
            for document in documents:
                self._read([document])
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
        for row, n_bytes in enumerate(batch.column("n_bytes").to_pylist(), 1):
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


def _refused(document: RawDocument, error: BaseException) -> Quarantined:
    surrogates = isinstance(error, UnicodeEncodeError)
    reason, detail = ("invalid_unicode", "lone surrogates") if surrogates else ("reader_error", type(error).__name__)
    return Quarantined(document.file, document.offset, reason, detail, document.n_bytes, document.url)


class _ArrowFile:
    """An Arrow file, which is created with the first batch."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self._path.unlink(missing_ok=True)

    def write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_file(os.fspath(self._path), self._schema, options=options)
        self._writer.write_batch(batch)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _RowFile:
    """Rows as tuples into an Arrow file; they hold no text, so their number alone says when to write."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = _ArrowFile(path, schema)
        self._schema = schema
        self._rows: list[tuple[Any, ...]] = []

    def add(self, row: tuple[Any, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _BATCH_ROWS * 4:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = [
            pa.array(values, field.type)
            for values, field in zip(zip(*self._rows, strict=True), self._schema, strict=True)
        ]
        self._file.write(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._rows = []

    def close(self) -> None:
        self._flush()
        self._file.close()
