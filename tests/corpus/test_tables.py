"""Tables as engines lay them out: partition folders, sidecars, ids, gaps, and columns that unfold."""

import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.readers.fields import as_string, folder_fields
from gem_assets.corpus.readers.sidecars import is_sidecar
from gem_assets.corpus.recrawls import RecrawlConfig, publish_history
from gem_assets.corpus.text.cleaning import document_id
from tests.corpus.making import documents, ingest, items, jsonl, parquet, prose, quarantined, rows


def test_partition_folders_become_columns(tmp_path):
    files = {
        "lang=fr/date=2024-01-31/part-0.parquet": parquet({"text": [prose(1)]}),
        "language=deu_Latn/year=2024/month=2/day=3/part-0.jsonl": jsonl([{"text": prose(2)}]),
        "lang=fr/license=CC0-1.0/source=a%20b/part-0.parquet": parquet({"text": [prose(3)], "lang": ["en"]}),
        "date=__HIVE_DEFAULT_PARTITION__/part-0.parquet": parquet({"text": [prose(4)]}),
    }
    _, out = ingest(tmp_path, files)
    found = {row["file"]: row for row in rows(out)}
    names = list(files)
    assert [(found[n]["lang"], found[n]["date"]) for n in names[:2]] == [("fr", "2024-01-31"), ("de", "2024-02-03")]
    # what a record says of itself counts more than its folder
    third = found[names[2]]
    assert (third["lang"], third["license"], third["source"]) == ("en", "CC0-1.0", "a b")
    assert found[names[3]]["date"] is None


def test_folders_give_neither_text_nor_address():
    assert folder_fields("text=a/url=b/id=3/x.parquet", CorpusConfig().columns) == {}


SIDECARS = [
    *("_metadata", "_common_metadata", "t/_metadata", "t/_committed_8112", "t/_started_8112", "t/part-0.parquet.crc"),
    *(
        "t/_delta_log/00000000000000000000.json",
        "t/_delta_log/00010.checkpoint.parquet",
        "t/_delta_log/_last_checkpoint",
    ),
    *("t/metadata/v1.metadata.json", "t/metadata/snap-81-1-ab.avro", "t/metadata/version-hint.text"),
    *("t/_temporary/0/part-0.parquet", "t/_spark_metadata/0", "dataset_info.json"),
]


@pytest.mark.parametrize("name", SIDECARS)
def test_sidecars_are_counted_and_not_read(tmp_path, name):
    assert is_sidecar(name)
    log = jsonl([{"commitInfo": {"operation": "WRITE"}}, {"add": {"path": "part-0.parquet"}}] * 500)
    report, _ = ingest(tmp_path, {name: log, "t/part-0.parquet": parquet({"text": [prose(1)]})})
    assert (report.kept, report.quarantined, report.skipped) == (1, {}, {"sidecar": 1})


@pytest.mark.parametrize("name", ["metadata/pages.jsonl", "_pages.jsonl", "a.json", "_delta_logs/a.json", "crc.txt"])
def test_files_of_users_are_no_sidecars(name):
    assert not is_sidecar(name)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[
            (value, None)
            for value in (None, float("nan"), float("inf"), "nan", "NaN", "None", "null", "", " ", [], "<NA>")
        ],
        *[
            (17.0, "17"),
            (17, "17"),
            (1.5, "1.5"),
            (True, "true"),
            (["MIT"], "MIT"),
            ([17.0], "17"),
            (b"a\xff", "a\ufffd"),
        ],
        *[("none of it", "none of it"), ({"a": 1}, '{"a": 1}'), ([None], None), ("x" * 9000, "x" * 8192)],
    ],
)
def test_values_as_pandas_and_others_write_them(value, text):
    assert as_string(value) == text


def test_several_licences_are_readable(tmp_path):
    _, out = ingest(tmp_path, {"a.jsonl": jsonl([{"text": prose(1), "license": ["mit", "cc0"], "label": ["news"]}])})
    assert (rows(out)[0]["license"], rows(out)[0]["label"]) == ("mit, cc0", "news")


def test_ids_tell_rows_apart_and_are_no_addresses(tmp_path):
    names = {"2026-01": ("forum.jsonl", 0), "2026-02": ("books.jsonl", 100)}
    parts, duplicates = {}, {}
    for snapshot, (file, seed) in names.items():
        lines = [{"id": i, "text": prose(seed + i)} for i in range(5)]
        report, out = ingest(tmp_path, {file: jsonl(lines)}, snapshot=snapshot)
        assert report.kept == 5
        found = rows(out)
        assert [row["url"] for row in found] == [None] * 5
        # ids of documents are those that the row's id has always given
        source = file.removesuffix(".jsonl")
        assert [row["doc_id"] for row in found] == [document_id(source, str(i), prose(seed + i)) for i in range(5)]
        parts[snapshot] = sorted(out.glob("part-*.parquet"))
        duplicates[snapshot] = out / "duplicates.parquet"
    (tmp_path / "history").mkdir()
    history = publish_history(parts, duplicates, RecrawlConfig(use="latest"), tmp_path / "history", tmp_path)
    assert (history.pages, history.superseded) == (0, 0)


