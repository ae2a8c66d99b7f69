import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.proxy.config import CountConfig
from gem_assets.proxy.counts import CountsError, count_documents
from gem_assets.proxy.lexical import LABEL, LexicalProxy, mean_spearman
from gem_assets.proxy.pool import EvaluationSet
from tests.proxy.worlds import documents

VOCAB, DOMAINS, CONTEXT = 9, 4, 6


def world(seed=0, empty_domain=False):
    encoded = documents(np.random.default_rng(seed).integers(3, 30, 24), VOCAB, seed)
    domain_of = np.arange(24) % (DOMAINS - empty_domain)
    windows = np.random.default_rng(seed + 1).integers(0, VOCAB, (5, CONTEXT + 1)).astype(np.uint16)
    evaluation = EvaluationSet(
        ("a", "b"), windows, np.array([0, 0, 1, 1, 1]), np.array([10, 10]), np.array([True, False])
    )
    counts = count_documents(encoded, domain_of, vocab=VOCAB, domains=DOMAINS, order=3)
    return encoded, domain_of, evaluation, counts


def by_hand(encoded, domain_of, evaluation, p, tau, beta, order):
    """The formula read off the text, one predicted token at a time, with lists and loops."""
    docs = [(int(domain_of[i]), encoded.document(i).tolist()) for i in range(len(encoded))]
    size = [sum(len(ids) for k, ids in docs if k == d) for d in range(DOMAINS)]

    def count(d, gram):
        n = len(gram)
        padded = [[0] * (n - 1) + ids for k, ids in docs if k == d]
        return sum(ids[j : j + n] == gram for ids in padded for j in range(len(ids) - n + 1))

    def mixed(gram):
        return sum(p[d] * count(d, gram) / size[d] for d in range(DOMAINS) if size[d])

    def mixed_history(history):
        return sum(mixed([*history, w]) for w in range(VOCAB))

    def probability(gram):
        if len(gram) == 1:
            return (tau * mixed(gram) + beta[0] / VOCAB) / (tau + beta[0])
        b = beta[len(gram) - 1]
        return (tau * mixed(gram) + b * probability(gram[1:])) / (tau * mixed_history(gram[:-1]) + b)

    losses = []
    for target in range(len(evaluation.names)):
        total, n = 0.0, 0
        for window in evaluation.windows[evaluation.target == target].tolist():
            for i in range(1, len(window)):
                past = [0] * (order - 1) + window[:i]
                # nothing before an end mark counts
                for j in range(len(past)):
                    if past[j] == 0:
                        past[:j] = [0] * j
                gram = [*past[len(past) - order + 1 :], window[i]]
                total -= math.log(probability(gram))
                n += 1
        losses.append(total / n)
    return np.array(losses)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("p", [[0.25] * 4, [0.7, 0.0, 0.2, 0.1], [0.0, 0.0, 1.0, 0.0]])
