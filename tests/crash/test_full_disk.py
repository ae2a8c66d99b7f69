"""A disk that fills up while an artifact or a table is written, and folders that may not be written."""

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from gem_assets.maintenance.doctor import examine
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.identity import digest
from gem_assets.storage.lance import LanceTables
from gem_assets.storage.lance_files import orphan_files
from resources import StoreResource
from tests.crash.artifact_writer import commit, identity_for
from tests.resources.tables import rows

pytestmark = pytest.mark.crash
DISK_BYTES = 3 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_artifact_that_does_not_fit_leaves_the_old_one(disk, ledger):
    store = ArtifactStore(disk)
    one = commit(store, "one")

    def too_big() -> None:
        with store.write("a", digest("big")) as draft:
            (draft.path / "big.bin").write_bytes(b"x" * 2 * DISK_BYTES)

    with pytest.raises(OSError, match="No space left") as caught:
        too_big()
    assert caught.value.errno == errno.ENOSPC
    assert store.current("a").identity == one
    assert [x.identity for x in store.history("a")] == [one]
    two = commit(store, "two")
    assert store.current("a").identity == two
    assert store.collect_orphans() == []
    ledger.record("full disk (3 MB tmpfs), artifact commit")


def test_disk_that_is_full_to_the_last_byte_refuses_the_commit_and_keeps_the_old_one(disk, ledger):
    store = ArtifactStore(disk)
    one = commit(store, "one")
    filler = disk / "filler"
    filler.touch()
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as handle:
        while True:
            handle.write(b"x" * 4096)
    with pytest.raises(OSError, match="No space"):
        commit(store, "two")
    assert store.current("a").identity == one
    filler.unlink()
    assert store.current("a").identity == one
    commit(store, "two")
    assert [x.identity for x in store.history("a")] == [one, identity_for("two")]
    ledger.record("full disk (3 MB tmpfs), artifact commit")


@pytest.mark.parametrize("as_reader", [False, True])
def test_snapshot_that_does_not_fit_leaves_the_table_as_it_was(disk, ledger, as_reader):
    tables = LanceTables(disk / "tables")
    tables.replace_snapshot("t", rows("s1", 100), "s1")
    big = rows("s2", 40_000)
    text = pa.array([os.urandom(64).hex() for _ in range(len(big))], pa.large_string())
    big = big.set_column(2, "text", text)
    assert big.nbytes > DISK_BYTES
    with pytest.raises(OSError, match=r"(?i)no space"):
        tables.replace_snapshot("t", big.to_reader(1000) if as_reader else big, "s2")
    assert tables.version("t") == 1
    assert tables.snapshots("t") == {"s1": 100}
    assert orphan_files(Path(tables.path("t"))) == []
    assert sorted(p.name for p in (disk / "tables").iterdir()) == [".t.lock", "t.lance"]
    assert tables.replace_snapshot("t", rows("s2", 10), "s2").version == 2
    assert [f for f in examine(StoreResource(root=str(disk))) if f.severity == "error"] == []
    ledger.record("full disk (3 MB tmpfs), table commit")


_UNPRIVILEGED = """
import os, sys
from pathlib import Path
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.lance import LanceTables
from tests.crash.artifact_writer import commit, identity_for
from tests.resources.tables import rows
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
root = Path(sys.argv[1])
store, tables = ArtifactStore(root), LanceTables(root / "tables")
print(store.current("a").identity == identity_for("one"), tables.snapshots("t"), tables.read("t").num_rows)
for write in (lambda: commit(store, "two"), lambda: tables.replace_snapshot("t", rows("s2", 3), "s2")):
    try:
        write()
        print("written")
    except PermissionError as error:
        print("refused", Path(error.filename).is_relative_to(root))
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter: pytest's own are private, and shared by all runs on the machine."""
    with tempfile.TemporaryDirectory(prefix="gem-read-only-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_data_root_that_may_only_be_read_can_be_read_and_says_so_when_written(open_folder, ledger):
    root = open_folder / "data"
    commit(ArtifactStore(root), "one")
    LanceTables(root / "tables").replace_snapshot("t", rows("s1", 5), "s1")
    written = [path for path in [root, *root.rglob("*")] if path.is_dir()]
    try:
        for path in written:
            path.chmod(0o555)
        for lock in root.rglob("*.lock"):
            lock.chmod(0o444)
        done = subprocess.run(
            [sys.executable, "-c", _UNPRIVILEGED, str(root)],
            cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
    finally:
        for path in written:
            path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True {'s1': 5} 5", "refused True", "refused True"]
    ledger.record("permission denied on a whole data root", trials=2)
