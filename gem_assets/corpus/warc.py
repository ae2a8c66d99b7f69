"""WARC, WET and WAT files: one item a record, in bounded memory.

``response`` records give the page's text, ``conversion`` records (WET) are text already, ``resource`` records count
where they hold a page. Requests, metadata (all of a WAT file), revisits, images and failures of the server are
skipped and counted. fastwarc finds the records; decompression, HTTP and limits are ours, so that a damaged stretch
costs its own records only: reading resumes at the next record header behind it.
"""

import re
import zlib
from collections.abc import Generator, Iterator
from typing import BinaryIO, Final, cast

from fastwarc.warc import ArchiveIterator, WarcRecord

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.http import media_type
from gem_assets.corpus.records import Damaged, Item, Quarantined, RawDocument, Skipped
from gem_assets.corpus.streams import GZIP_MAGIC, ByteStream, open_stream
from gem_assets.corpus.text import host_source
from gem_assets.corpus.web import clean_url, is_site_file, iso_date, response_text, utf8_text, web_text

KNOWN_TYPES: Final = frozenset(
    {
        *("warcinfo", "response", "resource", "request", "metadata", "revisit", "conversion", "continuation"),
    }
)
_HEADER = re.compile(rb"\nWARC/[01]\.\d")
_MEMBER = re.compile(rb"\x1f\x8b\x08")
_SCAN = 1 << 20
_PEEK = 1 << 12


def read_warc(source: BinaryIO, relative: str, config: CorpusConfig) -> Iterator[Item]:
    """Yield what a WARC file holds.

    Parameters
    ----------
    source
        The open file, at its start.
    relative
        Name of the file in the rows.
    """
    start: int | None = 0
    while start is not None:
        source.seek(start)
        compressed = source.read(2) == GZIP_MAGIC
        source.seek(start)
        behind = yield from _segment(open_stream(source, config), relative, config, compressed=compressed)
        start = None if behind is None else _next_record(source, behind, compressed=compressed)


def _segment(
    stream: ByteStream, relative: str, config: CorpusConfig, *, compressed: bool
) -> Generator[Item, None, int | None]:
    """Yield records up to the end of the stream or the first damage, which becomes the last item.

    Returns
    -------
    int or None
        Where to look for the next sound record; None where the stream was sound or must not be read on.
    """
    position = length = found = 0
    short = False
    try:
        # our streams have no seek, and a sequential reader needs none
        readable = cast(BinaryIO, stream)
        for record in ArchiveIterator(readable, parse_http=False, stream_detect=False, strict_mode=False):
            position, length = record.stream_pos, record.content_length
            found += 1
            item = _item(record, relative, stream.locate(position), config)
            short = isinstance(item, Quarantined) and item.reason == "truncated_record"
            yield item
    except OSError as error:
        if stream.damage is None:
            detail = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            # close to the end of the last record, for its payload may quote another one
            at = stream.frame(position) if compressed else stream.locate(position + length)
            yield Quarantined(relative, at, "damaged_warc", detail)
            return at + 1
    if stream.damage is not None:
        # a record that the damage cut short has its row already
        if not short:
            yield Quarantined(relative, stream.damage_offset, stream.damage.reason, stream.damage.detail)
        return None if stream.damage.reason == "decompression_bomb" else stream.damage_offset + 1
    if not found:
        yield Quarantined(relative, stream.locate(0), "damaged_warc", "no WARC record found", stream.tell())
    return stream.frame(position) + 1 if short or not found else None


def _item(record: WarcRecord, relative: str, offset: int, config: CorpusConfig) -> Item:
    headers = record.headers
    kind = (headers.get("WARC-Type") or "").strip().lower()
    url = clean_url(headers.get("WARC-Target-URI"))
    length = record.content_length
    if not (headers.get("Content-Length") or "").strip().isdigit():
        return Quarantined(relative, offset, "damaged_warc", "a record header without a valid Content-Length", 0, url)
    if kind not in KNOWN_TYPES:
        return Quarantined(relative, offset, "unknown_record_type", "no standard WARC-Type", length, url)
    if kind not in ("response", "resource", "conversion"):
        return Skipped(relative, offset, kind)
    if url is not None and url.startswith(("dns:", "whois:", "metadata:", "urn:")):
        return Skipped(relative, offset, url.split(":", 1)[0])
    if is_site_file(url):
        return Skipped(relative, offset, "robots_txt")
    if length > config.max_record_bytes:
        detail = f"{length} bytes, max_record_bytes is {config.max_record_bytes}"
        return Quarantined(relative, offset, "too_large", detail, length, url)
    try:
        block = _read_block(record, length)
        text, why = _text(kind, headers.get("Content-Type") or "", block, config)
    except Damaged as damage:
        return Quarantined(relative, offset, damage.reason, damage.detail, length, url)
    if text is None:
        return Skipped(relative, offset, why)
    return RawDocument(relative, offset, text, length, url, host_source(url), iso_date(headers.get("WARC-Date")), None)


def _text(kind: str, content_type: str, block: bytes, config: CorpusConfig) -> tuple[str | None, str]:
    if kind == "conversion":
        return utf8_text(block), ""
    if kind == "response" and block.startswith(b"HTTP/"):
        return response_text(block, config.max_record_bytes)
    mime, charset = media_type(content_type)
    if kind == "response" and mime in ("", "application/http"):
        raise Damaged("damaged_http", "no HTTP status line")
    text = web_text(mime, charset, block)
    return text, "" if text is not None else "media_type"


def _read_block(record: WarcRecord, length: int) -> bytes:
    parts: list[bytes] = []
    left = length
    while left > 0 and (data := record.reader.read(left)):
        parts.append(data)
        left -= len(data)
    if left > 0:
        raise Damaged("truncated_record", f"{length - left} of {length} bytes are there")
    return b"".join(parts)


def _next_record(source: BinaryIO, start: int, *, compressed: bool) -> int | None:
    """Return the offset at or after ``start`` where a WARC record surely begins, or None."""
    pattern = _MEMBER if compressed else _HEADER
    # a header may lie across two blocks
    source.seek(start)
    block = source.read(_SCAN)
    base = start
    while block:
        for match in pattern.finditer(block):
            at = base + match.start() + (0 if compressed else 1)
            if not compressed or _is_warc_member(source, at):
                return at
        keep = block[-8:]
        source.seek(base + len(block))
        more = source.read(_SCAN)
        base += len(block) - len(keep)
        block = keep + more if more else b""
    return None


def _is_warc_member(source: BinaryIO, at: int) -> bool:
    source.seek(at)
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(source.read(_PEEK), 16).startswith(b"WARC/")
    except zlib.error:
        return False
