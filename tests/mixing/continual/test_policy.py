import numpy as np
import pytest

from gem_assets.mixing.continual.policy import AgentError, DataMixingAgent, Trajectory, random_trajectories

IMPORTANCE = np.array([0.5, 0.3, 0.2])
PERIODS = 6


class Decay:
    """Each target's loss falls by ``exp(-Σ_j A_ij p_j)`` a period: only the mean mixture counts, and it is known."""

    help = np.array([[0.5, 0.05, 0.0], [0.05, 0.4, 0.05], [0.0, 0.05, 0.1]])
    floor, start = np.ones(3), np.array([4.0, 3.0, 3.0])

    def reset(self):
        self.loss = self.start.copy()
        return self.loss.copy()

    def step(self, mixture):
        self.loss = self.floor + (self.loss - self.floor) * np.exp(-self.help @ mixture)
        return self.loss.copy()

    def gain_of(self, mixture):
        end = self.floor + (self.start - self.floor) * np.exp(-PERIODS * self.help @ mixture)
        return float((self.start - end) @ IMPORTANCE)


@pytest.fixture(scope="module")
def walks():
    return random_trajectories(Decay(), np.ones(3) / 3, PERIODS, 80, seed=1)


@pytest.fixture(scope="module")
def optimum():
    grid = np.array([(i, j, 40 - i - j) for i in range(41) for j in range(41 - i)]) / 40
    return max(Decay().gain_of(p) for p in grid)


def test_random_walks_are_runs(walks):
    assert len(walks) == 80
    for walk in walks[:3]:
        assert walk.mixtures.shape == (PERIODS, 3)
        assert walk.mixtures.sum(axis=1) == pytest.approx(np.ones(PERIODS))
        assert walk.gain(IMPORTANCE) == pytest.approx(Decay().gain_of(walk.mixtures.mean(axis=0)))
    without = random_trajectories(Decay(), np.array([0.5, 0.5, 0.0]), 2, 3)
    assert all(w.mixtures[:, 2].max() == 0 for w in without)


@pytest.mark.parametrize("improvement", [0, 60])
def test_the_policy_comes_near_the_optimum(walks, optimum, improvement):
    found = DataMixingAgent(IMPORTANCE, imitation_steps=150, improvement_steps=improvement).fit(walks)
    steered = found.run(Decay())
    assert steered.gain(IMPORTANCE) > 0.92 * optimum
    assert steered.gain(IMPORTANCE) > Decay().gain_of(np.ones(3) / 3)
    assert steered.gain(IMPORTANCE) > np.mean([w.gain(IMPORTANCE) for w in walks])
    assert np.argmin(steered.mixtures.mean(axis=0)) == 2


def test_it_steers_runs_of_other_lengths(walks):
    found = DataMixingAgent(IMPORTANCE, imitation_steps=20, improvement_steps=0).fit(walks)
    assert found.run(Decay(), 3).mixtures.shape == (3, 3)
    first = found.act(np.zeros((0, 3)), Decay().start[None])
    assert first.sum() == pytest.approx(1)


def test_bad_trajectories_are_refused(walks):
    with pytest.raises(AgentError, match="3 trajectories"):
        DataMixingAgent(IMPORTANCE).fit(walks[:3])
    with pytest.raises(AgentError, match="differ in shape"):
        DataMixingAgent(IMPORTANCE).fit([*walks[:8], Trajectory(np.ones((1, 3)) / 3, np.ones((2, 3)))])
    with pytest.raises(AgentError, match="finite feedback"):
        Trajectory(np.ones((1, 3)), np.array([[1.0], [np.nan]]))
    with pytest.raises(AgentError, match="best_part"):
        DataMixingAgent(IMPORTANCE, best_part=0.0)
