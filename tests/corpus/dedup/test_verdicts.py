import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.corpus.config import NearDuplicates
from gem_assets.corpus.dedup.minhash import EMPTY, SCHEME, band_keys, band_layout, permutations
from gem_assets.corpus.dedup.verdicts import EXACT_ACROSS, EXACT_WITHIN, KEPT, NEAR_WITHIN, find_equals
from gem_assets.corpus.dedup.verdicts import decide as decide_on
from gem_assets.corpus.text.kernel import sketch
from gem_assets.storage import spill as spilling
from gem_assets.storage.spill import Spill
from tests.corpus.text.oracle import ngram_hashes

NEAR = NearDuplicates(num_perm=64)


def digests(values):
    return np.array([f"{value:016d}".encode() for value in values], "S16")


def decide(digests, owned, signatures, near, left_out=None, spill=None):
    """Decide in memory, unless told where."""
    spill = spill or Spill()
    return decide_on(find_equals(digests, spill, left_out), owned, signatures, near, spill, left_out)


def signature(hashes, near):
    found = np.full(near.num_perm, EMPTY, np.uint32)
    sketch(hashes, *permutations(near.num_perm, near.seed), found)
    return found


def similar(sets):
    """Return signatures of sets of integers, through the same path as documents."""
    return np.stack([signature(np.array(sorted(s), np.uint64) << np.uint64(32), NEAR) for s in sets])


def estimate(a, b):
    return np.count_nonzero(a == b) / len(a)


# documents: sets that share much or little, and digests that are sometimes equal
SETS = st.lists(
    st.tuples(st.integers(0, 3), st.frozensets(st.integers(0, 40), max_size=8), st.booleans()), min_size=1, max_size=25
)


def build(drawn):
    bases = [set(range(1000 * base, 1000 * base + 60)) for base in range(4)]
    sets = [bases[base] ^ {1000 * base + x for x in changes} for base, changes, _ in drawn]
    keys = {frozenset(s): i for i, s in reversed(list(enumerate(sets)))}
    ids = digests([keys[frozenset(s)] for s in sets])
    owned_keys = {keys[frozenset(s)] for s, (_, _, owned) in zip(sets, drawn, strict=True) if owned}
    owned = np.array([keys[frozenset(s)] in owned_keys for s in sets])
    return sets, ids, owned


@given(SETS)
@settings(max_examples=60, deadline=None)
def test_every_dropped_document_has_a_kept_counterpart(drawn):
    sets, ids, owned = build(drawn)
    signatures = similar(sets)
    found = decide(ids, owned, signatures, NEAR)
    for i, (kind, keeper) in enumerate(zip(found.kind, found.keeper, strict=True)):
        if kind == KEPT:
            assert keeper == i
            assert not owned[i]
            assert found.dup_count[i] == np.count_nonzero(ids == ids[i])
        elif kind == EXACT_WITHIN:
            assert ids[keeper] == ids[i]
            assert found.kind[keeper] == KEPT
            assert keeper < i
        elif kind == EXACT_ACROSS:
            assert owned[i]
            assert ids[keeper] == ids[i]
        else:
            assert kind == NEAR_WITHIN
            assert not owned[i]
            assert owned[keeper] or found.kind[keeper] == KEPT
            assert owned[keeper] or keeper < i
            assert ids[keeper] != ids[i]
            assert estimate(signatures[keeper], signatures[i]) >= NEAR.threshold


@given(SETS)
@settings(max_examples=60, deadline=None)
def test_deduplicating_again_drops_nothing(drawn):
    sets, ids, owned = build(drawn)
    signatures = similar(sets)
    kept = np.flatnonzero(decide(ids, owned, signatures, NEAR).kind == KEPT)
    again = decide(ids[kept], owned[kept], signatures[kept], NEAR)
    assert (again.kind == KEPT).all()
    assert (again.dup_count == 1).all()


