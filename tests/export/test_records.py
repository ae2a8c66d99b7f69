"""Every export is on record, and its files are searched for documents, token runs included."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.trace_root import HandMadeRoot
from gem_assets.export.config import TRAINERS, ExportConfig
from gem_assets.export.ledger import LEDGER_NAME
from gem_assets.export.mixture import export_mixture
from gem_assets.export.records import RECORDS, find_in_exports, purge_export, records, unregistered
from gem_assets.lineage.mixtures import find_mixture
from gem_assets.storage.identity import file_digest
from tests.export.worlds import word_tokenizer
from tests.lineage.conftest import build

CONFIG = ExportConfig(sequence_length=16, memory_mb=128, threads=1)


@pytest.fixture
def made(tmp_path: Path) -> HandMadeRoot:
    return build(tmp_path / "root")


def write(made: HandMadeRoot, trainer: str, out: Path | None = None) -> Path:
    tokenizer = word_tokenizer(made.root.parent / "words.json")
    folder = out or made.root / "exports" / trainer
    export_mixture(
        made.store, find_mixture(made.store, "balanced~0"), made.scan, trainer, folder, tokenizer=tokenizer,
        config=CONFIG, use_order=False,
    )  # fmt: skip
    return folder


def ids(made: HandMadeRoot) -> list[str]:
    return pq.read_table(made.current("raw_shards", "2026-01").path / "part-00000.parquet").column("doc_id").to_pylist()


def test_a_record_says_what_went_where(made: HandMadeRoot, tmp_path: Path):
    inside, outside = write(made, "levanter"), write(made, "megatron", tmp_path / "elsewhere")
    first, second = sorted(records(made.root), key=lambda one: not one.inside)
    assert (first.trainer, first.path, first.inside) == ("levanter", "exports/levanter", True)
    assert (second.trainer, second.path, second.inside) == ("megatron", str(tmp_path / "elsewhere"), False)
    recipe = made.current("recipes/balanced")
    assert {(one.mixture, one.recipe, one.documents) for one in (first, second)} == {
        ("recipes/balanced", recipe.identity, 60)
    }
    for record, folder in ((first, inside), (second, outside)):
        assert {file.path: file.sha256 for file in record.files} == {
            path.relative_to(folder).as_posix(): file_digest(path) for path in folder.rglob("*") if path.is_file()
        }
    assert unregistered(made.root) == []


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_files_of_every_trainer_are_searched(made: HandMadeRoot, trainer: str):
    folder = write(made, trainer)
    listed = pq.read_table(folder / LEDGER_NAME).column("doc_id").to_pylist()
    (one,) = find_in_exports(made.root, listed[:3])
    assert (one.documents, one.found, one.state) == (3, 3, "holds"), one.searched
    assert find_in_exports(made.root, ["0" * 32]) == []


@pytest.mark.parametrize("trainer", ["megatron", "olmo-core", "nanotron", "mosaicml"])
def test_a_token_run_that_was_overwritten_is_not_found(made: HandMadeRoot, trainer: str):
    folder = write(made, trainer)
    for path in [p for p in folder.rglob("*") if p.suffix in (".bin", ".npy", ".ds", ".mds")]:
        raw = path.read_bytes()
        keep = 4 * (int(np.frombuffer(raw[:4], "<u4")[0]) + 2) + 400 if path.suffix == ".mds" else 0
        path.write_bytes(raw[:keep] + b"\x01" * (len(raw) - keep))
    (one,) = find_in_exports(made.root, ids(made)[:5])
    assert (one.found, one.state) == (0, "clean"), one.searched


def test_what_was_moved_replaced_or_torn_is_said(made: HandMadeRoot, tmp_path: Path):
    folder = write(made, "levanter")
    wanted = ids(made)[:1]
    shutil.move(folder, tmp_path / "moved")
    (one,) = find_in_exports(made.root, wanted)
    assert (one.state, one.found) == ("not found", None)
    write(made, "levanter")
    assert sorted(one.state for one in find_in_exports(made.root, wanted)) in (["holds"], ["holds", "replaced"])
    next(folder.rglob("*.jsonl.gz")).write_bytes(b"torn")
    assert "not searched" in {one.state for one in find_in_exports(made.root, wanted)}


def test_a_folder_that_nobody_registered_is_searched_by_ids(made: HandMadeRoot):
    write(made, "torchtitan")
    write(made, "megatron")
    shutil.copytree(made.root / "exports" / "torchtitan", made.root / "exports" / "copy")
    shutil.copytree(made.root / "exports" / "megatron", made.root / "exports" / "tokens")
    assert unregistered(made.root) == ["exports/copy", "exports/tokens"]
    found = {one.path: one for one in find_in_exports(made.root, ids(made)[:2]) if not one.id}
    assert (found["exports/copy"].state, found["exports/copy"].found) == ("holds", 2)
    assert found["exports/tokens"].state == "not searched"


def test_purging_deletes_the_folder_and_keeps_the_record(made: HandMadeRoot):
    folder = write(made, "nanotron")
    (one,) = find_in_exports(made.root, ids(made)[:2])
    purge_export(made.root, one, ["abcdefabcdef"])
    assert not folder.exists()
    assert list((made.root / "exports").iterdir()) == []
    (record,) = records(made.root)
    assert record.purged_by == ("abcdefabcdef",)
    (after,) = find_in_exports(made.root, ids(made)[:2])
    assert (after.state, after.documents, after.found) == ("purged", 2, 0)
    assert (made.root / RECORDS / record.id / LEDGER_NAME).is_file()


def test_a_record_that_is_torn_is_named(made: HandMadeRoot):
    write(made, "levanter")
    next((made.root / RECORDS).glob("*/record.json")).write_text("{")
    with pytest.raises(ValueError, match=r"record.json is not the record of an export"):
        records(made.root)
