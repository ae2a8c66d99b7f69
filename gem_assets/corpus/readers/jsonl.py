"""Read JSON files, plain or compressed: usually one object per line, and the other layouts in which rows are written.

``offset`` is the number of the line, from 0, or of the row where rows are not lines.
"""

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.readers.fields import as_fields, choose_names
from gem_assets.corpus.readers.json_values import BLANK, Row, is_lines, read_values
from gem_assets.corpus.readers.records import Damaged, Item, Quarantined, RawDocument, is_fault
from gem_assets.corpus.readers.streams import BLOCK, Line, Source, bounded_lines, open_stream, read_up_to
from gem_assets.corpus.readers.web import utf8_text
from gem_assets.corpus.text.charsets import wide_codec

_BOM = b"\xef\xbb\xbf"


def read_jsonl(source: BinaryIO, relative: str, config: CorpusConfig) -> Iterator[Item]:
    """Yield the rows of a JSON file.

    Objects may stand on lines, in an array, one after the other, in an array under a key of one object, or as columns
    of a table; empty lines are not rows. The file may be UTF-8, UTF-16 or UTF-32. A file that is none of these is one
    row that says so.
    """
    start = source.tell()
    stream: Source = open_stream(source, config, relative)
    codec = wide_codec(read_up_to(stream, BLOCK))
    source.seek(start)
    head = _first_lines(_as_utf8(open_stream(source, config, relative), codec), config)
    source.seek(start)
    stream = _as_utf8(open_stream(source, config, relative), codec)
    by_line = is_lines(head, config.columns.text)
    rows = _lines(stream, config) if by_line else read_values(stream, config)
    number = 0
    for row in rows:
        number = row.number
        try:
            yield _document(row, relative, config)
        except Damaged as damage:
            yield Quarantined(relative, number, damage.reason, damage.detail, row.n_bytes)
        except Exception as error:
            if not is_fault(error):
                raise
            # the message may quote the row
            yield Quarantined(relative, number, "reader_error", type(error).__name__, row.n_bytes)
    if stream.damage is not None and not by_line:
        yield Quarantined(relative, number, stream.damage.reason, stream.damage.detail)


def _as_utf8(stream: Source, codec: str | None) -> Source:
    return stream if codec is None else _Recoded(stream, codec)


class _Recoded:
    """A stream in another encoding, as UTF-8; it does not continue after damage."""

    def __init__(self, stream: Source, codec: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(codec)("replace")
        self._ended = False

    @property
    def damage(self) -> Damaged | None:
        return self._stream.damage

    def read(self, size: int = -1, /) -> bytes:
        out = ""
        while not out and not self._ended:
            # a character takes at most twice the bytes that it had
            data = self._stream.read(size // 2 if size > 1 else size)
            self._ended = not data
            out = self._decoder.decode(data, final=self._ended)
        return out.encode()

    def resume(self) -> bool:
        return False


def _first_lines(stream: Source, config: CorpusConfig) -> bytes:
    blocks = [read_up_to(stream, BLOCK)]
    # one long line says nothing before its end
    while b"\n" not in blocks[-1] and BLOCK * len(blocks) < config.max_record_bytes:
        block = read_up_to(stream, BLOCK)
        if not block and not stream.resume():
            break
        blocks.append(block)
    return b"".join(blocks).removeprefix(_BOM)


def _lines(stream: Source, config: CorpusConfig) -> Iterator[Row]:
    number = -1
    while True:
        for line in bounded_lines(stream, config.max_record_bytes):
            number += 1
            cut_off = not line.ended and stream.damage is not None
            # the end of a broken stream is one row, and not a second one for the line that it cut
            if not cut_off and (line.length > len(line.data) or line.data.strip(BLANK)):
                yield _row_of(line, number, config)
        if stream.damage is None:
            return
        yield Row(max(number, 0), 0, damage=stream.damage)
        if not stream.resume():
            return


def _row_of(line: Line, number: int, config: CorpusConfig) -> Row:
    if line.length > config.max_record_bytes:
        detail = f"{line.length} bytes, max_record_bytes is {config.max_record_bytes}"
        return Row(number, line.length, damage=Damaged("too_large", detail))
    data = line.data.removeprefix(_BOM) if number == 0 else line.data
    try:
        return Row(number, line.length, json.loads(utf8_text(data.strip(BLANK))))
    except Damaged as damage:
        return Row(number, line.length, damage=damage)
    except (ValueError, RecursionError) as error:
        # the message of a JSON error names a position and never quotes the line
        at = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        reason = "damaged_json" if line.ended else "truncated_json"
        return Row(number, line.length, damage=Damaged(reason, f"{type(error).__name__}{at}"))


def _document(row: Row, relative: str, config: CorpusConfig) -> RawDocument:
    if row.damage is not None:
        raise row.damage
    record: Any = row.value
    if not isinstance(record, dict):
        raise Damaged("not_an_object", f"a JSON {type(record).__name__}")
    names = choose_names(config.columns, record.__contains__)
    key = names.pop("text", None)
    if key is None:
        raise Damaged("missing_text", f"none of [{', '.join(config.columns.text)}]; set corpus.columns.text")
    text = record[key]
    if text is None:
        raise Damaged("null_text", f"{key} is null")
    if not isinstance(text, str):
        raise Damaged("text_not_string", f"{key} is a {type(text).__name__}")
    fields = as_fields({field: record[name] for field, name in names.items()})
    return RawDocument(relative, row.number, text, row.n_bytes, **fields)
