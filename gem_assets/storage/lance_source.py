"""Check what goes into a table once, in a stream, before anything is written.

The rows of one snapshot come as a table or as a reader of batches. They are checked (key present, not null,
unique; one snapshot; vectors of float32 and finite), digested, and, when they come from a reader, spooled to an
Arrow file in the meantime: the digest has to be known before the decision to write, and a reader can be read
only once. Memory is one batch; 16 bytes of each key lie on the disk.
"""

# pyarrow ships no types
# pyright: reportAttributeAccessIssue=false

import contextlib
import json
import tempfile
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gem_assets.storage.durable import locked_folder
from gem_assets.storage.manifest import check_partition
from gem_assets.storage.rows import RowDigest
from gem_assets.storage.scratch import read_scratch
from gem_assets.storage.spill import DIGEST, Spill, digest_blocks, find_digests, groups, sorted_parts, words_digest

_PRIMARY = b"lance-schema:unenforced-primary-key"
_POSITION = b"lance-schema:unenforced-primary-key:position"
OWN_COLUMNS: Final = b"gem:columns"
"""Metadata of a table: the columns that this platform writes, as JSON."""
SNAPSHOT = "snapshot"
SPOOL_PREFIX = ".gem-spool-"
BATCH_ROWS = 8192
_EXAMPLES = 5

Rows: TypeAlias = pa.Table | pa.RecordBatchReader


class OtherSchemaError(ValueError):
    """Rows do not fit the table that they are for."""


@dataclass(frozen=True)
class Source:
    """Checked rows of one snapshot, readable as often as needed."""

    schema: pa.Schema
    rows: int
    digest: str
    data: pa.Table | Path
    keys: "Keys"

    def reader(self) -> pa.RecordBatchReader:
        """Return a fresh reader over the rows."""
        return _reader(self.data, self.schema)


