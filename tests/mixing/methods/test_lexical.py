import numpy as np
import pytest

from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.laws.proposal import divergence
from gem_assets.mixing.methods.entropy import conditional_entropy, entropy_mixture, entropy_shares
from gem_assets.mixing.methods.lexical import (
    lexical_evidence,
    lexical_optimum,
    target_weights,
)
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.proxy.counts import DomainCounts, count_documents
from gem_assets.proxy.tokens import END, EncodedDocuments
from tests.mixing.laws.test_ngram import lexical_world

TOKENS = np.array([70_000, 20_000, 10_000])
SUPPLY = ClusterSupply(np.arange(3), TOKENS // 100, TOKENS, TOKENS * 4)


def test_the_optimum_beats_the_prior_and_keeps_caps():
    proxy = lexical_world()[2]
    config = MixingConfig(repetition_cap=3.0)
    found = lexical_optimum(proxy, SUPPLY, config, {"domain-2": 1.0})
    prior = SUPPLY.token_shares
    gain = proxy.losses(prior)[2] - proxy.losses(found.shares)[2]
    assert gain > 0.05 * divergence(found.shares, prior) > 0
    assert found.shares[2] > prior[2]
    assert found.shares[2] * TOKENS.sum() / TOKENS[2] <= 3 + 1e-6
    evidence = lexical_evidence(proxy, found, SUPPLY, config, {"domain-2": 1.0})
    assert "lexical proxy" in evidence.method
    assert "lexical proxy" in evidence.law
    assert evidence.predicted_loss < evidence.predicted_loss_proportional
    assert evidence.predicted_interval[0] <= evidence.predicted_loss <= evidence.predicted_interval[1]
    assert evidence.cv_spearman is None


def test_an_unknown_target_is_named():
    with pytest.raises(ValueError, match="no target 'x'; there are a, b"):
        target_weights(("a", "b"), {"x": 1.0})


def two_domains():
    """Domain 0 repeats one cycle of two words, domain 1 draws four words evenly and independently."""
    rng = np.random.default_rng(0)
    sure = np.tile([1, 2], 4000)
    free = rng.integers(1, 5, 8000)
    tokens = np.concatenate([sure, [END], free, [END]]).astype(np.uint16)
    offsets = np.array([0, len(sure) + 1, len(tokens)])
    return count_documents(EncodedDocuments(tokens, offsets), np.arange(2), vocab=8, domains=3, order=2)


def test_conditional_entropy_of_known_chains():
    entropy = conditional_entropy(two_domains())
    assert entropy[:2] == pytest.approx([0.0, np.log(4)], abs=5e-3)
    shares = entropy_shares(two_domains())
    assert shares[1] / shares[0] == pytest.approx(4, rel=0.01)
    assert shares[2] == 0.0


def test_the_rule_stays_within_caps_and_predicts_nothing():
    tokens = np.array([8001, 8001, 0])
    supply = ClusterSupply(np.arange(3), np.array([1, 1, 0]), tokens, tokens * 4)
    shares, evidence = entropy_mixture(two_domains(), supply, MixingConfig(repetition_cap=1.2))
    assert shares == pytest.approx([0.4, 0.6, 0.0])
    assert evidence.predicted_loss is None
    assert "no correlation applies" in evidence.verdict
    assert "no correlation applies" in evidence.verdict
    assert evidence.cv_spearman is None


def test_counts_without_bigrams_are_refused():
    with pytest.raises(ValueError, match="count order 2"):
        conditional_entropy(DomainCounts.empty(8, 2, 1))
