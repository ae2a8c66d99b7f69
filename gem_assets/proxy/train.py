"""Train one proxy: a mixture in, the losses on all targets out.

All proxies of a swarm share initialisation, stream (``stream``) and evaluation windows, so that their losses differ by
the mixture. Losses are those of an average of the weights over the last part of the run, which ranks mixtures better
than the last step's. One thread: a swarm is parallel over proxies, and two threads on half a million parameters are
slower than one. About 5 CPU-seconds for 262,144 tokens at 0.3M parameters with bfloat16 products.
"""

import ctypes
import math
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gem_assets.proxy.centring import LogitStatistics, centre, logit_statistics
from gem_assets.proxy.config import ProxyConfig, TrainingConfig
from gem_assets.proxy.model import TinyDecoder
from gem_assets.proxy.optimiser import FlatAdamW, Group
from gem_assets.proxy.pool import EvaluationSet, PoolError, TokenPool
from gem_assets.proxy.stream import MixtureStream
from gem_assets.types import Floats

#: Windows evaluated at once.
_EVALUATION_BATCH = 8
#: Windows whose logits are measured.
_STATISTICS_WINDOWS = 4
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


class DivergedError(ArithmeticError):
    """A proxy's loss is no longer finite; the message names the step and what to lower."""


@dataclass(frozen=True)
class ProxyResult:
    """What one proxy measured.

    Attributes
    ----------
    losses : float64 array, shape (E, J)
        Nats per token of each target at each evaluation; the last row is the result.
    tokens : int64 array, shape (E,)
        Training tokens seen at each evaluation.
    train_loss : float64 array, shape (E,)
        Mean training loss over the steps since the evaluation before.
    logits
        Of the averaged weights at the end, on the first windows of the evaluation set.
    epochs : float64 array, shape (K,)
        How often each domain's text was read.
    seconds
        CPU seconds, evaluation included.
    """

    losses: Floats
    tokens: NDArray[np.int64]
    train_loss: Floats
    logits: LogitStatistics
    epochs: Floats
    seconds: float


