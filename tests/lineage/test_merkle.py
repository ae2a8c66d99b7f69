import hashlib
import itertools
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.lineage import proof_check
from gem_assets.lineage.merkle import (
    LEAF_COLUMNS,
    AbsenceProof,
    Leaf,
    MerkleRoot,
    MerkleTree,
    Proof,
    Sibling,
    leaf_hash,
    verify,
)

ids = st.text("0123456789abcdef", min_size=1, max_size=6)
leaf_lists = st.dictionaries(ids, st.tuples(ids, st.integers(1, 9), ids), max_size=40).map(
    lambda d: [Leaf(k, *v) for k, v in sorted(d.items())]
)
full_lists = leaf_lists.filter(bool)


def absent(proof: AbsenceProof, root: str) -> bool:
    return proof_check.absent(proof.model_dump(), root)


def text(value: str) -> bytes:
    return len(value.encode()).to_bytes(4, "big") + value.encode()


def batches(leaves: list[Leaf], *cuts: int) -> list[pa.RecordBatch]:
    """The leaves as columns, cut at these rows; an empty text digest is a null."""
    columns = [[getattr(leaf, name) or None for leaf in leaves] for name in LEAF_COLUMNS]
    types = [pa.string(), pa.string(), pa.string(), pa.int64()]
    whole = pa.record_batch([pa.array(c, t) for c, t in zip(columns, types, strict=True)], list(LEAF_COLUMNS))
    edges = [0, *sorted(cuts), len(leaves)]
    return [whole.slice(start, stop - start) for start, stop in itertools.pairwise(edges)]


def stream(parts: Iterable[pa.RecordBatch]) -> MerkleRoot:
    root = MerkleRoot()
    for part in parts:
        root.extend(part)
    return root


def by_definition(leaves: list[Leaf]) -> bytes:
    """RFC 9162 section 2.1.1, recursion as written there, with the first and last id of each side."""
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    parts = b"".join(
        text(side[0].doc_id) + text(side[-1].doc_id) + by_definition(side) for side in (leaves[:k], leaves[k:])
    )
    return hashlib.sha256(b"\x01" + parts).digest()


@given(full_lists, st.data())
def test_stream_and_tree_agree_with_the_definition(leaves, data):
    ends = text(leaves[0].doc_id) + text(leaves[-1].doc_id)
    top = len(leaves).to_bytes(8, "big") + ends + by_definition(leaves)
    bound = hashlib.sha256(b"\x02gem-assets/merkle/2" + top).hexdigest()
    cuts = data.draw(st.lists(st.integers(0, len(leaves)), max_size=5))
    assert stream(batches(leaves, *cuts)).hexroot() == bound == MerkleTree(leaves).root


@given(st.dictionaries(st.text(max_size=70), st.tuples(st.text(min_size=1), st.integers(1, 2**32 - 1)), max_size=20))
def test_stream_and_tree_agree_on_any_text(entries):
    leaves = [Leaf(name, *rest) for name, rest in sorted(entries.items()) if name]
    assert stream(batches(leaves)).hexroot() == MerkleTree(leaves).root


ALTERED = ({"hash": "zz"}, {"hash": "00" * 32}, {"first": "zzzzzzz"}, {"last": "\0"}, {"first": ""})


