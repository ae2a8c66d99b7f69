"""What a purge leaves alone, finishes and refuses; whole takedowns are purged in ``tests/test_takedown.py``."""

import shutil
from pathlib import Path

import pytest

from gem_assets.storage.lance import LanceTables
from gem_assets.storage.lance_files import manifests, orphan_files
from gem_assets.takedown.purge import GRAVE_PREFIX, PurgeRefusedError, purge
from resources import StoreResource
from tests.resources.tables import rows


def three_versions(root: Path) -> LanceTables:
    tables = StoreResource(root=str(root)).tables
    for turn in range(3):
        tables.replace_snapshot("t", rows("s1", 40, seed=turn), "s1")
    return tables


def test_what_a_killed_purge_left_goes_with_the_next_one(tmp_path):
    tables = three_versions(tmp_path)
    wanted, folder = tables.digest("t"), Path(tables.path("t"))
    manifests(folder)[1].unlink()
    left = orphan_files(folder)
    assert left
    grave = tmp_path / "tables" / f"{GRAVE_PREFIX}x"
    shutil.copytree(folder / "data", grave)
    done = purge(StoreResource(root=str(tmp_path)), [])
    assert (done.versions, done.results) == ((), ())
    assert done.files == len(left) + 3
    assert not grave.exists()
    assert orphan_files(folder) == []
    assert tables.digest("t") == wanted


def test_a_dry_run_sweeps_nothing(tmp_path):
    tables = three_versions(tmp_path)
    folder = Path(tables.path("t"))
    manifests(folder)[1].unlink()
    purge(StoreResource(root=str(tmp_path)), [], dry_run=True)
    assert orphan_files(folder)


def test_on_object_storage_it_is_refused_with_the_steps_to_take():
    with pytest.raises(PurgeRefusedError, match=r"copy it to a local data root.*mirror it back with deletion"):
        purge(StoreResource(root="memory://gem-purge-test"), [])


def test_a_table_that_was_purged_and_copied_to_an_object_store_is_read_there(tmp_path):
    tables = three_versions(tmp_path)
    manifests(Path(tables.path("t")))[1].unlink()
    purge(StoreResource(root=str(tmp_path)), [])
    shutil.copytree(tmp_path / "tables", tmp_path / "mirror")
    # Lance's object-store code over a folder: what s3:// and gs:// run through
    there = LanceTables(f"file-object-store://{tmp_path}/mirror")
    assert there.digest("t") == tables.digest("t")
    assert there.versions("t") == tables.versions("t") == [2, 3]
