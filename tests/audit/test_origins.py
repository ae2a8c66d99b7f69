import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.audit.config import AuditConfig
from gem_assets.audit.index_page import INDEX_NAME
from gem_assets.audit.origins import count_languages, documents_by_snapshot, language_name
from gem_assets.audit.pack import write_pack
from tests.audit.worlds import World
from tests.report.test_pages import check_is_inert


def documents(path, langs, ids=None):
    rows = [
        {"doc_id": ids[i] if ids else str(i), "lang": lang, "multiplicity": i + 1, "n_tokens": 10}
        for i, lang in enumerate(langs)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_code_and_what_is_undetermined_are_no_languages(tmp_path):
    found = count_languages(documents(tmp_path / "d.parquet", ["en", "de", "en", "und", "code", None, "", "zxx"]))
    assert found.languages == 2
    assert found.token_share == pytest.approx((1 + 2 + 3) / 36)


def test_more_languages_than_a_table_lists_are_all_counted(tmp_path):
    assert count_languages(documents(tmp_path / "d.parquet", [f"l{i}" for i in range(60)])).languages == 60


def test_undetermined_is_written_out():
    assert [language_name(value) for value in ("und", "en", "code")] == ["undetermined", "en", "code"]


def test_documents_count_for_the_snapshot_that_keeps_them(tmp_path):
    shown = documents(tmp_path / "d.parquet", ["en"] * 3, ["a", "b", "c"])
    shards = {}
    for name, ids in {"2026-01": ["a", "b", "x"], "2026-02": ["y"], "2026-03": ["c"]}.items():
        shards[name] = [tmp_path / f"{name}.parquet"]
        pq.write_table(pa.table({"doc_id": ids}), shards[name][0])
    assert documents_by_snapshot(shown, shards) == {"2026-01": 2, "2026-02": 0, "2026-03": 1}
    assert documents_by_snapshot(shown, {}) == {}


def test_a_snapshot_of_which_nothing_is_shown_is_not_listed_among_the_sources(tmp_path):
    world = World(tmp_path / "root")
    folder = world.audit(tmp_path / "audit")
    pq.write_table(world.shard([]), tmp_path / "none.parquet")
    shards = {**world.shards, "2026-02": [tmp_path / "none.parquet"]}
    facts = write_pack(folder, world.lineage, world.recipe, AuditConfig(), shards)
    assert facts.unused == ["2026-02"]
    before, _, after = check_is_inert((folder / "lineage.html").read_text()).text.partition("Read, and not shown")
    assert "pages-0.warc.gz" in before
    assert "pages-1.warc.gz" in after
    assert "pages-1.warc.gz" not in before
    index = (folder / INDEX_NAME).read_text()
    assert "Snapshots of which no document is shown: 2026-02" in index
    assert "1 of which documents are shown, 1 of which none is" in (folder / "data_card.md").read_text()
