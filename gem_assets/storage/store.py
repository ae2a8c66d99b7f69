"""The store of one data root: artifacts, Lance tables, landing folder, scratch space.

Everything that an asset reads comes as an :class:`InputRef` that was pinned first (``input``, ``inputs``) and is then
read at exactly that version (``artifact``, ``shards``, ``table_scan``), so a manifest cannot disagree with what was
read, whatever is committed in the meantime.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from gem_assets.stages import RAW_SHARDS, TEACHER_CLUSTERS
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.storage.durable import is_abandoned, local_folder, locked_folder, make_dirs
from gem_assets.storage.manifest import InputRef, check_partition, stage_name
from gem_assets.storage.spill import Spill

if TYPE_CHECKING:
    from gem_assets.storage.lance import LanceTables

SCRATCH_PREFIX = "scratch-"
KEPT_FOLDER = "shards"
_SHORT = 16


def shard_files(artifact: Artifact) -> list[Path]:
    """Return the parquet shards of a ``raw_shards`` artifact, in the order of their names."""
    names = sorted(file.path for file in artifact.manifest.outputs)
    return [artifact.path / name for name in names if Path(name).name.startswith("part-") and name.endswith(".parquet")]


Scan = Callable[[Sequence[str]], Iterator[pa.RecordBatch]]


class MissingInputError(LookupError):
    """An asset reads something that was never made, or was removed."""


class Store:
    """Files and tables below one data root.

    ``root`` is an absolute folder, or a URL for artifacts and tables on object storage; landing, scratch and cache
    always lie on a local disk.
    """

    only_asks: ClassVar[bool] = False
    """Whether assets are only asked what they would make, so that nothing must be fetched."""

    root: str

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)

    @property
    def artifacts(self) -> ArtifactStore:
        """Committed results, ``<root>/artifacts``."""
        return ArtifactStore(self.root)

    @property
    def tables(self) -> "LanceTables":
        """The Lance database, ``<root>/tables``."""
        # half a second that a code server which never touches a table does not pay
        from gem_assets.storage.lance import LanceTables

        return LanceTables(f"{self.root.rstrip('/')}/tables")

    @property
    def landing(self) -> Path:
        """Where snapshots land, ``<root>/landing``."""
        if "://" in self.root:
            raise ValueError(f"the data root {self.root} is a URL; the landing folder has to be local, see settings")
        return Path(self.root) / "landing"

    def input(self, asset: str, partition: str | None = None) -> InputRef:
        """Pin the current artifact of an asset as an input; call it before reading anything.

        Raises MissingInputError when there is none.
        """
        found = self.artifacts.current(asset, partition)
        if found is None:
            name = stage_name(asset, partition)
            raise MissingInputError(f"{name} has not been materialized in {self.root}; materialize it first")
        return found.ref()

    def inputs(self, asset: str, *, lance_table: str | None = None) -> list[InputRef]:
        """Pin every snapshot of an asset that exists, sorted by name; those of another table are left out.

        Raises MissingInputError when there is none at all.
        """
        refs = [found.ref() for found in self.artifacts.snapshots(asset).values()]
        wanted = [ref for ref in refs if lance_table is None or ref.lance_table == lance_table]
        if not wanted:
            where = f" in table {lance_table} ({len(refs)} in other tables)" if refs else ""
            raise MissingInputError(f"no snapshot of {asset} has been materialized{where}; materialize {asset} first")
        return wanted

    def artifact(self, ref: InputRef) -> Artifact:
        """Return the artifact that was pinned, even if another one is current by now.

        Raises MissingInputError when its files are gone or torn.
        """
        found = self.artifacts.get(ref.asset, ref.identity or "", ref.partition)
        if found is None or (ref.manifest_sha256 is not None and found.manifest_sha256 != ref.manifest_sha256):
            raise MissingInputError(
                f"{ref.key} with identity {ref.identity} is gone or was changed; materialize it again"
            )
        return found

    def shards(self, refs: Sequence[InputRef]) -> dict[str, list[Path]]:
        """Return the parquet shards of pinned ``raw_shards``, by snapshot, in the order of their names."""
        found: dict[str, list[Path]] = {}
        for ref in refs:
            found[ref.partition or ""] = shard_files(self.artifact(ref))
        return found

    def table_scan(self, refs: Sequence[InputRef]) -> Scan:
        """Return a function from column names to batches of the pinned snapshots, each at its pinned version."""
        for ref in refs:
            if ref.lance_table is None or ref.lance_version is None:
                raise ValueError(f"{ref.key} keeps no Lance table; read its files instead")
        tables = self.tables

        def scan(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
            for table, group in groupby(refs, key=lambda ref: str(ref.lance_table)):
                pins = [(ref.lance_version, ref.partition, ref.rows) for ref in group]
                yield from tables.scan_pinned(table, pins, columns)

        return scan

    def absent(self, asset: str) -> list[str]:
        """Return the snapshots that landed or were ingested and of which ``asset`` does not exist, sorted."""
        artifacts = self.artifacts
        known = set(artifacts.partitions(RAW_SHARDS))
        if "://" not in self.root and self.landing.is_dir():
            for folder in self.landing.iterdir():
                with contextlib.suppress(ValueError):
                    if (folder / "_SUCCESS").exists():
                        known.add(check_partition(folder.name))
        removed = {name for name in known if artifacts.removed(RAW_SHARDS, name)}
        return sorted(known - removed - set(artifacts.partitions(asset)))

    def embedding_table(self, space: InputRef) -> str:
        """Return the table of the vectors of one embedding space."""
        return f"embeddings__{str(space.identity)[:_SHORT]}"

    def label_table(self, model: InputRef) -> str:
        """Return the table of the labels of one student, named after its teacher and itself."""
        teacher = self.ancestor(model, TEACHER_CLUSTERS)
        return f"labels__{str(teacher.identity)[:_SHORT]}__{str(model.identity)[:_SHORT]}"

    def ancestor(self, ref: InputRef, asset: str) -> InputRef:
        """Return the input of that asset which an artifact was made from, though another may be current by now.

        Raises ValueError when the artifact names none.
        """
        found = next((i for i in self.artifact(ref).manifest.inputs if i.asset == asset), None)
        if found is None:
            raise ValueError(f"{ref.key} names no {asset} among its inputs; materialize it again")
        return found

    def tokenizer(self) -> str:
        """Return the tokenizer that counted the tokens of every current snapshot.

        Raises ValueError when two snapshots were counted with different ones: their token counts cannot be added.
        """
        by_name: dict[str, list[str]] = {}
        for ref in self.inputs(RAW_SHARDS):
            manifest = self.artifact(ref).manifest
            name = str(manifest.metrics.get("tokenizer") or manifest.config.get("tokenizer", "unknown"))
            by_name.setdefault(name, []).append(str(ref.partition))
        if len(by_name) > 1:
            raise ValueError(
                f"snapshots were counted with different tokenizers: {by_name}; materialize {RAW_SHARDS} again"
            )
        return next(iter(by_name))

    @contextlib.contextmanager
    def scratch(self) -> Generator[Path]:
        """Give an empty folder on the data root's disk; it is gone afterwards."""
        with locked_folder(self._local("scratch"), SCRATCH_PREFIX) as folder:
            yield folder

    @contextlib.contextmanager
    def shard_folder(self, asset: str, partition: str, identity: str) -> Generator[Path]:
        """Give a folder for the files of shards, which stays for the next try where the work fails or is killed.

        ``identity`` names everything that the shards are made from; what is left of another identity goes. While
        another process works on the same, the folder is an empty one of its own.
        """
        place = self._local("scratch", KEPT_FOLDER, asset, check_partition(partition))
        folder = place / identity[:_SHORT]
        make_dirs(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with self.scratch() as own:
                    yield own
                return
            for other in place.iterdir():
                if other != folder and is_abandoned(other):
                    shutil.rmtree(other, ignore_errors=True)
            yield folder
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)

    def forget_shards(self) -> None:
        """Remove what failed runs have left of their shards; it may hold texts."""
        shutil.rmtree(self._local("scratch") / KEPT_FOLDER, ignore_errors=True)

    def spill(self) -> Spill:
        """Give arrays that lie on the data root's disk; use it with ``with``."""
        return Spill(self._local("scratch"))

    def cache(self, name: str) -> Path:
        """Return a folder for what may be thrown away and is costly to get again."""
        return self._local("cache", check_partition(name))

    def _local(self, *parts: str) -> Path:
        remote = "://" in self.root
        folder = (
            Path(tempfile.gettempdir()).joinpath("gem-assets", *parts)
            if remote
            else local_folder(Path(self.root), *parts)
        )
        make_dirs(folder)
        return folder


def trace_index_folder(data_root: Path) -> Path:
    """Return where the sorted files lie that ``gem trace`` reads."""
    return local_folder(data_root, "cache", "trace")
