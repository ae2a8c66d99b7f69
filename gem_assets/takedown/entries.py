"""What a request may name: a page, all that is below an address, a site, a source, a document or a text."""

import re
import unicodedata
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from gem_assets.corpus.addresses import LONGEST_URL, canonical_host, canonical_url, is_number, read_address, suffixes
from gem_assets.frozen import Frozen

Kind = Literal["url", "prefix", "domain", "source", "doc_id", "content"]
_HEX32 = re.compile(r"[0-9a-f]{32}")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LINE_END = re.compile(r"\r\n|\r|\n")
_COMMENT = re.compile(r"(?:^|\s)#")
_WAYS = (
    "Write an address (https://example.org/page), a domain (example.org), prefix:<address> for all that is below it, "
    "source:<name>, doc_id:<32 hex> or content:<32 hex>"
)


class BlocklistError(ValueError):
    """A request that cannot be understood, or a list that is not what was written."""


class BlockEntry(Frozen):
    """One thing that must not be kept; ``value`` is in the form in which documents are compared."""

    kind: Kind
    value: str = Field(min_length=1)

    @property
    def id(self) -> str:
        """32 hex digits that name the entry without quoting it."""
        return sha256(f"{self.kind}:{self.value}".encode()).hexdigest()[:32]

    @property
    def compared(self) -> str:
        """Its value in today's form; a list may be older than that form."""
        match self.kind:
            case "url" | "prefix":
                return canonical_url(self.value)
            case "domain":
                return canonical_host(self.value) or self.value
            case _:
                return self.value

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


def parse_entry(text: str) -> BlockEntry:
    """Return the entry that a line of a request means.

    ``text`` is ``url:…``, ``prefix:…``, ``domain:…``, ``source:…``, ``doc_id:…`` or ``content:…``; an address and a
    bare domain need no prefix. An address means that page, ``prefix:`` also what is below it, a domain all hosts below
    it too.

    Raises BlocklistError when it is none of these, or a domain under which everybody can register names (``co.uk``).
    """
    text = text.strip()
    prefix, colon, rest = text.partition(":")
    kind = prefix.strip().lower()
    if colon and kind in get_args(Kind):
        return _entry(kind, rest.strip())
    if re.search(r"[/\\?#]", text) and read_address(text).host:
        if text.endswith("/*"):
            raise BlocklistError(
                f"{text[:200]!r} means one page: write prefix:{text[:200].rstrip('*')} for all below it"
            )
        return _entry("url", text)
    if _HEX32.fullmatch(text.lower()):
        raise BlocklistError(f"{text!r} may be a document or a text: write doc_id:{text} or content:{text}")
    return _entry("domain", text)


def read_entries(path: Path) -> list[BlockEntry]:
    """Return the entries of a list: one per line, ``#`` at its start or after a blank begins a comment.

    The text is UTF-8, or UTF-16 with its byte order mark, with line ends of any system.

    Raises BlocklistError when a line is none of what :func:`parse_entry` takes, with its number, or when the file is
    not text.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise BlocklistError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    found: list[BlockEntry] = []
    for number, line in enumerate(_LINE_END.split(text), 1):
        # a fragment follows its address at once, a comment does not
        wanted = _COMMENT.split(line, maxsplit=1)[0].strip()
        try:
            found.extend([parse_entry(wanted)] if wanted else [])
        except BlocklistError as error:
            raise BlocklistError(f"{path}, line {number}: {error}") from error
    return found


def _entry(kind: str, value: str) -> BlockEntry:
    match kind:
        case "url":
            address = read_address(value[:LONGEST_URL])
            if not address.key or re.search(r"[^\S\t\r\n]", value) or _CONTROL.search(address.key):
                raise BlocklistError(
                    f"{value[:200]!r} is not an address: it is empty or holds blanks; write %20 for one"
                )
            return BlockEntry(kind="url", value=address.key)
        case "prefix":
            address = read_address(value)
            if address.host is None:
                raise BlocklistError(
                    f"prefix:{value[:200]!r} does not begin with a host, as https://example.org/a does"
                )
            return BlockEntry(kind="prefix", value=address.key)
        case "domain":
            return BlockEntry(kind="domain", value=_domain(value))
        case "source":
            if not value or _CONTROL.search(value):
                raise BlocklistError(f"source:{value[:200]!r} is not a source: it is empty or holds control characters")
            return BlockEntry(kind="source", value=source_form(value))
        case _:
            if not _HEX32.fullmatch(value.lower()):
                raise BlocklistError(f"{kind}:{value[:200]!r} is not a digest: 32 hexadecimal digits are needed")
            return BlockEntry(kind="doc_id" if kind == "doc_id" else "content", value=value.lower())


def _domain(value: str) -> str:
    host = canonical_host(value.removeprefix("*.").strip(".")) or ""
    if is_number(host):
        return host
    if not _DOMAIN.fullmatch(host):
        raise BlocklistError(f"{value[:200]!r} is not understood. {_WAYS}")
    if suffixes().publicsuffix(host) == host:
        raise BlocklistError(f"{host} is a public suffix: everybody's domains are below it. Name the domain itself")
    return host


def source_form(name: str) -> str:
    """Return the form in which names of sources are compared."""
    return unicodedata.normalize("NFC", name).casefold()
