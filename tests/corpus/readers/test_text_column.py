import numpy as np
import pyarrow as pa
import pytest

from gem_assets.corpus.readers.text_column import TextColumn, places

RAW = [b"one", None, b"caf\xe9", b"zwei", b"", b"one"]
READABLE = [True, False, False, True, True, True]


def kinds():
    plain = pa.array(RAW, pa.binary())
    as_strings = pa.StringArray.from_buffers(len(RAW), plain.buffers()[1], plain.buffers()[2], plain.buffers()[0])
    return {
        "bytes": plain,
        "large bytes": plain.cast(pa.large_binary()),
        "strings": as_strings,
        "dictionary": plain.dictionary_encode(),
        "a slice": pa.array([b"\xff", *RAW, b"\xff"], pa.binary()).slice(1, len(RAW)),
        "a part of a long dictionary": pa.DictionaryArray.from_arrays(
            pa.array([40, None, 41, 42, 43, 40], pa.int8()),
            pa.array([*[b"\xff"] * 40, b"one", b"caf\xe9", b"zwei", b"", *[b"\xff"] * 9], pa.binary()),
        ),
        "nulls in a dictionary": pa.DictionaryArray.from_arrays(
            pa.array([0, 1, 2, 3, 4, 0]), pa.array([b"one", None, b"caf\xe9", b"zwei", b""], pa.binary())
        ),
    }


@pytest.mark.parametrize("name", kinds())
def test_every_kind_of_column(name):
    column = TextColumn.of(kinds()[name])
    assert [column[row] for row in range(len(RAW))] == RAW
    assert column.readable.tolist() == READABLE
    assert column.sizes.tolist() == [len(data or b"") for data in RAW]
    part = column.part(3, 6)
    part.validate(full=True)
    assert part.type == pa.large_string()
    assert part.to_pylist() == ["zwei", "", "one"]


@pytest.mark.parametrize("index", [-1, 2])
def test_an_index_that_leads_out_of_the_dictionary(index):
    indices = pa.Array.from_buffers(pa.int32(), 3, [None, pa.py_buffer(np.array([0, index, 1], np.int32))])
    column = pa.DictionaryArray.from_arrays(indices, pa.array(["a", "b"]), safe=False)
    for read in (places, TextColumn.of):
        with pytest.raises(pa.ArrowInvalid, match=f"index {index} into a dictionary of 2 values"):
            read(column)
