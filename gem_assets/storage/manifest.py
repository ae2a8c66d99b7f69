"""The manifest next to each artifact: what it is, what went in, what came out.

A manifest holds no time, host or path of this machine, so that running the same thing twice gives the same
bytes and the sha256 of a manifest is itself a content address of the whole result. Inputs carry that digest
(``manifest_sha256``): a manifest that was edited later no longer matches what its consumers wrote down.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field, JsonValue, StringConstraints, ValidationError

from gem_assets.frozen import Frozen
from gem_assets.storage.identity import canonical_json, identity_of

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1

Hex64 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

_ASSET = re.compile(r"[a-z0-9_][a-z0-9_-]*(/[a-z0-9_][a-z0-9_-]*)*")
_PARTITION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")
_RESERVED_PARTITIONS = frozenset({"all"})


class ManifestError(ValueError):
    """A manifest that is torn, edited by hand into nonsense, or written by a newer version."""


class FileRef(Frozen):
    """One file: path relative to its artifact (or to the landing folder), size and content digest."""

    path: str = Field(min_length=1, description="relative, with forward slashes")
    bytes: int = Field(ge=0, description="size in bytes")
    sha256: Hex64


class LanceRef(Frozen):
    """One version of one table."""

    table: str = Field(min_length=1)
    version: int = Field(ge=1)
    rows: int = Field(ge=0, description="rows of this partition (or of the table) at that version")
    digest: str | None = Field(default=None, description="order-free digest of those rows")


class InputRef(Frozen):
    """One input as it was pinned before the first byte of it was read."""

    asset: str = Field(min_length=1)
    partition: str | None = None
    data_version: str = Field(min_length=1, description="Dagster data version of the input")
    identity: Hex64 | None = Field(default=None, description="identity of the input artifact; None for landing files")
    manifest_sha256: Hex64 | None = Field(default=None, description="digest of the input's manifest.json")
    lance_table: str | None = None
    lance_version: int | None = Field(default=None, ge=1)
    rows: int | None = Field(default=None, ge=0)
    files: tuple[FileRef, ...] = Field(default=(), description="files read, where the input is plain files")

    @property
    def key(self) -> str:
        """Name of the input inside an identity: ``asset`` or ``asset[partition]``."""
        return stage_name(self.asset, self.partition)


class Manifest(Frozen):
    """Everything that is known about one committed artifact."""

    schema_version: int = Field(default=SCHEMA_VERSION, ge=1)
    asset: str
    partition: str | None = None
    identity: Hex64
    data_version: str = Field(min_length=1, description="what Dagster is told; the identity, maybe behind a prefix")
    code_version: str = Field(default="1", min_length=1)
    config: dict[str, JsonValue] = Field(default_factory=dict)
    libraries: dict[str, str] = Field(default_factory=dict)
    seed: int | None = None
    inputs: tuple[InputRef, ...] = ()
    outputs: tuple[FileRef, ...] = ()
    lance: tuple[LanceRef, ...] = ()
    counts: dict[str, int] = Field(default_factory=dict)
    metrics: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """``asset`` or ``asset[partition]``."""
        return stage_name(self.asset, self.partition)

    def recomputed_identity(self) -> str:
        """Return the identity that the manifest's own content gives; an honest manifest gives its own."""
        return identity_of(
            stage=self.key,
            config=self.config,
            code_version=self.code_version,
            inputs=input_versions(self.inputs),
            libraries=self.libraries,
            seed=self.seed,
        )

    def to_bytes(self) -> bytes:
        """Return the one byte form: canonical JSON, indented by one, newline at the end."""
        return (canonical_json(self, indent=1) + "\n").encode("ascii")

    @property
    def sha256(self) -> str:
        """Digest of :meth:`to_bytes`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str) -> "Manifest":
        """Parse; ``source`` names the file in errors.

        Raises ManifestError when the bytes are empty, truncated, not JSON, not a manifest, or of a newer schema
        version.
        """
        if not data.strip(b"\0 \n"):
            raise ManifestError(f"{source} is empty ({len(data)} bytes): a write was cut off")
        try:
            raw: Any = json.loads(data)
        except ValueError as error:
            raise ManifestError(f"{source} is not whole JSON ({error}): a write was cut off") from error
        found = cast("dict[str, object]", raw).get("schema_version") if isinstance(raw, dict) else None
        if isinstance(found, int) and found > SCHEMA_VERSION:
            raise ManifestError(f"{source} has schema version {found}; this release reads up to {SCHEMA_VERSION}")
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise ManifestError(f"{source} is not a manifest: {error}") from error


def write_manifest(manifest: Manifest, folder: Path) -> Path:
    """Write ``manifest.json`` into an artifact folder that is still being filled."""
    path = folder / MANIFEST_NAME
    path.write_bytes(manifest.to_bytes())
    return path


def read_manifest(path: Path) -> Manifest:
    """Read a manifest from its file or from the folder that holds it."""
    file = path / MANIFEST_NAME if path.is_dir() else path
    return Manifest.from_bytes(file.read_bytes(), source=str(file))


def input_versions(inputs: Iterable[InputRef]) -> dict[str, str]:
    """Return name to data version, as an identity takes it.

    Raises ValueError when the same asset and partition is given twice.
    """
    versions: dict[str, str] = {}
    for ref in inputs:
        if ref.key in versions:
            raise ValueError(f"input {ref.key} is given twice")
        versions[ref.key] = ref.data_version
    return versions


def stage_name(asset: str, partition: str | None) -> str:
    """Return ``asset`` or ``asset[partition]``."""
    return asset if partition is None else f"{asset}[{partition}]"


def check_asset(name: str) -> str:
    """Return ``name`` if it can be an asset name, else raise ValueError.

    No name can leave the store's folder.
    """
    if len(name) > 200 or not _ASSET.fullmatch(name):
        raise ValueError(
            f"asset name {name!r} is not allowed: lower-case letters, digits, '_', '-', parts joined by '/'"
        )
    return name


def check_partition(name: str) -> str:
    """Return ``name`` if it can be a snapshot (partition) name, else raise ValueError.

    Allowed are letters, digits and ``. _ = + -``, without two dots in a row; so no name can be a path, leave a
    folder, hide as a dot file or end a quoted string in a filter.
    """
    if len(name) > 128 or not _PARTITION.fullmatch(name) or ".." in name or name in _RESERVED_PARTITIONS:
        raise ValueError(
            f"snapshot name {name!r} is not allowed: up to 128 letters, digits and . _ = + -, beginning with "
            "a letter or digit, without '..', and not 'all'; rename the landing folder"
        )
    return name
