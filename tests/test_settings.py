import os
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from gem_assets.orchestration.instance import open_instance
from gem_assets.settings import LONGEST_ROOT, SettingsError, load_settings, resolve_data_root
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.lance import LanceTables
from tests.resources.tables import rows

WORKING = [
    "mit leer ünï [2026]", "a#b it's", 'q"uote', "star*x{1,2}", "-dash", "dot.", ".hidden", "back\\slash", "$HOME `id`",
    "a;b&c,d", "a:b", "~x", "100% done", "%", "%zz", "日本語", "e\u0301 and é", " blank ", "s3:", "file:",
]  # fmt: skip


@pytest.mark.parametrize("name", WORKING)
def test_a_data_root_of_that_name_holds_all_that_is_written_to_it(tmp_path: Path, name: str):
    root = tmp_path / name
    root.mkdir()
    settings = load_settings(root)
    with open_instance(settings) as instance:
        instance.add_dynamic_partitions("snapshot", ["s"])
        instance.report_runless_asset_event(dg.AssetMaterialization("x"))
        assert instance.get_latest_materialization_event(dg.AssetKey("x")) is not None
    tables = LanceTables(root / "tables")
    for snapshot in ("a", "b"):
        tables.replace_snapshot("t", rows(snapshot, 3), snapshot)
    tables.pin("t", [1, 2])
    assert tables.tags("t") == {"pinned-1": 1, "pinned-2": 2}
    tables.untag("t", [1])
    assert tables.tags("t") == {"pinned-2": 2}
    tables.delete_snapshot("t", "a")
    assert tables.snapshots("t") == {"b": 3}
    store = ArtifactStore(root)
    with store.write("a", "a" * 64) as draft:
        pq.write_table(rows("s", 3), draft.path / "x.parquet")
    current = store.current("a")
    assert current is not None
    assert pq.ParquetFile(current.path / "x.parquet").metadata.num_rows == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("what?x=1", "'\\?'"),
        ("100%25 done", "'%25'"),
        ("a%2Fb", "'%2F'"),
        ("new\nline", r"'\\n'"),
        ("tab\tx", r"'\\t'"),
        ("esc\x1b[1m", r"'\\x1b'"),
        (os.fsdecode(b"caf\xe9"), ".*udce9"),
        ("what?/below", "'\\?'"),
    ],
)
def test_a_data_root_that_cannot_work_is_refused_before_anything_is_written(tmp_path: Path, name: str, named: str):
    with pytest.raises(SettingsError, match=f"holds {named}.* rename the folder") as caught:
        load_settings(tmp_path / name)
    assert not any(ord(letter) < 32 for letter in str(caught.value))
    assert list(tmp_path.iterdir()) == []


def test_the_longest_data_root_works_and_a_longer_one_is_refused(tmp_path: Path):
    parents = tmp_path / ("p" * (LONGEST_ROOT - len(os.fsencode(tmp_path)) - 202))
    root = parents / ("r" * 200)
    assert len(os.fsencode(root)) == LONGEST_ROOT
    root.mkdir(parents=True)
    with open_instance(load_settings(root)) as instance:
        instance.add_dynamic_partitions("snapshot", ["s"])
        instance.report_runless_asset_event(dg.AssetMaterialization("x"))
        assert instance.event_log_storage.get_logs_for_run("0" * 36) == []
    (tmp_path / "short").symlink_to(parents / ("l" * 201))
    for longer in (parents / ("l" * 201), tmp_path / "short"):
        with pytest.raises(SettingsError, match="has 444 bytes, and SQLite opens"):
            load_settings(longer)


@pytest.mark.parametrize(("leads", "what"), [("nowhere", "a link, and leads"), ("x", "a link, and"), (None, "a file")])
def test_a_file_or_a_link_to_nowhere_is_not_a_data_root(tmp_path: Path, leads: str | None, what: str):
    if leads is None:
        (tmp_path / "x").touch()
    else:
        (tmp_path / "x").symlink_to(leads)
    with pytest.raises(SettingsError, match=rf"\(by --data-root\) is not a data root: it is {what}"):
        load_settings(tmp_path / "x")


@pytest.mark.parametrize("url", ["s3://bucket/data", "s3:/bucket/data", "file:///tmp/x", "ftp://192.0.2.1/x"])
def test_a_url_is_not_a_data_root(url: str, monkeypatch: pytest.MonkeyPatch):
    for chosen in (url, Path(url)):
        with pytest.raises(SettingsError, match="is a URL"):
            resolve_data_root(chosen)
    monkeypatch.setenv("GEM_DATA_ROOT", url)
    with pytest.raises(SettingsError, match="is a URL"):
        resolve_data_root()
