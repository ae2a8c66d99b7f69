import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.corpus.candidates import ask_owners, pack_hex, unpack_hex
from gem_assets.corpus.known import OWNER_SCHEMA, NothingKnown, ParquetKnown


def hexes(*numbers):
    return [f"{n:032x}" for n in numbers]


def shard(path, digests, ids):
    pq.write_table(pa.table({"content_digest": hexes(*digests), "doc_id": hexes(*ids), "text": ["x"] * len(ids)}), path)
    return path


@pytest.fixture
def known(tmp_path):
    return ParquetKnown(
        {
            "2026-02": [shard(tmp_path / "b.parquet", [2, 3], [22, 23])],
            "2026-01": [shard(tmp_path / "a0.parquet", [1], [11]), shard(tmp_path / "a1.parquet", [2], [12])],
        }
    )


def test_owners_by_snapshot_name(known):
    table = known.owners(pa.array(hexes(1, 2, 3, 4)))
    assert table.schema == OWNER_SCHEMA
    assert table.to_pylist() == [
        {"content_digest": hexes(d)[0], "doc_id": hexes(i)[0], "snapshot": s}
        for d, i, s in [(1, 11, "2026-01"), (2, 12, "2026-01"), (3, 23, "2026-02")]
    ]


def test_nothing_known(known):
    assert known.owners(pa.array(hexes(9))).num_rows == 0
    assert known.owners(pa.array([], pa.string())).num_rows == 0
    assert NothingKnown().owners(pa.array(hexes(1))).schema == OWNER_SCHEMA
    assert ParquetKnown({}).owners(pa.array(hexes(1))).num_rows == 0


def test_owners_are_found_by_digest(known):
    owners = ask_owners(known, pack_hex(pa.array(hexes(4, 3, 1, 3))))
    assert owners.index(pack_hex(pa.array(hexes(3, 4, 1, 9)))).tolist() == [1, -1, 0, -1]
    assert owners.counts() == {"2026-01": 1, "2026-02": 1}
    assert len(owners.digest()) == 64
    assert owners.digest() != ask_owners(known, pack_hex(pa.array(hexes(3)))).digest()
    assert ask_owners(known, pack_hex(pa.array(hexes(9)))).digest() == ""


def test_a_source_that_cannot_choose_is_refused():
    class Torn:
        def owners(self, content_digests, /):
            rows = {"content_digest": hexes(1, 1), "doc_id": hexes(2, 3), "snapshot": ["a", "b"]}
            return pa.table(rows, schema=OWNER_SCHEMA)

    with pytest.raises(ValueError, match="two owners"):
        ask_owners(Torn(), pack_hex(pa.array(hexes(1))))


def test_digests_survive_packing():
    # trailing zero bytes are where numpy's byte strings lose something
    values = ["00" * 16, "ff" + "00" * 15, "00" * 15 + "ff", "ab" * 16]
    assert unpack_hex(pack_hex(pa.array(values))) == values
    assert unpack_hex(pack_hex(pa.array([], pa.string()))) == []
