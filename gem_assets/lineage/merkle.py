"""Merkle root over the documents of a mixture: what an auditor signs, and what proves one document in or out.

Leaves are (doc_id, content digest, text digest, multiplicity), strictly ascending by doc_id. The content digest is that
of the normalised text; the text digest is a SHA-256 over the very bytes, so texts that differ in case or in a direction
mark are two leaves. The tree has the shape of RFC 9162 (Certificate Transparency, section 2.1: the left subtree is the
largest full one); leaves, inner nodes and the root are hashed with different first bytes. The root binds the number of
leaves, and every node the first and last doc_id below it, which a verifier finds in order on the path it walks. So two
neighbours with a gap between them prove that a document is absent, and even a dishonest builder of the tree cannot
prove one document both present and absent. A proof is about a kilobyte; ``proof_check`` checks it and stands alone.

Cost: one sha256 per leaf and one per inner node, 0.3 million leaves per second on one core; :class:`MerkleRoot` keeps
one node per level (log2 n), :class:`MerkleTree` keeps all of them to give proofs.
"""

# pyarrow ships no types
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from gem_assets.lineage import proof_check

Span = tuple[str, str, bytes]
"""A node: first and last doc_id below it, and its hash."""

MOST_REPEATED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Leaf:
    """One document of a mixture."""

    doc_id: str
    content_digest: str
    multiplicity: int = 1
    text_digest: str = ""


class Sibling(BaseModel):
    """A node beside the path: its hash (hex), and the first and last doc_id below it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: str
    last: str
    hash: str


class Proof(BaseModel):
    """That a leaf stands at ``index`` of a tree of ``size`` leaves; ``path`` holds the siblings, lowest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    doc_id: str
    content_digest: str
    text_digest: str
    multiplicity: int = Field(ge=1, le=MOST_REPEATED)
    index: int = Field(ge=0)
    size: int = Field(ge=1)
    path: tuple[Sibling, ...]

    @property
    def leaf(self) -> Leaf:
        """The proven leaf."""
        return Leaf(self.doc_id, self.content_digest, self.multiplicity, self.text_digest)


class AbsenceProof(BaseModel):
    """That no leaf has ``doc_id``: the neighbours that would enclose it stand side by side (or at an end)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    doc_id: str
    size: int = Field(ge=0)
    left: Proof | None = None
    right: Proof | None = None


def leaf_hash(leaf: Leaf) -> bytes:
    """Return the 32-byte hash of a leaf.

    Raises
    ------
    ValueError
        When the multiplicity is below one (a document that is not there has no leaf) or above 2^32 - 1.
    """
    return proof_check.leaf_hash(leaf.doc_id, leaf.content_digest, leaf.text_digest, leaf.multiplicity)


class MerkleRoot:
    """Root of a stream of leaves in ascending order, in memory that grows with the logarithm of their number."""

    def __init__(self) -> None:
        self._peaks: list[tuple[int, Span]] = []
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
        height, node = 0, _span(leaf)
        while self._peaks and self._peaks[-1][0] == height:
            node = proof_check.join(self._peaks.pop()[1], node)
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
        top: Span | None = None
        for _, peak in reversed(self._peaks):
            top = proof_check.join(peak, top) if top is not None else peak
        return proof_check.bind(self.size, top)


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
        self._levels = [[_span(leaf) for leaf in self.leaves]]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            level = [proof_check.join(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
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
        path: list[Sibling] = []
        at = index
        for level in self._levels[:-1]:
            if at ^ 1 < len(level):
                first, last, node = level[at ^ 1]
                path.append(Sibling(first=first, last=last, hash=node.hex()))
            at //= 2
        leaf = self.leaves[index]
        return Proof(
            doc_id=leaf.doc_id,
            content_digest=leaf.content_digest,
            text_digest=leaf.text_digest,
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
    return proof_check.present(proof.model_dump(), root)


def _span(leaf: Leaf) -> Span:
    return leaf.doc_id, leaf.doc_id, leaf_hash(leaf)
