"""Runs that continue from a trained proxy: what continual pre-training is at this size.

A proxy is trained on the natural shares, once. Every further run starts from it, reads a text of its own from the
beginning, and is taken back afterwards, so that two of them differ by their mixtures alone. The learning rate stays
where it was: a schedule that had come to its end would have to be warmed up again, which moves general losses more than
mixtures do.

One process on one thread, which a kill loses as a whole: a run and its continuations cost a handful of proxies.
"""

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import torch

from gem_assets.mixing.method_data import MethodData
from gem_assets.proxy.config import ProxyConfig
from gem_assets.proxy.stream import AdaptiveStream
from gem_assets.proxy.train import ProxyTrainer, keep_memory, one_thread
from gem_assets.types import Floats


class Continuation:
    """A proxy trained on the natural shares, and runs that continue from it.

    Raises DivergedError when training diverges.

    Parameters
    ----------
    data
        Streams of the active clusters, and windows.
    natural
        Their natural shares ``(A,)``, sum 1.
    part
        Tokens of a further run, in runs of the proxy before it.
    checks
        Times in a further run at which losses are taken.

    ``steps`` of a further run are a multiple of ``checks``.
    """

    def __init__(
        self,
        data: MethodData,
        natural: Floats,
        config: ProxyConfig,
        *,
        part: float,
        checks: int,
        report: Callable[[str], None] | None = None,
    ) -> None:
        before = config.steps
        self.steps = checks * max(1, round(part * before / checks))
        self._between, total = self.steps // checks, before + self.steps
        # an average that reaches back behind the check before would show the run before it
        ema = min(config.training.ema, 0.5 * self._between / total)
        training = config.training.model_copy(update={"cool_down": 0.0, "ema": ema})
        self._config = config.model_copy(update={"training": training})
        self._data = data
        keep_memory()
        with one_thread():
            self._trainer = ProxyTrainer(self._config, data.pool.vocab, steps=total)
            stream = self._stream(config.seed)
            for step in range(before):
                self._step(stream, natural)
                if report is not None and (step + 1) % max(1, before // 10) == 0:
                    report(f"step {step + 1} of {before} on natural shares")
        self._start = self._losses()
        self._branch = ExitStack()

    @property
    def tokens(self) -> int:
        """Tokens between two checks."""
        return self._between * self._config.training.batch * self._config.model.context

    def restart(self) -> Floats:
        """Go back to the proxy, and return the losses of all targets there, ``(J,)``."""
        self._branch.close()
        self._branch = ExitStack()
        self._branch.enter_context(self._trainer.branch())
        self._text = self._stream(self._config.seed + 1)
        return self._start.copy()

    def advance(self, shares: Floats) -> Floats:
        """Train on a mixture ``(A,)`` until the next check, and return the losses of all targets, ``(J,)``."""
        with one_thread():
            for _ in range(self._between):
                self._step(self._text, shares)
        return self._losses()

    def _losses(self) -> Floats:
        with one_thread():
            return self._trainer.evaluate(self._data.evaluation)

    def _stream(self, seed: int) -> AdaptiveStream:
        return AdaptiveStream(self._data.pool, self._config.model.context, seed)

    def _step(self, stream: AdaptiveStream, shares: Floats) -> None:
        self._trainer.step(torch.from_numpy(stream.take(shares, self._config.training.batch)[0]))


def group_losses(data: MethodData, clusters: np.ndarray, weights: Floats) -> Floats:
    """Weight of every target ``(J,)``, sum 1, so that a group's loss is that of its clusters' held-out text.

    A cluster without a window counts for nothing.

    Raises ValueError when none of them has a window.
    """
    of = {str(int(k)): float(w) for k, w in zip(clusters, weights, strict=True)}
    found = np.array(
        [
            of.get(name, 0.0) if inside else 0.0
            for name, inside in zip(data.evaluation.names, data.evaluation.in_domain, strict=True)
        ]
    )
    if not found.sum() > 0:
        raise ValueError(
            f"no held-out window is of the clusters {', '.join(of)}; they hold too little text to tell what training "
            "does to it"
        )
    return found / found.sum()
