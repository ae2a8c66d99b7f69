import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.mixing.quality.scores import ScoreFileError, file_of_scores, read_scores

IDS = ["a", "b", "c", "d", "e"]


def write(path, **columns):
    columns = {"doc_id": IDS[::-1], **columns}
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.mark.parametrize("name", ["s.parquet", "s.jsonl"])
def test_scores_are_joined_by_id_whatever_the_format(tmp_path, name):
    path = write(tmp_path / name, quality=[5, 4, 3, 2, 1], edu=[0.5, 0.4, 0.3, 0.2, 0.1], note=["x"] * 5)
    found = read_scores(path, ["b", "e"])
    assert found.raters == ("quality", "edu")
    assert found.scores == pytest.approx(np.array([[2, 0.2], [5, 0.5]]))
    assert found.rows.tolist() == [0, 1]
    assert found.faults == ()


@pytest.mark.parametrize("name", ["s.parquet", "s.jsonl"])
def test_what_is_missing_is_counted_and_named_or_left_out(tmp_path, name):
    path = write(tmp_path / name, quality=[5.0, float("nan"), 3.0, 2.0, 1.0], same=[7.0] * 5)
    with pytest.raises(ScoreFileError) as refused:
        read_scores(path, [*IDS, "f", "g"])
    said = str(refused.value)
    assert "2 of 7 documents (f, g) without any score" in said
    assert "1 of 7 documents (d) without a finite quality" in said
    assert "same is 7 everywhere" in said
    assert "on_fault = 'leave_out'" in said
    found = read_scores(path, [*IDS, "f", "g"], "leave_out")
    assert found.rows.tolist() == [0, 1, 2, 4]
    assert found.scores.tolist() == [[1], [2], [3], [5]]
    assert found.raters == ("quality",)
    assert len(found.faults) == 3


def test_long_lists_of_missing_documents_are_cut(tmp_path):
    path = write(tmp_path / "s.parquet", quality=[5.0, 4.0, 3.0, 2.0, 1.0])
    with pytest.raises(ScoreFileError, match=r"9 of 9 documents \(x0, x1, x2, ...\)"):
        read_scores(path, [f"x{i}" for i in range(9)])
    with pytest.raises(ScoreFileError, match="no document is left"):
        read_scores(path, ["x"], "leave_out")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"note": ["x"] * 5}, "no numeric column beside doc_id"),
        ({"doc_id": ["a", "a", "b", "c", "d"], "q": [1.0] * 5}, "5 rows of 4 documents, 2 of a"),
    ],
)
def test_files_that_hold_no_scores_are_named(tmp_path, columns, message):
    with pytest.raises(ScoreFileError, match=message):
        read_scores(write(tmp_path / "s.parquet", **columns), IDS)


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "s.jsonl").write_text("{")
    with pytest.raises(ScoreFileError, match=r"s\.jsonl cannot be read"):
        read_scores(tmp_path / "s.jsonl", IDS)
    (tmp_path / "t.jsonl").write_text('{"id": 1}')
    with pytest.raises(ScoreFileError, match="no column 'doc_id'; it has id"):
        read_scores(tmp_path / "t.jsonl", IDS)
    assert file_of_scores(None) is None
    with pytest.raises(ScoreFileError, match=r"mixing\.scores\.file names .*none, which is not a file"):
        file_of_scores(str(tmp_path / "none"))
