"""Data Mixing Agent: a policy that reads the course of training and names the next mixture (arXiv 2507.15640).

For continual pre-training. State: the trajectory of mixtures and of the feedback of the targets; action: the mixture of
the next period. The policy is learned off line in two steps: it imitates the better of many random trajectories, then
it is improved by conservative Q-learning (Kumar et al. 2020), which holds the value of actions that no trajectory took
below those that were taken:

    min_Q  E[(Q(s,a) - r - γ Q'(s',π(s')))²] + α E[log Σ_b exp Q(s,b) - Q(s,a)]
    max_π  E[Q(s,π(s)) - β KL(a* ‖ π(s))]        a* the actions of the better trajectories

There is no public code; only the abstract's description was available. Sizes, features and weights here are this
module's. Reward is the fall of the weighted feedback in a period, so a return is what a whole trajectory gained.

Each trajectory is a training run. The method pays only where one policy is used on many later runs; for a single
mixture a swarm is cheaper.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gem_assets.mixing.online.simplex import as_weights
from gem_assets.proxy.train import one_thread
from gem_assets.types import Floats

HISTORY = 2
_RANDOM_ACTIONS = 8
_BATCH = 128


class AgentError(ValueError):
    """Trajectories that no policy can be learned from; the message says what is wrong."""


class MixingEnvironment(Protocol):
    """A training run in periods, real or simulated."""

    def reset(self) -> Floats:
        """Start again; feedback of the targets ``(J,)``, lower is better."""
        ...

    def step(self, mixture: Floats) -> Floats:
        """Train a period on a mixture ``(K,)`` and return the feedback ``(J,)``."""
        ...


@dataclass(frozen=True)
class Trajectory:
    """One run: mixtures ``(T, K)`` and feedback ``(T + 1, J)``, the first before training."""

    mixtures: Floats
    feedback: Floats

    def __post_init__(self) -> None:
        if len(self.feedback) != len(self.mixtures) + 1 or not np.isfinite(self.feedback).all():
            raise AgentError("a trajectory needs finite feedback before the first and after every period")

    def gain(self, importance: Floats) -> float:
        """Fall of the weighted feedback over the whole run."""
        return float((self.feedback[0] - self.feedback[-1]) @ importance)


def random_trajectories(
    environment: MixingEnvironment,
    prior: Floats,
    periods: int,
    count: int,
    *,
    wander: float = 0.5,
    seed: int = 0,
) -> list[Trajectory]:
    """Run random walks of mixtures: a Dirichlet start, then normal steps of the logarithms by ``wander``."""
    rng, q = np.random.default_rng(seed), as_weights(prior)
    found: list[Trajectory] = []
    for _ in range(count):
        logs = np.log(np.maximum(rng.dirichlet(np.maximum(q * len(q), 1e-2)), 1e-6))
        feedback, mixtures = [np.asarray(environment.reset(), np.float64)], []
        for _ in range(periods):
            mixtures.append(as_weights(np.where(q > 0, np.exp(logs - logs.max()), 0.0)))
            feedback.append(np.asarray(environment.step(mixtures[-1]), np.float64))
            logs = logs + wander * rng.standard_normal(len(q))
        found.append(Trajectory(np.array(mixtures), np.array(feedback)))
    return found


class DataMixingAgent:
    """Policy over mixtures, learned off line.

    Parameters
    ----------
    importance
        Weight of each target's feedback ``(J,)``.
    hidden
        Width of policy and value networks, two layers each.
    imitation_steps, improvement_steps
        Updates of the two stages.
    best_part
        Part of the trajectories, by gain, that is imitated.
    conservatism, anchor
        ``α`` and ``β``.
    discount
        ``γ``.
    """

    policy_: nn.Module
    value_: nn.Module

    def __init__(
        self,
        importance: Floats,
        *,
        hidden: int = 64,
        imitation_steps: int = 300,
        improvement_steps: int = 300,
        best_part: float = 0.2,
        conservatism: float = 0.1,
        anchor: float = 1.0,
        discount: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.importance = as_weights(importance)
        if not 0 < best_part <= 1 or conservatism < 0 or anchor < 0 or not 0 <= discount <= 1:
            raise AgentError("best_part and discount must lie in (0, 1], conservatism and anchor must not be negative")
        self.hidden, self.imitation_steps, self.improvement_steps = hidden, imitation_steps, improvement_steps
        self.best_part, self.conservatism, self.anchor, self.discount = best_part, conservatism, anchor, discount
        self.seed = seed

    def fit(self, trajectories: Sequence[Trajectory]) -> Self:
        """Imitate the better trajectories, then improve conservatively on all.

        Raises AgentError if there are fewer than 8 trajectories, or their shapes differ.
        """
        if len(trajectories) < 8:
            raise AgentError(f"{len(trajectories)} trajectories are too few; 8 at least")
        shapes = {(t.mixtures.shape, t.feedback.shape) for t in trajectories}
        if len(shapes) > 1:
            raise AgentError(f"trajectories differ in shape: {sorted(shapes)}")
        gains = np.array([t.gain(self.importance) for t in trajectories])
        feedback = np.concatenate([t.feedback for t in trajectories])
        self._centre, self._scale = feedback.mean(axis=0), np.maximum(feedback.std(axis=0), 1e-8)
        self._reward_scale = max(float(gains.std()), 1e-8)
        self._periods = len(trajectories[0].mixtures)
        better = gains >= np.quantile(gains, 1 - self.best_part)
        rows = [self._rows(t) for t in trajectories]
        states = torch.tensor(np.concatenate([r[0][:-1] for r in rows]), dtype=torch.float32)
        following = torch.tensor(np.concatenate([r[0][1:] for r in rows]), dtype=torch.float32)
        actions = torch.tensor(np.concatenate([t.mixtures for t in trajectories]), dtype=torch.float32)
        rewards = torch.tensor(np.concatenate([r[1] for r in rows]), dtype=torch.float32)
        ends = torch.tensor(np.tile(np.arange(self._periods) == self._periods - 1, len(rows)))
        good = torch.tensor(np.repeat(better, self._periods))
        with one_thread():
            generator = torch.Generator().manual_seed(self.seed)
            self.policy_ = _network(states.shape[1], self.hidden, actions.shape[1], generator)
            self.value_ = _network(states.shape[1] + actions.shape[1], self.hidden, 1, generator)
            self._imitate(states[good], actions[good])
            self._improve(states, actions, rewards, following, ends, good, generator)
        return self

    def act(self, mixtures: Floats, feedback: Floats) -> Floats:
        """Mixture of the next period ``(K,)`` after ``t`` periods: mixtures ``(t, K)``, feedback ``(t + 1, J)``."""
        state = torch.tensor(self._state(mixtures, feedback), dtype=torch.float32)
        with torch.no_grad(), one_thread():
            return as_weights(self.policy_(state).softmax(-1).double().numpy())

    def run(self, environment: MixingEnvironment, periods: int | None = None) -> Trajectory:
        """Steer a run; of the length that was learned on by default."""
        feedback: list[Floats] = [np.asarray(environment.reset(), np.float64)]
        mixtures: list[Floats] = []
        for _ in range(self._periods if periods is None else periods):
            mixtures.append(self.act(np.array(mixtures), np.array(feedback)))
            feedback.append(np.asarray(environment.step(mixtures[-1]), np.float64))
        return Trajectory(np.array(mixtures), np.array(feedback))

    def _state(self, mixtures: Floats, feedback: Floats) -> Floats:
        """Time, the last feedback and mixtures; even mixtures and no change stand for what was before the start."""
        scaled = (feedback - self._centre) / self._scale
        t, parts = len(mixtures), [np.array([len(mixtures) / self._periods])]
        parts += [scaled[max(t - back, 0)] for back in range(HISTORY)]
        if t:
            parts += [mixtures[max(t - 1 - back, 0)] for back in range(HISTORY)]
        else:
            width = self._width
            parts += [np.full(width, 1 / width)] * HISTORY
        return np.concatenate(parts)

    def _rows(self, trajectory: Trajectory) -> tuple[Floats, Floats]:
        self._width = trajectory.mixtures.shape[1]
        steps = range(len(trajectory.mixtures) + 1)
        states = np.array([self._state(trajectory.mixtures[:t], trajectory.feedback[: t + 1]) for t in steps])
        falls = (trajectory.feedback[:-1] - trajectory.feedback[1:]) @ self.importance
        return states, falls / self._reward_scale

    def _imitate(self, states: Tensor, actions: Tensor) -> None:
        optimiser = torch.optim.Adam(self.policy_.parameters(), lr=3e-3)
        for _ in range(self.imitation_steps):
            optimiser.zero_grad()
            _divergence(actions, self.policy_(states)).backward()
            optimiser.step()

    def _improve(
        self,
        states: Tensor,
        actions: Tensor,
        rewards: Tensor,
        following: Tensor,
        ends: Tensor,
        good: Tensor,
        generator: torch.Generator,
    ) -> None:
        target = _network(states.shape[1] + actions.shape[1], self.hidden, 1, generator)
        target.load_state_dict(self.value_.state_dict())
        values = torch.optim.Adam(self.value_.parameters(), lr=3e-3)
        policy = torch.optim.Adam(self.policy_.parameters(), lr=1e-3)
        best = torch.nonzero(good).squeeze(1)
        for step in range(self.improvement_steps):
            some = torch.randint(len(states), (_BATCH,), generator=generator)
            s, a, later = states[some], actions[some], following[some]
            with torch.no_grad():
                ahead = target(torch.cat([later, self.policy_(later).softmax(-1)], 1)).squeeze(1)
                wanted = rewards[some] + self.discount * torch.where(ends[some], 0.0, ahead)
            values.zero_grad()
            taken = self.value_(torch.cat([s, a], 1)).squeeze(1)
            others = self._other_values(s, actions.shape[1], generator)
            gap = (others.logsumexp(1) - math.log(others.shape[1]) - taken).mean()
            ((taken - wanted).square().mean() + self.conservatism * gap).backward()
            values.step()
            policy.zero_grad()
            worth = self.value_(torch.cat([s, self.policy_(s).softmax(-1)], 1)).mean()
            kept = best[torch.randint(len(best), (_BATCH,), generator=generator)]
            (self.anchor * _divergence(actions[kept], self.policy_(states[kept])) - worth).backward()
            policy.step()
            if step % 10 == 0:
                target.load_state_dict(self.value_.state_dict())

    def _other_values(self, states: Tensor, width: int, generator: torch.Generator) -> Tensor:
        """Values of random actions and of the policy's, ``(n, actions)``."""
        drawn = -torch.rand(len(states), _RANDOM_ACTIONS, width, generator=generator).clamp(min=1e-7).log()
        drawn = drawn / drawn.sum(-1, keepdim=True)
        with torch.no_grad():
            own = self.policy_(states).softmax(-1)[:, None]
        acts = torch.cat([drawn, own], 1)
        wide = states[:, None].expand(-1, acts.shape[1], -1)
        return self.value_(torch.cat([wide, acts], -1)).squeeze(-1)


def _divergence(actions: Tensor, logits: Tensor) -> Tensor:
    """Mean cross-entropy of the policy against mixtures that were taken."""
    return -(actions * functional.log_softmax(logits, -1)).sum(-1).mean()


def _network(inputs: int, hidden: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    layers = nn.Sequential(
        nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, outputs)
    )
    with torch.no_grad():
        for parameter in layers.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[1] ** 0.5)
            else:
                parameter.zero_()
    return layers
