"""What a reader yields: documents, a damaged record, or a record that carries no document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.storage.faults import is_storage_error

SKIP_KINDS: Final[dict[str, str]] = {
    "warcinfo": "a record about the file",
    "filedesc": "an ARC record about the file",
    "request": "what the crawler asked for",
    "metadata": "a record about another one (all of a WAT file)",
    "revisit": "a page that had not changed: the record holds no body",
    "continuation": "a later part of a record that was cut in segments",
    "segment": "the first part of a record that was cut in segments: half a page",
    "dns": "the address of a host",
    "whois": "the owner of a host",
    "urn": "a record that stands for no page",
    "robots_txt": "robots.txt",
    "http_status": "a response with another status than 200",
    "media_type": "a picture, style sheet, feed or other body that is neither HTML nor plain text",
    "binary_body": "a PDF, picture, archive or program that the server calls HTML or text",
    "cut_body": "the rest of a body that breaks off; what came before was read as a document",
}
"""Sound records that carry no document; they are counted by kind, and nothing else is kept of them."""

HUNG: Final = "hung"
"""Reason of a file whose reader was stopped at every try."""

DIED: Final = "reader_died"
"""Reason of a file whose reader ended twice, the second time alone."""


AT_ONCE_ROWS: Final = 512
AT_ONCE_BYTES: Final = 1 << 20
"""Most documents, and most of their text, that are described at once: what stays in the caches of a core."""


@dataclass(frozen=True, slots=True)
class RawDocument:
    """One document as found; text not yet cleaned.

    Attributes
    ----------
    offset
        Byte offset of the WARC/ARC record (compressed offset of its gzip member), parquet row or JSONL line, from 0.
    n_bytes
        Bytes of the raw record, as far as they are known.
    url, id
        Its address, or the record's own id where it has none.
    """

    file: str
    offset: int
    text: str
    n_bytes: int
    url: str | None = None
    source: str | None = None
    date: str | None = None
    lang: str | None = None
    label: str | None = None
    license: str | None = None
    id: str | None = None


FIELDS: Final = ("url", "source", "date", "lang", "label", "license", "id")
"""Fields of a document beside its place and its text."""


@dataclass(frozen=True, slots=True)
class Documents:
    """Documents of one file as columns, for files that are columns themselves.

    Attributes
    ----------
    offsets, n_bytes
        As in :class:`RawDocument`, int64 (n,).
    texts
        ``large_string`` (n,) without nulls, in valid UTF-8.
    fields
        By name, of ``FIELDS``, (n,) each; one that is not there is None for all documents.
    """

    file: str
    offsets: NDArray[np.int64]
    texts: pa.Array
    n_bytes: NDArray[np.int64]
    fields: Mapping[str, Sequence[str | None]]

    def __len__(self) -> int:
        return len(self.offsets)

    def column(self, field: str) -> Sequence[str | None]:
        """Return one of the fields."""
        return self.fields.get(field) or [None] * len(self)

    def part(self, start: int, stop: int) -> Self:
        """Return some of the documents."""
        fields = {name: values[start:stop] for name, values in self.fields.items()}
        texts, n_bytes = self.texts.slice(start, stop - start), self.n_bytes[start:stop]
        return type(self)(self.file, self.offsets[start:stop], texts, n_bytes, fields)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record or a stretch of a file that cannot be read; ``reason`` is a key of ``QUARANTINE_REASONS``.

    ``detail`` never quotes the record.
    """

    file: str
    offset: int
    reason: str
    detail: str
    n_bytes: int = 0
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A sound record that is not a document (a request, an image); ``kind``, a key of ``SKIP_KINDS``, is counted."""

    file: str
    offset: int
    kind: str


Item = RawDocument | Documents | Quarantined | Skipped


class Damaged(Exception):  # noqa: N818
    """Raised inside a reader where one record is bad; the reader turns it into :class:`Quarantined`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


_PANIC: Final = "PanicException"


def is_fault(error: BaseException) -> bool:
    """Tell an error of what is read from one of the storage or the machine.

    A panic of native code is no ``Exception``.
    """
    ordinary = isinstance(error, Exception) and not isinstance(error, MemoryError) and not is_storage_error(error)
    return ordinary or type(error).__name__ == _PANIC
