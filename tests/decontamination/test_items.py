"""Reading of benchmark files, sound and damaged."""

import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.decontamination.config import Benchmark
from gem_assets.decontamination.items import BenchmarkError, benchmarks_version, read_items


def write_lines(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def benchmark(path: Path, **given: object) -> Benchmark:
    return Benchmark.model_validate({"name": "quiz", "path": str(path), **given})


def test_fields_are_joined_with_the_strings_in_lists_and_objects(tmp_path: Path):
    rows = [{"id": "a", "question": "Who?", "choices": {"text": ["me", "you"], "label": [0, 1]}, "answer": 3}]
    found = read_items(benchmark(write_lines(tmp_path / "q.jsonl", rows), fields=("question", "choices", "answer")))
    assert [(item.id, item.text) for item in found] == [("a", "Who?\nme\nyou")]


def test_parquet_and_gzipped_lines_give_the_same_items(tmp_path: Path):
    rows = [{"id": 7, "text": "one  \r\ntwo"}, {"id": 8, "text": "three"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    with gzip.open(tmp_path / "a.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(map(json.dumps, rows)))
    first, second = (read_items(benchmark(tmp_path / name)) for name in ("a.parquet", "a.jsonl.gz"))
    assert first == second
    assert [(item.id, item.text) for item in first] == [("7", "one\ntwo"), ("8", "three")]


def test_a_split_chooses_files_of_a_folder_or_rows_of_a_file(tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir()
    write_lines(folder / "train-00000.jsonl", [{"text": "train"}])
    write_lines(folder / "test-00000.jsonl", [{"text": "test"}])
    assert [item.text for item in read_items(benchmark(folder, split="test"))] == ["test"]
    assert len(read_items(benchmark(folder))) == 2
    one = write_lines(tmp_path / "all.jsonl", [{"text": "a", "split": "dev"}, {"text": "b", "split": "test"}])
    assert [(item.id, item.text) for item in read_items(benchmark(one, split="test"))] == [("1", "b")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"PAR1 this is no parquet PAR1", "a.parquet is damaged, or no parquet file"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "a.jsonl, line 2: not JSON in UTF-8"),
        ("a.jsonl", b'{"text": "\xff"}\n', "a.jsonl, line 1: not JSON in UTF-8"),
        ("a.jsonl", b"[1, 2]\n", "a.jsonl, line 1: not a JSON object"),
        ("a.jsonl.gz", b"\x1f\x8b\x08\x00", "a.jsonl.gz cannot be read after line 0"),
        ("a.jsonl", b'{"question": "x"}\n', "none of the columns text; it has question. Name its columns in `fields`"),
        ("a.jsonl", b'{"text": ""}\n{"text": null}\n', "holds 2 items and no text in text"),
        ("a.jsonl", b"", "holds 0 items and no text in text"),
        ("a.csv", b"text\nx\n", "a.csv is none of .parquet, .jsonl"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_way_out(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BenchmarkError, match=re.escape(message)):
        read_items(benchmark(tmp_path / name))


def test_a_parquet_file_without_the_column_names_those_that_it_has(tmp_path: Path):
    pq.write_table(pa.table({"prompt": ["x"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(BenchmarkError, match="none of the columns text; it has n, prompt"):
        read_items(benchmark(tmp_path / "a.parquet"))


def test_a_missing_path_and_an_empty_folder_are_named(tmp_path: Path):
    with pytest.raises(BenchmarkError, match="is not there: correct the path of the benchmark quiz"):
        read_items(benchmark(tmp_path / "none"))
    with pytest.raises(BenchmarkError, match="holds no file of"):
        read_items(benchmark(tmp_path))


def test_the_version_follows_content_and_not_the_place(tmp_path: Path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    one, two = (write_lines(folder / "q.jsonl", [{"text": "same"}]) for folder in (a, b))
    assert benchmarks_version([benchmark(one)]) == benchmarks_version([benchmark(two)])
    write_lines(two, [{"text": "another"}])
    assert benchmarks_version([benchmark(one)]) != benchmarks_version([benchmark(two)])
    assert benchmarks_version([benchmark(one)]) != benchmarks_version([benchmark(one, split="test")])
