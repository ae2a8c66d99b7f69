"""Read ARC files, the format before WARC: a version block, then one header line and a body per record.

A header line reads ``URL IP date media-type length``; newer files put more fields before the length. Where a header
is missing or has no usable length, reading continues at the next line that is a header.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.readers.http import is_response, media_type
from gem_assets.corpus.readers.records import Item, Quarantined, Skipped
from gem_assets.corpus.readers.streams import open_stream
from gem_assets.corpus.readers.tape import Format, Tape
from gem_assets.corpus.readers.web import Page, Place, clean_url, is_site_file, page_items, response_page, web_page

_DATE = re.compile(rb"\d{8,18}")
_LENGTH = re.compile(rb"\d{1,18}")
_LONGEST_URL: Final = 1 << 16
# a scheme at the start of a line, and something behind a blank at its end
_START = re.compile(rb"(?<![^\n])[A-Za-z][A-Za-z0-9+.-]{1,15}:[^\n]{8,8192} \S+[ \t]*\r?\n")


@dataclass(frozen=True, slots=True)
class _Header:
    url: bytes
    date: bytes
    mime: bytes
    length: bytes


def parse_header(line: bytes) -> _Header | None:
    """Return the fields of a header line, or None if it is not one; addresses may hold blanks."""
    fields = line.strip().split(b" ")
    if len(line) > _LONGEST_URL or len(fields) < 5 or not fields[0]:
        return None
    last = len(fields) - 1
    gap = max((at for at, value in enumerate(fields) if not value), default=0)
    for at in range(max(gap + 1, 2), last - 1):
        # address, IP, date, media type, ..., length
        if _DATE.fullmatch(fields[at]) and fields[at - 1]:
            return _Header(b" ".join(fields[: at - 1]), fields[at], fields[at + 1], fields[last])
    return None


def _begins(rest: bytes) -> bool:
    line, end, _ = rest.partition(b"\n")
    if not end:
        # a header as long as that is rare; its scheme has to do
        return re.match(rb"[a-z][a-z0-9+.-]{1,15}:", line, re.I) is not None
    return parse_header(line) is not None


ARC: Final = Format(_START, _begins)


def read_arc(source: BinaryIO, relative: str, config: CorpusConfig) -> Iterator[Item]:
    """Yield what an ARC file holds; see :func:`gem_assets.corpus.readers.warc.read_warc` for the parameters."""
    tape = Tape(open_stream(source, config, relative), config.max_record_bytes, ARC)
    # the lines of one damaged stretch are one row, and none where its cause has a row already
    told = False
    while True:
        tape.skip_line_ends()
        if not tape.ahead(1):
            damage = tape.damage
            if damage is not None and not told:
                yield Quarantined(relative, tape.stream.damage_offset, damage.reason, damage.detail)
            if damage is None or not tape.resume():
                return
            told = True
            continue
        start = tape.position
        line = tape.take(len(tape.line()))
        header = parse_header(line)
        if header is None:
            if not told and (tape.ahead(1) or tape.damage is None):
                offset = tape.stream.locate(start)
                yield Quarantined(relative, offset, "damaged_arc", "no valid header line", len(line))
                told = True
            tape.go_to_header()
            continue
        told = yield from _record(tape, header, start, len(line), relative, config)


def _record(
    tape: Tape, header: _Header, start: int, head_bytes: int, relative: str, config: CorpusConfig
) -> Generator[Item, None, bool]:
    """Yield what a record gives; return whether that tells already why no record follows."""
    offset = tape.stream.locate(start)
    url = clean_url(header.url.decode("utf-8", "replace"))
    if not _LENGTH.fullmatch(header.length):
        # every header without a length is a record of its own, and the lines behind it are its body
        yield Quarantined(relative, offset, "damaged_arc", "no valid length in the header line", head_bytes, url)
        return True
    length = int(header.length)
    extent = tape.extent(start, length)
    scheme = url.split(":", 1)[0] if url else "filedesc"
    skipped = scheme if scheme in ("filedesc", "dns") else "robots_txt" if is_site_file(url) else ""
    if not (extent.fault or skipped) and extent.held:
        block = tape.take(extent.length)
        place = Place(relative, offset, len(block), url, header.date.decode("ascii"))
        yield from page_items(lambda: _page(header, block, config), place)
        return False
    tape.skip(extent.length)
    if extent.fault:
        yield Quarantined(relative, offset, "truncated_record", extent.fault, extent.length, url)
        return tape.ahead(1) == 0
    if skipped:
        yield Skipped(relative, offset, skipped)
    else:
        detail = f"{length} bytes, max_record_bytes is {config.max_record_bytes}"
        yield Quarantined(relative, offset, "too_large", detail, length, url)
    return False


def _page(header: _Header, block: bytes, config: CorpusConfig) -> Page:
    if is_response(block):
        return response_page(block, config.max_record_bytes)
    return web_page(*media_type(header.mime.decode("latin-1")), block)
