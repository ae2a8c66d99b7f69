"""What must not be kept: addresses, sites, sources, documents and texts that rights holders asked to take down.

One append-only file, ``<data root>/blocklist.jsonl``, one line per request: what was asked for, the digests of the
texts found there (so that a copy at another address does not come back) and the ids of the documents that were held.
The lines are chained (:mod:`gem_assets.storage.chain`): a list that was shortened, emptied, torn or edited is refused,
and with it every ingest.

:class:`Matcher` tells which candidate rows the list concerns, and remembers which entries met a row at all: only those
go into the identity of a snapshot, so a request changes the snapshots that it concerns and no other.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, StringConstraints, ValidationError

from gem_assets.corpus.addresses import canonical_host, is_number, read_address
from gem_assets.frozen import Frozen
from gem_assets.storage.chain import PREVIOUS, Chain, ChainedFile, ChainError, Head
from gem_assets.takedown.entries import BlockEntry, BlocklistError, Kind, parse_entry, source_form

__all__ = ["BlockEntry", "BlockRequest", "Blocklist", "BlocklistError", "Count", "Matcher", "parse_entry"]

BLOCKLIST_NAME = "blocklist.jsonl"
Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]

_PAGES: tuple[Kind, ...] = ("url", "prefix")
_NOTHING: tuple[set[str], set[str]] = (set(), set())
# an address whose host needs no more than lower case to be compared, or is none that a browser reads
_PLAIN_HOST = r"^[Hh][Tt][Tt][Pp][Ss]?://(?P<host>[A-Za-z0-9._-]+)(?::[0-9]*)?(?:[/?#].*)?$"


class Count(Frozen):
    """How many documents an entry named when it was asked for, and how many more were duplicates of those."""

    documents: int = Field(ge=0)
    duplicates: int = Field(ge=0)


class BlockRequest(Frozen):
    """One line of the list.

    Attributes
    ----------
    id
        12 hex digits.
    at
        When it was asked for; UTC, seconds.
    copies
        Content digests of the texts found there, and of their duplicates.
    documents
        Ids of every document that was held, in any version that is still on disk.
    found
        For each entry what it found; empty in requests that are older than this field.
    """

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]
    at: datetime
    reason: str = ""
    entries: tuple[BlockEntry, ...] = Field(min_length=1)
    copies: tuple[Hex32, ...] = ()
    documents: tuple[Hex32, ...] = ()
    found: tuple[Count, ...] = ()

    @property
    def all_entries(self) -> list[BlockEntry]:
        """What was asked for, and an entry for each copy."""
        return [*self.entries, *(BlockEntry(kind="content", value=digest) for digest in self.copies)]


class Matcher:
    """Tells which rows the list concerns; fits ``blocked=`` of ``corpus.ingest.ingest_snapshot``.

    ``hits`` are the ids of the entries that concerned any row so far.
    """

    def __init__(self, entries: Iterable[BlockEntry]) -> None:
        self.entries = {entry.id: entry for entry in entries}
        self._values: dict[Kind, dict[str, set[str]]] = {kind: {} for kind in get_args(Kind)}
        for name, entry in self.entries.items():
            self._values[entry.kind].setdefault(entry.compared, set()).add(name)
        self._digests = {
            column: (known, pa.array(list(known), pa.string()))
            for column, known in (("doc_id", self._values["doc_id"]), ("content_digest", self._values["content"]))
            if known
        }
        self._places = any(self._values[kind] for kind in ("url", "prefix", "domain", "source"))
        self._page_hosts = {read_address(value).host for kind in _PAGES for value in self._values[kind]}
        self._hosts: dict[str, bool] = {}
        self.hits: set[str] = set()

    def __call__(self, batch: pa.RecordBatch) -> NDArray[np.bool_]:
        """Return the rows that must not be kept, bool (n,); see :meth:`named` for the columns."""
        mask = np.zeros(batch.num_rows, bool)
        for row, names in self.named(batch).items():
            mask[row] = True
            self.hits.update(names)
        return mask

    def named(self, batch: pa.RecordBatch) -> dict[int, set[str]]:
        """Return the rows that entries name, with the ids of those entries.

        Columns doc_id, content_digest, url and source are looked at where the batch has them. The address of a document
        is its ``url``; where that is none, its ``source`` if that is one. Domains are looked for in both.
        """
        found: dict[int, set[str]] = {}
        for column, (known, values) in self._digests.items():
            if column in batch.schema.names:
                digests = batch.column(column).cast(pa.string())
                named = pc.is_in(digests, value_set=values).to_numpy(zero_copy_only=False)
                for row in np.flatnonzero(named).tolist():
                    found.setdefault(row, set()).update(known[digests[row].as_py()])
        if self._places:
            for row, names in self._by_place(batch):
                found.setdefault(row, set()).update(names)
        return found

    def _by_place(self, batch: pa.RecordBatch) -> Iterator[tuple[int, set[str]]]:
        urls, sources = (
            batch.column(name).cast(pa.string())
            if name in batch.schema.names
            else pa.nulls(batch.num_rows, pa.string())
            for name in ("url", "source")
        )
        of_source = {one: self._of_source(one) for one in sources.unique().to_pylist() if one is not None}
        concerned = pa.array([one for one, sets in of_source.items() if any(sets)], pa.string())
        rows = self._worth_reading(urls) | pc.is_in(sources, value_set=concerned).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(rows).tolist():
            site, page = of_source.get(sources[row].as_py(), _NOTHING)
            url = urls[row].as_py()
            address = read_address(url) if url is not None else None
            named = self._of_page(address.key) | self._of_host(address.host) if address is not None else set[str]()
            named |= site | (page if address is None or address.host is None else set())
            if named:
                yield row, named

    def _worth_reading(self, urls: pa.Array) -> NDArray[np.bool_]:
        """Return the rows whose address may be named; the others have a plain host that no entry concerns."""
        hosts = pc.struct_field(pc.extract_regex(urls, _PLAIN_HOST), "host").dictionary_encode()
        concerned = np.array([self._concerns(host) for host in hosts.dictionary.to_pylist()] + [True], bool)
        places = pc.fill_null(hosts.indices, len(hosts.dictionary)).to_numpy(zero_copy_only=False)
        return concerned[places] & urls.is_valid().to_numpy(zero_copy_only=False)

    def _concerns(self, plain: str) -> bool:
        if plain not in self._hosts:
            host = canonical_host(plain)
            self._hosts[plain] = host is None or host in self._page_hosts or bool(self._of_host(host))
        return self._hosts[plain]

    def _of_page(self, key: str) -> set[str]:
        """Entries that name a page, or something that it is below."""
        found = set(self._values["url"].get(key, ()))
        if self._values["prefix"]:
            for above in _above(key):
                found.update(self._values["prefix"].get(above, ()))
        return found

    def _of_host(self, host: str | None) -> set[str]:
        found: set[str] = set()
        while host and self._values["domain"]:
            found.update(self._values["domain"].get(host, ()))
            host = None if is_number(host) else host.partition(".")[2]
        return found

    def _of_source(self, source: str) -> tuple[set[str], set[str]]:
        """Entries that name a source or its site, and those that name it as a page."""
        key, host, _ = read_address(source)
        site = self._of_host(host) | self._values["source"].get(source_form(source), set())
        # example.org as a source means a site, and not its home page
        return site, self._of_page(key) if re.search(r"[/\\]", source) else set()


def _above(key: str) -> Iterator[str]:
    """Yield an address and what it is below: cut before and after each slash, before its query, between parameters."""
    yield key
    path, mark, query = key.partition("?")
    start = path.find("/", path.find("://") + 3)
    for place in range(max(start, 0), len(path)):
        if path[place] == "/":
            yield path[: place + 1]
            yield path[:place]
    if mark:
        yield path
        yield from (f"{path}?{query[:place]}" for place, sign in enumerate(query) if sign == "&")


class Blocklist:
    """The list of one data root.

    The list is ``<root>/blocklist.jsonl`` of a local data root.
    """

    def __init__(self, root: str | Path) -> None:
        self.path = Path(root) / BLOCKLIST_NAME
        self._file = ChainedFile(self.path)

    def requests(self) -> list[BlockRequest]:
        """Return the requests, oldest first.

        Raises BlocklistError when the list is not what was written: leaving out what it lacks would let documents back
        in.
        """
        found: list[BlockRequest] = []
        for number, line in enumerate(self.chain().lines, 1):
            try:
                found.append(BlockRequest.model_validate(_without_chain(json.loads(line))))
            except (ValidationError, ValueError, RecursionError) as error:
                raise self.damaged(f"line {number} is damaged ({_first(error)})") from error
        return found

    def chain(self) -> Chain:
        """Return the raw lines, once they are known to be the ones that were written."""
        try:
            return self._file.read()
        except ChainError as error:
            raise self.damaged(str(error)) from error

    def head(self) -> Head:
        """Return how far the list reaches: what a certificate names."""
        return self.chain().reach

    def damaged(self, why: str) -> BlocklistError:
        """Return the error that stops every ingest, with the way out."""
        return BlocklistError(
            f"{self.path}: {why}. Restore it and {self._file.head_path.name} from a backup: without what it lacks, "
            "documents that were taken down could come back. Nothing is ingested until then"
        )

    def adopt(self) -> None:
        """Begin the chain of a list that is older than it; see :meth:`gem_assets.storage.chain.ChainedFile.adopt`."""
        try:
            self._file.adopt()
        except ChainError as error:
            raise self.damaged(str(error)) from error

    def append(self, request: BlockRequest) -> None:
        """Add a request durably; on return it is on the disk."""
        try:
            self._file.append(lambda _: request.model_dump(mode="json"))
        except ChainError as error:
            raise self.damaged(str(error)) from error

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


def _without_chain(content: object) -> object:
    return {key: value for key, value in content.items() if key != PREVIOUS} if isinstance(content, dict) else content


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return ": ".join(filter(None, [".".join(str(part) for part in first["loc"]), first["msg"]]))
    return f"{error}"


def blocklist_of(root: str) -> Blocklist | None:
    """Return what a data root must not keep, ``<root>/blocklist.jsonl``; None on object storage."""
    return None if "://" in root else Blocklist(root)
