import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.mixing.supply import INVENTORY_SCHEMA, ClusterSupply, build_inventory

label_rows = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from(["2024-01", "2024-02"]),
        st.sampled_from(["en", "de", None, ""]),
        st.integers(0, 1000),
    ),
    max_size=60,
)


def batch_of(rows) -> pa.RecordBatch:
    cluster, snapshot, lang, tokens = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.record_batch(
        {
            "cluster": pa.array(cluster, pa.int16()),
            "snapshot": pa.array(snapshot, pa.string()),
            "lang": pa.array(lang, pa.string()),
            "n_tokens": pa.array(tokens, pa.int64()),
            "n_bytes": pa.array([4 * t for t in tokens], pa.int64()),
        }
    )


@given(label_rows, st.integers(1, 7), st.randoms())
@settings(deadline=None, max_examples=60)
def test_inventory_counts_everything_once_whatever_the_batches(rows, size, random):
    whole = build_inventory([batch_of(rows)])
    shuffled = rows.copy()
    random.shuffle(shuffled)
    parts = [batch_of(shuffled[i : i + size]) for i in range(0, len(shuffled), size)]
    assert build_inventory(parts).equals(whole)
    assert whole.schema == INVENTORY_SCHEMA
    assert sum(whole.column("n_docs").to_pylist()) == len(rows)
    assert sum(whole.column("n_tokens").to_pylist()) == sum(r[3] for r in rows)
    assert set(whole.column("lang").to_pylist()) <= {"en", "de", "und"}


def test_supply_keeps_empty_clusters_and_sums_over_snapshots():
    rows = [(0, "a", "en", 10), (0, "b", "en", 20), (2, "a", "de", 5)]
    supply = ClusterSupply.from_inventory(build_inventory([batch_of(rows)]), n_clusters=4)
    assert supply.clusters.tolist() == [0, 1, 2, 3]
    assert supply.tokens.tolist() == [30, 0, 5, 0]
    assert supply.docs.tolist() == [2, 0, 1, 0]
    assert supply.tokens_per_doc.tolist() == [15.0, 0.0, 5.0, 0.0]


def test_label_outside_the_taxonomy_is_refused():
    inventory = build_inventory([batch_of([(7, "a", "en", 1)])])
    with pytest.raises(ValueError, match=r"cluster 7, the taxonomy has 0\.\.3"):
        ClusterSupply.from_inventory(inventory, n_clusters=4)


def test_missing_column_and_null_cluster_are_named():
    batch = batch_of([(0, "a", "en", 1)])
    with pytest.raises(ValueError, match="no column n_tokens"):
        build_inventory([batch.drop_columns(["n_tokens"])])
    with pytest.raises(ValueError, match="without cluster"):
        build_inventory([batch_of([(None, "a", "en", 1)])])


def test_negative_tokens_are_refused():
    with pytest.raises(ValueError, match="negative n_tokens: -3"):
        build_inventory([batch_of([(0, "a", "en", -3)])])


def test_supply_refuses_tokens_without_documents():
    with pytest.raises(ValueError, match="no documents"):
        ClusterSupply(np.arange(2), np.array([1, 0]), np.array([5, 5]), np.array([5, 5]))
