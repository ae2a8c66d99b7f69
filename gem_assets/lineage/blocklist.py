"""What must not be kept: addresses, sites, documents and texts that rights holders asked to take down.

One append-only file, ``<data root>/blocklist.jsonl``, one line a request: what was asked for, the digests of the texts
found there (so that a copy at another address does not come back) and the ids of the documents that were held. A line
counts once its newline is on the disk; a last line without one was never acknowledged and is cut off by the next
append.

:class:`Matcher` tells which candidate rows the list concerns, and remembers which entries met a row at all: only those
go into the identity of a snapshot, so a request changes the snapshots that it concerns and no other.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

import logging
import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from gem_assets.lineage.durable import file_lock, fsync_dir, make_dirs

logger = logging.getLogger(__name__)

BLOCKLIST_NAME = "blocklist.jsonl"
Kind = Literal["url", "domain", "doc_id", "content"]
Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]

_HEX32 = re.compile(r"[0-9a-f]{32}")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)+")
_PORTS = {"http": 80, "https": 443}
_MOST_PROBES = 64


class BlocklistError(ValueError):
    """A request that cannot be understood, or a list that was damaged by something else than a cut-off write."""


class BlockEntry(BaseModel):
    """One thing that must not be kept; ``value`` is in the form in which documents are compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    value: str = Field(min_length=1)

    @property
    def id(self) -> str:
        """32 hex digits that name the entry without quoting it."""
        return sha256(f"{self.kind}:{self.value}".encode()).hexdigest()[:32]

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


class BlockRequest(BaseModel):
    """One line of the list.

    Attributes
    ----------
    id
        12 hex digits.
    at
        When it was asked for; UTC, seconds.
    entries
        What was asked for.
    copies
        Content digests of the texts found there, and of their duplicates.
    documents
        Ids of every document that was held, in any version that is still on disk.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]
    at: datetime
    reason: str = ""
    entries: tuple[BlockEntry, ...] = Field(min_length=1)
    copies: tuple[Hex32, ...] = ()
    documents: tuple[Hex32, ...] = ()

    @property
    def all_entries(self) -> list[BlockEntry]:
        """What was asked for, and an entry for each copy."""
        return [*self.entries, *(BlockEntry(kind="content", value=digest) for digest in self.copies)]


def parse_entry(text: str) -> BlockEntry:
    """Return the entry that a line of a request means.

    Parameters
    ----------
    text
        ``url:…``, ``domain:…``, ``doc_id:…``, ``content:…``; an address with ``://`` or a bare domain needs no prefix.

    Raises
    ------
    BlocklistError
        When it is none of these.
    """
    text = text.strip()
    prefix, colon, rest = text.partition(":")
    kind = prefix.strip().lower()
    if colon and kind in ("url", "domain", "doc_id", "content"):
        return _entry(kind, rest.strip())
    if "://" in text:
        return _entry("url", text)
    if _HEX32.fullmatch(text.lower()):
        raise BlocklistError(f"{text!r} may be a document or a text: write doc_id:{text} or content:{text}")
    return _entry("domain", text)


def _entry(kind: str, value: str) -> BlockEntry:
    match kind:
        case "url":
            if not value or any(character.isspace() for character in value):
                raise BlocklistError(f"{value[:200]!r} is no address: it is empty or holds blanks")
            return BlockEntry(kind="url", value=normal_url(value))
        case "domain":
            host = _ascii_host(value.lower().removeprefix("*.").strip("."))
            if not _DOMAIN.fullmatch(host):
                raise BlocklistError(
                    f"{value[:200]!r} is neither an address (with ://), a domain such as example.org, nor "
                    "doc_id:<32 hex> or content:<32 hex>"
                )
            return BlockEntry(kind="domain", value=host)
        case _:
            if not _HEX32.fullmatch(value.lower()):
                raise BlocklistError(f"{kind}:{value[:200]} is no digest: 32 hexadecimal digits are needed")
            return BlockEntry(kind="doc_id" if kind == "doc_id" else "content", value=value.lower())


def normal_url(url: str) -> str:
    """Return an address in the form in which addresses are compared; what is no address stays as it is.

    Scheme and host in lower case, ``https`` for ``http``, no default port, no fragment, ``/`` for no path.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return url
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not host:
        return url
    place = _ascii_host(host) + (f":{port}" if port not in (None, _PORTS[scheme]) else "")
    return urlunsplit(("https", place, parts.path or "/", parts.query, ""))


