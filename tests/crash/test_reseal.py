"""Every kind of artifact edited with all digests of the data root made to fit: what a dishonest builder would do.

Whoever can write the data root can make it agree with itself. What they cannot do is make it agree with a pack that was
signed before, nor an audit with an order and documents that are still there.
"""

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gem_assets.audit.folder import copy_audit
from gem_assets.audit.signature import root_faults, sign_pack, verify_pack
from gem_assets.lineage.walk import walk
from gem_assets.maintenance.verify import verify
from gem_assets.storage.artifacts import Artifact, ArtifactStore, hash_files
from gem_assets.storage.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest
from resources import StoreResource
from tests.direct import run_graph, write_small_settings
from tests.tiny import land_parquet, passages

pytestmark = [pytest.mark.crash, pytest.mark.slow]
AUDIT = "mixture_audit/balanced"


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A small data root, and a pack of its mixture that was signed and sent away."""
    root, away = tmp_path_factory.mktemp("reseal") / "root", tmp_path_factory.mktemp("away")
    write_small_settings(root)
    rows = [{**row, "url": row["url"].replace("#", "/")} for row in passages()[:120]]
    land_parquet(root, "2026-01", rows[:60])
    land_parquet(root, "2026-02", rows[60:])
    run_graph(root)
    audit = ArtifactStore(root).current(AUDIT)
    assert audit is not None
    copy_audit(audit, away / "pack")
    return root, away / "pack", sign_pack(away / "pack", away / "key.pem")


def edit(folder: Path) -> None:
    """Change what an artifact says: a row less of its largest table, or a digit of its largest other file."""
    files = sorted(
        (p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST_NAME), key=lambda p: p.stat().st_size
    )
    tables = [path for path in files if path.suffix == ".parquet" and pq.read_metadata(path).num_rows > 1]
    if tables:
        pq.write_table(pq.read_table(tables[-1]).slice(1), tables[-1])
        return
    raw = bytearray(files[-1].read_bytes())
    raw[len(raw) // 2] ^= 1
    files[-1].write_bytes(raw)


def reseal(store: ArtifactStore, edited: Artifact) -> None:
    """Make every manifest, HISTORY and CURRENT of the data root fit an artifact that was edited."""
    folders = [path.parent for path in (Path(store.root) / "artifacts").rglob(MANIFEST_NAME)]
    manifest = read_manifest(edited.path)
    write_manifest(manifest.model_copy(update={"outputs": hash_files(edited.path)}), edited.path)
    renamed = {edited.manifest_sha256: sha(edited.path)}
    while renamed:
        old, new = renamed.popitem()
        for folder in folders:
            told, before = (folder / MANIFEST_NAME).read_text(), sha(folder)
            if old in told:
                changed = Manifest.from_bytes(told.replace(old, new).encode(), source=str(folder))
                write_manifest(changed, folder)
                # what waits to be told of an earlier change of this manifest is told of this one
                waiting = [name for name, value in renamed.items() if value == before] or [before]
                renamed |= dict.fromkeys(waiting, sha(folder))
        for path in (Path(store.root) / "artifacts").rglob("*"):
            if path.name in ("HISTORY", "CURRENT"):
                path.write_text(path.read_text().replace(old, new))


def sha(folder: Path) -> str:
    return hashlib.sha256((folder / MANIFEST_NAME).read_bytes()).hexdigest()


def kinds(root: Path) -> list[tuple[str, str | None]]:
    lineage = walk(ArtifactStore(root), AUDIT)
    return [(node.manifest.asset, node.manifest.partition) for node in lineage.nodes.values()
            if node.manifest.outputs]  # fmt: skip


def test_every_kind_of_artifact_that_is_resealed_differs_from_the_signed_pack(signed, tmp_path, ledger):
    root, pack, public = signed
    assert verify_pack(pack, public).faults == ()
    assert root_faults(pack, ArtifactStore(root)) == []
    places = kinds(root)
    assert {asset.split("/")[0] for asset, _ in places} >= {
        "raw_shards", "teacher_clusters", "student_model", "gis_taxonomy", "recipes", "training_order", "mixture_audit",
    }  # fmt: skip
    recomputed = set()
    for number, (asset, partition) in enumerate(places):
        copy = tmp_path / str(number)
        shutil.copytree(root, copy)
        store = StoreResource(root=str(copy))
        current = store.artifacts.current(asset, partition)
        assert current is not None
        edit(current.path)
        reseal(store.artifacts, current)
        found = verify(store.artifacts, walk(store.artifacts, AUDIT), landing=copy / "landing", tables=store.tables)
        # the data root agrees with itself but for what follows from something else
        assert {fault.kind for fault in found} <= {"audit_mismatch"}, found
        recomputed |= {asset.split("/")[0]} if found else set()
        assert any(asset in fault for fault in root_faults(pack, store.artifacts)), (asset, partition)
        shutil.rmtree(copy)
    assert recomputed >= {"raw_shards", "training_order", "mixture_audit"}
    ledger.record("reseal attacks: an artifact edited, every local digest made to fit", trials=len(places), repaired=0)


def test_a_pack_made_anew_over_an_edited_root_does_not_have_the_signature(signed, tmp_path):
    _, pack, public = signed
    forged = tmp_path / "pack"
    shutil.copytree(pack, forged)
    told = json.loads((forged / "lineage.json").read_text())
    next(iter(told["artifacts"].values()))["counts"] = {"kept": 1}
    (forged / "lineage.json").write_text(json.dumps(told))
    assert verify_pack(forged, public).faults
    sign_pack(forged, tmp_path / "other.pem")
    assert any("not with" in fault for fault in verify_pack(forged, public).faults)
