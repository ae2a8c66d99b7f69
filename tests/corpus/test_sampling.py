import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.sampling import document_ranks, sample_documents, select_documents, thinned


def ids(n: int) -> list[str]:
    return [hashlib.md5(str(i).encode()).hexdigest() for i in range(n)]


def write(path: Path, names: list[str]) -> Path:
    pq.write_table(pa.table({"doc_id": names, "text": [f"text of {n}" for n in names]}), path)
    return path


def test_sample_ignores_the_order_and_grouping_of_files(tmp_path):
    names = ids(500)
    one = {"a": [write(tmp_path / "one.parquet", names)]}
    parts = {
        "b": [write(tmp_path / "x.parquet", names[300:][::-1])],
        "a": [write(tmp_path / "y.parquet", names[:300])],
    }
    first = sample_documents(one, 100, seed=3, columns=["text"])
    assert first.num_rows == 100
    assert first.equals(sample_documents(parts, 100, seed=3, columns=["text"]))
    assert first.column("text")[0].as_py() == f"text of {first.column('doc_id')[0].as_py()}"


def test_another_seed_gives_an_unrelated_sample(tmp_path):
    shards = {"a": [write(tmp_path / "a.parquet", ids(2000))]}
    one = set(sample_documents(shards, 200, seed=0, columns=[]).column("doc_id").to_pylist())
    two = set(sample_documents(shards, 200, seed=1, columns=[]).column("doc_id").to_pylist())
    assert 5 <= len(one & two) <= 45  # 20 expected by chance


def test_a_new_snapshot_only_displaces_what_it_outranks(tmp_path):
    names = ids(1000)
    old = {"a": [write(tmp_path / "a.parquet", names[:800])]}
    new = {**old, "b": [write(tmp_path / "b.parquet", names[800:])]}
    before = set(sample_documents(old, 100, seed=0, columns=[]).column("doc_id").to_pylist())
    after = set(sample_documents(new, 100, seed=0, columns=[]).column("doc_id").to_pylist())
    assert after - before <= set(names[800:])


def test_small_corpus_is_taken_whole(tmp_path):
    shards = {"a": [write(tmp_path / "a.parquet", ids(7))]}
    assert sample_documents(shards, 100, seed=0, columns=[]).num_rows == 7


def test_select_returns_the_named_documents_sorted(tmp_path):
    names = ids(50)
    shards = {"a": [write(tmp_path / "a.parquet", names)]}
    found = select_documents(shards, pa.array([names[9], names[3], "0" * 32]), ["text"])
    assert found.column("doc_id").to_pylist() == sorted([names[9], names[3]])


def test_nothing_to_sample_says_what_to_do():
    with pytest.raises(ValueError, match="ingest a snapshot"):
        sample_documents({}, 10, seed=0, columns=[])
    with pytest.raises(ValueError, match="positive"):
        sample_documents({}, 0, seed=0, columns=[])


@given(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=50), st.integers(0, 2**40))
def test_ranks_depend_on_the_id_alone(raw, seed):
    hexes = [r.hex() for r in raw]
    together = document_ranks(pa.array(hexes), seed)
    alone = np.concatenate([document_ranks(pa.array([h]), seed) for h in hexes])
    assert (together == alone).all()


def test_malformed_ids_are_refused():
    with pytest.raises(ValueError, match="hexadecimal"):
        document_ranks(pa.array(["xy" * 16]), 0)
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        document_ranks(pa.array(["ab" * 8, "cd" * 16]), 0)


@pytest.mark.parametrize(("most", "expected"), [(1_000, 10), (100, 10), (99, 5), (34, 4), (1, 1)])
def test_a_stream_is_thinned_evenly(most, expected):
    batches = [pa.RecordBatch.from_pydict({"n": [number] * 10}) for number in range(10)]
    kept = [batch.column("n")[0].as_py() for batch in thinned(batches, 100, most)]
    assert len(kept) == expected
    assert kept[0] == 0
    assert len(set(np.diff(kept))) <= 1
