"""Proxies repeat a cluster as often as the run that they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.proxy.pool import TokenPool
from gem_assets.proxy.repetition import Repetition
from gem_assets.proxy.stream import MixtureStream

CONTEXT = 8


def pool_of(*sizes):
    rng = np.random.default_rng(0)
    return TokenPool.of([rng.integers(1, 64, size).astype(np.uint16) for size in sizes], 64)


@given(
    tokens=st.lists(st.integers(1_000, 100_000), min_size=2, max_size=5),
    epochs=st.floats(0.2, 8),
    windows=st.integers(200, 600),
    seed=st.integers(0, 99),
)
def test_a_proxy_reads_each_cluster_as_often_as_the_run(tokens, epochs, windows, seed):
    shares = np.random.default_rng(seed).dirichlet(np.full(len(tokens), 2.0))
    run = Repetition(int(epochs * sum(tokens)), tuple(tokens))
    cut = run.cut(pool_of(*[200_000] * len(tokens)), windows * CONTEXT, CONTEXT)
    read = MixtureStream(cut, shares, windows, CONTEXT, 0).epochs
    exact = run.epochs(shares)
    # a visit more or less, and half a token of rounding
    doubt = (CONTEXT + 0.5 * exact) / cut.sizes
    inside = run.sizes(windows * CONTEXT, CONTEXT) > CONTEXT  # a cluster of one context is a floor
    assert (np.abs(read - exact) <= doubt + 1e-9)[inside].all()


def test_text_is_cut_at_its_beginning_and_a_short_pool_is_named():
    pool = pool_of(5_000, 300, 5_000, 0)
    run = Repetition(1_000_000, (500_000, 500_000, 1_000, 0))
    cut = run.cut(pool, 2_000, CONTEXT)
    assert cut.sizes.tolist() == [1_000, 300, CONTEXT, 0]
    for k in range(4):
        assert cut.domain(k).tolist() == pool.domain(k)[: cut.sizes[k]].tolist()
    # the second holds less than its 1,000 tokens, the third is floored at one context instead of 2 tokens
    assert run.unmatched(pool, 2_000, CONTEXT) == [1, 2]
    assert run.unmatched(pool_of(5_000, 1_000, 5_000, 0), 40_000, CONTEXT) == [0, 1]


def test_epochs_of_a_cluster_without_text_are_infinite():
    run = Repetition(100, (50, 0))
    assert run.epochs(np.array([0.5, 0.5])).tolist() == [1.0, np.inf]
    assert run.epochs(np.array([1.0, 0.0])).tolist() == [2.0, 0.0]


def test_another_budget_differs_and_growth_in_proportion_does_not():
    run = Repetition(1_000, (600, 400))
    assert not run.differs(2_000, np.array([1_200, 800]))
    assert not run.differs(1_100, np.array([600, 400]))
    assert run.differs(2_000, np.array([600, 400]))
    assert run.differs(1_000, np.array([600, 250]))
    assert run.differs(1_000, np.array([600, 0]))


def test_it_reads_back_and_refuses_what_is_not_a_run():
    run = Repetition(1_000, (600, 400))
    assert Repetition.read(run.stored()) == run
    assert Repetition.read(None) is None
    for wrong in ((0, (1,)), (10, ()), (10, (-1, 2))):
        with pytest.raises(ValueError, match="is not a run"):
            Repetition(*wrong)
    with pytest.raises(ValueError, match="the pool has 3"):
        run.cut(pool_of(10, 10, 10), 100, CONTEXT)
