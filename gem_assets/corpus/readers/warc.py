"""Read WARC, WET and WAT files: one item per record, in bounded memory.

``response`` records give the page's text, ``conversion`` records (WET) are text already, ``resource`` records count
where they hold a page. Requests, metadata (all of a WAT file), revisits, images, segments and failures of the server
are skipped and counted. Headers are read as writers really wrote them: all versions from 0.17, bare line feeds, folded
lines. Whatever is wrong with a record is that record's row, and reading continues at the next record header.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.readers.http import is_response, media_type
from gem_assets.corpus.readers.records import Damaged, Item, Quarantined, Skipped
from gem_assets.corpus.readers.sniff import is_binary_body
from gem_assets.corpus.readers.streams import open_stream
from gem_assets.corpus.readers.tape import LONGEST_HEADER, LOOK, Format, Tape
from gem_assets.corpus.readers.web import (
    Page,
    Place,
    clean_url,
    is_site_file,
    page_items,
    response_page,
    utf8_text,
    web_page,
)

KNOWN_TYPES: Final = frozenset(
    {
        *("warcinfo", "response", "resource", "request", "metadata", "revisit", "conversion", "continuation"),
    }
)
# literal first, which makes the search quick; the version has to begin a line, or follow padding with zeros, and a
# known field to follow
_START = re.compile(rb"WARC/(?<![^\n\0]WARC/)\d+\.\d+[ \t]*\r?\n(?=(?i:WARC-|Content-))")
_VERSION = re.compile(rb"WARC/\d+\.\d+[ \t]*\r?\n")
_HEADER_END = re.compile(rb"\n\r*\n")
_FOLDED_OR_NESTED = re.compile(rb"\n[ \t]|(?<!\A)WARC/")
_LENGTH = re.compile(r"\d{1,18}")
WARC: Final = Format(_START, lambda rest: rest.startswith(b"WARC/"))


@dataclass(frozen=True, slots=True)
class _Header:
    """Fields of one record, first of each name, by lower-case name; ``lengths``: all declared ones."""

    fields: dict[str, str]
    lengths: frozenset[str]

    def get(self, name: str) -> str:
        return self.fields.get(name, "")


def read_warc(source: BinaryIO, relative: str, config: CorpusConfig) -> Iterator[Item]:
    """Yield what a WARC file holds."""
    tape = Tape(open_stream(source, config, relative), config.max_record_bytes, WARC)
    if tape.peek(len(BOM_UTF8)) == BOM_UTF8:
        tape.skip(len(BOM_UTF8))
    # a stretch without records is one row, and none where its cause has a row already
    told = found = False
    while True:
        tape.skip_line_ends()
        if not tape.ahead(1):
            damage = tape.damage
            if damage is not None and not told:
                yield Quarantined(relative, tape.stream.damage_offset, damage.reason, damage.detail)
            if damage is None and not (found or told):
                yield Quarantined(relative, 0, "damaged_warc", "no WARC record found", tape.position)
            if damage is None or not tape.resume():
                return
            told = True
            continue
        start = tape.position
        header = _read_header(tape)
        if header is not None:
            found = True
            told = yield from _record(tape, header, start, relative, config)
            continue
        if not told and (tape.ahead(1) or tape.damage is None):
            detail = "no WARC record header where one has to be"
            yield Quarantined(relative, tape.stream.locate(start), "damaged_warc", detail)
            told = True
        tape.go_to_header()


def _read_header(tape: Tape) -> _Header | None:
    """Take the current header; None, with the tape past what was looked at, if there is none."""
    line = tape.line()
    size = len(line)
    # nearly every header is held as a whole, and has nothing of what the loop below looks for
    head = tape.held(_HEADER_END, LOOK)
    if _VERSION.match(head) and not _FOLDED_OR_NESTED.search(head):
        tape.skip(len(head))
        return _parse(head.decode("utf-8", "replace").split("\n"))
    if not _VERSION.match(line):
        # a header may stand behind zeros
        tape.skip(size - len(line.lstrip(b"\0")) or size)
        return None
    lines: list[list[bytes]] = []
    while line := tape.line(size):
        if _VERSION.match(line) or size > LONGEST_HEADER:
            break
        size += len(line)
        if not line.strip(b"\r\n"):
            tape.skip(size)
            return _parse([b" ".join(parts).decode("utf-8", "replace") for parts in lines])
        if line[:1] in (b" ", b"\t") and lines:
            lines[-1].append(line.strip())
        else:
            lines.append([line.strip()])
    tape.skip(size)
    return None


def _parse(lines: list[str]) -> _Header:
    fields: dict[str, str] = {}
    lengths: set[str] = set()
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if colon:
            fields.setdefault(name, value.strip())
            if name == "content-length":
                lengths.add(value.strip())
    return _Header(fields, frozenset(lengths))


def _record(
    tape: Tape, header: _Header, start: int, relative: str, config: CorpusConfig
) -> Generator[Item, None, bool]:
    """Yield what a record gives; return whether that tells already why no record follows."""
    offset = tape.stream.locate(start)
    url = clean_url(header.get("warc-target-uri"))
    if len(header.lengths) != 1 or not all(map(_LENGTH.fullmatch, header.lengths)):
        what = "without a" if not header.lengths else "with several" if len(header.lengths) > 1 else "with a damaged"
        detail = f"a record header {what} Content-Length"
        yield Quarantined(relative, offset, "damaged_warc", detail, 0, url)
        tape.go_to_header()
        return False
    length = int(next(iter(header.lengths)))
    extent = tape.extent(start, length)
    kind = header.get("warc-type").lower()
    if not extent.fault and kind in KNOWN_TYPES and not _skipped(kind, url, header) and extent.held:
        block = tape.take(extent.length)
        place = Place(relative, offset, len(block), url, header.get("warc-date"))
        yield from page_items(lambda: _page(header, block, config), place, cut=bool(header.get("warc-truncated")))
        return False
    tape.skip(extent.length)
    if extent.fault:
        yield Quarantined(relative, offset, "truncated_record", extent.fault, extent.length, url)
        return tape.ahead(1) == 0
    if kind not in KNOWN_TYPES:
        yield Quarantined(relative, offset, "unknown_record_type", "no standard WARC-Type", length, url)
    elif skipped := _skipped(kind, url, header):
        yield Skipped(relative, offset, skipped)
    else:
        detail = f"{length} bytes, max_record_bytes is {config.max_record_bytes}"
        yield Quarantined(relative, offset, "too_large", detail, length, url)
    return False


def _skipped(kind: str, url: str | None, header: _Header) -> str:
    if kind not in ("response", "resource", "conversion"):
        return kind
    if header.get("warc-segment-number"):
        return "segment"
    if url is not None and url.startswith(("dns:", "whois:", "metadata:", "urn:")):
        return url.split(":", 1)[0]
    return "robots_txt" if is_site_file(url) else ""


def _page(header: _Header, block: bytes, config: CorpusConfig) -> Page:
    kind = header.get("warc-type").lower()
    mime, charset = media_type(header.get("content-type"))
    identified = media_type(header.get("warc-identified-payload-type"))[0]
    if kind == "conversion":
        if mime and not mime.startswith("text/"):
            return Page(None, "media_type")
        return Page(None, "binary_body") if is_binary_body(block) else Page(utf8_text(block))
    if is_response(block) and (kind == "response" or mime == "application/http"):
        return response_page(block, config.max_record_bytes, identified)
    if kind == "response" and mime in ("", "application/http"):
        raise Damaged("damaged_http", "no HTTP status line")
    return web_page(mime, charset, block, identified)
