"""Read parquet files: rows as columns, one row group at a time, and each row by itself that cannot be a document.

Only the columns of ``config.columns`` are read, and text as bytes, so that a row that is not UTF-8 costs itself and not
its row group. A dictionary page lets a file of a few bytes unfold into gigabytes: strings of small row groups are read
still encoded, inside lists and structs too, large ones in batches so short that even the largest possible value fits.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.corpus.columns import integers, numbers, valid
from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.readers.fields import as_field, as_fields, choose_names, with_addresses
from gem_assets.corpus.readers.records import (
    AT_ONCE_BYTES,
    AT_ONCE_ROWS,
    Damaged,
    Documents,
    Item,
    Quarantined,
    RawDocument,
    is_fault,
)
from gem_assets.corpus.readers.streams import Budget
from gem_assets.corpus.readers.text_column import TextColumn, places
from gem_assets.corpus.readers.web import utf8_text

_MOST_ROWS: Final = 4096
_MOST_ENTRIES: Final = 64
_ROW_BYTES: Final = 16
_SMALL_DICTIONARY: Final = 64 << 20
_LARGEST_BATCH: Final = 512 << 20


def read_parquet(path: Path, relative: str, config: CorpusConfig) -> Iterator[Item]:
    """Yield the rows of a parquet file."""
    size = path.stat().st_size
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        if not is_fault(error):
            raise
        yield Quarantined(relative, 0, "damaged_parquet", _first_line(error), size)
        return
    names = choose_names(config.columns, schema.names.__contains__)
    text = names.get("text")
    if text is None:
        wanted, found = ", ".join(config.columns.text), ", ".join(schema.names[:50])
        detail = f"none of [{wanted}] among columns [{found}]; set corpus.columns.text"
        yield Quarantined(relative, 0, "missing_text_column", detail, size)
        return
    kind = schema.field(text).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not _is_string(kind):
        detail = f"column {text} is {schema.field(text).type}; set corpus.columns.text"
        yield Quarantined(relative, 0, "text_not_string", detail, size)
        return
    yield from _rows(path, relative, names, size, config)


def _is_string(kind: pa.DataType) -> bool:
    strings = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return strings or pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _rows(path: Path, relative: str, names: dict[str, str], size: int, config: CorpusConfig) -> Iterator[Item]:
    budget = Budget(config)
    columns = sorted(set(names.values()))
    expanded = first = 0
    with ExitStack() as stack:
        files: dict[tuple[str, ...], pq.ParquetFile] = {}
        metadata = pq.read_metadata(path)
        for group in range(metadata.num_row_groups):
            about = metadata.row_group(group)
            stored = max(about.total_byte_size, 1)
            if (bomb := budget.check(size, expanded + stored)) is not None:
                yield Quarantined(relative, first, bomb.reason, bomb.detail, stored)
                return
            at = first
            try:
                step, encoded = _reading_plan(about, columns, config)
                if encoded not in files:
                    file = pq.ParquetFile(path, read_dictionary=list(encoded), pre_buffer=False)
                    files[encoded] = stack.enter_context(file)
                for batch in files[encoded].iter_batches(step, row_groups=[group], columns=columns):
                    for item in _batch_items(batch, at, relative, names, config):
                        # a row without text costs as well, and a run of them is written in a few bytes
                        spent = expanded + np.cumsum(np.maximum(np.atleast_1d(item.n_bytes), _ROW_BYTES))
                        expanded = int(spent[-1])
                        if budget.check(size, expanded) is None:
                            yield item
                            continue
                        yield from _cut(item, spent.tolist(), budget, size)
                        return
                    at += batch.num_rows
            # a column whose name in the footer is not UTF-8 fails where the name is asked for
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                if not is_fault(error):
                    raise
                detail = f"row group {group}, rows {at} to {first + about.num_rows - 1}: {_first_line(error)}"
                yield Quarantined(relative, at, "damaged_parquet", detail, about.total_byte_size)
            first += about.num_rows


def _cut(item: RawDocument | Documents | Quarantined, spent: list[int], budget: Budget, size: int) -> Iterator[Item]:
    """Yield rows up to the one with which the file expands too far, and why nothing comes after it."""
    last, bomb = next((n, bomb) for n, bytes_ in enumerate(spent) if (bomb := budget.check(size, bytes_)) is not None)
    item = item.part(0, last + 1) if isinstance(item, Documents) else item
    yield item
    offset = int(item.offsets[last]) if isinstance(item, Documents) else item.offset
    yield Quarantined(item.file, offset, bomb.reason, bomb.detail, 0)


def _reading_plan(about: pq.RowGroupMetaData, columns: list[str], config: CorpusConfig) -> tuple[int, tuple[str, ...]]:
    """Return the rows of a batch, and the paths of the leaves that are read dictionary-encoded."""
    # a batch of ordinary rows holds about max_record_bytes
    step = max(1, min(_MOST_ROWS, about.num_rows * config.max_record_bytes // max(about.total_byte_size, 1)))
    encoded: list[str] = []
    for index in range(about.num_columns):
        chunk = about.column(index)
        leaf = chunk.path_in_schema
        if chunk.physical_type != "BYTE_ARRAY" or not any(leaf == n or leaf.startswith(f"{n}.") for n in columns):
            continue
        if chunk.has_dictionary_page and chunk.total_uncompressed_size <= _SMALL_DICTIONARY:
            encoded.append(leaf)
        elif chunk.has_dictionary_page or "DELTA_BYTE_ARRAY" in chunk.encodings:
            step = max(1, min(step, _LARGEST_BATCH // max(chunk.total_uncompressed_size, 1)))
    return step, tuple(sorted(encoded))


def _batch_items(
    batch: pa.RecordBatch, first: int, relative: str, names: dict[str, str], config: CorpusConfig
) -> Iterator[RawDocument | Documents | Quarantined]:
    """Yield sound rows as columns, and the others one by one."""
    texts = TextColumn.of(batch.column(names["text"]))
    columns = {field: batch.column(name) for field, name in names.items() if field != "text"}
    sound = texts.readable & (texts.sizes <= config.max_record_bytes)
    fields: dict[str, Sequence[str | None]] = {}
    try:
        fields = with_addresses({field: _field(field, column) for field, column in columns.items()})
    except _FieldError:
        sound[:] = False
    values = {} if sound.all() else {field: _values(column) for field, column in columns.items()}
    for start, stop in _runs(sound, texts.sizes):
        if sound[start]:
            own = {field: column[start:stop] for field, column in fields.items()}
            offsets = np.arange(first + start, first + stop)
            yield Documents(relative, offsets, texts.part(start, stop), texts.sizes[start:stop], own)
            continue
        for row in range(start, stop):
            given = {field: column[row] for field, column in values.items()}
            yield _row(texts[row], first + row, relative, given, config)


def _runs(sound: NDArray[np.bool_], sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield runs of rows that are all sound, or all not, and are not more than is described at once."""
    ends = np.cumsum(sizes)
    start = 0
    for edge in [*(np.flatnonzero(np.diff(sound)) + 1).tolist(), len(sound)]:
        while start < edge:
            held = int(ends[start - 1]) if start else 0
            stop = int(np.searchsorted(ends, held + AT_ONCE_BYTES, side="right"))
            stop = min(max(stop, start + 1), start + AT_ONCE_ROWS, edge)
            yield start, stop
            start = stop