def test_an_id_that_is_an_address_is_one(tmp_path):
    lines = [{"id": "https://example.org/1", "text": prose(1)}, {"id": "<urn:uuid:1>", "text": prose(2)}]
    found = documents(items_of(tmp_path, jsonl(lines), "a.jsonl"))
    assert [(d.url, d.id) for d in found] == [("https://example.org/1", None), (None, "<urn:uuid:1>")]
    # numbers with gaps, as pandas writes them
    found = documents(items_of(tmp_path, b'{"id": 1.0, "text": "a"}\n{"id": NaN, "text": "b"}\n', "a.jsonl"))
    assert [d.id for d in found] == ["1", None]


def items_of(tmp_path, data, name):
    path = tmp_path / name
    path.write_bytes(data)
    return items(path)


def test_dates_that_are_not_understood_are_counted(tmp_path):
    dates = ["2026-01-01", "soon", "17", None, "NaN", 1700000000, "2008-10-294T10:00:00Z"]
    lines = [{"text": prose(i), "date": date} for i, date in enumerate(dates)]
    report, out = ingest(tmp_path, {"a.jsonl": jsonl(lines), "b.parquet": parquet({"text": [prose(9)], "date": ["x"]})})
    assert [row["date"] for row in rows(out)][:7] == [
        *("2026-01-01", None, None, None, None),
        *("2023-11-14T22:13:20Z", "2008-10-29"),
    ]
    assert report.unread["date"] == 3


def unfolding(kind, n=1000, size=1_000_000):
    """Return a small file of which one column unfolds to ``n * size`` bytes."""
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * n, pa.int32()), pa.array(["x" * size]))
    column = {
        "flat": shared,
        "list": pa.ListArray.from_arrays(pa.array(range(n + 1), pa.int32()), shared),
        "one long list": pa.ListArray.from_arrays(pa.array([0] + [n] * n, pa.int32()), shared),
        "struct": pa.StructArray.from_arrays([shared], ["a"]),
        "map": pa.MapArray.from_arrays(range(n + 1), pa.array(["k"] * n), shared),
    }[kind]
    return pa.table({"text": [prose(i) for i in range(n)], "url": column})


@pytest.mark.parametrize("kind", ["flat", "list", "one long list", "struct", "map"])
def test_a_column_beside_the_text_is_no_way_to_unfold(tmp_path, kind):
    path = tmp_path / "a.parquet"
    pq.write_table(unfolding(kind), path, compression="zstd")
    assert path.stat().st_size < 200_000
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    found = sum(1 for _ in documents(items(path)))
    peak = tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - before
    tracemalloc.stop()
    assert found == 1000
    assert peak < 200_000_000


def test_rows_without_text_are_no_way_to_unfold(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.nulls(200_000, pa.string())}), path, compression="zstd")
    assert path.stat().st_size < 2_000
    config = CorpusConfig(bomb_floor_bytes=1 << 20)
    found = quarantined(items(path, config))
    assert found[-1][1] == "decompression_bomb"
    assert len(found) < 100_000


def test_columns_of_every_type_give_fields(tmp_path):
    table = pa.table(
        {
            "text": [prose(1), prose(2), prose(3)],
            "lang": pa.array([["eng_Latn", "deu_Latn"], [], None]),
            "date": pa.array([[1700000000], None, [1, 2]], pa.list_(pa.int64())),
            "license": pa.array([{"name": "MIT"}, None, {"name": None}]),
            "label": pa.array([["a", "b"], ["c", "d"], None], pa.list_(pa.string(), 2)),
            "source": pa.array([[("k", "v")], [], None], pa.map_(pa.string(), pa.string())),
            "url": pa.array([[(7, "v")], [], None], pa.map_(pa.int64(), pa.string())),
        }
    )
    found = documents(items_of(tmp_path, parquet(table), "a.parquet"))
    assert [json.loads(d.lang) if d.lang else None for d in found] == [["eng_Latn", "deu_Latn"], None, None]
    assert [d.date for d in found] == ["1700000000", None, "[1, 2]"]
    assert [d.license for d in found] == ['{"name": "MIT"}', None, '{"name": null}']
    assert [d.label for d in found] == ["a, b", "c, d", None]
    assert [d.source for d in found] == ['{"k": "v"}', None, None]
    assert [d.url is not None for d in found] == [True, False, False]


def test_a_map_of_scores_names_its_best_language(tmp_path):
    scores = pa.array([[("en", 0.1), ("de", 0.9)], []], pa.map_(pa.string(), pa.float64()))
    _, out = ingest(tmp_path, {"a.parquet": parquet(pa.table({"text": [prose(1), prose(2)], "lang": scores}))})
    assert {row["lang"] for row in rows(out) if row["offset"] == 0} == {"de"}


def test_licences_with_gaps_are_those_that_are_there(tmp_path):
    lines = [{"text": prose(i), "license": given} for i, given in enumerate([["MIT", None], [None], {}, ["a", "b"]])]
    assert [d.license for d in documents(items_of(tmp_path, jsonl(lines), "a.jsonl"))] == ["MIT", None, None, "a, b"]


def test_other_columns_that_are_not_utf8_cost_their_value(tmp_path):
    raw = pa.array([b"https://a.org/1", b"\xff\xfe", b"https://a.org/3"], pa.binary())
    urls = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    found = items_of(tmp_path, parquet(pa.table({"text": [prose(i) for i in range(3)], "url": urls})), "a.parquet")
    assert [d.url for d in documents(found)] == ["https://a.org/1", None, "https://a.org/3"]
    assert quarantined(found) == []
