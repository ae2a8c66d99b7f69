import json

import numpy as np
import pytest

from gem_assets.mixing.methods.doremi import DoReMi, domain_excess, loss_weights


def test_published_rule_step_by_step(golden_folder):
    case = json.loads((golden_folder / "unit_fixtures.json").read_text())["doremi"]
    state = DoReMi(np.array(case["alpha0"]), eta=case["eta"], smoothing=case["c"])
    for excess, expected in zip(case["lambda_per_step"], case["alpha_after_each_step"], strict=True):
        assert np.abs(state.update(np.array(excess)) - expected).max() < 1e-6
    assert np.abs(state.average - case["final_average"]).max() < 1e-6


def test_excess_is_clipped_per_token_before_the_mean():
    proxy = np.array([3.0, 1.0, 2.0, 2.0])
    reference = np.array([2.0, 2.0, 1.0, 3.0])
    excess, present = domain_excess(proxy, reference, np.array([0, 0, 1, 1]), 3)
    # clipping the means instead would give 0 for both
    assert excess.tolist() == [0.5, 0.5, 0.0]
    assert present.tolist() == [True, True, False]


def test_a_domain_absent_from_the_batch_keeps_its_last_excess():
    both, absent = DoReMi(np.full(3, 1 / 3)), DoReMi(np.full(3, 1 / 3))
    for state in (both, absent):
        state.update(np.array([0.1, 0.2, 0.3]))
    both.update(np.array([0.5, 0.2, 0.3]))
    absent.update(np.array([0.5, 9.9, 9.9]), np.array([True, False, False]))
    assert np.allclose(both.weights, absent.weights)


def test_no_excess_leaves_weights_at_rest_but_for_smoothing():
    state = DoReMi(np.array([0.7, 0.3]), smoothing=0.0)
    assert np.allclose(state.update(np.zeros(2)), [0.7, 0.3])
    smoothed = DoReMi(np.array([0.7, 0.3]), smoothing=0.1)
    assert np.allclose(smoothed.update(np.zeros(2)), [0.68, 0.32])


def test_weights_flow_to_what_lags():
    state = DoReMi(np.full(4, 0.25))
    for _ in range(50):
        state.update(np.array([0.0, 0.1, 0.0, 0.3]))
    assert np.argmax(state.average) == 3
    assert state.weights.min() >= 1e-3 / 4
    assert state.average.sum() == pytest.approx(1)


def test_loss_weights_undo_the_sampling():
    assert loss_weights(np.array([0.5, 0.5]), np.array([0.8, 0.2])) == pytest.approx([0.2, 0.8])


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="smoothing"):
        DoReMi(np.ones(2), smoothing=1.0)
    with pytest.raises(ValueError, match="domain 1 is not finite"):
        DoReMi(np.ones(2)).update(np.array([0.1, np.nan]))
    with pytest.raises(ValueError, match="not negative"):
        DoReMi(np.array([-1.0, 2.0]))