class ProxyTrainer:
    """A model and its optimiser, one step at a time.

    ``steps`` is the length of the run, which the schedule needs; that of ``config`` when None.
    """

    def __init__(
        self,
        config: ProxyConfig,
        vocab: int,
        *,
        seed: int | None = None,
        steps: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        t = config.training
        self.config, self.steps, self.step_number = config, steps or config.steps, 0
        self.model = TinyDecoder(
            config.model, vocab, precision=t.precision, seed=config.seed if seed is None else seed, dtype=dtype
        )
        groups = self.model.groups
        self._optimiser = FlatAdamW(
            self.model.flat,
            self.model.flat_grad,
            [
                Group(groups["matrices"], 1.0, t.weight_decay),
                Group(groups["gains"], 1.0, 0.0),
                Group(groups["embeddings"], t.embedding_lr, 0.0),
            ],
            t.betas,
        )

    def step(self, windows: torch.Tensor, weights: torch.Tensor | None = None) -> float:
        """Train on int64 windows (B, T + 1) and return the training loss.

        ``weights`` (B, T) are those of each predicted token in the loss; equal when None.

        Raises DivergedError when the loss is not finite.
        """
        c, model = self.config, self.model
        loss, _ = model.loss_and_gradient(windows, c.head, c.training.chunk, weights)
        value = loss.item()
        if not math.isfinite(value):
            raise DivergedError(self._advice(value))
        rate = self.rate
        self.step_number += 1
        self._optimiser.step(rate, c.training.clip, self._average_rate())
        if c.centred:
            centre(model.output_embedding)
        return value

    def losses(self, windows: NDArray[np.uint16], *, averaged: bool = True) -> Floats:
        """Return the cross-entropy of every predicted token, (w, T), in nats."""
        out = np.empty((len(windows), windows.shape[1] - 1))
        with self.weights(averaged=averaged):
            for start in range(0, len(windows), _EVALUATION_BATCH):
                part = torch.from_numpy(windows[start : start + _EVALUATION_BATCH].astype(np.int64))
                head = self.config.head.model_copy(update={"z_loss": 0.0, "mu_loss": 0.0})
                _, rows = self.model.loss(part, head, self.config.training.chunk)
                out[start : start + len(part)] = rows.double().numpy()
        return out

    def evaluate(self, evaluation: EvaluationSet) -> Floats:
        """Return the loss of every target under the averaged weights, (J,), in nats per token.

        Raises DivergedError when one is not finite.
        """
        per_window = self.losses(evaluation.windows).mean(1)
        losses = np.bincount(evaluation.target, weights=per_window) / np.bincount(evaluation.target)
        if not np.isfinite(losses).all():
            raise DivergedError(self._advice(float(losses.max())))
        return losses

    def statistics(self, windows: NDArray[np.uint16]) -> LogitStatistics:
        """Measure the logits of the averaged weights on windows."""
        with self.weights(averaged=True):
            ids = torch.from_numpy(windows[:_STATISTICS_WINDOWS, :-1].astype(np.int64))
            return logit_statistics(self.model.hidden(ids), self.model.output_embedding)

    @contextmanager
    def weights(self, *, averaged: bool) -> Generator[None]:
        """Put the averaged weights in place for a while."""
        if not averaged or not self.config.training.ema or self.step_number == 0:
            yield
            return
        kept = self.model.flat.clone()
        self.model.flat.copy_(self._optimiser.average)
        if self.config.centred:
            # the average was taken before each step's centring, which is linear
            centre(self.model.output_embedding)
        try:
            yield
        finally:
            self.model.flat.copy_(kept)

    @contextmanager
    def branch(self) -> Generator[None]:
        """Train on for a while and go back: weights, moments, average and schedule are as before afterwards."""
        kept, step = self._optimiser.snapshot(), self.step_number
        try:
            yield
        finally:
            self._optimiser.restore(kept, step)
            self.step_number = step

    def gradient(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the mean loss on int64 windows (B, T + 1), flat (P,), at the current weights.

        Parameters are laid out as in ``model.flat``. Regularisers of the head are left out: it is the gradient of the
        cross-entropy.
        """
        head = self.config.head.model_copy(update={"z_loss": 0.0, "mu_loss": 0.0})
        self.model.loss_and_gradient(windows, head, self.config.training.chunk)
        return self.model.flat_grad.clone()

    @property
    def rate(self) -> float:
        """Learning rate of the next step."""
        return self.config.training.lr * schedule(self.config.training, self.step_number, self.steps)

    def _advice(self, loss: float) -> str:
        t = self.config.training
        return (
            f"loss is {loss} after step {self.step_number} of {self.steps}; lower training.lr ({t.lr}) or "
            f"training.embedding_lr ({t.embedding_lr})"
        )

    def _average_rate(self) -> float:
        """Weight of the newest parameters: 1 / steps until the horizon is full, so that the start leaves no trace."""
        return 1 / min(self.step_number, max(1.0, self.config.training.ema * self.steps))


def schedule(training: TrainingConfig, step: int, steps: int) -> float:
    """Factor on the learning rate at a step, counted from 0: rises, holds, and falls to its last step."""
    rise, fall = training.warm_up * steps, training.cool_down * steps
    return min(1.0, (step + 1) / rise if rise else 1.0, (steps - step) / fall if fall else 1.0)


def keep_memory() -> None:
    """Tell glibc to keep freed memory for the next step.

    By default it gives the large arrays of a step back to the system, and every step pays for fresh pages: 8 % of it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, size in ((_M_MMAP_THRESHOLD, 1 << 25), (_M_TRIM_THRESHOLD, 1 << 28)):
            mallopt(ctypes.c_int(parameter), ctypes.c_int(size))


def train_proxy(
    pool: TokenPool,
    evaluation: EvaluationSet,
    shares: Floats,
    config: ProxyConfig,
    *,
    seed: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ProxyResult:
    """Train a proxy on a mixture and evaluate it.

    The result is the same for the same arguments on the same machine, to the byte.

    Parameters
    ----------
    shares
        Token share of each domain, shape (K,).
    progress
        Called with (steps done, steps in all), at most a hundred times.

    Raises
    ------
    PoolError
        When shares, pool, windows and config do not fit each other.
    DivergedError
        When the loss is no longer finite.
    """
    if evaluation.context > config.model.context:
        raise PoolError(f"windows predict {evaluation.context} tokens, the model's context is {config.model.context}")
    if evaluation.windows.max() >= pool.vocab:
        raise PoolError(f"token {evaluation.windows.max()} of a window is not below {pool.vocab}: another tokenizer?")
    seed = config.seed if seed is None else seed
    batch, steps = config.training.batch, config.steps
    stream = MixtureStream(pool, shares, steps * batch, config.model.context, seed)
    stops = {max(1, round(part * steps)) for part in config.training.evaluate_at}
    keep_memory()
    with one_thread():
        started = time.process_time()
        trainer = ProxyTrainer(config, pool.vocab, seed=seed)
        losses: list[Floats] = []
        train: list[list[float]] = [[]]
        for i in range(steps):
            train[-1].append(trainer.step(torch.from_numpy(stream.windows(i * batch, (i + 1) * batch))))
            if i + 1 in stops:
                losses.append(trainer.evaluate(evaluation))
                train.append([])
            if progress is not None and ((i + 1) % max(1, steps // 100) == 0 or i + 1 == steps):
                progress(i + 1, steps)
        statistics = trainer.statistics(evaluation.windows)
        seconds = time.process_time() - started
    return ProxyResult(
        losses=np.stack(losses),
        tokens=np.array(sorted(stops), np.int64) * batch * config.model.context,
        train_loss=np.array([float(np.mean(part)) for part in train[:-1]]),
        logits=statistics,
        epochs=stream.epochs,
        seconds=seconds,
    )


@contextmanager
def one_thread() -> Generator[None]:
    """Run PyTorch on one thread for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