@given(full_lists, st.data())
def test_every_leaf_can_be_proven_and_no_other(leaves, data):
    tree = MerkleTree(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = tree.prove(index)
    assert proof.leaf == leaves[index]
    assert verify(proof, tree.root)
    assert tree.find(leaves[index].doc_id) == index
    for change in (
        {"multiplicity": proof.multiplicity + 1},
        {"content_digest": proof.content_digest + "0"},
        {"text_digest": proof.text_digest + "0"},
        {"multiplicity": 2**64},
        {"multiplicity": -1},
        {"index": -1},
        {"doc_id": proof.doc_id + "0"},
        {"index": proof.index + 1},
        {"size": proof.size + 1},
        {"path": (*proof.path, Sibling(first="zzzzzzz", last="zzzzzzz", hash="00" * 32))},
        {"path": proof.path[:-1]},
        *({"path": (proof.path[0].model_copy(update=change), *proof.path[1:])} for change in ALTERED if proof.path),
    ):
        changed = proof.model_copy(update=change)
        if changed != proof:
            assert not verify(changed, tree.root), change


@given(leaf_lists, ids)
def test_a_document_is_proven_present_or_absent_and_never_both(leaves, doc_id):
    tree = MerkleTree(leaves)
    if tree.find(doc_id) is not None:
        with pytest.raises(ValueError, match="is in the tree"):
            tree.prove_absent(doc_id)
        return
    proof = tree.prove_absent(doc_id)
    assert absent(proof, tree.root)
    other = MerkleTree(sorted([*leaves, Leaf(doc_id, "x")], key=lambda leaf: leaf.doc_id))
    assert not absent(proof, other.root)
    for leaf in leaves:
        assert not absent(proof.model_copy(update={"doc_id": leaf.doc_id}), tree.root)


@given(full_lists, st.data())
def test_absence_needs_neighbours(leaves, data):
    tree = MerkleTree(leaves)
    proof = tree.prove_absent("zzz")
    apart = data.draw(st.integers(0, len(leaves) - 1))
    if apart != len(leaves) - 1:
        assert not absent(proof.model_copy(update={"left": tree.prove(apart)}), tree.root)
    assert not absent(proof.model_copy(update={"left": None}), tree.root)


@given(leaf_lists)
def test_root_changes_with_any_leaf(leaves):
    root = MerkleTree(leaves).root
    roots = {root}
    for i, leaf in enumerate(leaves):
        roots.add(MerkleTree([*leaves[:i], *leaves[i + 1 :]]).root)
        roots.add(MerkleTree([*leaves[:i], Leaf(leaf.doc_id, leaf.content_digest, leaf.multiplicity + 1),
                              *leaves[i + 1 :]]).root)  # fmt: skip
    assert len(roots) == 1 + 2 * len(leaves)


def test_an_inner_node_cannot_pose_as_a_leaf():
    a, b = Leaf("a", "1"), Leaf("b", "2")
    parts = b"".join(text(x.doc_id) * 2 + leaf_hash(x) for x in (a, b))
    node = hashlib.sha256(b"\x01" + parts).digest()
    assert all(leaf_hash(Leaf(node.hex(), x)) != node for x in ("", "1"))
    assert MerkleTree([a, b]).root != MerkleTree([Leaf(leaf_hash(a).hex(), leaf_hash(b).hex())]).root


class DishonestTree:
    """A tree over leaves in any order, some twice: what a builder could sign who wants to prove two things at once."""

    def __init__(self, leaves: list[Leaf]) -> None:
        self.leaves = leaves
        self.levels = [[(leaf.doc_id, leaf.doc_id, leaf_hash(leaf)) for leaf in leaves]]
        while len(self.levels[-1]) > 1:
            below = self.levels[-1]
            level = [self.join(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
            self.levels.append(level + below[len(level) * 2 :])
        self.root = proof_check.bind(len(leaves), self.levels[-1][0])

    @staticmethod
    def join(left, right):
        # what is claimed of a node is the lowest and highest id, which is what a check of paths could miss
        parts = b"".join(text(first) + text(last) + node for first, last, node in (left, right))
        return min(left[0], right[0]), max(left[1], right[1]), hashlib.sha256(b"\x01" + parts).digest()

    def prove(self, at: int) -> Proof:
        leaf, path, index = self.leaves[at], [], at
        for level in self.levels[:-1]:
            if index ^ 1 < len(level):
                first, last, node = level[index ^ 1]
                path.append(Sibling(first=first, last=last, hash=node.hex()))
            index //= 2
        return Proof(doc_id=leaf.doc_id, content_digest=leaf.content_digest, text_digest=leaf.text_digest,
                     multiplicity=leaf.multiplicity, index=at, size=len(self.leaves), path=tuple(path))  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=9))
def test_no_document_is_proven_present_and_absent_whoever_builds_the_tree(order):
    tree = DishonestTree([Leaf(name, f"{i}") for i, name in enumerate(order)])
    proofs = [tree.prove(i) for i in range(len(order))]
    present = {proof.doc_id for proof in proofs if verify(proof, tree.root)}
    sides = [None, *proofs]
    missing = {
        doc_id
        for doc_id in "abcdefgh"
        for left in sides
        for right in sides
        if absent(AbsenceProof(doc_id=doc_id, size=len(order), left=left, right=right), tree.root)
    }
    assert not present & missing
    if order == sorted(set(order)):
        assert present == set(order)
        assert missing == set("abcdefgh") - present


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=6), st.data())
def test_a_document_is_not_proven_with_two_multiplicities(order, data):
    tree = DishonestTree([Leaf(name, "x", data.draw(st.integers(1, 9))) for name in order])
    proven = [proof for proof in map(tree.prove, range(len(order))) if verify(proof, tree.root)]
    assert len({proof.doc_id for proof in proven}) == len(proven)


