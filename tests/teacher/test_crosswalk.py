import numpy as np
import pytest

from gem_assets.teacher.crosswalk import Crosswalk, aligned, crosswalk, crosswalk_of_labels, places, rearranged
from gem_assets.teacher.gem import GemTeacher
from tests.teacher.conftest import unit

FAST = {"n_init": 3, "anneal_iter": 15, "threads": 1}


def blobs(centres: list[int], each: int, d: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.eye(d)[centres], each, axis=0)
    return unit(rows + 0.25 * rng.standard_normal(rows.shape) / np.sqrt(d))


@pytest.fixture(scope="module")
def old() -> GemTeacher:
    return GemTeacher(4, **FAST).fit(blobs([0, 1, 2, 3], 200))


def test_a_reordered_teacher_is_found_again_and_put_back(old: GemTeacher) -> None:
    x = blobs([0, 1, 2, 3], 50, seed=1)
    order = np.array([2, 0, 3, 1])
    new = old.permuted(order)
    np.testing.assert_array_equal(order[new.predict(x)], old.predict(x))
    walk = crosswalk(old, new, x, ids=[10, 11, 12, 13])
    np.testing.assert_array_equal(walk.source, order)
    np.testing.assert_array_equal(walk.ids, 10 + order)
    np.testing.assert_allclose(walk.cosine, 1)
    assert walk.kept == pytest.approx(1)
    assert not walk.births
    assert not walk.deaths
    assert not walk.splits
    assert not walk.merges
    back = aligned(new, walk)
    np.testing.assert_array_equal(back.predict(x), old.predict(x))
    np.testing.assert_array_equal(back.labels_, old.labels_)
    np.testing.assert_array_equal(back.responsibilities_.toarray(), old.responsibilities_.toarray())


def test_births_and_deaths_get_and_retire_ids(old: GemTeacher) -> None:
    new = GemTeacher(4, **FAST).fit(blobs([1, 2, 3, 9], 200, seed=2))
    walk = crosswalk(old, new, blobs([0, 1, 2, 3, 9], 50, seed=3), next_id=40)
    assert len(walk.births) == len(walk.deaths) == 1
    assert walk.ids[walk.births[0]] == 40
    assert old.mu_[walk.deaths[0], 0] > 0.9
    assert new.mu_[walk.births[0], 9] > 0.9
    assert np.isnan(walk.cosine[walk.births[0]])
    assert sorted(walk.ids) == sorted([*(set(range(4)) - set(walk.deaths)), 40])
    assert walk.kept < 0.9
    back = aligned(new, walk)
    survivors = [i for i in range(4) if i not in walk.deaths]
    assert np.all(np.sum(back.mu_[survivors] * old.mu_[survivors], axis=1) > 0.9)


def test_splits_and_merges_are_seen_and_evidence_is_carried(old: GemTeacher) -> None:
    x = blobs([0, 1, 2, 3], 100, seed=4)
    halves = blobs([0, 1, 2, 3], 100, seed=5)
    two = GemTeacher(2, **FAST).fit(halves)
    merged = crosswalk(old, two, x)
    assert [len(parts) for _, parts in merged.merges] == [2, 2]
    assert not merged.splits
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    carried = merged.carry_shares(shares)
    assert carried.sum() == pytest.approx(1)
    for new_index, parts in merged.merges:
        assert carried[new_index] == pytest.approx(shares[list(parts)].sum(), abs=1e-6)
    split = crosswalk(two, old, x)
    assert [len(parts) for _, parts in split.splits] == [2, 2]
    back = aligned(two, merged)
    assert back.theta.k == 2


def test_a_cluster_without_shared_documents_keeps_its_amount(old: GemTeacher) -> None:
    walk = crosswalk(old, old, blobs([0, 1, 2], 50, seed=6))
    carried = walk.carry_shares(np.full(4, 0.25))
    np.testing.assert_allclose(carried, 0.25)


def test_misuse_is_refused(old: GemTeacher) -> None:
    other = GemTeacher(2, **FAST).fit(blobs([0, 1], 50, d=8))
    with pytest.raises(ValueError, match="d = 24 and d = 8"):
        crosswalk(old, other, blobs([0], 5))
    with pytest.raises(ValueError, match="4 distinct ids"):
        crosswalk(old, old, blobs([0], 5), ids=[1, 1, 2, 3])
    with pytest.raises(ValueError, match="next_id 2 is taken"):
        crosswalk(old, old, blobs([0], 5), next_id=2)
    with pytest.raises(ValueError, match="every index"):
        old.permuted(np.array([0, 0, 1, 2]))


def test_a_crosswalk_is_written_and_read_back(old: GemTeacher, tmp_path) -> None:
    new = GemTeacher(4, **FAST).fit(blobs([1, 2, 3, 9], 200, seed=2))
    walk = crosswalk(old, new, blobs([0, 1, 2, 3, 9], 50, seed=3), ids=[3, 5, 7, 9], next_id=40)
    walk.write(tmp_path)
    again = Crosswalk.read(tmp_path)
    for name in ("ids", "source", "cosine", "mass"):
        np.testing.assert_array_equal(getattr(again, name), getattr(walk, name))
    assert (again.births, again.deaths, again.splits, again.merges) == (
        walk.births,
        walk.deaths,
        walk.splits,
        walk.merges,
    )
    put = rearranged(walk, places(walk))
    survivors = [i for i in range(4) if i not in walk.deaths]
    np.testing.assert_array_equal(put.source[survivors], survivors)
    np.testing.assert_array_equal(put.ids[survivors], np.array([3, 5, 7, 9])[survivors])
    assert put.ids[walk.deaths[0]] == 40
    assert put.kept == walk.kept


def test_clusters_of_different_spaces_are_matched_by_their_documents() -> None:
    before = np.repeat([0, 1, 2], 100)
    after = np.concatenate([np.full(90, 2), np.full(10, 0), np.full(100, 1), np.repeat([0, 3], 50)])
    walk = crosswalk_of_labels(before, after, (3, 4), ids=[10, 11, 12])
    np.testing.assert_array_equal(walk.source, [-1, 1, 0, 2])
    np.testing.assert_array_equal(walk.ids, [13, 11, 10, 12])
    assert np.isnan(walk.cosine).all()
    assert walk.kept == pytest.approx(240 / 300)
    assert walk.splits == ((2, (0, 3)),)
    with pytest.raises(ValueError, match="nothing to match"):
        crosswalk_of_labels(before[:0], after[:0], (3, 4))
