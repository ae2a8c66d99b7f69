"""The tiny decoder of stage 1: RMSNorm, rotary positions, causal attention, SwiGLU, tied or untied head.

All parameters are views of one flat vector, so that clipping, the optimiser, the average of the weights and the casts
are each one operation over half a million numbers and not forty small ones. The vector is laid out in three groups that
train differently: matrices (decayed), gains, embedding and head (a higher rate, no decay).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch
from llvmlite import binding
from torch import Tensor

from gem_assets.proxy.centring import mu_penalty, mu_penalty_gradient
from gem_assets.proxy.config import HeadConfig, ModelConfig, Precision
from gem_assets.proxy.head import HeadLoss, cross_entropy
from gem_assets.proxy.ops import Pullback, Weight, attention, feed_forward, kernels, rotary

GROUPS = ("matrices", "gains", "embeddings")


@dataclass(frozen=True)
class _Slot:
    name: str
    shape: tuple[int, ...]
    group: str
    std: float


def resolve_precision(precision: Precision, device: str = "cpu") -> Precision:
    """Turn ``auto`` into ``bf16`` where the device multiplies bfloat16 matrices, else ``fp32``."""
    if precision != "auto":
        return precision
    if not device.startswith("cpu"):
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "fp32"
    features = binding.get_host_cpu_features()
    return "bf16" if any(features.get(name) for name in ("avx512bf16", "amx-bf16", "bf16")) else "fp32"


class TinyDecoder:
    """Decoder-only transformer over ``vocab`` ids.

    Parameters
    ----------
    seed
        Seed of the initialisation; equal seeds give equal weights.
    dtype
        Of weights, sums and losses; float64 for tests.
    """

    def __init__(
        self,
        config: ModelConfig,
        vocab: int,
        *,
        precision: Precision = "fp32",
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config, self.vocab = config, vocab
        self.compute = torch.bfloat16 if resolve_precision(precision) == "bf16" else dtype
        slots = sorted(_slots(config, vocab), key=lambda slot: GROUPS.index(slot.group))
        self.groups: dict[str, slice] = {}
        self.layout: dict[str, tuple[slice, tuple[int, ...]]] = {}
        end = 0
        for slot in slots:
            start, end = end, end + math.prod(slot.shape)
            self.layout[slot.name] = (slice(start, end), slot.shape)
            self.groups[slot.group] = slice(self.groups.get(slot.group, slice(start, end)).start, end)
        self.flat = torch.empty(end, dtype=dtype)
        self.flat_grad = torch.zeros_like(self.flat)
        generator = torch.Generator().manual_seed(seed)
        for slot in slots:
            self._view(self.flat, slot.name).copy_(_first_values(slot, generator))
        # the matrices as products take them: the parameters themselves, or a copy that is renewed before each use
        # (they come first in the vector, so that one layout serves both)
        matrices = self.flat[self.groups["matrices"]]
        self._matrices = matrices if self.compute == dtype else torch.empty_like(matrices, dtype=self.compute)
        self._weights = {
            slot.name: Weight(
                self._view(self._matrices if slot.group == "matrices" else self.flat, slot.name),
                self._view(self.flat_grad, slot.name),
            )
            for slot in slots
        }
        self.angles = rotary(config.context, config.width // config.heads, config.rope_base, dtype)

    @property
    def output_embedding(self) -> Tensor:
        """The head's matrix (vocab, width), a view of ``flat``; the input embedding itself when tied."""
        return self._weights[self._head].value

    def hidden(self, ids: Tensor) -> Tensor:
        """Return the final normed states, (B·T, width), of int64 ids (B, T), T at most the context."""
        x, branch, _ = self._blocks(ids, keep=False)
        return self._kernels.rms_norm(x, branch, self._weights["norm"].value, x.dtype)[1]

    def trunk(self, ids: Tensor) -> tuple[Tensor, Callable[[Tensor], None]]:
        """Return the final normed states in the dtype of the products, and the way back from a gradient in them.

        The function takes that gradient, (B·T, width) in the states' dtype, and writes what follows from it to
        ``flat_grad``: the gradient of every parameter but an untied head.
        """
        norm, embedding = self._weights["norm"], self._weights["embedding"]
        x, branch, pullbacks = self._blocks(ids, keep=True)
        stream, states = self._kernels.rms_norm(x, branch, norm.value, self.compute)

        def pullback(d_states: Tensor) -> None:
            d_x, d_branch = self._kernels.rms_norm_backward(d_states, stream, norm.value, None, norm.grad)
            for back in reversed(pullbacks):
                d_x, d_branch = back(d_x, d_branch)
            embedding.grad.zero_().index_add_(0, ids.reshape(-1), d_x)

        return states, pullback

    def loss(
        self, windows: Tensor, head: HeadConfig | None = None, chunk: int = 512, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return training loss and per-token losses (B, T) of int64 windows (B, T + 1).

        The loss carries the regularisers that ``head`` asks for; the per-token losses are plain cross-entropy of the
        (capped) logits. ``weights`` (B, T) weighs the tokens in the training loss, else all count the same.
        """
        head = head or HeadConfig()
        found = self._cross_entropy(self.hidden(windows[:, :-1]), windows, head, chunk, weights, gradient=False)
        return self._penalised(found.loss, head), found.rows.view(len(windows), -1)

    def loss_and_gradient(
        self, windows: Tensor, head: HeadConfig | None = None, chunk: int = 512, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what :meth:`loss` does, and write the gradient of the training loss to ``flat_grad``."""
        head, own = head or HeadConfig(), self._weights[self._head].grad
        states, pullback = self.trunk(windows[:, :-1])
        found = self._cross_entropy(states, windows, head, chunk, weights, into=None if self.config.tied else own)
        pullback(found.d_hidden)
        if self.config.tied:
            own += found.d_embedding
        if head.mu_loss:
            own += mu_penalty_gradient(self.output_embedding, head.mu_loss)
        return self._penalised(found.loss, head), found.rows.view(len(windows), -1)

    def _blocks(self, ids: Tensor, *, keep: bool) -> tuple[Tensor, Tensor | None, list[Pullback]]:
        """The stream and the last branch after all blocks, and the pullbacks of the sublayers if they are kept."""
        if self._matrices.dtype != self.flat.dtype:
            self._matrices.copy_(self.flat[self.groups["matrices"]])
        (b, t), w = ids.shape, self._weights
        angles = self.angles[0][:t], self.angles[1][:t]
        x, branch, pullbacks = w["embedding"].value[ids.reshape(-1)], None, list[Pullback]()
        for i in range(self.config.layers):
            norm, qkv, out = w[f"{i}.norm_attention"], w[f"{i}.qkv"], w[f"{i}.out"]
            x, branch, first = attention(x, branch, norm, qkv, out, angles, b, self.config.heads)
            x, branch, second = feed_forward(x, branch, w[f"{i}.norm_ffn"], w[f"{i}.in"], w[f"{i}.down"])
            if keep:
                pullbacks += [first, second]
        return x, branch, pullbacks

    def _cross_entropy(
        self,
        states: Tensor,
        windows: Tensor,
        head: HeadConfig,
        chunk: int,
        weights: Tensor | None,
        *,
        gradient: bool = True,
        into: Tensor | None = None,
    ) -> HeadLoss:
        return cross_entropy(
            states,
            self.output_embedding,
            windows[:, 1:].reshape(-1),
            z_loss=head.z_loss,
            soft_cap=head.soft_cap,
            compute=self.compute,
            chunk=chunk,
            weights=None if weights is None else weights.reshape(-1),
            gradient=gradient,
            into=into,
        )

    def _penalised(self, loss: Tensor, head: HeadConfig) -> Tensor:
        return loss + head.mu_loss * mu_penalty(self.output_embedding) if head.mu_loss else loss

    def _view(self, flat: Tensor, name: str) -> Tensor:
        part, shape = self.layout[name]
        return flat[part].view(shape)

    @property
    def _head(self) -> str:
        return "embedding" if self.config.tied else "head"

    @property
    def _kernels(self) -> ModuleType:
        return kernels(self.flat.dtype, self.compute, self.flat.device)


def _first_values(slot: _Slot, generator: torch.Generator) -> Tensor:
    if slot.group == "gains":
        return torch.ones(slot.shape)
    # drawn in float32 whatever the model's dtype, so that a float64 model starts from the same weights
    return torch.randn(slot.shape, generator=generator) * slot.std


def _slots(c: ModelConfig, vocab: int) -> list[_Slot]:
    """Shapes and the spread of their first values.

    What a block adds to the residual stream starts at 0 and embeddings start large. At 131k tokens of eight domains of
    a web mix that was worth .20 nats over N(0, .02) throughout, more than any choice of learning rate.
    """
    matrix = 0.5 / math.sqrt(c.width)
    # a tied matrix is also the head: rows of norm 1 keep the first logits near 0
    embedding = 1 / math.sqrt(c.width) if c.tied else 0.5
    slots = [_Slot("embedding", (vocab, c.width), "embeddings", embedding), _Slot("norm", (c.width,), "gains", 1.0)]
    if not c.tied:
        slots.append(_Slot("head", (vocab, c.width), "embeddings", 0.02))
    for i in range(c.layers):
        slots += [
            _Slot(f"{i}.norm_attention", (c.width,), "gains", 1.0),
            _Slot(f"{i}.qkv", (3 * c.width, c.width), "matrices", matrix),
            _Slot(f"{i}.out", (c.width, c.width), "matrices", 0.0),
            _Slot(f"{i}.norm_ffn", (c.width,), "gains", 1.0),
            _Slot(f"{i}.in", (2 * c.ffn, c.width), "matrices", matrix),
            _Slot(f"{i}.down", (c.width, c.ffn), "matrices", 0.0),
        ]
    return slots