@given(SETS)
@settings(max_examples=40, deadline=None)
def test_documents_that_are_left_out_change_nothing(drawn):
    sets, ids, owned = build(drawn)
    signatures = similar(sets)
    left_out = np.arange(len(sets)) % 3 == 1
    rest = np.flatnonzero(~left_out)
    expected = decide(ids[rest], owned[rest], signatures[rest], NEAR)
    found = decide(ids, owned, signatures, NEAR, left_out)
    assert found.kind[rest].tolist() == expected.kind.tolist()
    assert found.keeper[rest].tolist() == rest[expected.keeper].tolist()
    assert found.dup_count[rest].tolist() == expected.dup_count.tolist()


def test_on_the_disk_and_in_parts_it_decides_the_same(tmp_path, monkeypatch):
    chance = np.random.default_rng(5)
    bases = [set(range(1000 * base, 1000 * base + 60)) for base in range(40)]
    sets = [bases[i] ^ set(1000 * i + chance.integers(80, size=4)) for i in chance.integers(40, size=700)]
    sets += [sets[i] for i in chance.integers(700, size=100)]
    texts = {frozenset(s): i for i, s in enumerate(sets)}
    ids = digests([texts[frozenset(s)] for s in sets])
    owned = np.isin(ids, ids[::11])
    signatures = similar(sets)
    expected = decide(ids, owned, signatures, NEAR)
    assert set(expected.kind.tolist()) == {KEPT, EXACT_WITHIN, NEAR_WITHIN, EXACT_ACROSS}
    monkeypatch.setattr(spilling, "PART_ROWS", 64)
    with Spill(tmp_path, small=0) as spill:
        found = decide(ids, owned, signatures, NEAR, spill=spill)
        for name in ("kind", "keeper", "dup_count"):
            assert getattr(found, name).tolist() == getattr(expected, name).tolist()


@given(SETS)
@settings(max_examples=30, deadline=None)
def test_a_capped_bucket_keeps_the_promises(drawn):
    sets, ids, owned = build(drawn)
    near = NEAR.model_copy(update={"max_bucket": 1})
    signatures = similar(sets)
    found = decide(ids, owned, signatures, near)
    kept = np.flatnonzero(found.kind == KEPT)
    assert (decide(ids[kept], owned[kept], signatures[kept], near).kind == KEPT).all()


def test_chains_do_not_pull_in_strangers():
    # a ~ b and b ~ c, but not a ~ c: c is kept, for its only likeness was dropped
    a, b, c = set(range(100)), set(range(8, 108)), set(range(16, 116))
    signatures = similar([a, b, c])
    assert estimate(signatures[0], signatures[1]) >= 0.8 > estimate(signatures[0], signatures[2])
    assert estimate(signatures[1], signatures[2]) >= 0.8
    found = decide(digests([0, 1, 2]), np.zeros(3, bool), signatures, NEAR)
    assert found.kind.tolist() == [KEPT, NEAR_WITHIN, KEPT]


def test_texts_of_other_snapshots_pull_in_their_likeness():
    base = set(range(100))
    signatures = similar([base | {500}, base | {501}, base | {502}])
    found = decide(digests([0, 1, 2]), np.array([False, True, False]), signatures, NEAR)
    assert found.kind.tolist() == [NEAR_WITHIN, EXACT_ACROSS, NEAR_WITHIN]
    assert found.keeper.tolist() == [1, 1, 1]


def test_exact_copies_of_a_near_duplicate_follow_it():
    base = set(range(100))
    signatures = similar([base, base | {500}, base | {500}])
    found = decide(digests([0, 1, 1]), np.zeros(3, bool), signatures, NEAR)
    assert found.kind.tolist() == [KEPT, NEAR_WITHIN, NEAR_WITHIN]
    assert found.keeper.tolist() == [0, 0, 0]
    assert found.dup_count[0] == 1


def test_texts_without_words_are_never_near():
    signatures = similar([set(), set(), set()])
    found = decide(digests([0, 1, 2]), np.zeros(3, bool), signatures, NEAR)
    assert (found.kind == KEPT).all()


