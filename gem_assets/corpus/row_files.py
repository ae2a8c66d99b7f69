"""Arrow files that are written batch by batch, or row by row."""

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from gem_assets.corpus.columns import numbers, strings

_ROWS: Final = 8192


class ArrowFile:
    """An Arrow file, which is created with the first batch."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self._path.unlink(missing_ok=True)

    def write(self, batch: pa.RecordBatch) -> None:
        """Write a batch."""
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_file(os.fspath(self._path), self._schema, options=options)
        self._writer.write_batch(batch)

    def close(self) -> None:
        """End the file, if there is one."""
        if self._writer is not None:
            self._writer.close()


class RowFile:
    """Rows as tuples into an Arrow file; they hold no text, so their number alone says when to write."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = ArrowFile(path, schema)
        self._schema = schema
        self._rows: list[tuple[Any, ...]] = []

    def add(self, row: tuple[Any, ...]) -> None:
        """Take a row in the order of the schema, whose columns are strings or int64."""
        self._rows.append(row)
        if len(self._rows) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = [
            strings(values) if pa.types.is_string(field.type) else numbers(np.array(values, np.int64))
            for values, field in zip(zip(*self._rows, strict=True), self._schema, strict=True)
        ]
        self._file.write(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._rows = []

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._file.close()
