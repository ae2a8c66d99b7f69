"""Read, spool and sort streams of record batches that need not fit in memory; DuckDB sorts and spills.

A spool is a scratch file of uncompressed Arrow batches: writing and reading one costs far less than a parquet file.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

_ROWS = 131_072


def read_batches(path: Path, columns: Sequence[str] | None = None, rows: int = _ROWS) -> Iterator[pa.RecordBatch]:
    """Yield a parquet file's rows in batches, holding no more than one row group."""
    # with pre-buffering, the default, pyarrow keeps all that it has read until the file is closed
    with pq.ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(rows, columns=None if columns is None else list(columns))


class Spool:
    """Batches on disk, written once and then read as often as needed; a context manager for the writing.

    Parameters
    ----------
    path
        Scratch file to create.
    schema
        Schema of the batches.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self._writer = pa.ipc.new_file(str(path), schema)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch, in pieces that a reader can hold."""
        for start in range(0, batch.num_rows, _ROWS):
            self._writer.write_batch(batch.slice(start, _ROWS))

    def read(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the batches that were written; other columns than those named are not read from disk."""
        with pa.OSFile(str(self.path)) as file:
            schema = pa.ipc.open_file(file).schema
            fields = None if columns is None else [schema.get_field_index(name) for name in columns]
            reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields))
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)


def sort_batches(
    batches: Iterator[pa.RecordBatch],
    schema: pa.Schema,
    by: Sequence[str],
    *,
    scratch: Path,
    memory_mb: int,
    threads: int,
    rows: int = _ROWS,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of all batches in the order of the columns `by`.

    Parameters
    ----------
    batches
        Rows; read once, as the sort asks for them.
    schema
        Schema of the batches, without nulls in the sort columns.
    by
        Sort columns, most significant first; a leading minus sorts that one in descending order. Rows equal in all of
        them come in no particular order.
    scratch
        Folder for runs that do not fit in memory.
    memory_mb
        Memory of the sort, MiB.
    threads
        Threads of the sort.
    rows
        Most rows of a batch that is yielded.
    """
    failures: list[Exception] = []

    def guarded() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except Exception as error:
            failures.append(error)
            raise

    reader = pa.RecordBatchReader.from_batches(schema, guarded())
    columns = ", ".join(f'"{name.removeprefix("-")}" {"DESC" if name.startswith("-") else "ASC"}' for name in by)
    with (
        tempfile.TemporaryDirectory(dir=scratch, prefix="sort-") as spill,
        duckdb.connect(
            config={"memory_limit": f"{memory_mb}MiB", "threads": threads, "temp_directory": spill}
        ) as connection,
    ):
        connection.execute("SET enable_progress_bar = false")
        connection.register("documents", reader)
        # a relation streams its result; a cursor would hold all of it
        relation = connection.sql(f"SELECT * FROM documents ORDER BY {columns}")  # noqa: S608 - column names are ours
        try:
            sorted_rows = relation.to_arrow_reader(rows)
        except duckdb.Error as error:
            # the sort reports a failing input as text; its caller wants the failure itself
            raise (failures[0] if failures else error) from None
        for batch in sorted_rows:
            yield batch.cast(schema)
