"""The one form in which addresses are compared, for the blocklist, traces, page histories and audits.

An address is read as a browser reads it (WHATWG URL with UTS 46 host names, by the library Ada), and then normalised as
RFC 3986 allows: percent escapes in upper case, none for unreserved characters, one for each character that must not
stand bare. Scheme and user information say how a page is asked for, not which one it is: ``http`` counts as ``https``,
and user information is dropped. Case of the path, order of the query, a trailing slash, ``www.`` and escapes of
reserved characters do tell pages apart.

The form is for comparison only. Documents keep their addresses as they were found, and their ids are made from those.

Cost: two to four microseconds per address.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

import can_ada
from publicsuffixlist import PublicSuffixList

#: Characters of an address that are kept; what is longer is cut where it is read and where it is asked for.
LONGEST_URL: Final = 8192

_WEB: Final = re.compile(r"(?:https?|ftp):", re.I)
_BARE: Final = re.compile(r"(?P<host>[^\s/?#\\@:\[\]]+)(?::\d+)?(?:[/?#\\]|\Z)")
_PARTS: Final = re.compile(r"(?P<scheme>https?|ftp):[/\\]*(?P<place>[^/\\?#]*)(?P<rest>.*)", re.I | re.S)
_DOTS: Final = re.compile(r"[.\u3002\uff0e\uff61]")
_QUAD: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_NO_HOST: Final = re.compile(r"[\s/?#\\@]|^[^\[]*:")
_INSIDE: Final = re.compile(r"[\t\n\r]")
_EDGES: Final = "".join(map(chr, range(0x21)))
# escapes, and what must be one: all but the characters that a path or query may hold
_ESCAPES: Final = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~:/?@!$&'()*+,;=]")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# top-level names that no registry sells (RFC 2606, 6761, 6762, 7686) and that test data is full of
_RESERVED_NAMES: Final = frozenset({"example", "internal", "invalid", "local", "localhost", "onion", "test"})


class Address(NamedTuple):
    """An address as it is compared.

    Attributes
    ----------
    key
        Equal for all spellings of one address; what is not a web address stands for itself.
    host
        ASCII host name without its final dot, or None.
    fragment
        What follows ``#``, normalised; it is not part of ``key``.
    """

    key: str
    host: str | None = None
    fragment: str = ""


def read_address(text: str) -> Address:
    """Read an address: absolute, or without its scheme (``//example.org/a``, ``example.org/a``)."""
    text = _INSIDE.sub("", text.strip(_EDGES))
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1].strip(_EDGES)
    full = _with_scheme(text)
    if full is None:
        return Address(text)
    try:
        parts = can_ada.parse(full)
    except ValueError:
        return _unparsed(text, full)
    host = parts.hostname.rstrip(".")
    if not host:
        return Address(text)
    fragment = normal_escapes(parts.hash[1:])
    return Address(_key(parts.protocol, host, parts.port, parts.pathname, parts.search), host, fragment)


def canonical_url(text: str) -> str:
    """Return the form in which an address is compared; what is not a web address stands for itself."""
    return read_address(text).key


def canonical_page(text: str) -> str:
    """Return the same with the fragment, by which data sets tell passages of one page apart."""
    key, _, fragment = read_address(text)
    return f"{key}#{fragment}" if fragment else key


def host_of(text: str) -> str | None:
    """Return the host of an address, or None where there is none."""
    return read_address(text).host


def canonical_host(text: str) -> str | None:
    """Return a host name or IP number in the form in which hosts are compared; None where it is neither."""
    text = text.strip(_EDGES)
    if not text or _NO_HOST.search(text):
        return None
    try:
        return can_ada.parse(f"https://{text}/").hostname.rstrip(".") or None
    except ValueError:
        return None


def normal_escapes(text: str) -> str:
    """Return a path or query with its percent escapes in their one normal spelling."""
    return _ESCAPES.sub(_escape, text)


def is_number(host: str) -> bool:
    """Tell whether a canonical host is an IP number, which has no domains below it."""
    return host.startswith("[") or _QUAD.fullmatch(host) is not None


def add_sql_functions(database: Any) -> None:
    """Give a DuckDB connection ``canonical_url``, ``canonical_page`` and ``host_of`` of a text."""
    for function in (canonical_url, canonical_page, host_of):
        name = function.__name__
        database.create_function(name, _over(function), ["VARCHAR"], "VARCHAR", type="arrow", null_handling="special")


@lru_cache(maxsize=1)
def suffixes() -> PublicSuffixList:
    """Return the ICANN part of the bundled Public Suffix List."""
    return PublicSuffixList(only_icann=True)


def _over(function: Callable[[str], str | None]) -> Callable[[Any], Any]:
    import pyarrow as pa

    def mapped(texts: Any) -> Any:
        return pa.array([function(text) if text is not None else None for text in texts.to_pylist()], pa.string())

    return mapped


def _with_scheme(text: str) -> str | None:
    """Return a web address with its scheme, or None for anything else."""
    if _WEB.match(text):
        return text
    if text[:2] in ("//", "\\\\", "/\\", "\\/"):
        return f"https:{text}"
    bare = _BARE.match(text)
    if bare is None or not _DOTS.search(bare["host"]):
        return None
    host = canonical_host(bare["host"])
    # a row id such as 3.5, and a file name, are not addresses
    named = host is not None and (host == bare["host"] if is_number(host) else _is_top_level(host.rpartition(".")[2]))
    return f"https://{text}" if named else None


@lru_cache(maxsize=4096)
def _is_top_level(label: str) -> bool:
    return label in _RESERVED_NAMES or _known_suffixes().publicsuffix(label) is not None


@lru_cache(maxsize=1)
def _known_suffixes() -> PublicSuffixList:
    return PublicSuffixList(only_icann=True, accept_unknown=False)


def _unparsed(text: str, full: str) -> Address:
    """Read what a browser refuses, part by part: its host may still be below one that somebody names."""
    parts = _PARTS.fullmatch(full)
    place = parts["place"].rpartition("@")[2] if parts is not None else ""
    host, colon, port = place.partition(":") if not place.startswith("[") else (place, "", "")
    host = ".".join(_label(label) for label in _DOTS.split(host)).rstrip(".")
    if parts is None or not host:
        return Address(text)
    rest = can_ada.parse(f"https://host.invalid{parts['rest']}")
    return Address(_key(parts["scheme"].lower() + ":", host, colon and port, rest.pathname, rest.search), host)


def _label(label: str) -> str:
    lower = label.lower()
    return can_ada.idna_encode(lower).decode() or lower


def _key(protocol: str, host: str, port: str, path: str, query: str) -> str:
    scheme = "ftp" if protocol == "ftp:" else "https"
    if protocol == "http:" and port == "443":
        # not the default of its own scheme, but of the one that it would count as
        scheme = "http"
    place = f"{host}:{port}" if port else host
    return f"{scheme}://{place}{normal_escapes(path)}{normal_escapes(query) if len(query) > 1 else ''}"


def _escape(found: re.Match[str]) -> str:
    text = found[0]
    if len(text) > 1:
        character = chr(int(text[1:], 16))
        return character if character in _UNRESERVED else text.upper()
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8"))
