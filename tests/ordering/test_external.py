"""Batches that go to disk and come back."""

from pathlib import Path

import pyarrow as pa
import pytest

from gem_assets.ordering.external import Spool

SCHEMA = pa.schema([("number", pa.int64()), ("name", pa.string())])


@pytest.mark.parametrize("rows", [[], [0, 3], [1, 131_072, 2, 300_000]])
def test_a_spool_gives_back_what_was_written_as_often_as_asked(tmp_path: Path, rows: list[int]) -> None:
    written = [
        pa.record_batch([pa.array(range(n), pa.int64()), pa.array(str(i) for i in range(n))], schema=SCHEMA)
        for n in rows
    ]
    with Spool(tmp_path / "rows.arrow", SCHEMA) as spool:
        for batch in written:
            spool.write(batch)
    whole = pa.Table.from_batches(written, SCHEMA)
    for _ in range(2):
        read = list(spool.read())
        assert pa.Table.from_batches(read, SCHEMA).equals(whole)
        assert max((batch.num_rows for batch in read), default=0) <= 131_072
    names = pa.Table.from_batches(spool.read(["name"]), pa.schema([SCHEMA.field("name")]))
    assert names.equals(whole.select(["name"]))
