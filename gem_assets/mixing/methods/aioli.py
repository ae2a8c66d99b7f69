"""Aioli: learn how training on one domain moves the loss of every other, as training runs (Chen et al. 2024).

Most online methods assume a law ``L_i(t+1) = L_i(t) - Σ_j A_ij p_j`` and differ in how they guess ``A``. Aioli measures
it: in each round it plays the K "smoothed one-hot" mixtures (mass ``o`` on one domain, the rest spread evenly) for a
few steps each, in random order, on the live model; the loss drops ``G``, averaged over sweeps, then satisfy
``G_i = P A_i`` with ``P`` the matrix of those mixtures. The weights follow by one exponentiated-gradient step on
``Σ_i L_i``:

    p_j ∝ exp(η Σ_i A_ij)      from uniform in every round, with a running average over rounds (``ema``)
    p_j ← p_j exp(η Σ_i A_ij)  cumulative, without one

``A`` is first shifted to be non-negative and scaled to sum 1 over all entries, so small ``η`` stays close to uniform
weights by design.
"""

from typing import TYPE_CHECKING

import numpy as np

from gem_assets.mixing.online.hook import OnlineHook
from gem_assets.mixing.online.simplex import logarithm, softmax, uniform
from gem_assets.mixing.online.single_run import TOY, single_run
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.method_data import MethodData
    from gem_assets.mixing.online.trainer import OnlineRun
    from gem_assets.proxy.config import ProxyConfig


def smoothed_one_hot(count: int, mass: float) -> Floats:
    """Mixtures to play, ``(K, K)``: row ``j`` puts ``mass`` on domain ``j`` and spreads the rest evenly."""
    if not 1 / count < mass <= 1:
        raise ValueError(f"the mass on one of {count} domains must exceed {1 / count:.4g} and be at most 1, not {mass}")
    rest = (1 - mass) / (count - 1) if count > 1 else 0.0
    return np.full((count, count), rest) + (mass - rest) * np.eye(count)


def unmix(drops: Floats, mass: float) -> Floats:
    """Solve for ``A`` from mean loss drops.

    Parameters
    ----------
    drops
        ``G``, ``(J, K)``: row is the evaluated target, column the played mixture.
    mass
        ``o`` of the mixtures played.
    """
    return np.asarray(np.linalg.solve(smoothed_one_hot(drops.shape[1], mass), drops.T).T, np.float64)


def normalise(matrix: Floats) -> Floats:
    """Shift a negative minimum to 0 and scale to total 1; a matrix of zeros becomes even."""
    shifted = matrix - min(float(matrix.min()), 0.0)
    total = shifted.sum()
    return shifted / total if total > 0 else np.full(matrix.shape, 1.0 / matrix.size)


class Aioli:
    """State of the weights over rounds.

    Parameters
    ----------
    eta
        Step size; 1 for seven domains, 0.1 to 0.2 for two or three in the published runs.
    mass
        Mass of the played mixtures on their own domain.
    ema
        Part of the earlier average kept each round; ``None`` accumulates instead.
    """

    def __init__(self, count: int, *, eta: float = 1.0, mass: float = 0.75, ema: float | None = 0.1) -> None:
        if ema is not None and not 0 <= ema < 1:
            raise ValueError(f"ema must be in [0, 1), not {ema}")
        self.mixtures = smoothed_one_hot(count, mass)
        self.weights = uniform(count)
        self.eta, self.mass, self.ema = eta, mass, ema
        self._average: Floats | None = None

    def update(self, drops: Floats) -> Floats:
        """Take one round's mean loss drops ``(J, K)`` and return the new weights."""
        matrix = normalise(unmix(drops, self.mass))
        if self.ema is None:
            self.weights = softmax(logarithm(self.weights) + self.eta * matrix.sum(axis=0))
            return self.weights
        self._average = matrix if self._average is None else (1 - self.ema) * matrix + self.ema * self._average
        self.weights = softmax(self.eta * self._average.sum(axis=0))
        return self.weights


class AioliHook(OnlineHook):
    """Aioli (Chen et al. 2024): rounds that begin by measuring how each domain moves each target.

    Parameters
    ----------
    count
        Domains; all must hold text.
    round_steps
        Steps of a round, its probes included.
    sweeps, play_steps
        How often each smoothed one-hot mixture is played in a round, and for how long.
    """

    def __init__(
        self,
        count: int,
        *,
        round_steps: int = 200,
        sweeps: int = 2,
        play_steps: int = 10,
        eta: float = 1.0,
        mass: float = 0.75,
        ema: float | None = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(uniform(count))
        if round_steps <= sweeps * play_steps * count:
            raise ValueError(
                f"a round of {round_steps} steps is used up by {sweeps} sweeps of {count} mixtures for {play_steps} "
                "steps; make rounds longer or probes fewer"
            )
        self.rule = Aioli(count, eta=eta, mass=mass, ema=ema)
        self._round, self._sweeps, self._play = round_steps, sweeps, play_steps
        self._rng = np.random.default_rng(seed)
        self._next = 0

    @property
    def mixture(self) -> Floats:
        """Current weights."""
        return self.rule.weights

    def begin(self, run: "OnlineRun") -> None:
        """Measure the first round."""
        super().begin(run)
        self.after_step(run)

    def after_step(self, run: "OnlineRun") -> None:
        """Measure at the start of a round, where the steps left allow a full measurement."""
        count = run.pool.domains
        if run.step < self._next or run.left < self._sweeps * self._play * count:
            return
        self._next = run.step + self._round
        drops = np.zeros((len(run.evaluation.names), count))
        before = run.target_losses()
        for _ in range(self._sweeps):
            for j in self._rng.permutation(count):
                run.train(self.rule.mixtures[j], self._play)
                after = run.target_losses()
                drops[:, j] += before - after
                before = after
        self.rule.update(drops / self._sweeps)


def hook(data: "MethodData", natural: Floats, config: "ProxyConfig") -> AioliHook:  # noqa: ARG001
    """Build the method with periods that fit the run: four rounds, half of each spent on measuring."""
    count = data.pool.domains
    period = max(config.steps // 4, count + 1)
    return AioliHook(count, round_steps=period, sweeps=1, play_steps=max(1, period // (2 * count)), seed=config.seed)


METHOD = single_run(
    "aioli",
    "Aioli: measures during training how each cluster moves every target, and follows that." + TOY,
    hook=hook,
    cost="1.1 times plain training with one sweep of short probes",
    use="all targets count",
    source="Chen et al. 2024",
)
