"""ARC files, the Internet Archive's format before WARC: version block, then one header line and a body a record.

A header line reads ``URL IP date media-type length``; newer files put more fields before the length. Where a header
has to be and is none, or has no usable length, reading goes on at the next line that is one.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.records import Damaged, Item, Quarantined, RawDocument, Skipped
from gem_assets.corpus.streams import BLOCK, ByteStream, open_stream, read_up_to
from gem_assets.corpus.text import host_source
from gem_assets.corpus.web import clean_url, is_site_file, iso_date, response_text, web_text

_HEADER = re.compile(rb"(?P<url>\S.*?) (?P<ip>\S+) (?P<date>\d{8,16}) (?P<mime>\S+)(?: \S+)*? (?P<length>-?\S+)$")
_LONGEST_LINE = 1 << 16


class _Buffered:
    """Single bytes back and lines, over a stream."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = b""
        self.position = 0

    def line(self) -> bytes:
        """Return the next line without its end; b'' at the end of the file."""
        while b"\n" not in self._buffer and len(self._buffer) < _LONGEST_LINE:
            data = self._stream.read(BLOCK)
            if not data:
                break
            self._buffer += data
        cut = self._buffer.find(b"\n") + 1 or min(len(self._buffer), _LONGEST_LINE)
        line, self._buffer = self._buffer[:cut], self._buffer[cut:]
        self.position += cut
        return line

    def take(self, size: int) -> bytes:
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        if len(data) < size:
            data += read_up_to(self._stream, size - len(data))
        self.position += len(data)
        return data

    def skip(self, size: int) -> int:
        left = size
        while left > 0 and (data := self.take(min(left, BLOCK))):
            left -= len(data)
        return size - left


def read_arc(source: BinaryIO, relative: str, config: CorpusConfig) -> Iterator[Item]:
    """Yield what an ARC file holds; see :func:`gem_assets.corpus.warc.read_warc` for the parameters."""
    stream = open_stream(source, config)
    records = _Buffered(stream)
    lost = False
    while True:
        position = records.position
        line = records.line()
        if not line:
            break
        if not line.strip():
            continue
        offset = stream.locate(position)
        match = _HEADER.match(line.strip())
        length = int(match["length"]) if match and match["length"].isdigit() else -1
        if match is not None and length >= 0:
            lost = False
            yield _item(match, length, records, relative, offset, config)
        elif match is not None or not lost:
            # the lines of one damaged stretch are one row, but every header without a length is a record of its own
            lost = match is None
            yield Quarantined(relative, offset, "damaged_arc", "no valid header line", len(line))
    if stream.damage is not None:
        yield Quarantined(relative, stream.damage_offset, stream.damage.reason, stream.damage.detail)


def _item(
    header: re.Match[bytes], length: int, records: _Buffered, relative: str, offset: int, config: CorpusConfig
) -> Item:
    url = clean_url(header["url"].decode("utf-8", "replace"))
    mime = header["mime"].decode("latin-1").lower()
    if length > config.max_record_bytes:
        records.skip(length)
        detail = f"{length} bytes, max_record_bytes is {config.max_record_bytes}"
        return Quarantined(relative, offset, "too_large", detail, length, url)
    block = records.take(length)
    if len(block) < length:
        detail = f"{len(block)} of {length} bytes are there"
        return Quarantined(relative, offset, "truncated_record", detail, length, url)
    if url is None or url.startswith(("filedesc:", "dns:")):
        return Skipped(relative, offset, "dns" if url and url.startswith("dns:") else "filedesc")
    if is_site_file(url):
        return Skipped(relative, offset, "robots_txt")
    try:
        if block.startswith(b"HTTP/"):
            text, why = response_text(block, config.max_record_bytes)
        else:
            text, why = web_text(mime, None, block), "media_type"
    except Damaged as damage:
        return Quarantined(relative, offset, damage.reason, damage.detail, length, url)
    if text is None:
        return Skipped(relative, offset, why)
    date = iso_date(header["date"].decode("ascii"))
    return RawDocument(relative, offset, text, length, url, host_source(url), date, None)