def host_of(url: str) -> str | None:
    """Return the host of an address in ASCII, or None where there is none."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return _ascii_host(host) if host else None


def _ascii_host(host: str) -> str:
    try:
        return host.rstrip(".").encode("idna").decode("ascii").lower()
    except UnicodeError:
        return host.rstrip(".").lower()


class Matcher:
    """Tells which rows the list concerns; fits ``blocked=`` of ``corpus.ingest.ingest_snapshot``.

    Attributes
    ----------
    hits
        Ids of the entries that concerned any row so far.
    """

    def __init__(self, entries: Iterable[BlockEntry]) -> None:
        self.entries = {entry.id: entry for entry in entries}
        by_kind: dict[Kind, dict[str, str]] = {"url": {}, "domain": {}, "doc_id": {}, "content": {}}
        for name, entry in self.entries.items():
            by_kind[entry.kind][entry.value] = name
        self._urls, self._domains = by_kind["url"], by_kind["domain"]
        self._digests = {
            column: (known, pa.array(list(known), pa.string()))
            for column, known in (("doc_id", by_kind["doc_id"]), ("content_digest", by_kind["content"]))
            if known
        }
        self.hits: set[str] = set()

    def __call__(self, batch: pa.RecordBatch) -> NDArray[np.bool_]:
        """Return the rows that must not be kept, bool (n,); columns doc_id, url and, if it is there, content_digest."""
        mask = np.zeros(batch.num_rows, bool)
        for name, (known, values) in self._digests.items():
            if name not in batch.schema.names:
                continue
            column = batch.column(name)
            found = pc.is_in(column, value_set=values)
            self.hits.update(known[value] for value in column.filter(found).unique().to_pylist())
            mask |= found.to_numpy(zero_copy_only=False)
        if self._urls or self._domains:
            column = batch.column("url")
            for row in np.flatnonzero(self._worth_parsing(column)):
                named = self._named(str(column[int(row)]))
                self.hits.update(named)
                mask[row] |= bool(named)
        return mask

    def _named(self, url: str) -> list[str]:
        found = [self._urls[form] for form in (normal_url(url),) if form in self._urls]
        host = host_of(url) if self._domains else None
        while host:
            if host in self._domains:
                found.append(self._domains[host])
            host = host.partition(".")[2]
        return found

    @cached_property
    def _probes(self) -> list[str] | None:
        """Text that an address must hold to be worth parsing; None when every address has to be parsed."""
        hosts = {host_of(url) or url for url in self._urls} | set(self._domains)
        plain = all(host.isascii() and "xn--" not in host for host in hosts)
        return sorted(hosts) if plain and len(hosts) <= _MOST_PROBES else None

    def _worth_parsing(self, column: pa.Array) -> NDArray[np.bool_]:
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        if self._probes is None:
            return valid
        hit = np.zeros(len(column), bool)
        for probe in self._probes:
            found = pc.match_substring(column, probe, ignore_case=True)
            hit |= pc.fill_null(found, fill_value=False).to_numpy(zero_copy_only=False)
        return hit & valid


class Blocklist:
    """The list of one data root.

    Parameters
    ----------
    root
        Local data root; the list is ``<root>/blocklist.jsonl``.
    """

    def __init__(self, root: str | Path) -> None:
        self.path = Path(root) / BLOCKLIST_NAME

    def requests(self) -> list[BlockRequest]:
        """Return the requests, oldest first.

        Raises
        ------
        BlocklistError
            When a line before the last is damaged: leaving it out would let documents back in.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        found: list[BlockRequest] = []
        lines = data.split(b"\n")
        if lines[-1]:
            logger.warning("%s ends in a line that was cut off; it was never acknowledged and does not count",
                           self.path)  # fmt: skip
        for number, line in enumerate(lines[:-1], 1):
            try:
                found.append(BlockRequest.model_validate_json(line))
            except ValidationError as error:
                raise BlocklistError(
                    f"{self.path} line {number} is damaged ({error.error_count()} faults); restore it from a backup: "
                    "without it, documents that were taken down could come back"
                ) from error
        return found

    def append(self, request: BlockRequest) -> None:
        """Add a request durably; on return it is on the disk."""
        make_dirs(self.path.parent)
        with file_lock(self.path.with_name(f".{BLOCKLIST_NAME}.lock"), purpose="append to the blocklist"):
            created = not self.path.exists()
            with self.path.open("ab+") as handle:
                handle.seek(0)
                whole = handle.read().rfind(b"\n") + 1
                handle.truncate(whole)
                handle.write(request.model_dump_json().encode() + b"\n")
                handle.flush()
                os.fsync(handle.fileno())
            if created:
                fsync_dir(self.path.parent)

    def entries(self) -> list[BlockEntry]:
        """Return every entry once, sorted by id."""
        found = {entry.id: entry for request in self.requests() for entry in request.all_entries}
        return [found[name] for name in sorted(found)]

    def documents(self) -> set[str]:
        """Return the ids of every document that was held and is to be gone."""
        return {name for request in self.requests() for name in request.documents}


def entries_version(ids: Iterable[str]) -> str:
    """Return the data version of the entries that concern one result: a digest over their ids."""
    return sha256("\n".join(sorted(ids)).encode("ascii")).hexdigest()


def matched_rows(batch: pa.RecordBatch, matcher: Matcher, columns: Sequence[str]) -> pa.RecordBatch:
    """Return the rows of a batch that the list concerns, reduced to some columns."""
    return batch.select(list(columns)).filter(pa.array(matcher(batch)))
