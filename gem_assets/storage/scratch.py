"""Scratch Arrow files, which shard tasks leave behind for the one commit at the end of a stage."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa


def read_scratch(files: Sequence[Path], schema: pa.Schema) -> pa.RecordBatchReader:
    """Stream the rows of scratch Arrow files as one reader; columns that ``schema`` lacks are not read.

    Memory is one batch: a mapped file would stay in this process's memory as far as it was read.
    """

    def batches() -> Iterator[pa.RecordBatch]:
        for path in files:
            with pa.OSFile(str(path), "rb") as source:
                with pa.ipc.open_file(source) as whole:
                    wanted = [whole.schema.get_field_index(name) for name in schema.names]
                options = pa.ipc.IpcReadOptions(included_fields=wanted)
                with pa.ipc.open_file(source, options=options) as reader:
                    for index in range(reader.num_record_batches):
                        yield reader.get_batch(index)

    return pa.RecordBatchReader.from_batches(schema, batches())
