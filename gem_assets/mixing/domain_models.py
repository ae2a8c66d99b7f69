"""Modular-merging ablation: train one model per unit of data, average parameters for any union (arXiv 2410.15661).

Scalable data ablation (Na et al. 2024) cuts a corpus into units, trains a model on each from one shared seed model, and
takes the average of their parameters as a stand-in for a model trained on the union: the cost is linear in the units
and any union is then one evaluation. For linear models with equal Gram matrices the average is the joint solution
exactly; for transformers it is a heuristic that works while the models stay near their seed.

The paper averages equal units. A mixture is the same with the shares as weights, since units of a domain can be
repeated. On a toy of three domains (``benchmarks.methods``) the rank correlation of merged with trained losses is .94
per target and .41 for the mean over targets: use it to compare targets, not to choose a mixture for many at once.
"""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from gem_assets.mixing.laws.base import normalised_rows
from gem_assets.proxy.config import ProxyConfig
from gem_assets.proxy.pool import EvaluationSet, TokenPool
from gem_assets.proxy.stream import AdaptiveStream
from gem_assets.proxy.train import ProxyTrainer, keep_memory, one_thread
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.method_data import MethodData


def average_parameters(units: Floats, shares: Floats) -> Floats:
    """Parameters of a union: the average of the units' ``(K, P)`` with weights ``(K,)`` or ``(m, K)``."""
    return normalised_rows(shares) @ np.asarray(units, np.float64)


class MergedProxies:
    """One proxy per domain from a shared seed model; losses of mixtures by averaging them.

    Parameters
    ----------
    config
        Model, optimiser and the tokens of a domain's whole run, seed part included.
    seed_part
        Part of the steps that all share, on even shares. Without it the models part too early to be averaged.

    ``units_``, float32 ``(K, P)``, are the averaged weights of each domain's model, and those of the seed model for a
    domain without text.
    """

    units_: np.ndarray
    tokens_: int

    def __init__(self, config: ProxyConfig, seed_part: float = 0.5) -> None:
        if not 0 <= seed_part < 1:
            raise ValueError(f"the shared part of a run must be in [0, 1), not {seed_part}")
        self.config, self.seed_part = config, seed_part

    def fit(self, pool: TokenPool) -> Self:
        """Train the seed model, then each domain's."""
        c = self.config
        stream = AdaptiveStream(pool, c.model.context, c.seed)
        even = (pool.sizes > 0) / np.count_nonzero(pool.sizes)
        keep_memory()
        with one_thread():
            trainer = ProxyTrainer(c, pool.vocab)
            shared = round(self.seed_part * trainer.steps)
            self._steps(trainer, stream, even, shared)
            rows = np.tile(_weights(trainer), (pool.domains, 1))
            for k in np.flatnonzero(pool.sizes):
                with trainer.branch():
                    self._steps(trainer, stream, np.eye(pool.domains)[k], trainer.steps - shared)
                    rows[k] = _weights(trainer)
        self.units_ = rows
        trained = shared + int(np.count_nonzero(pool.sizes)) * (trainer.steps - shared)
        self.tokens_ = trained * c.training.batch * c.model.context
        self._trainer = trainer
        return self

    def predict(self, mixtures: Floats, evaluation: EvaluationSet) -> Floats:
        """Losses of the merged models of mixtures ``(m, K)`` on every target, ``(m, J)``, nats per token."""
        counts = np.bincount(evaluation.target)
        losses = self._window_losses(average_parameters(self.units_, mixtures), evaluation)
        return np.array([np.bincount(evaluation.target, row) / counts for row in losses])

    def gradient(self, shares: Floats, evaluation: EvaluationSet, weights: Floats) -> Floats:
        """Gradient in the shares of the weighted mean loss at one mixture, ``(K,)``: ``⟨θ_k, ∇L(Σ p_i θ_i)⟩``.

        Parameters
        ----------
        shares
            ``(K,)``, sum 1.
        weights
            Of the targets ``(J,)``, sum 1.
        """
        model = self._trainer.model
        kept, slope = model.flat.clone(), torch.zeros(len(model.flat))
        with one_thread():
            self._put(average_parameters(self.units_, shares)[0])
            for j in np.flatnonzero(weights):
                windows = evaluation.windows[evaluation.target == j].astype(np.int64)
                slope += float(weights[j]) * self._trainer.gradient(torch.from_numpy(windows))
            with torch.no_grad():
                model.flat.copy_(kept)
        return np.asarray(self.units_ @ slope.numpy(), np.float64)

    def log_likelihoods(self, evaluation: EvaluationSet) -> Floats:
        """Log-likelihood of every window under each domain's own model, ``(w, K)``, nats: what MixMin needs."""
        return -self._window_losses(self.units_, evaluation).T * evaluation.context

    def _window_losses(self, weights: np.ndarray, evaluation: EvaluationSet) -> Floats:
        """Mean loss of every window under models ``(m, P)``, ``(m, w)``."""
        kept, rows = self._trainer.model.flat.clone(), list[Floats]()
        with one_thread(), torch.no_grad():
            for row in weights:
                self._put(row)
                rows.append(self._trainer.losses(evaluation.windows, averaged=False).mean(1))
            self._trainer.model.flat.copy_(kept)
        return np.array(rows)

    def _put(self, weights: np.ndarray) -> None:
        with torch.no_grad():
            self._trainer.model.flat.copy_(torch.from_numpy(weights.astype(np.float32)))

    def _steps(self, trainer: ProxyTrainer, stream: AdaptiveStream, shares: Floats, steps: int) -> None:
        for _ in range(steps):
            trainer.step(torch.from_numpy(stream.take(shares, self.config.training.batch)[0]))


class MergedLaw:
    """Weighted mean loss of merged models on targets, with its gradient; for ``laws.proposal.propose_convex``.

    It is smooth and not convex, so what descent finds is a stationary mixture and the gap no bound.

    ``weights`` of the targets are ``(J,)``, sum 1.
    """

    def __init__(self, models: MergedProxies, evaluation: EvaluationSet, weights: Floats) -> None:
        kept = np.flatnonzero(weights)
        self._models, self._weights = models, weights[kept]
        # what has no weight is not evaluated at every step
        self._evaluation = evaluation.only(kept)

    def fit(self, mixtures: Floats, losses: Floats) -> Self:  # noqa: ARG002
        """Return itself: the models are all there is to it."""
        return self

    def predict(self, mixtures: Floats) -> Floats:
        """Predict the weighted mean loss of mixtures, ``(m,)``."""
        return self._models.predict(mixtures, self._evaluation) @ self._weights

    def gradient(self, mixture: Floats) -> Floats:
        """Gradient at one mixture, ``(K,)``."""
        return self._models.gradient(mixture, self._evaluation, self._weights)


def _weights(trainer: ProxyTrainer) -> np.ndarray:
    with torch.no_grad(), trainer.weights(averaged=True):
        return trainer.model.flat.numpy().copy()


def model_rows(data: "MethodData", shares: Floats, own: Floats) -> list[dict[str, Any]]:
    """One row per model: its cluster, share and own loss."""
    return [
        {"cluster": int(k), "share": float(p), "loss_of_its_model": float(loss)}
        for k, p, loss in zip(data.active, shares, own, strict=True)
    ]


def training_note(units: MergedProxies, data: "MethodData") -> str:
    """Say what the models took."""
    return f"{data.pool.domains} models, {units.tokens_:,} tokens in all"
