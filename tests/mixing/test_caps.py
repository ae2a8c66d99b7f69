import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from gem_assets.mixing.caps import InfeasibleMixtureError, apply_caps, share_caps

pairs = st.lists(st.tuples(st.just(0.0) | st.floats(1e-9, 1), st.floats(0, 2)), min_size=1, max_size=40)


@given(pairs)
@settings(deadline=None)
def test_result_is_a_mixture_under_its_caps(pairs):
    shares, caps = (np.array(x) for x in zip(*pairs, strict=True))
    assume(shares.sum() > 1e-6)
    assume(np.minimum(caps, 1)[shares > 0].sum() > 1 + 1e-6)
    result = apply_caps(shares, caps)
    assert result.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.all(result <= caps * (1 + 1e-8) + 1e-12)
    assert np.all(result[shares == 0] == 0)
    # who is not capped keeps its ratio to the others and is never lowered
    free = (shares > 0) & (result < caps * (1 - 1e-9))
    scale = result[free] / shares[free]
    assert np.allclose(scale, scale[:1] if len(scale) else 1.0, rtol=1e-6)
    wished = shares / shares.sum()
    assert np.all(result[free] >= wished[free] * (1 - 1e-9))


@given(pairs, st.data())
@settings(deadline=None)
def test_a_larger_wish_never_gets_less(pairs, data):
    shares, caps = (np.array(x) for x in zip(*pairs, strict=True))
    assume(shares.sum() > 1e-3)
    assume(np.minimum(caps, 1)[shares > 0].sum() > 1 + 1e-3)
    chosen = data.draw(st.integers(0, len(shares) - 1))
    assume(shares[chosen] > 1e-3)
    raised = shares / shares.sum()
    base = apply_caps(raised, caps)
    raised = raised.copy()
    raised[chosen] *= 1.5
    assert apply_caps(raised, caps)[chosen] >= base[chosen] - 1e-9


def test_loose_caps_change_nothing():
    shares = np.array([0.2, 0.5, 0.3])
    assert np.allclose(apply_caps(shares, np.full(3, np.inf)), shares, atol=1e-15)


def test_solution_is_the_nearest_in_kl():
    shares, caps = np.array([0.6, 0.25, 0.1, 0.05]), np.array([0.3, 0.4, 0.5, 0.12])
    mine = apply_caps(shares, caps)

    def divergence(p):
        return float(np.sum(p * np.log(np.maximum(p, 1e-15) / shares)))

    found = minimize(
        divergence,
        np.full(4, 0.25),
        bounds=[(1e-12, c) for c in caps],
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert np.allclose(mine, found.x, atol=1e-5)


def test_too_little_room_is_an_error_that_says_how_much():
    with pytest.raises(InfeasibleMixtureError, match=r"0\.7 of the token budget.*repetition_cap"):
        apply_caps(np.array([0.5, 0.5]), np.array([0.4, 0.3]))


def test_caps_count_epochs():
    assert share_caps(np.array([100, 50]), budget=1000, repetition_cap=4.0).tolist() == [0.4, 0.2]


@pytest.mark.parametrize("caps", [np.array([np.nan, 1.0]), np.array([-1.0, 2.0]), np.array([1.0])])
def test_bad_caps_are_refused(caps):
    with pytest.raises(ValueError, match="caps"):
        apply_caps(np.array([0.5, 0.5]), caps)
