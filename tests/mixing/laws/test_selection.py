import numpy as np
import pytest
from scipy.stats import spearmanr

from gem_assets.mixing.laws.base import LawEntry, checked_runs
from gem_assets.mixing.laws.registry import LAWS
from gem_assets.mixing.laws.selection import choose_laws, pairwise_decisions, spearman
from tests.mixing.laws.test_laws import TRUTHS, mixtures

SOME = ["log_exposure", "effective_exposure", "log_linear", "lightgbm"]


def test_spearman_is_scipys_with_ties():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 40).astype(float), rng.normal(size=40)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert np.isnan(spearman(np.ones(5), b[:5]))
    assert np.isnan(spearman(a[:1], b[:1]))


def test_pairwise_decisions():
    true = np.array([1.0, 2.0, 3.0])
    assert pairwise_decisions(true * 10, true) == 1.0
    assert pairwise_decisions(-true, true) == 0.0
    assert pairwise_decisions(np.zeros(3), true) == 0.5
    assert np.isnan(pairwise_decisions(true, np.ones(3)))


def test_the_law_that_holds_is_chosen_per_target():
    rows = mixtures(80)
    rng = np.random.default_rng(4)
    losses = {
        "exposed": TRUTHS["effective_exposure"][1](rows) + 0.002 * rng.normal(size=80),
        "rough": np.where(rows[:, 0] > 0.2, 2.0, 3.0) + np.where(rows[:, 1] > 0.3, 0.5, 0.0),
    }
    chosen = {f.target: f for f in choose_laws(rows, losses, candidates=SOME)}
    assert chosen["exposed"].name in ("effective_exposure", "log_exposure", "bimix")
    assert chosen["exposed"].score.spearman > 0.95
    assert chosen["rough"].name == "lightgbm"
    tried = {s.law for s in chosen["rough"].scores}
    assert tried == set(SOME)
    assert chosen["rough"].law.predict(rows[:2]).shape == (2,)


def test_few_runs_leave_out_the_laws_that_need_more():
    rows = mixtures(17)
    fitted = choose_laws(rows, {"t": TRUTHS["log_exposure"][1](rows)})[0]
    assert {s.law for s in fitted.scores} == {"log_exposure", "effective_exposure", "bimix", "log_linear", "gp"}


def test_too_few_runs_for_any_law_says_how_many_are_needed():
    rows = mixtures(6)
    with pytest.raises(ValueError, match=r"6 runs leave 4 .* need at least 8"):
        choose_laws(rows, {"t": np.arange(6.0)})


def test_unknown_law_is_refused():
    with pytest.raises(ValueError, match="unknown law 'linear'"):
        choose_laws(mixtures(20), {"t": np.arange(20.0)}, candidates=["linear"])


def test_noise_is_not_called_predictable():
    rows = mixtures(60)
    noise = np.random.default_rng(0).normal(3, 0.1, 60)
    (fitted,) = choose_laws(rows, {"t": noise}, candidates=["effective_exposure"])
    score = fitted.score
    assert abs(score.spearman) < 0.5
    assert 0.3 < score.decisions < 0.7


class FirstShareLaw:
    """A line in the share of the first cluster."""

    def fit(self, mixtures, losses):
        shares, values = checked_runs(mixtures, losses, 2)
        self.line = np.polyfit(shares[:, 0], values, 1)
        return self

    def predict(self, mixtures):
        return np.polyval(self.line, np.asarray(mixtures)[:, 0])


def test_a_class_and_its_line_are_all_that_a_new_law_takes(monkeypatch):
    rows = mixtures(40)
    losses = {"first": 3 - rows[:, 0]}
    with pytest.raises(ValueError, match="unknown law 'first_share'"):
        choose_laws(rows, losses, candidates=["first_share"])
    monkeypatch.setitem(LAWS, "first_share", LawEntry(lambda _: FirstShareLaw(), lambda _: 4))
    tried = choose_laws(rows, losses)[0]
    assert "first_share" in {score.law for score in tried.scores}
    [found] = choose_laws(rows, losses, candidates=["lightgbm", "first_share"])
    assert found.name == "first_share"
    assert found.law.predict(rows) == pytest.approx(losses["first"])