def test_losses_equal_the_formula_by_hand(order, p):
    encoded, domain_of, evaluation, counts = world()
    config = CountConfig(order=order, beta=(50.0, 3.0, 4.0))
    proxy = LexicalProxy.of(counts, evaluation, config, tau=200.0)
    expected = by_hand(encoded, domain_of, evaluation, p, 200.0, config.beta, order)
    np.testing.assert_allclose(proxy.losses(p), expected, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(order=st.integers(1, 3), tau=st.sampled_from([1.0, 1e3, 2e4, 1e7]), seed=st.integers(0, 99))
def test_gradient_equals_central_differences(order, tau, seed):
    *_, evaluation, counts = world(seed)
    proxy = LexicalProxy.of(counts, evaluation, CountConfig(order=order), tau)
    p = np.random.default_rng(seed).dirichlet(np.ones(DOMAINS)) + 1e-3
    losses, jacobian = proxy.losses_and_jacobian(p)
    np.testing.assert_allclose(losses, proxy.losses(p), rtol=1e-13)
    step = 1e-6
    for k in range(DOMAINS):
        e = np.eye(DOMAINS)[k] * step
        numeric = (proxy.losses(p + e) - proxy.losses(p - e)) / (2 * step)
        np.testing.assert_allclose(jacobian[:, k], numeric, rtol=2e-6, atol=2e-8)


def test_gradient_at_a_corner_is_the_one_sided_derivative():
    *_, evaluation, counts = world()
    proxy = LexicalProxy.of(counts, evaluation, CountConfig(order=3), 1e3)
    corner = np.eye(DOMAINS)[1]
    losses, jacobian = proxy.losses_and_jacobian(corner)
    assert np.isfinite(losses).all()
    for k in range(DOMAINS):
        e = np.eye(DOMAINS)[k] * 1e-7
        np.testing.assert_allclose(jacobian[:, k], (proxy.losses(corner + e) - losses) / 1e-7, rtol=1e-3, atol=1e-5)


def test_many_mixtures_at_once_equal_one_at_a_time():
    *_, evaluation, counts = world()
    proxy = LexicalProxy.of(counts, evaluation, CountConfig(), 1e3)
    many = np.random.default_rng(0).dirichlet(np.ones(DOMAINS), 130)
    np.testing.assert_allclose(proxy.losses(many), [proxy.losses(p) for p in many], rtol=1e-13)


def test_distributions_sum_to_one():
    # windows that end in every possible id after the same history: the probabilities of one history
    *_, counts = world()
    history = np.array([3, 5], np.uint16)
    windows = np.array([[*history, w] for w in range(VOCAB)], np.uint16)
    evaluation = EvaluationSet(
        tuple(map(str, range(VOCAB))), windows, np.arange(VOCAB), np.ones(VOCAB), np.ones(VOCAB, bool)
    )
    for order in (1, 2, 3):
        proxy = LexicalProxy.of(counts, evaluation, CountConfig(order=order), 500.0)
        # a window's loss averages its two predictions; the first, of id 5 after 3, is the same in all
        first = EvaluationSet(("first",), windows[:1, :2], np.array([0]), np.ones(1), np.ones(1, bool))
        known = LexicalProxy.of(counts, first, CountConfig(order=order), 500.0).losses(np.full(DOMAINS, 0.25))
        last = 2 * proxy.losses(np.full(DOMAINS, 0.25)) - known
        assert np.exp(-last).sum() == pytest.approx(1.0, abs=1e-12)


def test_more_of_its_own_domain_lowers_the_loss_of_a_target():
    own = documents([400], VOCAB, seed=1, skew=2.5)
    other = documents([400], VOCAB, seed=2, skew=-2.5)
    encoded = type(own).concatenate([own, other])
    counts = count_documents(encoded, np.array([0, 1]), vocab=VOCAB, domains=2)
    held = documents([60], VOCAB, seed=3, skew=2.5).tokens[:60].reshape(10, 6)
    evaluation = EvaluationSet(("own",), held, np.zeros(10, int), np.ones(1), np.ones(1, bool))
    proxy = LexicalProxy.of(counts, evaluation, CountConfig(), 1e4)
    share = np.linspace(0, 1, 11)
    losses = proxy.losses(np.stack([share, 1 - share], axis=1))[:, 0]
    assert (np.diff(losses) < 0).all()
    assert proxy.losses_and_jacobian([0.5, 0.5])[1][0] @ [1, -1] < 0


def test_a_domain_without_tokens_contributes_nothing():
    *_, evaluation, counts = world(empty_domain=True)
    proxy = LexicalProxy.of(counts, evaluation, CountConfig(), 1e3)
    _, jacobian = proxy.losses_and_jacobian(np.full(DOMAINS, 0.25))
    np.testing.assert_array_equal(jacobian[:, -1], 0)
    np.testing.assert_allclose(
        proxy.losses([0.25, 0.25, 0.25, 0.25]), proxy.losses([0.25, 0.25, 0.25, 0.0]), rtol=1e-14
    )


def test_the_rule_for_tau():
    assert CountConfig().pseudo_tokens(262_144) == pytest.approx(2621.44)
    assert CountConfig().pseudo_tokens(1000) == 1e3
    assert CountConfig().pseudo_tokens(10**9) == 2e4
    assert CountConfig(tau=5.0).pseudo_tokens(10**9) == 5.0


def test_spearman_counts_a_constant_as_nothing():
    x = np.arange(5.0)[:, None]
    assert mean_spearman(x, x**3) == pytest.approx(1.0)
    assert mean_spearman(np.hstack([x, 0 * x]), np.hstack([-x, x])) == pytest.approx(-0.5)


def test_bad_calls_are_named():
    *_, evaluation, counts = world()
    with pytest.raises(CountsError, match="order"):
        LexicalProxy.of(
            count_documents(documents([5], VOCAB), np.array([0]), vocab=VOCAB, domains=1, order=1),
            evaluation,
            CountConfig(order=2),
            1.0,
        )
    proxy = LexicalProxy.of(counts, evaluation, CountConfig(), 1.0)
    with pytest.raises(ValueError, match="4 shares"):
        proxy.losses([0.5, 0.5])
    with pytest.raises(ValueError, match="not negative"):
        proxy.losses([1.5, -0.5, 0, 0])
    assert "lexical" in LABEL
