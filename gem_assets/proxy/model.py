"""The tiny decoder of stage 1: RMSNorm, rotary positions, causal attention, SwiGLU, tied or untied head.

All parameters are views of one flat vector, so that clipping, the optimiser, the average of the weights and the casts
are each one operation over half a million numbers and not forty small ones. The vector is laid out in three groups that
train differently: matrices (decayed), gains, embedding and head (a higher rate, no decay).
"""

import math
from dataclasses import dataclass

import torch
from llvmlite import binding
from torch import Tensor, nn

from gem_assets.proxy.centring import mu_penalty
from gem_assets.proxy.config import HeadConfig, ModelConfig, Precision
from gem_assets.proxy.head import cross_entropy
from gem_assets.proxy.ops import Attention, FeedForward, Norm, apply, rotary

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


class TinyDecoder(nn.Module):
    """Decoder-only transformer over ``vocab`` ids.

    Parameters
    ----------
    config
        Shape.
    vocab
        Number of ids.
    precision
        Format of matrix products.
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
        super().__init__()
        self.config, self.vocab = config, vocab
        self.compute = torch.bfloat16 if resolve_precision(precision) == "bf16" else dtype
        slots = sorted(_slots(config, vocab), key=lambda slot: GROUPS.index(slot.group))
        sizes = [math.prod(slot.shape) for slot in slots]
        self.flat = torch.empty(sum(sizes), dtype=dtype)
        self.flat_grad = torch.zeros_like(self.flat)
        self.groups: dict[str, slice] = {}
        self.layout: dict[str, tuple[slice, tuple[int, ...]]] = {}
        self._views: dict[str, nn.Parameter] = {}
        generator = torch.Generator().manual_seed(seed)
        offset = 0
        for slot, size in zip(slots, sizes, strict=True):
            view = self.flat[offset : offset + size].view(slot.shape)
            view.copy_(_first_values(slot, generator))
            parameter = nn.Parameter(view)
            parameter.grad = self.flat_grad[offset : offset + size].view(slot.shape)
            self._views[slot.name] = parameter
            self.layout[slot.name] = (slice(offset, offset + size), slot.shape)
            self.register_parameter(slot.name.replace(".", "_"), parameter)
            first = self.groups.get(slot.group, slice(offset, offset)).start
            offset += size
            self.groups[slot.group] = slice(first, offset)
        cos, sin = rotary(config.context, config.width // config.heads, config.rope_base, dtype)
        self.angles = (cos, sin)

    @property
    def output_embedding(self) -> nn.Parameter:
        """The head's matrix (vocab, width); the input embedding itself when tied."""
        return self._views["embedding" if self.config.tied else "head"]

    def hidden(self, ids: Tensor) -> Tensor:
        """Return the final normed states, (B·T, width), of int64 ids (B, T), T at most the context."""
        b, t = ids.shape
        w, c = self._views, self.compute
        cos, sin = (table[:t] for table in self.angles)
        x = nn.functional.embedding(ids.reshape(-1), w["embedding"])
        for i in range(self.config.layers):
            gain, qkv, out = w[f"{i}.norm_attention"], w[f"{i}.qkv"], w[f"{i}.out"]
            x = apply(Attention, x, gain, qkv, out, cos, sin, b, self.config.heads, c)
            x = apply(FeedForward, x, w[f"{i}.norm_ffn"], w[f"{i}.in"], w[f"{i}.down"], c)
        return apply(Norm, x, w["norm"])

    def loss(
        self, windows: Tensor, head: HeadConfig | None = None, chunk: int = 128, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return training loss and per-token losses (B, T) of int64 windows (B, T + 1).

        The loss carries the regularisers that ``head`` asks for; the per-token losses are plain cross-entropy of the
        (capped) logits, without gradient. ``weights`` (B, T) weighs the tokens in the training loss, else all count the
        same.
        """
        head = head or HeadConfig()
        loss, rows = cross_entropy(
            self.hidden(windows[:, :-1]),
            self.output_embedding,
            windows[:, 1:].reshape(-1),
            z_loss=head.z_loss,
            soft_cap=head.soft_cap,
            compute=self.compute,
            chunk=chunk,
            weights=None if weights is None else weights.reshape(-1),
        )
        if head.mu_loss:
            loss = loss + head.mu_loss * mu_penalty(self.output_embedding)
        return loss, rows.view(len(windows), -1)

    def zero_gradients(self) -> None:
        """Set all gradients to 0, in place: they are views of one vector."""
        self.flat_grad.zero_()


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
