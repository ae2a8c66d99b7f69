import numpy as np
import pytest

from gem_assets.teacher.metrics import (
    agreement,
    anisotropy,
    balance,
    cosine_coherence,
    effective_clusters,
    gini,
    pairwise_cosine,
    residuals,
    stability,
)
from tests.teacher.conftest import mixture


def test_effective_clusters_counts_equal_shares_and_ignores_empty_ones() -> None:
    assert effective_clusters([5, 5, 5, 5]) == pytest.approx(4)
    assert effective_clusters([9, 0, 0]) == pytest.approx(1)
    assert effective_clusters([1, 3]) == pytest.approx(np.exp(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75))))
    with pytest.raises(ValueError, match="no documents"):
        effective_clusters([0, 0])


def test_balance_of_labels() -> None:
    sizes = balance(np.array([0, 0, 0, 1, 2, 2]), 3)
    assert sizes.max_over_min == 3
    assert sizes.max_share_k == pytest.approx(1.5)
    assert sizes.min_share_k == pytest.approx(0.5)
    assert sizes.empty == 0
    assert balance(np.array([0, 2]), 3).empty == 1
    assert balance(np.array([0, 2]), 3).max_over_min == np.inf


def test_gini() -> None:
    assert gini([3, 3, 3]) == pytest.approx(0)
    assert gini([0, 0, 0, 8]) == pytest.approx(0.75)


def test_coherence_weights_clusters_by_size() -> None:
    x = np.array([[1.0, 0], [1, 0], [0, 1], [0, -1]])
    assert cosine_coherence(x, np.array([0, 0, 1, 1]), 2) == pytest.approx(0.5)
    assert cosine_coherence(x, np.array([0, 0, 1, 2]), 3) == pytest.approx(1)


def test_agreement_with_words_as_reference() -> None:
    labels = np.array([0, 0, 1, 1, 2])
    perfect = agreement(labels, ["b", "b", "a", "a", "c"])
    assert (perfect.nmi, perfect.ari, perfect.purity) == pytest.approx((1, 1, 1))
    assert agreement(labels, ["a", "b", "a", "b", "a"]).purity == pytest.approx(0.6)


def test_stability_is_the_mean_over_pairs() -> None:
    a, b = np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])
    assert stability([a, b, a]) == pytest.approx(1)
    with pytest.raises(ValueError, match="two labelings"):
        stability([a])


def test_pairwise_cosine_is_the_mean_over_pairs_by_size() -> None:
    x = mixture(90, 12, 5).astype(np.float64)
    labels = np.concatenate([np.zeros(40, int), np.ones(49, int), [2]])
    means = []
    for cluster in (0, 1):
        rows = x[labels == cluster]
        products = rows @ rows.T
        means.append(products[~np.eye(len(rows), dtype=bool)].mean())
    assert pairwise_cosine(x, labels, 3) == pytest.approx((40 * means[0] + 49 * means[1]) / 89)
    with pytest.raises(ValueError, match="no cluster holds two"):
        pairwise_cosine(x[:3], np.arange(3), 3)


def test_anisotropy_of_an_even_sphere_and_of_a_cone() -> None:
    rng = np.random.default_rng(0)
    even = rng.standard_normal((6000, 10))
    even /= np.linalg.norm(even, axis=1, keepdims=True)
    found = anisotropy(even)
    assert abs(found.mean_cosine) < 0.01
    assert found.top_share == pytest.approx(0.1, abs=0.01)
    assert found.effective_axes == pytest.approx(10, abs=0.1)
    cone = even + 5 * np.eye(10)[0]
    cone /= np.linalg.norm(cone, axis=1, keepdims=True)
    narrow = anisotropy(cone)
    assert narrow.mean_cosine > 0.9
    assert narrow.top_share > 0.9
    assert narrow.effective_axes < 2


def test_residuals_are_orthogonal_to_their_centre_and_more_even_than_the_rows() -> None:
    x = mixture(3000, 24, 4, spread=0.5)
    labels = np.random.default_rng(0).integers(0, 2, 3000)
    rest = residuals(x, labels, 2)
    np.testing.assert_allclose(np.linalg.norm(rest, axis=1), 1)
    centre = x[labels == 0].sum(axis=0)
    assert np.abs(rest[labels == 0] @ centre).max() < 1e-3 * np.linalg.norm(centre)
    same = np.repeat(x[:1], 5, axis=0)
    assert len(residuals(same, np.zeros(5, int), 1)) == 0
    cone = x + 2 * np.eye(24)[0]
    cone /= np.linalg.norm(cone, axis=1, keepdims=True)
    assert anisotropy(residuals(cone, np.zeros(3000, int), 1)).mean_cosine < 0.5 * anisotropy(cone).mean_cosine
