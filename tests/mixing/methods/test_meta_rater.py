import numpy as np
import pytest

from gem_assets.mixing.methods.meta_rater import learn_weights, select_best
from gem_assets.mixing.methods.qurating import SelectionError
from gem_assets.mixing.quality.selection import weighted_quality


def world(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, 3)) * [1.0, 5.0, 0.1] + [0.0, 3.0, 7.0]
    worth = 0.8 * scores[:, 0] + 0.6 * (scores[:, 1] - 3) / 5
    return scores, np.full(n, 10), worth


def test_the_weights_of_the_scores_are_learned():
    scores, tokens, worth = world()

    def losses(selections):
        return np.array([-worth[chosen].mean() for chosen in selections])

    found = learn_weights(scores, tokens, 6000, losses, runs=80, candidates=1000)
    direction = found.weights / np.linalg.norm(found.weights)
    assert direction @ np.array([0.8, 0.6, 0.0]) > 0.98
    assert found.weights.sum() == pytest.approx(1)
    best = worth[np.argsort(-worth)[:600]].mean()
    assert worth[select_best(scores, tokens, found.weights, 6000)].mean() > 0.97 * best
    assert found.search.cv_spearman > 0.8


def test_a_score_that_is_the_same_everywhere_counts_nothing():
    scores = np.column_stack([np.arange(4.0), np.full(4, 9.0)])
    assert weighted_quality(scores, np.array([1.0, 5.0])) == pytest.approx(weighted_quality(scores, np.array([1.0, 0])))


def test_what_does_not_fit_is_refused():
    scores, tokens, _ = world(10)
    with pytest.raises(SelectionError, match="2 weights do not fit"):
        weighted_quality(scores, np.ones(2))
    with pytest.raises(SelectionError, match="does not fit the 100"):
        select_best(scores, tokens, np.ones(3), 1000)
