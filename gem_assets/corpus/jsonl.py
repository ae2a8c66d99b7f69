"""JSON Lines, plain or compressed: one item a line; ``offset`` is the line number, from 0."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from gem_assets.corpus.config import ColumnNames, CorpusConfig
from gem_assets.corpus.parquet import FIELDS, as_string
from gem_assets.corpus.records import Damaged, Item, Quarantined, RawDocument
from gem_assets.corpus.streams import Line, bounded_lines, open_stream
from gem_assets.corpus.web import utf8_text

_BOM = b"\xef\xbb\xbf"


def read_jsonl(source: BinaryIO, relative: str, config: CorpusConfig) -> Iterator[Item]:
    """Yield the lines of a JSONL file; empty lines are no records.

    Parameters
    ----------
    source
        The open file, at its start.
    relative
        Name of the file in the rows.
    """
    stream = open_stream(source, config, relative)
    number = -1
    for number, line in enumerate(bounded_lines(stream, config.max_record_bytes)):
        cut_off = not line.ended and stream.damage is not None
        # the end of a broken stream is one row, below, and not a second one for the line that it cut
        if cut_off or (line.length == len(line.data) and not line.data.strip()):
            continue
        try:
            yield _document(line, number, relative, config)
        except Damaged as damage:
            yield Quarantined(relative, number, damage.reason, damage.detail, line.length)
    if stream.damage is not None:
        yield Quarantined(relative, max(number, 0), stream.damage.reason, stream.damage.detail)


def _document(line: Line, number: int, relative: str, config: CorpusConfig) -> RawDocument:
    if line.length > config.max_record_bytes:
        raise Damaged("too_large", f"{line.length} bytes, max_record_bytes is {config.max_record_bytes}")
    data = line.data.removeprefix(_BOM) if number == 0 else line.data
    try:
        record = json.loads(utf8_text(data))
    except (ValueError, RecursionError) as error:
        # the message of a JSON error names a position and never quotes the line
        at = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        reason = "damaged_json" if line.ended else "truncated_json"
        raise Damaged(reason, f"{type(error).__name__}{at}") from error
    if not isinstance(record, dict):
        raise Damaged("not_an_object", f"a JSON {type(record).__name__}")
    key = _present(record, config.columns, "text")
    if key is None:
        raise Damaged("missing_text", f"none of [{', '.join(config.columns.text)}]; set corpus.columns.text")
    text = record[key]
    if text is None:
        raise Damaged("null_text", f"{key} is null")
    if not isinstance(text, str):
        raise Damaged("text_not_string", f"{key} is a {type(text).__name__}")
    fields = {
        field: as_string(record[name])
        for field in FIELDS
        if field != "text" and (name := _present(record, config.columns, field)) is not None
    }
    return RawDocument(relative, number, text, line.length, **fields)


def _present(record: dict[str, Any], columns: ColumnNames, field: str) -> str | None:
    names: tuple[str, ...] = getattr(columns, field)
    return next((name for name in names if name in record), None)
