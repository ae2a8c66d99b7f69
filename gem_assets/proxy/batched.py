"""Train M proxies of one shape side by side with batched products.

For a GPU, whose time a single tiny model spends waiting for launches. On a CPU it gains nothing (the models push each
other out of the cache), so there it serves as the check that it trains what ``train`` trains: the same weights at the
start, the same streams, schedule, clipping, averages and centring, each model by itself. Losses agree with the single
trainer's within rounding, not to the byte, so a swarm's key names the backend.

Parameters are one (M, P) matrix; the gradient of the sum of the models' losses is each model's own gradient.
"""

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gem_assets.proxy.centring import LogitStatistics, logit_statistics
from gem_assets.proxy.config import ProxyConfig
from gem_assets.proxy.model import TinyDecoder, resolve_precision
from gem_assets.proxy.optimiser import EPS as ADAM_EPS
from gem_assets.proxy.plain import EPS
from gem_assets.proxy.pool import EvaluationSet, TokenPool
from gem_assets.proxy.stream import MixtureStream
from gem_assets.proxy.train import DivergedError, ProxyResult, schedule
from gem_assets.types import Floats

_EVALUATION_BATCH = 8
_STATISTICS_WINDOWS = 4


class BatchedDecoders:
    """M decoders of one shape."""

    def __init__(
        self,
        config: ProxyConfig,
        vocab: int,
        seeds: Sequence[int],
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        models = {seed: TinyDecoder(config.model, vocab, seed=seed, dtype=dtype) for seed in dict.fromkeys(seeds)}
        first = models[seeds[0]]
        self.config, self.vocab, self.count = config, vocab, len(seeds)
        self.layout, self.groups = first.layout, first.groups
        self.flat = torch.stack([models[seed].flat for seed in seeds]).to(device)
        # leaves of their own and not slices of one: the gradient of a slice is as large as the whole
        self.weights = {
            name: self.flat[:, part].view(self.count, *shape).requires_grad_()
            for name, (part, shape) in first.layout.items()
        }
        cos, sin = first.angles
        self._cos, self._sin = torch.cat([cos, cos], -1).to(device), torch.cat([-sin, sin], -1).to(device)
        bf16 = dtype == torch.float32 and resolve_precision(config.training.precision, device) == "bf16"
        self._autocast = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16)

    @property
    def output_embedding(self) -> Tensor:
        """Output embeddings, (M, vocab, width)."""
        return self.weights["embedding" if self.config.model.tied else "head"]

    def gradient(self, losses: Tensor) -> Tensor:
        """Return each model's gradient of its own loss, (M, P), of losses (M,)."""
        found = torch.autograd.grad(losses.sum(), list(self.weights.values()))
        return torch.cat([grad.reshape(self.count, -1) for grad in found], 1)

    def centre(self) -> None:
        """Subtract the mean row of every output embedding, in place."""
        with torch.no_grad():
            self.output_embedding.sub_(self.output_embedding.mean(1, keepdim=True))

    def losses(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return training losses (M,) and per-token cross-entropy (M, B, T) of windows (M, B, T + 1)."""
        head, embedding = self.config.head, self.output_embedding
        with self._autocast:
            logits = torch.bmm(self.hidden(windows[..., :-1]), embedding.transpose(1, 2))
        logits = logits.to(self.flat.dtype)
        if head.soft_cap is not None:
            logits = head.soft_cap * torch.tanh(logits / head.soft_cap)
        rows = functional.cross_entropy(logits.flatten(0, 1), windows[..., 1:].reshape(-1), reduction="none").view(
            self.count, -1
        )
        loss = rows.mean(1)
        if head.z_loss:
            loss = loss + head.z_loss * logits.logsumexp(-1).square().mean(1)
        if head.mu_loss:
            loss = loss + head.mu_loss * embedding.mean(1).square().sum(-1)
        return loss, rows.view(*windows.shape[:-1], -1)

    def hidden(self, ids: Tensor) -> Tensor:
        """Return the final normed states, (M, B·T, width), of ids (M, B, T)."""
        c = self.config.model
        m, b, t = ids.shape
        offsets = torch.arange(m, device=ids.device)[:, None] * self.vocab
        x = functional.embedding(ids.reshape(m, -1) + offsets, self.weights["embedding"].flatten(0, 1))
        cos, sin = self._cos[:t], self._sin[:t]
        for i in range(c.layers):
            n = self._norm(x, f"{i}.norm_attention")
            parts = self._linear(n, f"{i}.qkv").view(m * b, t, 3, c.heads, -1).permute(2, 0, 3, 1, 4)
            q, k = (_rotate(part, cos, sin) for part in parts[:2])
            y = functional.scaled_dot_product_attention(q, k, parts[2].to(q.dtype), is_causal=True)
            x = x + self._linear(y.transpose(1, 2).reshape(m, b * t, -1), f"{i}.out")
            gate, up = self._linear(self._norm(x, f"{i}.norm_ffn"), f"{i}.in").chunk(2, -1)
            x = x + self._linear(functional.silu(gate) * up, f"{i}.down")
        return self._norm(x, "norm")

    def _norm(self, x: Tensor, name: str) -> Tensor:
        x = x.to(self.flat.dtype)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * self.weights[name][:, None]

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return torch.bmm(x, self.weights[name].transpose(1, 2))


class BatchedAdamW:
    """AdamW, clipping and averages of M models at once; see ``optimiser`` for the arithmetic."""

    def __init__(self, models: BatchedDecoders) -> None:
        t = models.config.training
        size = models.flat.shape[1]
        self._models, self._betas, self.steps = models, t.betas, 0
        self._scale = torch.ones(size, dtype=models.flat.dtype, device=models.flat.device)
        self._decay = torch.zeros_like(self._scale)
        self._scale[models.groups["embeddings"]] = t.embedding_lr
        self._decay[models.groups["matrices"]] = t.weight_decay
        with torch.no_grad():
            self._first, self._second = torch.zeros_like(models.flat), torch.zeros_like(models.flat)
            self.average = models.flat.detach().clone()

    @torch.no_grad()
    def step(self, grad: Tensor, rate: float, clip: float, average_rate: float) -> None:
        """Update every model with its row of ``grad`` (M, P)."""
        self.steps += 1
        flat, (beta_1, beta_2) = self._models.flat, self._betas
        grad = grad * (clip / (grad.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1.0)
        self._first.lerp_(grad, 1 - beta_1)
        self._second.mul_(beta_2).addcmul_(grad, grad, value=1 - beta_2)
        scaled = self._scale * rate
        root = self._second.sqrt() / math.sqrt(1 - beta_2**self.steps) + ADAM_EPS
        flat.mul_(1 - scaled * self._decay).sub_(scaled / (1 - beta_1**self.steps) * self._first / root)
        self.average.lerp_(flat, average_rate)
        if self._models.config.centred:
            self._models.centre()


def train_batch(
    pool: TokenPool,
    evaluation: EvaluationSet,
    mixtures: Floats,
    seeds: Sequence[int],
    config: ProxyConfig,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[ProxyResult]:
    """Train one proxy per mixture, all at once.

    ``mixtures`` are shares (M, K).

    Results stand in the order of the mixtures. A proxy that diverged has losses that are not finite; the others are
    untouched by it. ``seconds`` is wall time shared evenly.
    """
    started = time.monotonic()
    batch, steps, context = config.training.batch, config.steps, config.model.context
    streams = [
        MixtureStream(pool, shares, steps * batch, context, seed) for shares, seed in zip(mixtures, seeds, strict=True)
    ]
    models = BatchedDecoders(config, pool.vocab, seeds, device=device, dtype=dtype)
    optimiser = BatchedAdamW(models)
    stops = sorted({max(1, round(part * steps)) for part in config.training.evaluate_at})
    losses: list[Floats] = []
    train: list[Floats] = []
    total, since = torch.zeros(len(seeds), dtype=dtype, device=device), 0
    for i in range(steps):
        windows = np.stack([stream.windows(i * batch, (i + 1) * batch) for stream in streams])
        loss, _ = models.losses(torch.from_numpy(windows).to(device))
        optimiser.step(
            models.gradient(loss),
            config.training.lr * schedule(config.training, i, steps),
            config.training.clip,
            1 / min(i + 1, max(1.0, config.training.ema * steps)),
        )
        total, since = total + loss.detach(), since + 1
        if i + 1 in stops:
            losses.append(evaluate(models, optimiser, evaluation))
            train.append((total / since).double().cpu().numpy())
            total, since = torch.zeros_like(total), 0
    statistics = _statistics(models, optimiser, evaluation.windows)
    seconds = (time.monotonic() - started) / len(seeds)
    return [
        ProxyResult(
            losses=np.stack([found[m] for found in losses]),
            tokens=np.array(stops, np.int64) * batch * context,
            train_loss=np.array([found[m] for found in train]),
            logits=statistics[m],
            epochs=stream.epochs,
            seconds=seconds,
        )
        for m, stream in enumerate(streams)
    ]


def evaluate(models: BatchedDecoders, optimiser: BatchedAdamW, evaluation: EvaluationSet) -> Floats:
    """Return the loss of every target under every model's averaged weights, (M, J)."""
    per_window = np.empty((models.count, len(evaluation.windows)))
    with torch.no_grad(), _Averaged(models, optimiser):
        for start in range(0, len(evaluation.windows), _EVALUATION_BATCH):
            part = torch.from_numpy(evaluation.windows[start : start + _EVALUATION_BATCH].astype(np.int64))
            windows = part.to(models.flat.device).expand(models.count, *part.shape)
            _, rows = models.losses(windows)
            per_window[:, start : start + len(part)] = rows.double().mean(-1).cpu().numpy()
    counts: NDArray[np.int64] = np.bincount(evaluation.target)
    return np.stack([np.bincount(evaluation.target, weights=row) / counts for row in per_window])


def check_converged(result: ProxyResult, config: ProxyConfig) -> ProxyResult:
    """Return a result whose losses are finite.

    Raises DivergedError otherwise.
    """
    if not np.isfinite(result.losses).all():
        t = config.training
        raise DivergedError(
            f"losses are not finite; lower training.lr ({t.lr}) or training.embedding_lr ({t.embedding_lr})"
        )
    return result


class _Averaged:
    """Puts the averaged weights in place for a while."""

    def __init__(self, models: BatchedDecoders, optimiser: BatchedAdamW) -> None:
        self._models, self._optimiser = models, optimiser

    def __enter__(self) -> None:
        self._kept = self._models.flat.detach().clone()
        if self._models.config.training.ema:
            self._models.flat.copy_(self._optimiser.average)
            if self._models.config.centred:
                self._models.centre()

    def __exit__(self, *_: object) -> None:
        self._models.flat.copy_(self._kept)


def _statistics(models: BatchedDecoders, optimiser: BatchedAdamW, windows: NDArray[np.uint16]) -> list[LogitStatistics]:
    with torch.no_grad(), _Averaged(models, optimiser):
        ids = torch.from_numpy(windows[:_STATISTICS_WINDOWS, :-1].astype(np.int64)).to(models.flat.device)
        hidden = models.hidden(ids.expand(models.count, *ids.shape))
        return [logit_statistics(h, e) for h, e in zip(hidden, models.output_embedding, strict=True)]


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin
