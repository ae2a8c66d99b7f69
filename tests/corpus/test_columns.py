import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.columns import bounds, flags, integers, numbers, strings, valid
from tests.corpus.making import jsonl, parquet, prose


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]))))
def test_strings(values):
    column = strings(values)
    column.validate(full=True)
    assert column.to_pylist() == values
    assert valid(column).tolist() == [value is not None for value in values]


def test_a_lone_surrogate_is_no_string():
    with pytest.raises(UnicodeEncodeError):
        strings(["a", "\ud800"])


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.float32])
def test_numbers(kind):
    column = numbers(np.arange(9)[::2].astype(kind))
    assert column.to_pylist() == [0, 2, 4, 6, 8]
    assert column.type == pa.from_numpy_dtype(kind)


def test_flags():
    values = np.arange(11) % 3 == 0
    assert flags(values).to_pylist() == values.tolist()


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint32(), pa.int64()])
def test_integers_of_a_slice(kind):
    column = pa.array([1, None, 3, 4, None, 6], kind)
    assert integers(column.slice(2, 3))[:2].tolist() == [3, 4]
    assert valid(column.slice(1, 4)).tolist() == [False, True, True, False]
    assert len(integers(column.slice(6))) == 0


def test_bounds_of_a_slice():
    column = pa.array(["ab", "", "cde"], pa.large_string())
    assert bounds(column).tolist() == [0, 2, 2, 5]
    assert bounds(column.slice(1)).tolist() == [2, 2, 5]
    assert bounds(column.slice(3)).tolist() == [0]


def test_reading_files_imports_neither_pandas_nor_scipy(tmp_path):
    rows = [{"text": prose(i), "url": f"https://example.org/{i}", "date": "2026-01-02"} for i in range(3)]
    (tmp_path / "a.jsonl").write_bytes(jsonl([*rows, {"text": 1}, {"text": "short"}]))
    table = pa.table({"text": [prose(4), None], "label": [["a"], []], "url": pa.array(["a", "b"]).dictionary_encode()})
    (tmp_path / "b.parquet").write_bytes(parquet(table))
    code = f"""
import sys
from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.fragments import FileJob, extract_file
for index, name in enumerate(["a.jsonl", "b.parquet"]):
    job = FileJob(index, {str(tmp_path)!r} + "/" + name, name, None)
    tally = extract_file(job, scratch={str(tmp_path)!r}, config=CorpusConfig(min_text_chars=20))
    assert tally.candidates and tally.quarantined, tally
print(*{{name.partition(".")[0] for name in sys.modules}} & {{"pandas", "datasketch"}})
print(*{{"scipy.sparse", "scipy.special", "scipy.integrate"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
