"""Merkle root over the documents of a mixture: what an auditor signs, and what proves one document in or out.

Leaves are (doc_id, content digest, multiplicity), strictly ascending by doc_id. The tree is that of RFC 9162
(Certificate Transparency, section 2.1: the left subtree is the largest full one), leaves and inner nodes hashed
with different first bytes so that no node can be passed off as a leaf. The root also binds the number of leaves.
Because leaves are sorted, two neighbours with a gap between them prove that a document is absent: the answer to
"was this page in your training mixture?" in a few hundred bytes, without handing out the mixture.

Cost: one sha256 per leaf and one per inner node, 0.4 million leaves a second on one core; :class:`MerkleRoot` keeps one
hash per level (log2 n), :class:`MerkleTree` keeps all of them (64 bytes per document) to give proofs.
"""

# pyarrow ships no types
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

_LEAF, _NODE, _ROOT = b"\x00", b"\x01", b"\x02"
_DOMAIN = b"gem-assets/merkle/1"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One document of a mixture."""

    doc_id: str
    content_digest: str
    multiplicity: int = 1


class Proof(BaseModel):
    """That a leaf stands at ``index`` of a tree of ``size`` leaves; ``path`` holds the siblings, lowest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    doc_id: str
    content_digest: str
    multiplicity: int = Field(ge=1)
    index: int = Field(ge=0)
    size: int = Field(ge=1)
    path: tuple[str, ...]

    @property
    def leaf(self) -> Leaf:
        """The proven leaf."""
        return Leaf(self.doc_id, self.content_digest, self.multiplicity)