class Keys:
    """The keys of a snapshot, as sorted digests of 16 bytes.

    ``repeated`` counts the keys that stand more than once.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], key: str, rows: int, spill: Spill) -> None:
        digests, end = spill.zeros(rows, DIGEST), 0
        for batch in batches:
            digests[end : end + batch.num_rows] = _key_digests(batch.column(key))
            end += batch.num_rows
            spill.settle()
        self._digests, self._spill = spill.zeros(rows, DIGEST), spill
        self.repeated = kept = 0
        examples: list[int] = []
        for at, words in sorted_parts(digest_blocks(digests), rows, 2, spill):
            starts, group = groups(words)
            twice = at[starts[np.bincount(group) > 1]]
            self.repeated += len(twice)
            examples = sorted([*examples, *twice.tolist()])[:_EXAMPLES]
            self._digests[kept : kept + len(starts)] = words_digest(words[starts])
            kept += len(starts)
        self._digests = self._digests[:kept]
        self.examples = examples

    def holds(self, keys: pa.Array) -> int:
        """Count those of some other distinct keys that are among these."""
        return len(find_digests(_key_digests(keys), self._digests, self._spill)[0])


@contextlib.contextmanager
def checked_source(data: Rows, snapshot: str, key: str, *, spool_folder: Path | None = None) -> Generator[Source]:
    """Check and digest ``data``; spool it when it is a reader, and drop the spool at the end.

    Raises ValueError when the key column is missing, null or repeated, when a row belongs to another snapshot, or when
    a vector is not finite. The message names the first offending key.
    """
    schema = target_schema(data.schema, key)
    running = RowDigest(schema.names)
    table: list[pa.RecordBatch] = []
    with contextlib.ExitStack() as stack:
        parent = spool_folder or Path(tempfile.gettempdir())
        spool: Path | None = None
        sink: Any = None
        if not isinstance(data, pa.Table):
            spool = stack.enter_context(locked_folder(parent, SPOOL_PREFIX)) / "rows.arrow"
            sink = pa.ipc.new_file(str(spool), schema)
        for batch in data.to_batches() if isinstance(data, pa.Table) else data:
            ready = _conform(batch, schema, snapshot, key)
            running.update(ready)
            if sink is None:
                table.append(ready)
            else:
                sink.write_batch(ready)
        if sink is not None:
            sink.close()
        if running.rows == 0:
            running.update(schema.empty_table())
        content = spool if spool is not None else pa.Table.from_batches(table, schema)
        spill = stack.enter_context(Spill(parent))
        keys = Keys(_reader(content, schema, key), key, running.rows, spill)
        if keys.repeated:
            _refuse_repeated(keys, _reader(content, schema, key), snapshot, key)
        yield Source(schema, running.rows, running.hexdigest(), content, keys)


def target_schema(schema: pa.Schema, key: str) -> pa.Schema:
    """Return the schema as a table keeps it: snapshot and key not null and declared as unenforced primary key.

    The key is the pair (snapshot, key): a document that was crawled twice has the same doc_id in two snapshots
    and stays in both. With the document alone as key, writing the second snapshot would take the row away from
    the first.
    """
    if key not in schema.names:
        raise ValueError(f"the source has no key column {key!r}; its columns are {schema.names}")
    fields: list[pa.Field] = [] if SNAPSHOT in schema.names else [_key_field(SNAPSHOT, pa.string(), 1)]
    for field in schema:
        if pa.types.is_null(field.type):
            raise ValueError(f"column {field.name!r} has no type (all null); give the source a schema")
        if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
            raise ValueError(f"column {field.name!r} is {field.type}; vectors have to be fixed_size_list<float32>[d]")
        if pa.types.is_fixed_size_list(field.type) and field.type.value_type != pa.float32():
            raise ValueError(f"column {field.name!r} is {field.type}; vectors have to be float32")
        if field.name == SNAPSHOT:
            fields.append(_key_field(SNAPSHOT, field.type, 1))
        elif field.name == key:
            fields.append(_key_field(key, field.type, 2))
        else:
            fields.append(pa.field(field.name, field.type, field.nullable))
    return pa.schema(fields)


def rows_of(snapshot: str) -> str:
    """Return the filter that the rows of a snapshot pass."""
    quoted = check_partition(snapshot).replace("'", "''")
    return f"{SNAPSHOT} = '{quoted}'"


def condition_of(snapshot: str | None) -> str | None:
    """Return the filter that the rows of a snapshot pass; None for all of them."""
    return None if snapshot is None else rows_of(snapshot)


def digest_of(dataset: Any, condition: str | None) -> str:
    """Return the order-free digest of the rows of a Lance dataset that pass a filter, over our own columns."""
    own = own_columns(dataset.schema)
    running = RowDigest(own)
    for batch in dataset.to_batches(columns=own, filter=condition, batch_size=BATCH_ROWS):
        running.update(batch)
    if running.rows == 0:
        running.update(dataset.schema.empty_table().select(own))
    return running.hexdigest()


def marked(schema: pa.Schema) -> pa.Schema:
    """Return the schema with a note of its columns, which tells them from columns that others add to the table."""
    return schema.with_metadata({**(schema.metadata or {}), OWN_COLUMNS: json.dumps(schema.names).encode()})


def own_columns(schema: pa.Schema) -> list[str]:
    """Return the columns that this platform wrote, in the order of the table; all of them where no note says which."""
    note = (schema.metadata or {}).get(OWN_COLUMNS)
    own = set(json.loads(note)) if note else set(schema.names)
    return [name for name in schema.names if name in own]


def foreign_columns(standing: pa.Schema, source: pa.Schema) -> list[str]:
    """Return the columns of a table that others added to it."""
    own = {*source.names, *(own_columns(standing) if OWN_COLUMNS in (standing.metadata or {}) else ())}
    return [name for name in standing.names if name not in own]


def key_column(schema: pa.Schema) -> str:
    """Return the column that names a row inside its snapshot."""
    for field in schema:
        if field.name != SNAPSHOT and _PRIMARY in (field.metadata or {}):
            return str(field.name)
    raise ValueError(f"the table declares no key column; its columns are {schema.names}")


def refuse_other_schema(table: str, standing: pa.Schema, source: pa.Schema) -> None:
    """Raise OtherSchemaError when the rows of ``source`` do not fit a table, naming the columns that differ.

    Columns that others added to the table do not count.
    """
    ours = pa.schema([f for f in standing if f.name not in set(foreign_columns(standing, source))])
    have = {f.name: f.type for f in target_schema(ours, key_column(ours))}
    want = {f.name: f.type for f in source}
    if list(have.items()) != list(want.items()):
        differs = sorted(n for n in have.keys() | want.keys() if have.get(n) != want.get(n)) or ["their order"]
        raise OtherSchemaError(
            f"table {table} and the source differ in {', '.join(differs)}: the table has "
            f"{ {n: str(have.get(n)) for n in differs} }, the source { ({n: str(want.get(n)) for n in differs}) }. "
            "Write to a table of another name"
        )


def _key_field(name: str, kind: pa.DataType, position: int) -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={_PRIMARY: b"true", _POSITION: str(position).encode()})


def _conform(batch: pa.RecordBatch, schema: pa.Schema, snapshot: str, key: str) -> pa.RecordBatch:
    columns: list[pa.Array] = []
    for field in schema:
        if field.name not in batch.schema.names:
            columns.append(pa.repeat(pa.scalar(snapshot, field.type), batch.num_rows))
            continue
        column = batch.column(field.name)
        if field.name in (key, SNAPSHOT) and column.null_count:
            raise ValueError(
                f"snapshot {snapshot}: column {field.name!r} has {column.null_count} nulls; every row needs one"
            )
        if field.name == SNAPSHOT and batch.num_rows:
            strange = batch.filter(pc.not_equal(column, pa.scalar(snapshot, field.type)))
            if strange.num_rows:
                raise ValueError(
                    f"snapshot {snapshot}: row {strange.column(key)[0]} belongs to snapshot "
                    f"{strange.column(SNAPSHOT)[0]}; one call replaces one snapshot"
                )
        if pa.types.is_fixed_size_list(field.type):
            _refuse_not_finite(batch, field.name, key, snapshot)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _refuse_not_finite(batch: pa.RecordBatch, name: str, key: str, snapshot: str) -> None:
    column = batch.column(name)
    flat = column.flatten()
    good = pc.is_finite(flat)
    if flat.null_count or (len(flat) and not pc.all(good).as_py()):
        flags = pc.fill_null(good, fill_value=False).to_numpy(zero_copy_only=False)
        row = int(flags.argmin()) // column.type.list_size
        present = batch.filter(column.is_valid())
        raise ValueError(
            f"snapshot {snapshot}: {name} of {present.column(key)[row]} has a value that is NaN, infinite or null"
        )


def _reader(data: pa.Table | Path, schema: pa.Schema, column: str | None = None) -> pa.RecordBatchReader:
    """Return the rows again, of one column if asked for."""
    narrow = schema if column is None else pa.schema([schema.field(column)])
    if isinstance(data, pa.Table):
        return data.select(narrow.names).to_reader()
    return read_scratch([data], narrow)


def _key_digests(keys: pa.Array) -> NDArray[np.bytes_]:
    binary = keys.cast(pa.string()).cast(pa.binary()).to_pylist()
    return np.frombuffer(b"".join(blake2b(value, digest_size=16).digest() for value in binary), DIGEST)


def _refuse_repeated(keys: Keys, batches: Iterable[pa.RecordBatch], snapshot: str, key: str) -> None:
    shown: list[str] = []
    start = 0
    for batch in batches:
        inside = [row - start for row in keys.examples if start <= row < start + batch.num_rows]
        shown += [str(batch.column(key)[row]) for row in inside]
        start += batch.num_rows
    raise ValueError(
        f"snapshot {snapshot}: {keys.repeated} values of {key!r} stand more than once "
        f"({', '.join(shown)}{', …' * (keys.repeated > _EXAMPLES)}); remove duplicates before writing"
    )
