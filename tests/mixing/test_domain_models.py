import numpy as np
import pytest

from gem_assets.mixing.domain_models import MergedLaw, MergedProxies, average_parameters
from gem_assets.proxy.config import ModelConfig, ProxyConfig, TrainingConfig
from tests.proxy.worlds import markov_world


def test_for_equal_gram_matrices_the_average_is_the_joint_solution():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(40, 5))
    answers = rng.normal(size=(3, 40))
    units = np.array([np.linalg.lstsq(inputs, y, rcond=None)[0] for y in answers])
    joint = np.linalg.lstsq(np.tile(inputs, (3, 1)), answers.ravel(), rcond=None)[0]
    assert average_parameters(units, np.full(3, 1 / 3))[0] == pytest.approx(joint)
    # a unit seen twice counts twice
    twice = np.linalg.lstsq(np.tile(inputs, (3, 1)), answers[[0, 0, 2]].ravel(), rcond=None)[0]
    assert average_parameters(units, np.array([2 / 3, 0, 1 / 3]))[0] == pytest.approx(twice)


def test_merged_models_rank_mixtures():
    pool, evaluation = markov_world()
    config = ProxyConfig(
        model=ModelConfig(width=16, layers=1, heads=2, context=16),
        training=TrainingConfig(tokens=4096, batch=4, precision="fp32"),
    )
    merged = MergedProxies(config).fit(pool)
    assert merged.tokens_ == 32 * 64 + 3 * 32 * 64
    mixtures = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]])
    losses = merged.predict(mixtures, evaluation)
    assert losses.shape == (5, 3)
    assert losses[:3].argmin(axis=0).tolist() == [0, 1, 2]
    # half of a domain lies between all and none of it
    assert losses[0, 0] < losses[3, 0] < losses[2, 0]
    assert losses[1, 1] < losses[3, 1] < losses[2, 1]
    np.testing.assert_allclose(merged.predict(mixtures, evaluation), losses)


def test_the_gradient_is_that_of_the_predicted_loss():
    pool, evaluation = markov_world()
    config = ProxyConfig(
        model=ModelConfig(width=16, layers=1, heads=2, context=16),
        training=TrainingConfig(tokens=2048, batch=4, precision="fp32"),
    )
    law = MergedLaw(MergedProxies(config).fit(pool), evaluation, np.array([0.7, 0.0, 0.3]))
    at, direction = np.array([0.5, 0.3, 0.2]), np.array([0.6, -0.2, -0.4])
    slope = law.gradient(at) @ direction
    ahead, behind = law.predict(np.array([at + 0.02 * direction, at - 0.02 * direction]))
    assert slope == pytest.approx((ahead - behind) / 0.04, rel=0.02)
    assert law.fit(at[None], np.ones(1)).predict(at[None]) == law.predict(at[None])


def test_the_shared_part_must_leave_room():
    with pytest.raises(ValueError, match="shared part"):
        MergedProxies(ProxyConfig(), 1.0)
