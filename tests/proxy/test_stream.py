import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.proxy.pool import PoolError, TokenPool
from gem_assets.proxy.stream import MixtureStream, visits

CONTEXT = 8


def pool(sizes=(200, 150, 400)):
    # tokens that name their place: domain in the hundreds, position in the rest
    return TokenPool.of([np.arange(n) + 1000 * k for k, n in enumerate(sizes)], vocab=60_000)


simplex = (
    st.lists(st.floats(0, 1), min_size=3, max_size=3)
    .filter(lambda p: sum(p) > 0.01)
    .map(lambda p: np.array(p) / sum(p))
)


@settings(max_examples=60, deadline=None)
@given(p=simplex, n=st.integers(1, 300), seed=st.integers(0, 5))
def test_every_prefix_has_the_shares_of_the_mixture(p, n, seed):
    domain, number = visits(p, n, seed)
    assert len(domain) == n
    counts = np.cumsum(domain[:, None] == np.arange(3), axis=0)
    # a domain's own clock is off by less than one visit, the common clock by less than one visit of each domain
    ideal = p * np.arange(1, n + 1)[:, None]
    assert (np.abs(counts - ideal) <= 1 + 3 * p + 1e-9).all()
    for k in range(3):
        np.testing.assert_array_equal(number[domain == k], np.arange((domain == k).sum()))


def test_on_average_a_domain_is_read_as_often_as_its_share():
    p = np.array([0.003, 0.297, 0.7])
    counts = np.mean([np.bincount(visits(p, 50, seed)[0], minlength=3) for seed in range(2000)], axis=0)
    np.testing.assert_allclose(counts, 50 * p, atol=0.4)
    assert counts[0] == pytest.approx(0.15, abs=0.04)


def test_a_visit_reads_the_same_under_every_mixture():
    streams = [MixtureStream(pool(), np.array(p), 200, CONTEXT, seed=1) for p in ([0.2, 0.3, 0.5], [0.6, 0.3, 0.1])]
    read = [{(d, v): tuple(w) for d, v, w in zip(s.domain, s._visit, s.windows(0, 200), strict=True)} for s in streams]
    shared = set(read[0]) & set(read[1])
    assert len(shared) > 50
    assert all(read[0][key] == read[1][key] for key in shared)


def test_nearby_mixtures_read_nearly_the_same():
    a, b = (MixtureStream(pool(), np.array(p), 300, CONTEXT, 0) for p in ([0.3, 0.3, 0.4], [0.31, 0.3, 0.39]))
    windows = [{tuple(w) for w in s.windows(0, 300)} for s in (a, b)]
    assert len(windows[0] & windows[1]) > 0.95 * len(windows[0])


def test_windows_are_whole_and_from_their_domain():
    stream = MixtureStream(pool(), np.array([0.3, 0.3, 0.4]), 40, CONTEXT, seed=0)
    windows = stream.windows(0, 40)
    assert windows.shape == (40, CONTEXT + 1)
    assert windows.dtype == np.int64
    np.testing.assert_array_equal(windows // 1000, np.broadcast_to(stream.domain[:, None], windows.shape))
    steps = np.diff(windows, axis=1)
    assert ((steps == 1) | (steps < 0)).all()
    np.testing.assert_array_equal(stream.windows(5, 9), windows[5:9])


def test_nothing_is_read_twice_before_all_is_read():
    stream = MixtureStream(pool((80, 80, 80)), np.array([1.0, 0, 0]), 30, CONTEXT, seed=0)
    windows = stream.windows(0, 30)
    for epoch in range(3):
        read = windows[10 * epoch : 10 * epoch + 10, :-1].ravel()
        np.testing.assert_array_equal(np.sort(read), np.arange(80))
    assert len({tuple(w) for w in windows}) > 10
    np.testing.assert_allclose(stream.epochs, [3, 0, 0])


def test_a_text_shorter_than_a_window_repeats():
    stream = MixtureStream(pool((3, 1, 100)), np.array([0.5, 0.5, 0]), 10, CONTEXT, seed=0)
    windows = stream.windows(0, 10)
    assert set(windows[stream.domain == 0].ravel()) == {0, 1, 2}
    assert set(windows[stream.domain == 1].ravel()) == {1000}


def test_the_seed_changes_everything_and_nothing_else_does():
    p = np.array([0.2, 0.3, 0.5])
    a, b, c = (MixtureStream(pool(), p, 50, CONTEXT, seed).windows(0, 50) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize(
    ("p", "problem"),
    [
        ([0.5, 0.5], "3 domains"),
        ([0.5, 0.6, -0.1], "non-negative"),
        ([0.5, 0.3, 0.1], "sum"),
        ([0.5, np.nan, 0.5], "non-negative"),
    ],
)
def test_what_is_no_mixture_is_refused(p, problem):
    with pytest.raises(PoolError, match=problem):
        MixtureStream(pool(), np.array(p), 5, CONTEXT, 0)


def test_a_share_of_nothing_is_refused():
    with pytest.raises(PoolError, match=r"\[1\]"):
        MixtureStream(pool((50, 0, 50)), np.array([0.4, 0.2, 0.4]), 5, CONTEXT, 0)
    assert len(MixtureStream(pool((50, 0, 50)), np.array([0.4, 0.0, 0.6]), 5, CONTEXT, 0)) == 5
