"""Ids packed into two words and back."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.ordering.ids import pack, unpack


@settings(deadline=None)
@given(st.lists(st.binary(min_size=16, max_size=16), max_size=20), st.data())
def test_digests_survive(digests: list[bytes], data: st.DataObject) -> None:
    ids = pa.array([d.hex() for d in digests], pa.string())
    start = data.draw(st.integers(0, len(digests)))
    words = pack(ids.slice(start))
    assert words is not None
    assert unpack(*words).to_pylist() == ids.slice(start).to_pylist()


def test_words_sort_as_the_strings_do() -> None:
    words = pack(pa.array(["00" * 15 + "ff", "01" + "00" * 15]))
    assert words is not None
    assert [int(w) for w in words[0]] == [0, 1 << 56]
    assert [int(w) for w in words[1]] == [255, 0]


@pytest.mark.parametrize("other", ["A" * 32, "g" * 32, "a" * 31, "a" * 33, "", "legal_code#1"])
def test_other_ids_are_not_packed(other: str) -> None:
    assert pack(pa.array(["a" * 32, other])) is None


def test_lengths_that_only_add_up_are_not_packed() -> None:
    assert pack(pa.array(["a" * 31, "a" * 33])) is None