class AbsenceProof(BaseModel):
    """That no leaf has ``doc_id``: the neighbours that would enclose it stand side by side (or at an end)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    doc_id: str
    size: int = Field(ge=0)
    left: Proof | None = None
    right: Proof | None = None


def leaf_hash(leaf: Leaf) -> bytes:
    """Return the 32-byte hash of a leaf; lengths stand before the strings, so no two leaves share an encoding.

    Raises
    ------
    ValueError
        When the multiplicity is below one: a document that is not there has no leaf.
    """
    if leaf.multiplicity < 1:
        raise ValueError(f"document {leaf.doc_id} has multiplicity {leaf.multiplicity}; leave it out instead")
    doc, content = leaf.doc_id.encode(), leaf.content_digest.encode()
    return hashlib.sha256(
        b"".join(
            (_LEAF, len(doc).to_bytes(4, "big"), doc, len(content).to_bytes(4, "big"), content,
             leaf.multiplicity.to_bytes(8, "big"))
        )
    ).digest()  # fmt: skip


class MerkleRoot:
    """Root of a stream of leaves in ascending order, in memory that grows with the logarithm of their number."""

    def __init__(self) -> None:
        self._peaks: list[tuple[int, bytes]] = []
        self._last: str | None = None
        self.size = 0

    def add(self, leaf: Leaf) -> None:
        """Add the next leaf.

        Raises
        ------
        ValueError
            When its doc_id does not come after the one before.
        """
        if self._last is not None and leaf.doc_id <= self._last:
            what = "twice" if leaf.doc_id == self._last else f"after {self._last!r}"
            raise ValueError(f"document {leaf.doc_id!r} comes {what}; leaves are sorted by doc_id, each once")
        self._last = leaf.doc_id
        height, node = 0, leaf_hash(leaf)
        while self._peaks and self._peaks[-1][0] == height:
            node = _join(self._peaks.pop()[1], node)
            height += 1
        self._peaks.append((height, node))
        self.size += 1

    def update(self, leaves: Iterable[Leaf]) -> "MerkleRoot":
        """Add many leaves; returns itself."""
        for leaf in leaves:
            self.add(leaf)
        return self

    def hexroot(self) -> str:
        """Return the root (64 hex) of the leaves so far; the empty tree has one too."""
        node = b""
        for _, peak in reversed(self._peaks):
            node = _join(peak, node) if node else peak
        return _bind(self.size, node)


class MerkleTree:
    """The whole tree in memory, to give proofs.

    Parameters
    ----------
    leaves
        In ascending order of doc_id, each document once.
    """

    def __init__(self, leaves: Iterable[Leaf]) -> None:
        self.leaves = tuple(leaves)
        self._ids = [leaf.doc_id for leaf in self.leaves]
        self.root = MerkleRoot().update(self.leaves).hexroot()
        self._levels = [[leaf_hash(leaf) for leaf in self.leaves]]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            level = [_join(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
            # an odd node rises unpaired: on a full left side this is the shape of RFC 9162
            self._levels.append(level + below[len(level) * 2 :])

    def __len__(self) -> int:
        return len(self.leaves)

    def find(self, doc_id: str) -> int | None:
        """Return the index of a document, or None."""
        at = bisect_left(self._ids, doc_id)
        return at if at < len(self._ids) and self._ids[at] == doc_id else None

    def prove(self, index: int) -> Proof:
        """Return the proof that leaf ``index`` is part of the root."""
        if not 0 <= index < len(self.leaves):
            raise IndexError(f"leaf {index} of a tree with {len(self.leaves)} leaves")
        path: list[str] = []
        at = index
        for level in self._levels[:-1]:
            if at ^ 1 < len(level):
                path.append(level[at ^ 1].hex())
            at //= 2
        leaf = self.leaves[index]
        return Proof(
            doc_id=leaf.doc_id,
            content_digest=leaf.content_digest,
            multiplicity=leaf.multiplicity,
            index=index,
            size=len(self.leaves),
            path=tuple(path),
        )

    def prove_absent(self, doc_id: str) -> AbsenceProof:
        """Return the proof that a document is not part of the root.

        Raises
        ------
        ValueError
            When it is.
        """
        at = bisect_left(self._ids, doc_id)
        if self.find(doc_id) is not None:
            raise ValueError(f"document {doc_id!r} is in the tree, at index {at}")
        return AbsenceProof(
            doc_id=doc_id,
            size=len(self.leaves),
            left=self.prove(at - 1) if at > 0 else None,
            right=self.prove(at) if at < len(self.leaves) else None,
        )


def verify(proof: Proof, root: str) -> bool:
    """Tell whether ``proof`` shows that its leaf is part of ``root``."""
    if proof.index >= proof.size:
        return False
    node, at, last = leaf_hash(proof.leaf), proof.index, proof.size - 1
    siblings = list(reversed(proof.path))
    while last > 0:
        if at % 2 == 1 or at < last:
            if not siblings:
                return False
            sibling = _bytes(siblings.pop())
            if sibling is None:
                return False
            node = _join(sibling, node) if at % 2 == 1 else _join(node, sibling)
        at, last = at // 2, last // 2
    return not siblings and _bind(proof.size, node) == root


def verify_absent(proof: AbsenceProof, root: str) -> bool:
    """Tell whether ``proof`` shows that no leaf of ``root`` has its doc_id."""
    left, right, size = proof.left, proof.right, proof.size
    if size == 0:
        return left is None and right is None and _bind(0, b"") == root
    if any(side.size != size or not verify(side, root) for side in (left, right) if side is not None):
        return False
    if (left is not None and not left.doc_id < proof.doc_id) or (right is not None and not proof.doc_id < right.doc_id):
        return False
    if left is None:
        return right is not None and right.index == 0
    if right is None:
        return left.index == size - 1
    return right.index == left.index + 1


def leaves_of(table: pa.Table, *, multiplicity: str | None = "multiplicity") -> Iterator[Leaf]:
    """Yield the leaves of a table with columns doc_id and content_digest, sorted by doc_id.

    Parameters
    ----------
    table
        Each document in one row.
    multiplicity
        Column with how often the document is shown; None counts each once.
    """
    names = ["doc_id", "content_digest", *([multiplicity] if multiplicity else [])]
    # sort_indices orders strings by their UTF-8 bytes, as Python orders them by code point: the same order
    ordered = table.select(names).take(pc.sort_indices(table, sort_keys=[("doc_id", "ascending")]))
    for batch in ordered.to_batches(max_chunksize=65_536):
        columns: list[Sequence[object]] = [batch.column(i).to_pylist() for i in range(batch.num_columns)]
        for row in zip(*columns, strict=True):
            yield Leaf(str(row[0]), str(row[1]), int(str(row[2])) if multiplicity else 1)


def _join(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


def _bind(size: int, node: bytes) -> str:
    return hashlib.sha256(_ROOT + _DOMAIN + size.to_bytes(8, "big") + node).hexdigest()


def _bytes(text: str) -> bytes | None:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return raw if len(raw) == 32 else None
