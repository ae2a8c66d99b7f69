"""Published figures, through the functions of the benchmark."""

import json

import numpy as np
import pytest

from benchmarks import mixing_golden
from gem_assets.mixing.laws.proposal import divergence
from gem_assets.mixing.recipe import Recipe
from gem_assets.mixing.supply import ClusterSupply

PUBLISHED_1M = [99.60, 99.71, 99.08, 99.45, 97.20, 99.77, 99.73, 99.18, 98.92, 96.87, 98.51, 99.19, 99.12]
PUBLISHED_60M = [98.88, 99.61, 98.26, 99.13, 96.29, 99.05, 99.54, 98.74, 98.49, 95.68, 97.77, 98.98, 98.63]
ROUNDS = [333, 647, 583, 590, 397, 454, 651, 533, 613, 478, 566, 455, 619]


@pytest.fixture(scope="module")
def trees(golden_folder):
    return mixing_golden.regmix_trees(golden_folder)


@pytest.fixture(scope="module")
def loglinear(golden_folder):
    return mixing_golden.loglinear_laws(golden_folder)


def test_regmix_rank_correlations(trees, golden_folder):
    assert [t.rounds_ for t in trees] == ROUNDS
    small = mixing_golden.correlations(trees, mixing_golden.swarm(golden_folder, "test", "1m"))
    large = mixing_golden.correlations(trees, mixing_golden.swarm(golden_folder, "test", "60m"))
    assert np.abs(small - PUBLISHED_1M).max() < 0.01
    assert np.abs(large - PUBLISHED_60M).max() < 0.01
    assert small.mean() == pytest.approx(98.95, abs=0.01)
    assert large.mean() == pytest.approx(98.4, abs=0.1)


def test_regmix_simulated_optimum(trees, golden_folder):
    optimum = mixing_golden.regmix_optimum(golden_folder, trees)
    assert np.abs(optimum.shares - mixing_golden.PILE_CC_OPTIMUM).max() < 1e-6
    assert optimum.predicted == pytest.approx(5.12804, abs=1e-5)


def test_regmix_errors_and_published_mixtures(trees, golden_folder):
    errors = mixing_golden.squared_errors(trees, mixing_golden.swarm(golden_folder, "test", "1m"))
    assert errors.mean() == pytest.approx(0.0105, abs=5e-5)
    found = mixing_golden.published_mixes(golden_folder, trees)
    expected = {"regmix": 5.126, "pile_cc_only": 5.146, "doremi": 5.148, "human": 5.421}
    assert found == pytest.approx(expected, abs=6e-4)


def test_small_models_rank_mixtures_as_larger_ones(golden_folder):
    assert mixing_golden.size_correlation(golden_folder) == pytest.approx(0.9937, abs=1e-4)


def test_loglinear_with_divergence(loglinear):
    proposal = mixing_golden.loglinear_kl(loglinear)
    assert proposal.predicted == pytest.approx(4.5627, abs=5e-4)
    assert proposal.kl == pytest.approx(0.222, abs=5e-3)


@pytest.mark.parametrize(("weight", "predicted", "kl"), [(0.1, 4.5669, 0.164), (0.5, 4.5962, 0.036)])
def test_loglinear_path(loglinear, weight, predicted, kl):
    proposal = mixing_golden.loglinear_kl(loglinear, weight)
    assert proposal.predicted == pytest.approx(predicted, abs=5e-4)
    assert proposal.kl == pytest.approx(kl, abs=5e-3)


def test_without_divergence_a_quarter_is_mail(loglinear):
    proposal = mixing_golden.loglinear_kl(loglinear, 0.0)
    assert proposal.predicted == pytest.approx(4.5541, abs=5e-4)
    assert proposal.shares[9] == pytest.approx(0.248, abs=0.005)


def test_effective_exposure_from_64_runs(golden_folder):
    assert mixing_golden.effective_exposure(golden_folder, 64) >= 97


def test_unimax(golden_folder):
    assert mixing_golden.unimax_error(golden_folder) < 1e-7


def test_olmix_published_weights(golden_folder):
    case = json.loads((golden_folder / "olmix" / "case_study_weights.json").read_text())
    weights = case["generate"]["1_add_stackedu.yaml"]["frozen_weights"]
    priors = case["fit"]["0_dclm.yaml"]["priors"]
    fit, tokens = priors["relative_sizes"], priors["token_counts"]
    names = sorted(fit)
    shares = np.array([weights[f"dclm:{n}"] for n in names])
    prior = np.array([fit[n] for n in names])
    assert shares.max() == pytest.approx(0.3177, abs=1e-4)
    assert divergence(shares / shares.sum(), prior / prior.sum()) == pytest.approx(0.583, abs=2e-3)
    available = np.array([int(tokens[n]) for n in names])
    supply = ClusterSupply(np.arange(len(names)), np.ones(len(names), int), available, available)
    recipe = Recipe.create(
        "olmix",
        shares / shares.sum(),
        supply,
        names=dict(enumerate(names)),
        taxonomy_version="weborganizer",
        tokenizer="dolma2",
        repetition_cap=4.0,
        token_budget=10**12,
    )
    most = max(recipe.entries, key=lambda e: e.implied_epochs)
    assert most.name == "software_development"
    assert most.implied_epochs == pytest.approx(1.42, abs=5e-3)
