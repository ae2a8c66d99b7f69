import numpy as np
import pytest

from gem_assets.mixing.laws.ngram import LexicalLaw, LexicalLosses, ngram_laws
from gem_assets.mixing.laws.selection import choose_laws
from gem_assets.proxy.config import CountConfig
from gem_assets.proxy.counts import count_documents
from gem_assets.proxy.lexical import LexicalProxy
from gem_assets.proxy.tokens import END, EncodedDocuments
from tests.proxy.worlds import markov_world


def lexical_world(domains=3):
    pool, evaluation = markov_world(domains=domains, tokens=2000)
    ends = [np.append(pool.domain(k), END).astype(np.uint16) for k in range(domains)]
    offsets = np.concatenate([[0], np.cumsum([len(e) for e in ends])])
    counts = count_documents(
        EncodedDocuments(np.concatenate(ends), offsets), np.arange(domains), vocab=pool.vocab, domains=domains
    )
    return pool, counts, LexicalProxy.of(counts, evaluation, CountConfig(), 1e3)


@pytest.fixture(scope="module")
def proxy():
    return lexical_world()[2]


MIXTURES = np.random.default_rng(0).dirichlet(np.ones(3), 24)


def test_unfitted_it_is_the_lexical_proxy(proxy):
    law = LexicalLaw(LexicalLosses(proxy), np.array([1.0, 0.0, 1.0]))
    assert np.allclose(law.predict(MIXTURES), proxy.losses(MIXTURES)[:, [0, 2]].mean(1))


def test_the_line_is_recovered_and_never_falls(proxy):
    entry = ngram_laws(proxy, ["domain-1"])["domain-1"]
    scores = proxy.losses(MIXTURES)[:, 1]
    law = entry.make(0).fit(MIXTURES, 0.3 + 1.2 * scores)
    assert (law.intercept_, law.slope_) == pytest.approx((0.3, 1.2))
    against = entry.make(0).fit(MIXTURES, 5 - scores)
    assert against.slope_ == 0.0
    assert np.allclose(against.predict(MIXTURES), (5 - scores).mean())


def test_the_gradient_is_that_of_the_prediction(proxy):
    law = LexicalLaw(LexicalLosses(proxy), np.ones(3))
    law.slope_ = 1.3
    p, step = np.array([0.5, 0.3, 0.2]), 1e-6 * np.array([1.0, -1.0, 0.0])
    rise = (law.predict((p + step)[None])[0] - law.predict((p - step)[None])[0]) / 2e-6
    assert law.gradient(p) @ np.array([1.0, -1.0, 0.0]) == pytest.approx(rise, rel=1e-5)


def test_it_competes_with_the_laws_of_the_registry(proxy):
    losses = {"domain-0": 1.1 * proxy.losses(MIXTURES)[:, 0] + 0.2}
    extra = {"ngram_affine": ngram_laws(proxy, ["domain-0"])}
    fitted = choose_laws(MIXTURES, losses, candidates=["ngram_affine", "log_exposure"], extra=extra)[0]
    assert fitted.name == "ngram_affine"
    assert fitted.score.spearman == pytest.approx(1.0)
    assert np.allclose(fitted.held_out, losses["domain-0"])


def test_an_unknown_target_and_useless_weights_are_refused(proxy):
    with pytest.raises(ValueError, match=r"no target 'x'.*domain-0"):
        ngram_laws(proxy, ["x"])
    with pytest.raises(ValueError, match="3 targets need as many"):
        LexicalLaw(LexicalLosses(proxy), np.zeros(3))
