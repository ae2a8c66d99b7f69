import numpy as np
import pytest

from gem_assets.sphere.metrics import agreement, balance, cosine_coherence, effective_clusters, gini, stability


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
