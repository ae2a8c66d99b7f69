"""What lies next to an entry of a request: other pages, hosts and names that somebody may have meant.

Two addresses that differ in a slash, in ``www.`` or in the case of a letter may be two pages, so a takedown of one does
not touch the other. It names it, with what differs, so that a person can decide.

Cost: one pass over the addresses of all shards, and only where an entry may have such neighbours.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import unquote_to_bytes

import can_ada

from gem_assets.corpus.addresses import Address, is_number, read_address, suffixes
from gem_assets.frozen import Frozen
from gem_assets.printable import printable
from gem_assets.takedown.entries import BlockEntry, source_form

MOST_NEAR = 10
_DEFAULTS = ("index.html", "index.htm", "index.php", "default.aspx")


class Near(Frozen):
    """Something that an entry does not name, and that resembles what it names.

    ``what`` is an entry that would name it, as ``gem takedown`` takes it.
    """

    what: str
    differs: str
    documents: int


class NearMisses:
    """Collects the neighbours of some entries from the places of all shards.

    Each place costs the same, however many entries there are.

    ``found`` are the ids of those that named something: of these only other spellings of the same page are collected.
    """

    def __init__(self, entries: Iterable[BlockEntry], found: Iterable[str] = ()) -> None:
        self._found = frozenset(found)
        self._hosts: dict[str, Counter[str]] = {}
        self._pages: dict[tuple[str, str], list[tuple[BlockEntry, Address]]] = {}
        self._names: list[BlockEntry] = []
        self._names_as_hosts: dict[str, list[BlockEntry]] = {}
        self._by_source: dict[str, list[tuple[BlockEntry, str]]] = {}
        self._digests: dict[str, BlockEntry] = {}
        self._counts: dict[str, Counter[tuple[str, str]]] = {}
        for entry in entries:
            if entry.kind == "url" or entry.id not in self._found:
                self._add(entry)

    def __bool__(self) -> bool:
        return bool(self._hosts or self._names or self._digests)

    def _add(self, entry: BlockEntry) -> None:
        if entry.kind in ("doc_id", "content"):
            self._digests[entry.value] = entry
            return
        host = _host_of_entry(entry)
        if entry.kind == "source":
            self._names.append(entry)
            if host is not None:
                self._names_as_hosts.setdefault(host, []).append(entry)
        elif host is not None:
            self._hosts.setdefault(_site(host), Counter())
            if entry.kind != "domain":
                asked = read_address(entry.value)
                self._pages.setdefault((_site(host), _loose_path(asked)), []).append((entry, asked))

    def see(self, doc_id: str, content_digest: str, url: str | None, source: str | None) -> None:
        """Look at one place."""
        for value, kind in ((doc_id, "doc_id"), (content_digest, "content")):
            entry = self._digests.get(value)
            if entry is not None and entry.kind != kind:
                self._count(entry, f"{kind}:{value}", "the kind of digest")
        address = read_address(url) if url is not None else None
        if source is not None and self._names:
            for entry, differs in self._names_like(source):
                self._count(entry, f"source:{source}", differs)
        if (address is None or address.host is None) and source is not None:
            address = read_address(source)
        if address is None or address.host is None:
            return
        for entry in self._names_as_hosts.get(address.host, ()):
            self._count(entry, f"domain:{address.host}", "it is the host of addresses")
        site = _site(address.host)
        if site in self._hosts:
            self._hosts[site][address.host] += 1
            self._see_page(site, address)

    def of(self, entry: BlockEntry) -> tuple[Near, ...]:
        """Return the neighbours of an entry, those that differ in least first, ``MOST_NEAR`` at most."""
        own = self._counts.get(entry.id) or self._of_site(entry)
        found = [Near(what=what, differs=differs, documents=count) for (what, differs), count in own.items()]
        return tuple(sorted(found, key=lambda one: (one.differs.count(","), one.differs, one.what))[:MOST_NEAR])

    def _of_site(self, entry: BlockEntry) -> Counter[tuple[str, str]]:
        asked = _host_of_entry(entry)
        found: Counter[tuple[str, str]] = Counter()
        if asked is None or entry.kind == "source" or entry.id in self._found:
            return found
        for host, count in self._hosts.get(_site(asked), Counter[str]()).items():
            # a domain that was not found has nothing below it
            differs = _hosts_differ(asked, host) if entry.kind == "domain" else "another page of the site"
            found[f"domain:{host}", differs] += count
        return found

    def _count(self, entry: BlockEntry, what: str, differs: str) -> None:
        self._counts.setdefault(entry.id, Counter())[printable(what), differs] += 1

    def _see_page(self, site: str, seen: Address) -> None:
        path = _loose_path(seen)
        for entry, asked in self._pages.get((site, path), ()):
            if seen.key != asked.key:
                self._count(entry, seen.key, ", ".join(_differences(asked, seen)) or "spelling")
        while path:
            path = path.rpartition("/")[0]
            for entry, asked in self._pages.get((site, path), ()):
                if entry.id not in self._found and asked.host == seen.host and not asked.key.endswith("/"):
                    self._count(entry, f"prefix:{asked.key}", "it is below that address")

    def _names_like(self, source: str) -> list[tuple[BlockEntry, str]]:
        if source not in self._by_source:
            name, found = _letters(source), self._by_source.setdefault(source, [])
            for entry in self._names:
                other = _letters(entry.value)
                if source_form(source) == entry.value:
                    continue
                if name == other:
                    found.append((entry, "spelling"))
                elif min(len(name), len(other)) > 2 and (name in other or other in name):
                    found.append((entry, "a part of the name"))
        return self._by_source[source]


def _host_of_entry(entry: BlockEntry) -> str | None:
    return entry.compared if entry.kind == "domain" else read_address(entry.value).host


def _loose_path(address: Address) -> str:
    return _decoded(_without_default(_parts(address)[2])).casefold()


def _differences(asked: Address, seen: Address) -> Iterator[str]:
    """Yield in what two addresses with the same loose path differ."""
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


def _paths_differ(path: str, other: str) -> Iterator[str]:
    bare, other_bare = _without_default(path), _without_default(other)
    text, other_text = _decoded(bare), _decoded(other_bare)
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


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
