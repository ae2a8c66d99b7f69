"""What lies next to an entry of a request: other pages, hosts and names that somebody may have meant.

Two addresses that differ in a slash, in ``www.`` or in the case of a letter may be two pages, so a takedown of one does
not touch the other. It names it, with what differs, so that a person can decide.

Cost: one pass over the addresses of all shards, and only where an entry may have such neighbours.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import unquote_to_bytes

import can_ada
from pydantic import BaseModel, ConfigDict

from gem_assets.corpus.addresses import Address, is_number, read_address, suffixes
from gem_assets.lineage.entries import BlockEntry, source_form
from gem_assets.printable import printable

MOST_NEAR = 10
_DEFAULTS = ("index.html", "index.htm", "index.php", "default.aspx")
_SAME_SITE = "another page of the site"


class Near(BaseModel):
    """Something that an entry does not name, and that resembles what it names.

    Attributes
    ----------
    what
        An entry that would name it, as ``gem takedown`` takes it.
    differs
        In what it differs.
    documents
        Places that it would name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    differs: str
    documents: int


class NearMisses:
    """Collects the neighbours of some entries from the places of all shards.

    Parameters
    ----------
    entries
        Entries of a request.
    found
        Ids of those that named something: of these only other spellings of the same page are collected.
    """

    def __init__(self, entries: Iterable[BlockEntry], found: Iterable[str] = ()) -> None:
        self._found = frozenset(found)
        self._by_site: dict[str, list[tuple[BlockEntry, Address]]] = {}
        self._names: list[BlockEntry] = []
        self._digests: dict[str, BlockEntry] = {}
        self._counts: dict[tuple[str, str, str], int] = {}
        for entry in entries:
            if entry.kind in ("url", "prefix", "domain"):
                host = entry.value if entry.kind == "domain" else read_address(entry.value).host
                address = Address(f"https://{host}/", host) if entry.kind == "domain" else read_address(entry.value)
                if host and (entry.kind == "url" or entry.id not in self._found):
                    self._by_site.setdefault(_site(host), []).append((entry, address))
            elif entry.id not in self._found:
                if entry.kind == "source":
                    self._names.append(entry)
                else:
                    self._digests[entry.value] = entry

    def __bool__(self) -> bool:
        return bool(self._by_site or self._names or self._digests)

    def see(self, doc_id: str, content_digest: str, url: str | None, source: str | None) -> None:
        """Look at one place."""
        for value, kind in ((doc_id, "doc_id"), (content_digest, "content")):
            entry = self._digests.get(value)
            if entry is not None and entry.kind != kind:
                self._count(entry, f"{kind}:{value}", "the kind of digest")
        for place in {url, source} - {None}:
            address = read_address(str(place))
            for entry, asked in self._by_site.get(_site(address.host), ()) if address.host else ():
                if place == url or (url is None and entry.kind != "domain"):
                    self._compare(entry, asked, address)
        for entry in self._names:
            self._compare_names(entry, url, source)

    def of(self, entry: BlockEntry) -> tuple[Near, ...]:
        """Return the neighbours of an entry, those that differ in least first, ``MOST_NEAR`` at most."""
        own = [
            Near(what=what, differs=differs, documents=count)
            for (name, what, differs), count in self._counts.items()
            if name == entry.id
        ]
        closer = [one for one in own if one.differs != _SAME_SITE]
        chosen = closer or own
        return tuple(sorted(chosen, key=lambda one: (one.differs.count(","), one.differs, one.what))[:MOST_NEAR])

    def _count(self, entry: BlockEntry, what: str, differs: str) -> None:
        key = entry.id, printable(what), differs
        self._counts[key] = self._counts.get(key, 0) + 1

    def _compare(self, entry: BlockEntry, asked: Address, seen: Address) -> None:
        if entry.kind == "domain":
            if seen.host != asked.host and not str(seen.host).endswith(f".{asked.host}"):
                self._count(entry, f"domain:{seen.host}", _hosts_differ(str(asked.host), str(seen.host)))
            return
        if seen.key == asked.key:
            return
        differs = list(_differences(asked, seen))
        if None not in differs:
            self._count(entry, seen.key, ", ".join(str(one) for one in differs))
        elif entry.id in self._found:
            return
        elif seen.key.startswith(asked.key.rstrip("/") + "/"):
            self._count(entry, f"prefix:{asked.key}", "it is below that address")
        else:
            self._count(entry, f"domain:{seen.host}", _SAME_SITE)

    def _compare_names(self, entry: BlockEntry, url: str | None, source: str | None) -> None:
        if source is not None and source_form(source) != entry.value:
            one, other = _letters(source), _letters(entry.value)
            if one == other:
                self._count(entry, f"source:{source}", "spelling")
            elif min(len(one), len(other)) > 2 and (one in other or other in one):
                self._count(entry, f"source:{source}", "a part of the name")
        if url is not None and _host(entry.value) is not None and read_address(url).host == _host(entry.value):
            self._count(entry, f"domain:{_host(entry.value)}", "it is the host of addresses")


def _differences(asked: Address, seen: Address) -> Iterator[str | None]:
    """Yield in what two addresses differ; None where that is more than a spelling."""
    (scheme, place, path, query), (other_scheme, other_place, other_path, other_query) = map(_parts, (asked, seen))
    if scheme != other_scheme:
        yield "scheme"
    if asked.host != seen.host:
        yield _hosts_differ(str(asked.host), str(seen.host))
    if place.removeprefix(str(asked.host)) != other_place.removeprefix(str(seen.host)):
        yield "port"
    if path != other_path:
        yield from _paths_differ(path, other_path)
    if query != other_query:
        yield "order of the query" if sorted(query.split("&")) == sorted(other_query.split("&")) else "query"


def _parts(address: Address) -> tuple[str, str, str, str]:
    scheme, _, rest = address.key.partition("://")
    before, _, query = rest.partition("?")
    place, _, path = before.partition("/")
    return scheme, place, path, query


def _paths_differ(path: str, other: str) -> Iterator[str | None]:
    bare, other_bare = _without_default(path), _without_default(other)
    text, other_text = _decoded(bare), _decoded(other_bare)
    if text.casefold() != other_text.casefold():
        yield None
        return
    if (bare, other_bare) != (path.rstrip("/"), other.rstrip("/")):
        yield "name of the index page"
    elif path.endswith("/") != other.endswith("/"):
        yield "trailing slash"
    if text != other_text:
        yield "case"
    if bare.casefold() != other_bare.casefold():
        yield "percent escapes"


def _without_default(path: str) -> str:
    before, _, name = path.rpartition("/")
    return before if name.lower() in _DEFAULTS else path.rstrip("/")


def _decoded(path: str) -> str:
    """Undo escapes of any age: UTF-8, and the bytes of Windows-1252 where it is not UTF-8."""
    data = unquote_to_bytes(path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _hosts_differ(asked: str, seen: str) -> str:
    if asked.removeprefix("www.") == seen.removeprefix("www."):
        return "www."
    return "subdomain" if _registrable(asked) == _registrable(seen) else "spelling of the host"


@lru_cache(maxsize=65_536)
def _site(host: str) -> str:
    """Return the registrable domain, with letters that look or read alike as one."""
    name = _registrable(host)
    # the stub says str; the library takes bytes
    shown = can_ada.idna_decode(name.encode())  # pyright: ignore[reportArgumentType]
    return shown.casefold().replace("\u200c", "").replace("\u200d", "") or name


def _registrable(host: str) -> str:
    return host if is_number(host) else suffixes().privatesuffix(host) or host


def _host(name: str) -> str | None:
    return read_address(name).host


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
