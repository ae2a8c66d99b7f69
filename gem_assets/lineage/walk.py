"""From an artifact down to the landing files it was made from.

``walk`` follows the inputs of each manifest by identity, not by what is current now, so it answers for an old mixture
as for today's. ``gem_assets.maintenance.verify`` reads everything that it finds again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gem_assets.frozen import Frozen
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.storage.identity import file_digest
from gem_assets.storage.manifest import MANIFEST_NAME, InputRef, Manifest, stage_name
from gem_assets.storage.purged import Purges

FaultKind = Literal[
    "artifact_missing", "audit_mismatch", "file_changed", "file_extra", "file_missing", "identity_mismatch",
    "input_mismatch", "landing_changed", "landing_missing", "landing_unlisted", "manifest_changed", "pointer_changed",
    "purged", "table_changed", "table_missing",
]  # fmt: skip


class Fault(Frozen):
    """One thing that is not what it was; ``folder`` is that of the artifact, where there is one to delete."""

    kind: FaultKind
    where: str
    message: str
    folder: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(frozen=True)
class Node:
    """One artifact of a lineage; ``inputs`` are keys of other nodes or of sources."""

    key: str
    artifact: Artifact
    inputs: tuple[str, ...]

    @property
    def manifest(self) -> Manifest:
        """What is known of it."""
        return self.artifact.manifest


@dataclass(frozen=True)
class Lineage:
    """Everything that one artifact was made from.

    Attributes
    ----------
    nodes
        Key to artifact, inputs before what was made from them.
    sources
        Key to reference of what is pinned by content and not by artifact: landing files, borrowed texts.
    faults
        What could not even be opened.
    purged
        What a purge deleted: nothing can be verified of it, and nothing is wrong with it.
    """

    root: str
    nodes: Mapping[str, Node]
    sources: Mapping[str, InputRef]
    faults: tuple[Fault, ...] = ()
    purged: tuple[Fault, ...] = ()

    def tree(self) -> Iterator[tuple[int, str, bool]]:
        """Yield (depth, key, shown before) from the root down."""
        seen: set[str] = set()

        def below(key: str, depth: int) -> Iterator[tuple[int, str, bool]]:
            yield depth, key, key in seen
            if key in seen:
                return
            seen.add(key)
            for child in self.nodes[key].inputs if key in self.nodes else ():
                yield from below(child, depth + 1)

        return below(self.root, 0)

    def text(self) -> str:
        """Return the tree as indented lines."""
        lines: list[str] = []
        for depth, key, again in self.tree():
            node, source = self.nodes.get(key), self.sources.get(key)
            about = next((one.message for one in self.purged if one.where == key), "missing")
            if node is not None:
                about = f"{node.manifest.identity[:12]}" + (" (see above)" if again else _outputs(node.manifest))
            elif source is not None:
                content = (
                    f"{len(source.files)} files" if source.files else f"{source.rows or 0} rows, pinned by content"
                )
                about = f"{source.data_version[:12]}  {content}"
            lines.append(f"{'  ' * depth}{key.split('@')[0]}  {about}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: every manifest by key, sources, and the root."""
        return {
            "root": self.root,
            "artifacts": {key: node.manifest.model_dump(mode="json") for key, node in self.nodes.items()},
            "inputs": {key: list(node.inputs) for key, node in self.nodes.items()},
            "sources": {key: ref.model_dump(mode="json") for key, ref in self.sources.items()},
        }


@dataclass
class _Walk:
    store: ArtifactStore
    purges: Purges
    nodes: dict[str, Node] = field(default_factory=lambda: {})
    sources: dict[str, InputRef] = field(default_factory=lambda: {})
    faults: list[Fault] = field(default_factory=lambda: [])
    purged: list[Fault] = field(default_factory=lambda: [])

    def visit(self, asset: str, partition: str | None, identity: str) -> str:
        key = f"{stage_name(asset, partition)}@{identity[:12]}"
        if key in self.nodes or any(f.where == key for f in (*self.faults, *self.purged)):
            return key
        found, torn = self.store.examine(asset, identity, partition)
        purge = self.purges.of_result(asset, identity, partition) if found is None and not torn else None
        if purge is not None:
            self.purged.append(Fault(kind="purged", where=key, message=str(purge)))
            return key
        if found is None:
            self.faults.append(
                Fault(kind="artifact_missing", where=key, message="; ".join(torn) or "it is not in the store")
            )
            return key
        inputs = tuple(self.enter(ref) for ref in found.manifest.inputs)
        self.nodes[key] = Node(key, found, inputs)
        return key

    def enter(self, ref: InputRef) -> str:
        if ref.identity is not None:
            return self.visit(ref.asset, ref.partition, ref.identity)
        key = f"{ref.key}@{ref.data_version[:12]}"
        self.sources[key] = ref
        return key


def walk(store: ArtifactStore, asset: str, partition: str | None = None, *, identity: str | None = None) -> Lineage:
    """Return the lineage of an artifact: the current one, or the one of ``identity``.

    Raises LookupError when the asset has nothing committed.
    """
    if identity is None:
        entry = store.pointer(asset, partition)
        if entry is None or entry.identity is None:
            state = "was removed" if entry is not None else "has not been materialized"
            raise LookupError(f"{stage_name(asset, partition)} {state} in {store.root}")
        identity = entry.identity
    walked = _Walk(store, Purges(store.root))
    root = walked.visit(asset, partition, identity)
    return Lineage(root, walked.nodes, walked.sources, tuple(walked.faults), tuple(walked.purged))


def everything(store: ArtifactStore) -> Lineage:
    """Return the lineage of all that is in force, as one; its root is empty."""
    walked = _Walk(store, Purges(store.root))
    for asset in store.assets():
        for partition in store.places(asset):
            entry = store.pointer(asset, partition)
            if entry is not None and entry.identity is not None:
                walked.visit(asset, partition, entry.identity)
    return Lineage("", walked.nodes, walked.sources, tuple(walked.faults), tuple(walked.purged))


def check_files(artifact: Artifact, where: str) -> Iterator[Fault]:
    """Hash every output of an artifact; yield what is missing, changed or not in the manifest."""
    expected = {ref.path: ref for ref in artifact.manifest.outputs}
    for name, ref in expected.items():
        path = artifact.path / name
        if not path.is_file():
            yield Fault(kind="file_missing", where=where, message=f"{path} is gone")
        elif (actual := file_digest(path)) != ref.sha256:
            yield Fault(
                kind="file_changed",
                where=where,
                message=f"{path} has sha256 {actual}, its manifest says {ref.sha256}",
                folder=str(artifact.path),
            )
    for path in sorted(artifact.path.rglob("*")):
        name = path.relative_to(artifact.path).as_posix()
        if path.is_file() and name != MANIFEST_NAME and name not in expected:
            yield Fault(kind="file_extra", where=where, message=f"{path} is not in the manifest")


def _outputs(manifest: Manifest) -> str:
    parts: list[str] = []
    if manifest.outputs:
        parts.append(f"{len(manifest.outputs)} files")
    parts.extend(f"{ref.table} v{ref.version} ({ref.rows} rows)" for ref in manifest.lance)
    return f"  {', '.join(parts)}" if parts else ""
