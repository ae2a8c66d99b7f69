import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.audit.crawl import crawl_period, first_day


def period(tmp_path, dates):
    ids = [f"{i:032x}" for i in range(len(dates))]
    pq.write_table(
        pa.table({"doc_id": ids, "multiplicity": [2] * len(ids), "n_tokens": [5] * len(ids)}), tmp_path / "d"
    )
    shard = pa.table({"doc_id": [*ids, "f" * 32], "date": pa.array([*dates, "1990-01-01"], pa.string())})
    pq.write_table(shard, tmp_path / "s")
    return crawl_period(tmp_path / "d", [tmp_path / "s"], 10 * len(ids))


def test_only_documents_of_the_mixture_count(tmp_path):
    found = period(tmp_path, ["2026-01-05T03:04:05Z", "2026-02", None, "2025"])
    assert (found.first, found.last, found.dated_share) == ("2025", "2026-02", 0.75)
    assert [(m.month, m.documents, m.tokens) for m in found.months] == [
        ("2025", 1, 10), ("2026-01", 1, 10), ("2026-02", 1, 10),
    ]  # fmt: skip
    assert (found.day, found.instant) == ("2026-02-01", "2026-02-01T00:00:00Z")
    assert "last date" in found.why


@pytest.mark.parametrize("dates", [[None, None], ["0000-13-44", "yesterday"]])
def test_without_dates_the_forms_say_so(tmp_path, dates):
    found = period(tmp_path, dates)
    assert (found.first, found.last, found.dated_share, found.months) == (None, None, 0.0, [])
    assert found.day == "1970-01-01"
    assert "no clock" in found.why


def test_without_shards_there_are_no_dates(tmp_path):
    assert crawl_period(tmp_path / "unread", [], 10).last is None


@pytest.mark.parametrize(
    ("date", "day"), [("2026", "2026-01-01"), ("2026-05", "2026-05-01"), ("2026-05-07", "2026-05-07")]
)
def test_first_day(date, day):
    assert first_day(date) == day
