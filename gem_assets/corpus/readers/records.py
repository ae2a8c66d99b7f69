"""What a reader yields: a document, a damaged record, or a record that carries no document."""

from dataclasses import dataclass
from typing import Final

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


Item = RawDocument | Quarantined | Skipped


class Damaged(Exception):  # noqa: N818
    """Raised inside a reader where one record is bad; the reader turns it into :class:`Quarantined`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


_PANIC: Final = "PanicException"


def is_fault(error: BaseException) -> bool:
    """Tell an error of what is read from an interruption of the reading; a panic of native code is no ``Exception``."""
    ordinary = isinstance(error, Exception) and not isinstance(error, MemoryError)
    return ordinary or type(error).__name__ == _PANIC
