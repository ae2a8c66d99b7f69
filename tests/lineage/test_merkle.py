import hashlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.lineage.merkle import (
    Leaf,
    MerkleRoot,
    MerkleTree,
    leaf_hash,
    leaves_of,
    verify,
    verify_absent,
)

ids = st.text("0123456789abcdef", min_size=1, max_size=6)
leaf_lists = st.dictionaries(ids, st.tuples(ids, st.integers(1, 9)), max_size=40).map(
    lambda d: [Leaf(k, *v) for k, v in sorted(d.items())]
)
full_lists = leaf_lists.filter(bool)


def by_definition(hashes: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, recursion as written there."""
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return hashlib.sha256(b"\x01" + by_definition(hashes[:k]) + by_definition(hashes[k:])).digest()


@given(full_lists)
def test_stream_and_tree_agree_with_the_definition(leaves):
    node = by_definition([leaf_hash(leaf) for leaf in leaves])
    bound = hashlib.sha256(b"\x02gem-assets/merkle/1" + len(leaves).to_bytes(8, "big") + node).hexdigest()
    assert MerkleRoot().update(leaves).hexroot() == bound == MerkleTree(leaves).root


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
        {"doc_id": proof.doc_id + "0"},
        {"index": proof.index + 1},
        {"size": proof.size + 1},
        {"path": (*proof.path, "00" * 32)},
        {"path": proof.path[:-1]},
        {"path": ("zz", *proof.path[1:])},
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
    assert verify_absent(proof, tree.root)
    other = MerkleTree(sorted([*leaves, Leaf(doc_id, "x")], key=lambda leaf: leaf.doc_id))
    assert not verify_absent(proof, other.root)
    for leaf in leaves:
        assert not verify_absent(proof.model_copy(update={"doc_id": leaf.doc_id}), tree.root)


@given(full_lists, st.data())
def test_absence_needs_neighbours(leaves, data):
    tree = MerkleTree(leaves)
    proof = tree.prove_absent("zzz")
    apart = data.draw(st.integers(0, len(leaves) - 1))
    if apart != len(leaves) - 1:
        assert not verify_absent(proof.model_copy(update={"left": tree.prove(apart)}), tree.root)
    assert not verify_absent(proof.model_copy(update={"left": None}), tree.root)


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
    node = hashlib.sha256(b"\x01" + leaf_hash(a) + leaf_hash(b)).digest()
    assert all(leaf_hash(Leaf(node.hex(), x)) != node for x in ("", "1"))
    assert MerkleTree([a, b]).root != MerkleTree([Leaf(leaf_hash(a).hex(), leaf_hash(b).hex())]).root


@settings(max_examples=25)
@given(st.integers(0, 3000))
def test_stream_keeps_one_hash_a_level(n):
    stream = MerkleRoot().update(Leaf(f"{i:06d}", "x") for i in range(n))
    assert len(stream._peaks) <= max(1, n.bit_length())


@pytest.mark.parametrize(("second", "what"), [("a", "twice"), ("Z", "after 'a'")])
def test_order_and_uniqueness_are_demanded(second, what):
    with pytest.raises(ValueError, match=what):
        MerkleRoot().update([Leaf("a", "1"), Leaf(second, "1")])


def test_absent_documents_have_no_leaf():
    with pytest.raises(ValueError, match="multiplicity 0"):
        leaf_hash(Leaf("a", "1", 0))


def test_table_rows_in_any_order_give_one_root():
    table = pa.table({"doc_id": ["b", "a", "c"], "content_digest": ["2", "1", "3"], "multiplicity": [1, 4, 2]})
    expected = MerkleTree([Leaf("a", "1", 4), Leaf("b", "2", 1), Leaf("c", "3", 2)]).root
    assert MerkleRoot().update(leaves_of(table)).hexroot() == expected
    assert MerkleRoot().update(leaves_of(table.take([2, 1, 0]))).hexroot() == expected
    once = MerkleTree([Leaf("a", "1"), Leaf("b", "2"), Leaf("c", "3")]).root
    assert MerkleRoot().update(leaves_of(table, multiplicity=None)).hexroot() == once