def test_switched_off():
    signatures = similar([set(range(50)), set(range(51))])
    off = NEAR.model_copy(update={"enabled": False})
    for found in (
        decide(digests([0, 1]), np.zeros(2, bool), None, NEAR),
        decide(digests([0, 1]), np.zeros(2, bool), signatures, off),
    ):
        assert (found.kind == KEPT).all()


def test_nothing_to_decide():
    found = decide(digests([]), np.zeros(0, bool), np.zeros((0, 64), np.uint32), NEAR)
    assert len(found.kind) == len(found.keeper) == len(found.dup_count) == 0


def test_find_equals():
    found = find_equals(digests([5, 3, 5, 3, 9]), Spill())
    assert found.first.tolist() == [0, 1, 0, 1, 4]
    assert found.count.tolist() == [2, 2, 0, 0, 1]
    assert found.distinct.tolist() == sorted(digests([5, 3, 9]).tolist())


class TestMinHash:
    def test_signatures_are_those_of_datasketch(self):
        hashes = ngram_hashes([f"w{i}" for i in range(5000)], 5)
        theirs = MinHash(num_perm=NEAR.num_perm, seed=NEAR.seed, scheme=SCHEME, hashfunc=int)
        theirs.update_batch([int(h) >> 32 for h in hashes])
        assert signature(hashes, NEAR).tolist() == theirs.hashvalues.tolist()

    def test_estimates_are_near_the_truth(self):
        near = NearDuplicates(num_perm=1024)
        words = [f"w{i}" for i in range(2000)]
        a = signature(ngram_hashes(words, 1), near)
        for shared in (1000, 1600, 1900):
            b = signature(ngram_hashes(words[:shared] + [f"x{i}" for i in range(2000 - shared)], 1), near)
            truth = shared / (4000 - shared)
            assert estimate(a, b) == pytest.approx(truth, abs=4 * np.sqrt(truth * (1 - truth) / 1024))

    def test_repeated_ngrams_count_once(self):
        once, twice = ["a", "b", "c"], ["a", "b", "c", "a", "b", "c"]
        assert signature(ngram_hashes(once, 1), NEAR).tolist() == signature(ngram_hashes(twice, 1), NEAR).tolist()

    def test_seeds_differ(self):
        hashes = ngram_hashes(["a", "b"], 1)
        other = NEAR.model_copy(update={"seed": 2})
        assert signature(hashes, NEAR).tolist() != signature(hashes, other).tolist()

    @pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
    @pytest.mark.parametrize("num_perm", [64, 128, 256])
    def test_bands_find_pairs_at_the_threshold(self, threshold, num_perm):
        bands, rows = band_layout(threshold, num_perm)
        assert bands * rows <= num_perm
        assert 1 - (1 - threshold**rows) ** bands > 0.8

    def test_default_layout(self):
        assert band_layout(0.8, 128) == (16, 8)

    def test_band_keys(self):
        signatures = np.array([[1, 2, 3, 4], [1, 2, 9, 9], [2, 1, 3, 4]], np.uint32)
        first, second = band_keys(signatures, 0, 2), band_keys(signatures, 1, 2)
        assert first[0] == first[1] != first[2]
        assert second[0] == second[2] != second[1]

    def test_pairs_are_found_as_promised(self):
        # 300 pairs at a Jaccard of 0.9: LSH and the check lose few of them
        rng = np.random.default_rng(3)
        near = NearDuplicates()
        sets = []
        for _ in range(300):
            base = rng.integers(0, 2**32, 210)
            sets += [base[:200], base[10:]]
        signatures = np.stack([signature(s.astype(np.uint64) << np.uint64(32), near) for s in sets])
        found = decide(digests(range(600)), np.zeros(600, bool), signatures, near)
        dropped = np.flatnonzero(found.kind == NEAR_WITHIN)
        assert len(dropped) > 285
        assert (found.keeper[dropped] == dropped - 1).all()