def _row(
    data: bytes | None, offset: int, relative: str, given: dict[str, Any], config: CorpusConfig
) -> RawDocument | Quarantined:
    fields: dict[str, str | None] = {}
    try:
        fields = as_fields(given)
        if data is None:
            raise Damaged("null_text", "the text column is null here")
        if len(data) > config.max_record_bytes:
            raise Damaged("too_large", f"{len(data)} bytes, max_record_bytes is {config.max_record_bytes}")
        return RawDocument(relative, offset, utf8_text(data), len(data), **fields)
    except Damaged as damage:
        n_bytes = len(data) if data is not None else 0
        return Quarantined(relative, offset, damage.reason, damage.detail, n_bytes, fields.get("url"))
    except Exception as error:
        if not is_fault(error):
            raise
        # the message may quote the row
        return Quarantined(relative, offset, "reader_error", type(error).__name__)


class _FieldError(Exception):
    """Some row has a field that cannot be written as text."""


def _field(field: str, column: pa.Array) -> list[str | None]:
    """Return a column as a field of documents; each value of a dictionary is looked at once.

    Raises
    ------
    _FieldError
        It does not say of which row.
    """
    values = _values(column.dictionary if isinstance(column, pa.DictionaryArray) else column)
    try:
        texts = [as_field(field, value) for value in values]
    except Exception as error:
        if not is_fault(error):
            raise
        raise _FieldError from error
    return _looked_up(column, texts) if isinstance(column, pa.DictionaryArray) else texts


def _looked_up(column: pa.DictionaryArray, values: Sequence[Any]) -> list[Any]:
    return [None if place < 0 else values[place] for place in places(column).tolist()]


def _values(column: pa.Array) -> list[Any]:
    """Return a column as Python values, of lists the first entries; a value that cannot be one is None.

    Values of a dictionary are shared: rows cost a reference each, however large what they refer to.
    """
    kind = column.type
    if isinstance(column, pa.DictionaryArray):
        return _looked_up(column, _values(column.dictionary))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]
    if pa.types.is_fixed_size_list(kind):
        return _values(column.cast(pa.list_(kind.value_type)))
    if pa.types.is_map(kind) and (pa.types.is_string(kind.key_type) or pa.types.is_dictionary(kind.key_type)):
        return [None if row is None else dict(entry.values() for entry in row) for row in _lists(column)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        return _lists(column)
    if pa.types.is_struct(kind):
        parts = {kind.field(i).name: _values(part) for i, part in enumerate(column.flatten())}
        there = column.is_valid().to_pylist()
        return [{name: part[row] for name, part in parts.items()} if there[row] else None for row in range(len(column))]
    return [_value_or_none(column, row) for row in range(len(column))]


def _lists(column: pa.ListArray | pa.LargeListArray) -> list[Any]:
    there, offsets = valid(column), integers(column.offsets)
    lengths = np.where(there, np.minimum(np.diff(offsets), _MOST_ENTRIES), 0)
    ends = np.cumsum(lengths)
    wanted = np.arange(ends[-1] if len(ends) else 0) + np.repeat(offsets[:-1] - (ends - lengths), lengths)
    entries = _values(column.values.take(numbers(wanted)))
    return [
        entries[e - n : e] if ok else None
        for e, n, ok in zip(ends.tolist(), lengths.tolist(), there.tolist(), strict=True)
    ]


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _value_or_none(column: pa.Array, row: int) -> Any:
    try:
        return column[row].as_py()
    except (UnicodeDecodeError, pa.ArrowException, ValueError, OverflowError):
        return None


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
