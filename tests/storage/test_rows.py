import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.storage.rows import RowDigest

SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("text", pa.large_string()), ("n", pa.int64()), ("x", pa.float32()), ("b", pa.bool_()),
        ("v", pa.list_(pa.float32(), 2)), ("day", pa.date32()),
    ]
)  # fmt: skip
vectors = st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2)
rows = st.fixed_dictionaries(
    {
        "id": st.text(max_size=3), "text": st.none() | st.text(max_size=3), "n": st.none() | st.integers(-3, 3),
        "x": st.none() | st.floats(width=32, allow_nan=False), "b": st.none() | st.booleans(),
        "v": st.none() | vectors, "day": st.none() | st.dates(),
    }
)  # fmt: skip


def row_digest(rows: pa.Table, columns: list[str] | None = None) -> str:
    return RowDigest(columns).update(rows).hexdigest()


def table(items: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(items, schema=SCHEMA)


@given(st.lists(rows, max_size=8), st.randoms(), st.integers(1, 4))
def test_neither_order_nor_batches_nor_column_order_count(items, rnd, size):
    whole = row_digest(table(items))
    mixed = list(items)
    rnd.shuffle(mixed)
    turned = table(mixed).select(SCHEMA.names[::-1])
    running = RowDigest().update(turned.slice(0, 0))
    for batch in turned.to_batches(max_chunksize=size):
        running.update(batch)
    assert running.hexdigest() == whole
    assert running.rows == len(items)


@given(st.lists(rows, min_size=1, max_size=5), rows)
def test_a_changed_row_changes_the_digest(items, other):
    bits = table([items[0]]).equals(table([other]))
    changed = row_digest(table([other, *items[1:]]))
    if not bits:
        assert changed != row_digest(table(items))
    elif items[0] == other and str(items[0]) == str(other):
        assert changed == row_digest(table(items))


def test_repetition_counts():
    item = {"id": "a", "v": [1.0, 2.0]}
    assert len({row_digest(table([item] * n)) for n in range(4)}) == 4


def test_null_empty_and_zero_are_three_things():
    digests = [row_digest(pa.table({"t": pa.array([value], pa.string())})) for value in (None, "", "\0")] + [
        row_digest(pa.table({"t": pa.array([value], pa.int64())})) for value in (None, 0)
    ]
    assert len(set(digests)) == 5


def test_strings_do_not_run_into_each_other():
    left = pa.table({"a": ["ab"], "b": ["c"]})
    right = pa.table({"a": ["a"], "b": ["bc"]})
    assert row_digest(left) != row_digest(right)


def test_width_of_offsets_and_dictionaries_do_not_count_but_slices_are_respected():
    plain = pa.table({"t": pa.array(["x", "y", "z"])})
    assert row_digest(plain) == row_digest(pa.table({"t": pa.array(["x", "y", "z"], pa.large_string())}))
    assert row_digest(plain.slice(1, 1)) == row_digest(pa.table({"t": ["y"]}))
    vector = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(8, dtype=np.float32)), 2)
    sliced = pa.table({"v": vector}).slice(2, 1)
    assert row_digest(sliced) == row_digest(pa.table({"v": pa.array([[4.0, 5.0]], pa.list_(pa.float32(), 2))}))


def test_times_are_taken():
    moments = [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), None]
    assert row_digest(pa.table({"t": moments})) != row_digest(pa.table({"t": moments[:1] * 2}))


def test_only_named_columns_count():
    one = pa.table({"a": [1, 2], "b": [1, 2]})
    two = pa.table({"a": [1, 2], "b": [3, 4]})
    assert row_digest(one, ["a"]) == row_digest(two, ["a"])
    with pytest.raises(ValueError, match="missing"):
        row_digest(one, ["c"])


def test_types_must_stay():
    running = RowDigest().update(pa.table({"a": [1]}))
    with pytest.raises(ValueError, match="had types"):
        running.update(pa.table({"a": [1.0]}))


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.map_(pa.string(), pa.int64())])
def test_types_without_byte_form_are_named(kind):
    with pytest.raises(TypeError, match="'odd'"):
        row_digest(pa.table({"odd": pa.array([[]], kind)}))


def test_nulls_inside_a_vector_are_refused():
    with pytest.raises(TypeError, match="nulls inside"):
        row_digest(pa.table({"v": pa.array([[1.0, None]], pa.list_(pa.float32(), 2))}))
