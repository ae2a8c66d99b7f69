"""Scratch Arrow files: what shard tasks leave behind for one commit at the end of a stage."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa


def read_scratch(files: Sequence[Path], schema: pa.Schema) -> pa.RecordBatchReader:
    """Stream the rows of scratch Arrow files as one reader."""

    def batches() -> Iterator[pa.RecordBatch]:
        for path in files:
            with pa.memory_map(str(path)) as source:
                reader = pa.ipc.open_file(source)
                for index in range(reader.num_record_batches):
                    yield reader.get_batch(index)

    return pa.RecordBatchReader.from_batches(schema, batches())
