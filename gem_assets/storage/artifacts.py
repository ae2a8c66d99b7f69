"""The artifact store: each committed result stays under its identity, and a pointer says which is current.

Layout, below ``<root>/artifacts``::

    <asset, '/' as '.'>/<partition or "all">/
        <identity[:32]>/      files of the result + manifest.json
        HISTORY               one JSON line per commit, pointer change or removal, oldest first
        CURRENT               the last of them: identity and manifest digest

A commit hashes the files, writes the manifest, forces all to the disk, renames the folder into place,
then replaces HISTORY and CURRENT. Killed at any moment, it leaves either the old state or the new one,
plus at most a draft folder that :meth:`ArtifactStore.collect_orphans` removes. Nothing here holds a time,
so two stores that went through the same commits are equal byte by byte.

Stepping back. When CURRENT is torn or names an artifact that is torn (manifest empty or cut, a file
missing or of another size), a warning says so and the youngest entry of HISTORY that is intact is taken.
HISTORY is written before CURRENT, so the entry that CURRENT was to hold is tried first. When HISTORY is
torn too, its readable lines count; with none left, the intact folders do, in the order of their names. A
removed partition stays removed.
"""

import contextlib
import json
import logging
import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from gem_assets.frozen import Frozen
from gem_assets.storage.backend import Backend, FolderBackend, ObjectBackend
from gem_assets.storage.identity import file_digest, finite, plain
from gem_assets.storage.manifest import (
    MANIFEST_NAME,
    FileRef,
    InputRef,
    LanceRef,
    Manifest,
    ManifestError,
    check_asset,
    check_partition,
    stage_name,
    write_manifest,
)

logger = logging.getLogger(__name__)

CURRENT = "CURRENT"
HISTORY = "HISTORY"
UNPARTITIONED = "all"
_SMALL = 16_384


@dataclass(frozen=True)
class Artifact:
    """One committed result: a local folder and its manifest."""

    path: Path
    manifest: Manifest
    manifest_sha256: str

    @property
    def identity(self) -> str:
        """Identity of the result, 64 hex."""
        return self.manifest.identity

    @property
    def data_version(self) -> str:
        """What Dagster was told."""
        return self.manifest.data_version

    def ref(self) -> InputRef:
        """Return this artifact as the input of a consumer."""
        tables = self.manifest.lance
        one = tables[0] if len(tables) == 1 else None
        return InputRef(
            asset=self.manifest.asset,
            partition=self.manifest.partition,
            data_version=self.manifest.data_version,
            identity=self.manifest.identity,
            manifest_sha256=self.manifest_sha256,
            lance_table=one.table if one else None,
            lance_version=one.version if one else None,
            rows=one.rows if one else self.manifest.counts.get("rows"),
        )


class Entry(Frozen):
    """One line of HISTORY, and the content of CURRENT."""

    identity: str | None
    manifest: str | None
    removed: bool = False

    def line(self) -> str:
        """Return the JSON text."""
        return json.dumps(self.model_dump(), sort_keys=True)


@dataclass
class Draft:
    """An artifact that is being made. Fill ``path``, set the fields.

    It commits when its ``with`` block ends.
    """

    asset: str
    partition: str | None
    identity: str
    path: Path
    data_version: str | None = None
    code_version: str = "1"
    config: BaseModel | Mapping[str, Any] = field(default_factory=lambda: {})
    libraries: Mapping[str, str] = field(default_factory=lambda: {})
    seed: int | None = None
    inputs: Sequence[InputRef] = ()
    lance: Sequence[LanceRef] = ()
    counts: Mapping[str, int] = field(default_factory=lambda: {})
    metrics: Mapping[str, Any] = field(default_factory=lambda: {})
    artifact: Artifact | None = None

    def manifest(self) -> Manifest:
        """Hash the files and return the manifest that a commit would write now."""
        return Manifest(
            asset=self.asset,
            partition=self.partition,
            identity=self.identity,
            data_version=self.data_version or self.identity,
            code_version=self.code_version,
            config=plain(self.config),
            libraries=dict(self.libraries),
            seed=self.seed,
            inputs=tuple(sorted(self.inputs, key=lambda ref: ref.key)),
            outputs=hash_files(self.path),
            lance=tuple(sorted(self.lance, key=lambda ref: (ref.table, ref.version))),
            counts=dict(self.counts),
            metrics=plain(finite(self.metrics)),
        )


