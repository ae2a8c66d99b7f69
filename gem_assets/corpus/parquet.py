"""Parquet files: one item a row, one row group at a time.

Only the columns of ``config.columns`` are read, and text as bytes, so that a row that is not UTF-8 costs itself and not
its row group. A dictionary page lets a file of a few bytes unfold into gigabytes: small row groups with one are read
still encoded, large ones in batches so short that even the largest possible value fits.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.records import Damaged, Item, Quarantined, RawDocument
from gem_assets.corpus.streams import Budget
from gem_assets.corpus.web import utf8_text

FIELDS: Final = ("text", "url", "source", "date", "lang", "label", "license")
_MOST_ROWS: Final = 4096
_SMALL_DICTIONARY: Final = 64 << 20
_LARGEST_BATCH: Final = 512 << 20


def read_parquet(path: Path, relative: str, config: CorpusConfig) -> Iterator[Item]:
    """Yield the rows of a parquet file.

    Parameters
    ----------
    path
        The file.
    relative
        Name of the file in the rows.
    """
    size = path.stat().st_size
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        yield Quarantined(relative, 0, "damaged_parquet", _first_line(error), size)
        return
    names = {field: _first_present(getattr(config.columns, field), schema.names) for field in FIELDS}
    text = names["text"]
    if text is None:
        wanted, found = ", ".join(config.columns.text), ", ".join(schema.names[:50])
        detail = f"none of [{wanted}] among columns [{found}]; set corpus.columns.text"
        yield Quarantined(relative, 0, "missing_text_column", detail, size)
        return
    kind = schema.field(text).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)) and not (
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    ):
        detail = f"column {text} is {schema.field(text).type}; set corpus.columns.text"
        yield Quarantined(relative, 0, "text_not_string", detail, size)
        return
    yield from _rows(path, relative, {k: v for k, v in names.items() if v is not None}, size, config)


def _first_present(wanted: tuple[str, ...], present: list[str]) -> str | None:
    return next((name for name in wanted if name in present), None)


def _rows(path: Path, relative: str, names: dict[str, str], size: int, config: CorpusConfig) -> Iterator[Item]:
    budget = Budget(config)
    columns = sorted(set(names.values()))
    expanded = first = 0
    with ExitStack() as stack:
        plain = stack.enter_context(pq.ParquetFile(path, pre_buffer=False))
        encoded = stack.enter_context(pq.ParquetFile(path, read_dictionary=[names["text"]], pre_buffer=False))
        for group in range(plain.num_row_groups):
            about = plain.metadata.row_group(group)
            stored = max(about.total_byte_size, 1)
            if (bomb := budget.check(size, expanded + stored)) is not None:
                yield Quarantined(relative, first, bomb.reason, bomb.detail, stored)
                return
            step, keep_encoded = _reading_plan(about, names["text"], config)
            at = first
            try:
                file = encoded if keep_encoded else plain
                for batch in file.iter_batches(step, row_groups=[group], columns=columns):
                    for item in _batch_items(batch, at, relative, names, config):
                        expanded += item.n_bytes
                        yield item
                        if (bomb := budget.check(size, expanded)) is not None:
                            yield Quarantined(relative, item.offset, bomb.reason, bomb.detail, 0)
                            return
                    at += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                detail = f"row group {group}, rows {at} to {first + about.num_rows - 1}: {_first_line(error)}"
                yield Quarantined(relative, at, "damaged_parquet", detail, about.total_byte_size)
            first += about.num_rows


def _reading_plan(about: pq.RowGroupMetaData, text: str, config: CorpusConfig) -> tuple[int, bool]:
    """Return the rows of a batch, and whether text is read dictionary-encoded."""
    chunks = (about.column(index) for index in range(about.num_columns))
    chunk = next((chunk for chunk in chunks if chunk.path_in_schema == text), None)
    stored = max(about.total_byte_size, 1)
    # a batch of ordinary rows holds about max_record_bytes
    ordinary = max(1, min(_MOST_ROWS, about.num_rows * config.max_record_bytes // stored))
    if chunk is None or not (chunk.has_dictionary_page or "DELTA_BYTE_ARRAY" in chunk.encodings):
        return ordinary, False
    if chunk.has_dictionary_page and chunk.total_uncompressed_size <= _SMALL_DICTIONARY:
        return ordinary, True
    return max(1, min(ordinary, _LARGEST_BATCH // max(chunk.total_uncompressed_size, 1))), False


def _batch_items(
    batch: pa.RecordBatch, first: int, relative: str, names: dict[str, str], config: CorpusConfig
) -> Iterator[RawDocument | Quarantined]:
    texts = batch.column(names["text"])
    if isinstance(texts, pa.DictionaryArray):
        # as bytes: one row that is not UTF-8 must not stop the others
        values = texts.dictionary.cast(pa.large_binary()).to_pylist()
        raw = [None if i is None else values[i] for i in texts.indices.to_pylist()]
    else:
        raw = texts.cast(pa.large_binary()).to_pylist()
    others = {field: _strings(batch.column(name)) for field, name in names.items() if field != "text"}
    for row, data in enumerate(raw):
        fields = {field: column[row] for field, column in others.items()}
        try:
            yield _row(data, first + row, relative, fields, config)
        except Damaged as damage:
            n_bytes = len(data) if data is not None else 0
            yield Quarantined(relative, first + row, damage.reason, damage.detail, n_bytes, fields.get("url"))


def _row(
    data: bytes | None, offset: int, relative: str, fields: dict[str, str | None], config: CorpusConfig
) -> RawDocument:
    if data is None:
        raise Damaged("null_text", "the text column is null here")
    if len(data) > config.max_record_bytes:
        raise Damaged("too_large", f"{len(data)} bytes, max_record_bytes is {config.max_record_bytes}")
    return RawDocument(relative, offset, utf8_text(data), len(data), **fields)


def _strings(column: pa.Array) -> list[str | None]:
    try:
        return [as_string(value) for value in column.to_pylist()]
    except (UnicodeDecodeError, pa.ArrowException, ValueError, OverflowError):
        return [_string_or_none(column, row) for row in range(len(column))]


def _string_or_none(column: pa.Array, row: int) -> str | None:
    try:
        return as_string(column[row].as_py())
    except (UnicodeDecodeError, pa.ArrowException, ValueError, OverflowError):
        return None


def as_string(value: Any) -> str | None:
    """Return a field's value as one short string; None where there is nothing to say."""
    if value is None:
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    elif isinstance(value, datetime | date):
        value = value.isoformat()
    elif not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    value = value.strip()
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode("utf-8")
    return value[:8192] or None


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
