from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.ordering.config import OrderingConfig
from gem_assets.ordering.scores import ScoreError, label_columns, pin_scores, score_files, with_scores
from gem_assets.student.label import LABEL_SCHEMA

CONFIG = OrderingConfig(
    score="difficulty", score_files=("scores/*.parquet",), score_key="url", score_key_column="page", memory_mb=128,
    threads=1,
)  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "scores").mkdir()
    one = pa.table({"page": ["u1", "u2", "u2"], "difficulty": pa.array([3, 1, 2], pa.int32())})
    two = pa.table({"page": ["u3", "u9"], "difficulty": pa.array([0.5, 9.0], pa.float32()), "more": ["x", "y"]})
    pq.write_table(one, tmp_path / "scores" / "one.parquet")
    pq.write_table(two, tmp_path / "scores" / "two.parquet")
    return tmp_path


def documents() -> list[pa.RecordBatch]:
    table = pa.table({"doc_id": list("abcde"), "url": ["u1", "u2", "u3", "u4", None]})
    return table.to_batches(max_chunksize=2)


def test_scores_are_joined_and_missing_ones_stay_open(root: Path):
    files = score_files(CONFIG, root)
    rows = [row for batch in with_scores(documents(), files, CONFIG, root) for row in batch.to_pylist()]
    assert {row["doc_id"]: row["difficulty"] for row in rows} == {"a": 3, "b": 2, "c": 0.5, "d": None, "e": None}
    assert sorted(p.name for p in root.iterdir()) == ["scores"]
    assert list(with_scores([], files, CONFIG, root)) == []


def test_without_files_documents_pass_as_they_are(tmp_path: Path):
    batches = documents()
    assert list(with_scores(batches, [], CONFIG, tmp_path)) == batches


def test_files_are_pinned_by_their_content(root: Path):
    (before,) = pin_scores(score_files(CONFIG, root), root)
    assert [file.path for file in before.files] == ["scores/one.parquet", "scores/two.parquet"]
    pq.write_table(pa.table({"page": ["u1"], "difficulty": [4]}), root / "scores" / "one.parquet")
    (after,) = pin_scores(score_files(CONFIG, root), root)
    assert before.data_version != after.data_version
    assert pin_scores([], root) == []


def test_columns_that_an_order_reads(root: Path):
    assert label_columns(CONFIG, LABEL_SCHEMA.names) == ["doc_id", "cluster", "n_tokens", "dup_count", "url"]
    plain = OrderingConfig(score="n_tokens")
    assert label_columns(plain, LABEL_SCHEMA.names) == ["doc_id", "cluster", "n_tokens", "dup_count"]
    with pytest.raises(ScoreError, match=r"'difficulty', which is not a column.*ordering\.score_files"):
        label_columns(OrderingConfig(score="difficulty"), LABEL_SCHEMA.names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score_files": ("none/*.parquet",)}, "no file below .* fits"),
        ({"score_files": ("/etc/x.parquet",)}, "name files below"),
        ({"score_files": ("../x.parquet",)}, "name files below"),
        ({"score": "quality"}, "has no column 'quality'; it has page, difficulty"),
        ({"score_key_column": "link"}, "has no column 'link'"),
        ({"score": "page"}, "a score is a number"),
    ],
)
def test_files_that_cannot_be_used_are_named(root: Path, change: dict[str, object], message: str):
    with pytest.raises(ScoreError, match=message):
        score_files(CONFIG.model_copy(update=change), root)


def test_a_file_that_is_no_parquet_is_named(root: Path):
    (root / "scores" / "three.parquet").write_bytes(b"no parquet")
    with pytest.raises(ScoreError, match=r"three\.parquet is not a parquet file"):
        score_files(CONFIG, root)
