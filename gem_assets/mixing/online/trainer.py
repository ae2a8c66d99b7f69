"""One training run that all online methods share: a proxy whose mixture is changed while it trains.

A method is a hook. The trainer draws each batch from the method's ``sampling``, weighs its tokens as the method says,
and calls it before and after every step; what a method may measure is what :class:`OnlineRun` offers: losses, losses of
single tokens, gradients of domains and targets, a few steps on a mixture of its choice, a branch that is taken back.
Whatever it trains counts against the same number of tokens, and what it measures on top is counted in the result, so
that costs compare.

The run is :class:`gem_assets.proxy.train.ProxyTrainer` on one CPU thread, at sizes where it takes seconds. That is
enough to test the rules; it is not a use of them. Published runs have 80 to 300 million parameters and 5,000 to 200,000
steps on GPUs.
"""

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from gem_assets.mixing.online.hook import Batch, OnlineMethod
from gem_assets.mixing.online.simplex import as_weights, uniform
from gem_assets.proxy.config import ProxyConfig
from gem_assets.proxy.pool import EvaluationSet, PoolError, TokenPool
from gem_assets.proxy.stream import AdaptiveStream
from gem_assets.proxy.train import ProxyTrainer, keep_memory, one_thread
from gem_assets.types import Floats


@dataclass
class Costs:
    """What a method used beyond its own training steps.

    Attributes
    ----------
    probe_steps
        Steps on mixtures that the method chose; those outside of a branch also count as training.
    forwards
        Forward passes over a batch, of this or another model.
    """

    probe_steps: int = 0
    branch_steps: int = 0
    gradients: int = 0
    evaluations: int = 0
    forwards: int = 0


@dataclass(frozen=True)
class OnlineResult:
    """An online run.

    Attributes
    ----------
    trajectory : float64 array, shape (steps, K)
        Answer after every step outside of probes.
    losses : float64 array, shape (J,)
        Losses of the targets at the end under the averaged weights, nats per token.
    tokens
        Tokens trained on, probes included, branches not.
    visits : int64 array, shape (K,)
        Windows read of each domain.
    """

    mixture: Floats
    trajectory: Floats
    losses: Floats
    costs: Costs
    tokens: int
    visits: NDArray[np.int64]
    seconds: float


@dataclass
class OnlineRun:
    """The live run that a method sees."""

    pool: TokenPool
    evaluation: EvaluationSet
    config: ProxyConfig
    seed: int
    trainer: ProxyTrainer
    stream: AdaptiveStream
    costs: Costs = field(default_factory=Costs)

    @property
    def step(self) -> int:
        """Steps done, probes included."""
        return self.trainer.step_number

    @property
    def left(self) -> int:
        """Steps that the token budget still allows."""
        return self.trainer.steps - self.trainer.step_number

    def draw(self, shares: Floats) -> Batch:
        """Read a batch of a mixture."""
        return Batch(*self.stream.take(shares, self.config.training.batch))

    def train(self, shares: Floats, steps: int) -> None:
        """Take probe steps on a mixture; at most as many as are left."""
        for _ in range(min(steps, self.left)):
            self.trainer.step(torch.from_numpy(self.draw(shares).windows))
            self.costs.probe_steps += 1

    @contextmanager
    def branch(self) -> Generator[None]:
        """Take back whatever is trained inside."""
        before = self.costs.probe_steps
        with self.trainer.branch():
            yield
        self.costs.branch_steps += self.costs.probe_steps - before
        self.costs.probe_steps = before

    def target_losses(self) -> Floats:
        """Losses of all targets under the current weights, ``(J,)``: an average would blur what a few steps did."""
        self.costs.evaluations += 1
        rows = self.trainer.losses(self.evaluation.windows, averaged=False).mean(1)
        return np.bincount(self.evaluation.target, rows) / np.bincount(self.evaluation.target)

    def token_losses(self, batch: Batch, model: ProxyTrainer | None = None) -> Floats:
        """Loss of every token of a batch, ``(B, context)``; of another model's averaged weights where one is given."""
        self.costs.forwards += 1
        windows = batch.windows.astype(np.uint16)
        if model is not None:
            return model.losses(windows, averaged=True)
        return self.trainer.losses(windows, averaged=False)

    def domain_gradients(self, windows: int = 1) -> torch.Tensor:
        """Gradient of the mean loss on further windows of each domain, ``(K, P)``; zeros for a domain without text."""
        rows = torch.zeros(self.pool.domains, len(self.trainer.model.flat))
        for k in np.flatnonzero(self.pool.sizes):
            rows[k] = self.trainer.gradient(torch.from_numpy(self.stream.domain_windows(int(k), windows)))
            self.costs.gradients += 1
        return rows

    def target_gradients(self, weights: Floats | None = None) -> torch.Tensor:
        """Gradient of each target's mean loss, ``(J, P)``; those of weight 0 are left at 0."""
        rows = torch.zeros(len(self.evaluation.names), len(self.trainer.model.flat))
        for j, name in enumerate(self.evaluation.names):
            if weights is None or weights[j] > 0:
                rows[j] = self.trainer.gradient(torch.from_numpy(self.evaluation.of(name).astype(np.int64)))
                self.costs.gradients += 1
        return rows

    def importance(self, targets: Floats | None) -> Floats:
        """Weight of each target ``(J,)``, sum 1; all the same when None."""
        count = len(self.evaluation.names)
        return uniform(count) if targets is None else as_weights(targets, count)

    def even(self) -> Floats:
        """Equal shares for the domains that hold text."""
        return as_weights((self.pool.sizes > 0).astype(np.float64))


