"""Write kept documents to parquet shards of bounded size, with the three tables of places next to them."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gem_assets.corpus.schema import DOCUMENT_SCHEMA

SHARD_GLOB: Final = "part-*.parquet"
QUARANTINE_FILE: Final = "quarantine.parquet"
DUPLICATES_FILE: Final = "duplicates.parquet"
FILTERED_FILE: Final = "filtered.parquet"

_REPEATING: Final = ["snapshot", "source", "lang", "file", "label", "license", "kind", "kept_snapshot", "reason"]
_GROUP_ROWS: Final = 8192
_GROUP_BYTES: Final = 32 << 20


def shard_paths(folder: Path) -> list[Path]:
    """Return the document shards of an ingest, in order."""
    return sorted(folder.glob(SHARD_GLOB))


class TableFile:
    """One parquet file that always exists in the end, with no rows if none came."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        repeating = [name for name in _REPEATING if name in schema.names]
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            use_dictionary=repeating,  # pyright: ignore[reportArgumentType]
        )
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._waiting_rows = 0
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; a row group is written once enough of them wait."""
        if not batch.num_rows:
            return
        self._waiting.append(batch)
        self._waiting_bytes += batch.get_total_buffer_size()
        self._waiting_rows += batch.num_rows
        self.rows += batch.num_rows
        if self._waiting_rows >= _GROUP_ROWS or self._waiting_bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting, self._waiting_bytes, self._waiting_rows = [], 0, 0

    def close(self) -> None:
        """Write what waits and the footer."""
        self._flush()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ShardWriter:
    """Documents into ``part-00000.parquet``, ``part-00001.parquet``, …: a new one once either limit is reached.

    ``rows`` and ``text_bytes`` limit the rows and, up to one document, the bytes of text of a shard.
    """

    def __init__(self, folder: Path, rows: int, text_bytes: int) -> None:
        self._folder = folder
        self._rows = rows
        self._bytes = text_bytes
        self._file: TableFile | None = None
        self._file_bytes = 0
        self.shards: list[str] = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Add documents in order."""
        for part in self._parts(batch):
            if self._file is None:
                name = f"part-{len(self.shards):05d}.parquet"
                self.shards.append(name)
                self._file = TableFile(self._folder / name, DOCUMENT_SCHEMA)
            self._file.write(part)
            self._file_bytes += _text_bytes(part)
            if self._file.rows >= self._rows or self._file_bytes >= self._bytes:
                self.close()

    def _parts(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Cut a batch where the present shard is full."""
        start = 0
        sizes: list[int] = batch.column("n_bytes").to_pylist()
        while start < batch.num_rows:
            left_rows = self._rows - (self._file.rows if self._file is not None else 0)
            left_bytes = self._bytes - self._file_bytes
            stop = start
            while stop < batch.num_rows and stop - start < left_rows and left_bytes > 0:
                left_bytes -= sizes[stop]
                stop += 1
            yield batch.slice(start, stop - start)
            start = stop

    def close(self) -> None:
        """Finish the present shard."""
        if self._file is not None:
            self._file.close()
        self._file, self._file_bytes = None, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _text_bytes(batch: pa.RecordBatch) -> int:
    return pc.sum(batch.column("n_bytes")).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