def test_texts_that_differ_in_case_or_direction_marks_are_two_leaves():
    texts = ["Page", "page", "page\u200f"]
    roots = {MerkleTree([Leaf("a", "same", 1, hashlib.sha256(t.encode()).hexdigest())]).root for t in texts}
    assert len(roots) == 3


def test_multiplicities_are_bounded():
    with pytest.raises(ValueError, match="multiplicity 4294967296"):
        leaf_hash(Leaf("a", "1", 2**32))
    with pytest.raises(ValueError, match="document b has multiplicity 4294967296"):
        stream(batches([Leaf("a", "1"), Leaf("b", "1", 2**32)]))


@pytest.mark.parametrize(
    "proof", [{}, {"doc_id": 3}, {"left": None}, {"doc_id": "a", "size": "x", "left": {}, "right": []}]
)
def test_the_checker_calls_nonsense_no_proof(proof):
    root = MerkleTree([Leaf("a", "1")]).root
    assert not proof_check.present(proof, root)
    assert not proof_check.absent(proof, root)


def test_the_checker_runs_alone(tmp_path):
    tree = MerkleTree([Leaf(f"{i:032x}", "c", 1, "t") for i in range(0, 40, 2)])
    alone = tmp_path / "verify.py"
    alone.write_bytes(Path(proof_check.__file__).read_bytes())
    for name, proof, word in (
        ("p", tree.prove(3), f"{6:032x} is proven present"),
        ("a", tree.prove_absent(f"{7:032x}"), f"{7:032x} is proven absent"),
    ):
        (tmp_path / name).write_text(proof.model_dump_json())
        for root, wanted in ((tree.root, word), ("0" * 64, "the proof does not hold")):
            command = [sys.executable, "-I", str(alone), str(tmp_path / name), root]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            said = (done.stdout + done.stderr).strip()
            assert (said, done.returncode) == (wanted, int(root != tree.root))


@pytest.mark.parametrize("content", ["", "{", "null", "7", '"x"', "[]", "{}", "[" * 100_000, '{"doc_id": 7}'])
def test_the_checker_says_what_is_not_a_proof(tmp_path, content):
    (tmp_path / "p").write_text(content)
    command = [sys.executable, "-I", proof_check.__file__, str(tmp_path / "p"), "0" * 64]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert ("is not a proof" in done.stderr) or ("is not a document id" in done.stderr)
    assert "Traceback" not in done.stderr


def test_a_document_is_not_proven_absent_under_its_id_in_capitals(tmp_path):
    ids = [character * 32 for character in "0a"]
    tree = MerkleTree([Leaf(name, "c", 1, "t") for name in ids])
    other = tree.prove_absent("A" * 32)
    assert proof_check.absent(other.model_dump(), tree.root)
    (tmp_path / "p").write_text(other.model_dump_json())
    command = [sys.executable, "-I", proof_check.__file__, str(tmp_path / "p"), tree.root]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not a document id" in done.stderr


@settings(max_examples=25)
@given(st.integers(0, 3000))
def test_stream_keeps_one_hash_a_level(n):
    root = stream(batches([Leaf(f"{i:06d}", "x") for i in range(n)], *range(0, n, 77)))
    assert sum(len(digests) for _, _, digests in root._peaks.values()) <= max(1, n.bit_length())


@pytest.mark.parametrize(("second", "what"), [("a", "twice"), ("Z", "after 'a'")])
def test_order_and_uniqueness_are_demanded(second, what):
    for cuts in ([], [1]):
        with pytest.raises(ValueError, match=what):
            stream(batches([Leaf("a", "1"), Leaf(second, "1")], *cuts))
    with pytest.raises(ValueError, match="does not come after"):
        MerkleTree([Leaf("a", "1"), Leaf(second, "1")])


def test_absent_documents_have_no_leaf():
    with pytest.raises(ValueError, match="multiplicity 0"):
        leaf_hash(Leaf("a", "1", 0))