def train_online(
    pool: TokenPool,
    evaluation: EvaluationSet,
    method: OnlineMethod,
    config: ProxyConfig,
    *,
    seed: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> OnlineResult:
    """Train a proxy under an online method.

    Parameters
    ----------
    method
        A hook; it is used up: its state is that of this run.
    seed
        Of initialisation and stream; ``config.seed`` when None.
    progress
        Called with (steps done, steps in all), at most a hundred times.

    Raises
    ------
    PoolError
        When method, pool and windows do not fit each other.
    DivergedError
        When a loss is no longer finite.
    """
    if evaluation.context > config.model.context:
        raise PoolError(f"windows predict {evaluation.context} tokens, the model's context is {config.model.context}")
    seed = config.seed if seed is None else seed
    keep_memory()
    with one_thread():
        started = time.process_time()
        run = OnlineRun(
            pool,
            evaluation,
            config,
            seed,
            ProxyTrainer(config, pool.vocab, seed=seed),
            AdaptiveStream(pool, config.model.context, seed),
        )
        method.begin(run)
        trajectory: list[Floats] = []
        shown = 0
        while run.left > 0:
            batch = run.draw(method.sampling)
            weights = method.loss_weights(run, batch)
            run.trainer.step(torch.from_numpy(batch.windows), _token_weights(weights, config.model.context))
            method.after_step(run)
            trajectory.append(method.mixture.copy())
            if progress is not None and run.step >= shown:
                progress(run.step, run.trainer.steps)
                shown = run.step + math.ceil(run.trainer.steps / 100)
        losses = run.trainer.evaluate(evaluation)
        seconds = time.process_time() - started
    return OnlineResult(
        mixture=method.mixture.copy(),
        trajectory=np.array(trajectory),
        losses=losses,
        costs=run.costs,
        tokens=run.step * config.training.batch * config.model.context,
        visits=run.stream.visits,
        seconds=seconds,
    )


def train_reference(pool: TokenPool, shares: Floats, config: ProxyConfig, *, seed: int | None = None) -> ProxyTrainer:
    """Train a model on fixed shares and return it with its weights, as DoReMi's reference."""
    seed = config.seed if seed is None else seed
    stream = AdaptiveStream(pool, config.model.context, seed)
    with one_thread():
        trainer = ProxyTrainer(config, pool.vocab, seed=seed)
        for _ in range(trainer.steps):
            trainer.step(torch.from_numpy(stream.take(shares, config.training.batch)[0]))
    return trainer


def _token_weights(weights: NDArray[np.float64] | None, context: int) -> torch.Tensor | None:
    """Spread the weights of sequences over their tokens so that all sum to 1; ``None`` where they are all 0."""
    if weights is None or not weights.sum() > 0:
        return None
    rows = torch.from_numpy((weights / weights.sum() / context).astype(np.float32))
    return rows[:, None].expand(len(rows), context)