class ArtifactStore:
    """Artifacts below one data root: a folder, or a URL of any kind that fsspec knows.

    Parameters
    ----------
    root
        Data root. Artifacts lie in ``<root>/artifacts``.
    cache
        Local folder for what is read from an object store; by default one in the system's temporary folder.
    """

    def __init__(
        self, root: str | Path, *, cache: Path | None = None, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        self.root = str(root)
        self.backend: Backend
        if "://" in self.root and not self.root.startswith("file://"):
            mark = sha256(self.root.encode()).hexdigest()[:16]
            folder = cache or Path(tempfile.gettempdir()) / "gem-assets-cache" / mark
            self.backend = ObjectBackend(f"{self.root.rstrip('/')}/artifacts", folder, **dict(storage_options or {}))
        else:
            self.backend = FolderBackend(Path(self.root.removeprefix("file://")) / "artifacts")

    def current(self, asset: str, partition: str | None = None) -> Artifact | None:
        """Return the current artifact, stepping back with a warning from a torn one.

        None if there is none.
        """
        where = _key(asset, partition)
        torn: list[str] = []
        pointer = self.backend.read(f"{where}/{CURRENT}")
        if pointer is not None:
            try:
                entry = _parse(pointer, f"{where}/{CURRENT}")
            except ManifestError as error:
                torn.append(str(error))
            else:
                if entry.removed:
                    return None
                found = self._try(asset, partition, entry, torn)
                if found is not None:
                    return found
        elif not self.backend.folders(where):
            return None
        return self._step_back(asset, partition, torn)

    def get(self, asset: str, identity: str, partition: str | None = None) -> Artifact | None:
        """Return the artifact of that identity if it is committed and intact, current or not."""
        return self._open(asset, partition, identity, torn := []) or _warn(asset, partition, torn)

    def examine(self, asset: str, identity: str, partition: str | None = None) -> tuple[Artifact | None, list[str]]:
        """Return the artifact of that identity, or None and the reasons why it is not intact."""
        torn: list[str] = []
        found = self._open(asset, partition, identity, torn)
        return found, torn

    def pointer(self, asset: str, partition: str | None = None, *, strict: bool = False) -> Entry | None:
        """Return what CURRENT says, whether that is intact or not; the last line of HISTORY when CURRENT is torn.

        With ``strict``, a torn or missing CURRENT is None.
        """
        data = self.backend.read(f"{_key(asset, partition)}/{CURRENT}")
        if data is not None:
            with contextlib.suppress(ManifestError):
                return _parse(data, CURRENT)
        entries = [] if strict else self._entries(_key(asset, partition))
        return entries[-1] if entries else None

    def rolled_back(self, asset: str, partition: str | None = None) -> tuple[Entry, Entry] | None:
        """Return what CURRENT says and what HISTORY ends with, where they name different results; else None.

        A commit writes HISTORY first, so a kill between the two leaves this, and so does who sets CURRENT back by hand.
        """
        pointer, entries = self.pointer(asset, partition, strict=True), self._entries(_key(asset, partition))
        if pointer is None or not entries or entries[-1].identity == pointer.identity:
            return None
        return pointer, entries[-1]

    def follow_history(self, asset: str, partition: str | None = None) -> None:
        """Set CURRENT to what HISTORY ends with."""
        where = _key(asset, partition)
        with self.backend.lock(where):
            entries = self._entries(where)
            if entries:
                self.backend.write(f"{where}/{CURRENT}", f"{entries[-1].line()}\n".encode())

    def recorded_manifests(self, asset: str, identity: str, partition: str | None = None) -> set[str]:
        """Return the digests of manifests that were written down for that identity; several where it was replaced."""
        entries = self._entries(_key(asset, partition))
        return {entry.manifest for entry in entries if entry.identity == identity and entry.manifest is not None}

    def partitions(self, asset: str) -> list[str]:
        """Return the partitions that have a current artifact, sorted; removed ones are left out."""
        return list(self.snapshots(asset))

    def snapshots(self, asset: str) -> dict[str, Artifact]:
        """Return the current artifact of each partition that has one, sorted by partition."""
        names = [name for name in self.backend.folders(_folder(asset)) if name != UNPARTITIONED]
        found = ((name, self.current(asset, name)) for name in names)
        return {name: artifact for name, artifact in found if artifact is not None}

    def places(self, asset: str) -> list[str | None]:
        """Return every partition that ever had a commit, removed and torn ones too; None for the unpartitioned one."""
        return [None if name == UNPARTITIONED else name for name in self.backend.folders(_folder(asset))]

    def assets(self) -> list[str]:
        """Return the assets that have something committed, sorted."""
        return [name.replace(".", "/") for name in self.backend.folders("")]

    def history(self, asset: str, partition: str | None = None) -> list[Artifact]:
        """Return the intact artifacts, oldest commit first, each identity once at its last place."""
        last: dict[str, None] = {}
        for entry in self._entries(_key(asset, partition)):
            if entry.identity is not None:
                last.pop(entry.identity, None)
                last[entry.identity] = None
        found = (self._open(asset, partition, identity, []) for identity in last)
        return [artifact for artifact in found if artifact is not None]

    def removed(self, asset: str, partition: str | None = None) -> bool:
        """Tell whether the partition was removed and not committed again since."""
        pointer = self.backend.read(f"{_key(asset, partition)}/{CURRENT}")
        if pointer is not None:
            with contextlib.suppress(ManifestError):
                return _parse(pointer, CURRENT).removed
        entries = self._entries(_key(asset, partition))
        return bool(entries) and entries[-1].removed

    def remove(self, asset: str, partition: str | None = None) -> None:
        """Mark as removed. Committed artifacts stay on the disk.

        An audit of what used them still needs them.
        """
        where = _key(asset, partition)
        if not self.backend.folders(where):
            raise KeyError(f"{stage_name(asset, partition)} has nothing committed that could be removed")
        with self.backend.lock(where):
            self._point(asset, partition, Entry(identity=None, manifest=None, removed=True))

    @contextlib.contextmanager
    def write(
        self, asset: str, identity: str, partition: str | None = None, *, replace: bool = False
    ) -> Generator[Draft]:
        """Give a draft; commit it when the block ends, discard it when the block raises.

        A result whose identity is already committed is kept as it is, and only CURRENT is set to it.
        Bytes that differ from the committed ones mean that the stage is not deterministic; a warning
        names the files.

        With ``replace`` the draft takes the place of a committed result that differs: for one whose rows were lost with
        a torn table version, so that its manifest names a version that is no more.
        """
        where = _key(asset, partition)
        if len(identity) != 64 or not set(identity) <= set("0123456789abcdef"):
            raise ValueError(f"identity of {stage_name(asset, partition)} is {identity!r}; expected 64 hex digits")
        with self.backend.draft(where) as path:
            draft = Draft(asset=asset, partition=partition, identity=identity, path=path)
            yield draft
            manifest = draft.manifest()
            write_manifest(manifest, path)
            with self.backend.lock(where):
                standing = self.get(asset, identity, partition)
                if standing is None or (replace and standing.manifest.sha256 != manifest.sha256):
                    if standing is not None:  # on record before the other one goes: a kill in between is not an edit
                        self._record(where, Entry(identity=identity, manifest=manifest.sha256))
                    self.backend.publish(path, f"{where}/{identity[:32]}")
                else:
                    _compare(standing.manifest, manifest)
                    manifest = standing.manifest
                self._point(asset, partition, Entry(identity=identity, manifest=manifest.sha256))
            draft.artifact = self.get(asset, identity, partition)

    def make_current(self, artifact: Artifact) -> None:
        """Set CURRENT to a committed artifact; writes nothing when it already is."""
        asset, partition = artifact.manifest.asset, artifact.manifest.partition
        with self.backend.lock(_key(asset, partition)):
            self._point(asset, partition, Entry(identity=artifact.identity, manifest=artifact.manifest_sha256))

    def discard(self, asset: str, identity: str, partition: str | None = None) -> None:
        """Delete an artifact that is not current, its name first; a line of history stays."""
        self.backend.delete(f"{_key(asset, partition)}/{identity[:32]}")

    def collect_orphans(self, *, dry_run: bool = False) -> list[str]:
        """Remove what killed writers left behind; returns it, relative to the artifacts folder."""
        found = self.backend.orphans()
        for key in [] if dry_run else found:
            logger.info("removing orphan %s", key)
            self.backend.delete(key)
        return found

    def _point(self, asset: str, partition: str | None, entry: Entry) -> None:
        where, text = _key(asset, partition), f"{entry.line()}\n".encode()
        self._record(where, entry)
        if self.backend.read(f"{where}/{CURRENT}") != text:
            self.backend.write(f"{where}/{CURRENT}", text)

    def _record(self, where: str, entry: Entry) -> None:
        entries = self._entries(where)
        if not entries or entries[-1] != entry:
            lines = "".join(f"{one.line()}\n" for one in [*entries, entry])
            self.backend.write(f"{where}/{HISTORY}", lines.encode())

    def _entries(self, where: str) -> list[Entry]:
        entries: list[Entry] = []
        for number, line in enumerate((self.backend.read(f"{where}/{HISTORY}") or b"").splitlines(), 1):
            try:
                entries.append(_parse(line, f"{where}/{HISTORY} line {number}"))
            except ManifestError as error:
                logger.warning("%s; the line is skipped", error)
        return entries

    def _step_back(self, asset: str, partition: str | None, torn: list[str]) -> Artifact | None:
        where = _key(asset, partition)
        entries = self._entries(_key(asset, partition))
        if entries and entries[-1].removed:
            return None
        if not entries:
            entries = [Entry(identity=name, manifest=None) for name in self.backend.folders(where)]
        for entry in reversed(entries):
            found = None if entry.removed else self._try(asset, partition, entry, torn)
            if found is not None:
                if torn:
                    logger.warning(
                        "%s: stepped back to identity %s because: %s. Materialize it again to repair",
                        stage_name(asset, partition), found.identity, "; ".join(dict.fromkeys(torn)),
                    )  # fmt: skip
                return found
        return _warn(asset, partition, torn)

    def _try(self, asset: str, partition: str | None, entry: Entry, torn: list[str]) -> Artifact | None:
        found = self._open(asset, partition, entry.identity or "", torn)
        if found is not None and entry.manifest is not None and found.manifest_sha256 != entry.manifest:
            torn.append(f"{found.path / MANIFEST_NAME} was changed after its commit")
            return None
        return found

    def _open(self, asset: str, partition: str | None, identity: str, torn: list[str]) -> Artifact | None:
        key = f"{_key(asset, partition)}/{identity[:32]}"
        data = self.backend.read(f"{key}/{MANIFEST_NAME}")
        if data is None:
            if self.backend.folders(_key(asset, partition)).count(identity[:32]):
                torn.append(f"{key} has no manifest")
            return None
        try:
            manifest = (_read_again if len(data) <= _SMALL else _read)(data, f"{key}/{MANIFEST_NAME}")
        except ManifestError as error:
            torn.append(str(error))
            return None
        if not manifest.identity.startswith(identity[:64]):
            torn.append(f"{key}/{MANIFEST_NAME} says identity {manifest.identity}, not {identity}")
            return None
        expected = {ref.path: ref.bytes for ref in manifest.outputs}
        found = self.backend.sizes(key)
        for name, size in expected.items():
            if found.get(name) != size:
                torn.append(f"{key}/{name} has {found.get(name, 'no')} bytes, manifest says {size}")
                return None
        return Artifact(self.backend.fetch(key, expected), manifest, sha256(data).hexdigest())


def hash_files(folder: Path) -> tuple[FileRef, ...]:
    """Return path, size and sha256 of every file below ``folder`` but the manifest, sorted by path.

    Raises ValueError on a symbolic link: what it points to is not part of the artifact.
    """
    refs: list[FileRef] = []
    for path in sorted(folder.rglob("*"), key=lambda p: p.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link; an artifact holds its files itself")
        if path.is_file() and name != MANIFEST_NAME:
            refs.append(FileRef(path=name, bytes=path.stat().st_size, sha256=file_digest(path)))
    return tuple(refs)


def _compare(standing: Manifest, fresh: Manifest) -> None:
    if standing.sha256 == fresh.sha256:
        return
    before = {ref.path: ref.sha256 for ref in standing.outputs}
    after = {ref.path: ref.sha256 for ref in fresh.outputs}
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    logger.warning(
        "%s: a second run of identity %s gave another result (%s); the committed one is kept. "
        "The stage is not deterministic, or something that changes it is missing from its identity",
        standing.key, standing.identity, ", ".join(names) or "manifest fields only",
    )  # fmt: skip


def _read(data: bytes, source: str) -> Manifest:
    return Manifest.from_bytes(data, source=source)


# every ingest looks at the manifests of all other snapshots
_read_again = lru_cache(maxsize=2048)(_read)


def _parse(data: bytes, source: str) -> Entry:
    try:
        return Entry.model_validate_json(data.strip(b"\0 \n") or b"")
    except ValidationError as error:
        raise ManifestError(f"{source} is torn ({len(data)} bytes)") from error


def _warn(asset: str, partition: str | None, torn: list[str]) -> None:
    if torn:
        logger.warning("%s: nothing intact is left: %s", stage_name(asset, partition), "; ".join(dict.fromkeys(torn)))


def _folder(asset: str) -> str:
    return check_asset(asset).replace("/", ".")


def _key(asset: str, partition: str | None) -> str:
    return f"{_folder(asset)}/{UNPARTITIONED if partition is None else check_partition(partition)}"
