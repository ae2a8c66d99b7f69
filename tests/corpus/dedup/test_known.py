import os
import stat

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.corpus.dedup.digests import pack_hex, unpack_hex
from gem_assets.corpus.dedup.known import KnownTexts, NothingKnown, ParquetKnown, RememberedKnown, ask_owners
from gem_assets.storage.spill import Spill


def hexes(*numbers):
    return [f"{n:032x}" for n in numbers]


def packed(*numbers):
    return pack_hex(pa.array(hexes(*numbers), pa.string()))


def shard(path, digests, ids):
    pq.write_table(pa.table({"content_digest": hexes(*digests), "doc_id": hexes(*ids), "text": ["x"] * len(ids)}), path)
    return path


@pytest.fixture
def shards(tmp_path):
    return {
        "2026-02": [shard(tmp_path / "b.parquet", [2, 3], [22, 23])],
        "2026-01": [shard(tmp_path / "a0.parquet", [1], [11]), shard(tmp_path / "a1.parquet", [2], [12])],
    }


def remembered(shards, tmp_path):
    (tmp_path / "known").mkdir(exist_ok=True)
    return RememberedKnown(shards, {name: f"identity-{name}" for name in shards}, tmp_path / "known")


@pytest.fixture(params=["shards", "remembered"])
def known(request, shards, tmp_path):
    return ParquetKnown(shards) if request.param == "shards" else remembered(shards, tmp_path)


@pytest.fixture(params=[1 << 20, 0], ids=["in memory", "on the disk"])
def spill(request, tmp_path):
    with Spill(tmp_path, small=request.param) as spill:
        yield spill


def owned(owners, texts, spill):
    """Return owner and document of each text, as (snapshot, id)."""
    at = owners.index(texts, spill)
    ids = unpack_hex(owners.doc_ids[at])
    return [None if i < 0 else (owners.names[owners.snapshot[i] - 1], int(ids[n], 16)) for n, i in enumerate(at)]


def rows_of(known):
    return [
        row
        for part in known.texts()
        for row in zip([part.snapshot] * 9, unpack_hex(part.digests), unpack_hex(part.doc_ids), strict=False)
    ]


def test_texts_come_by_snapshot_name(known):
    assert rows_of(known) == [
        ("2026-01", *hexes(1, 11)),
        ("2026-01", *hexes(2, 12)),
        ("2026-02", *hexes(2, 22)),
        ("2026-02", *hexes(3, 23)),
    ]
    assert list(NothingKnown().texts()) == list(ParquetKnown({}).texts()) == []


def test_what_a_result_keeps_is_read_from_its_shards_once(shards, tmp_path):
    expected = rows_of(remembered(shards, tmp_path))
    files = sorted(path.name for path in (tmp_path / "known").iterdir())
    assert files == ["identity-2026-01", "identity-2026-02"]
    for paths in shards.values():
        for path in paths:
            path.unlink()
    assert rows_of(remembered(shards, tmp_path)) == expected


def test_the_first_snapshot_by_name_owns_a_text(known, spill):
    owners = ask_owners(known, packed(1, 2, 3, 4), spill)
    assert owned(owners, packed(3, 4, 2, 1, 9), spill) == [
        ("2026-02", 23),
        None,
        ("2026-01", 12),
        ("2026-01", 11),
        None,
    ]


def test_nobody_owns_what_nobody_knows(known, spill):
    assert ask_owners(known, packed(8, 9), spill).names == []
    assert ask_owners(known, packed(), spill).index(packed(1), spill).tolist() == [-1]
    assert ask_owners(NothingKnown(), packed(1), spill).index(packed(1), spill).tolist() == [-1]


def test_the_least_id_of_a_snapshot_owns_a_text(spill):
    class Twice:
        def texts(self):
            yield KnownTexts("a", packed(1, 1, 1), packed(7, 5, 6))
            yield KnownTexts("a", packed(1, 2), packed(4, 9))
            yield KnownTexts("b", packed(1), packed(3))

    assert owned(ask_owners(Twice(), packed(1, 2), spill), packed(1, 2), spill) == [("a", 4), ("a", 9)]


def test_digests_survive_packing():
    # trailing zero bytes are where numpy's byte strings lose something
    values = ["00" * 16, "ff" + "00" * 15, "00" * 15 + "ff", "ab" * 16]
    assert unpack_hex(pack_hex(pa.array(values))) == values
    assert unpack_hex(pack_hex(pa.array(values).slice(1, 2))) == values[1:3]
    assert unpack_hex(pack_hex(pa.array([], pa.string()))) == []


@pytest.mark.parametrize("values", [["00" * 15], ["0g" * 16], ["AB" * 16], [None], ["0" * 31, "0" * 33]])
def test_what_is_no_digest_is_refused(values):
    with pytest.raises(ValueError, match="not 32 hex digits"):
        pack_hex(pa.array(values, pa.string()))


def test_remembered_files_are_readable_as_the_umask_says(shards, tmp_path):
    before = os.umask(0o027)
    try:
        assert rows_of(remembered(shards, tmp_path))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "known").iterdir()}
    assert modes == {"identity-2026-01": 0o640, "identity-2026-02": 0o640}
