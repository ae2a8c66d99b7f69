"""The two halves of a decoder block, with forward and backward pass written out.

A proxy step is so small that much of its time would go into launching small operations and into attention kernels
made for long contexts. Here a sublayer (residual, norm, projections, attention or SwiGLU) is a function that returns
its result and its pullback; no graph is recorded, and gradients of weights go straight to where the optimiser reads
them. Matrix products run in the dtype of the matrices: bfloat16 where the processor multiplies it, twice as fast as
float32 on AVX-512 BF16. All that is summed or normalised has the residual stream's dtype. The scores of all heads are
one batched product, kept whole: at 256 tokens that costs less than half of what the flash kernel does, forward and
backward, and leaving out the blocks of later keys gains nothing. What lies between the products comes from ``fused``
on a CPU and from ``plain`` elsewhere; in float64 the sublayers are exact, and tested that way.

The stream is handed on as a pair: x, and the branch that is still to be added to it, so that the sum is taken where the
next norm reads it.
"""

import math
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from gem_assets.proxy import fused, plain

#: From the gradients in a sublayer's x and branch to those in the x and branch that it was given.
Pullback = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Weight(NamedTuple):
    """A parameter, in the dtype it is used in, and where its gradient is written, in the model's own."""

    value: Tensor
    grad: Tensor


def kernels(dtype: torch.dtype, compute: torch.dtype, device: torch.device) -> ModuleType:
    """Return ``fused`` where it works on a stream of ``dtype`` with products in ``compute``, else ``plain``."""
    fits = device.type == "cpu" and dtype == torch.float32 and compute in (torch.float32, torch.bfloat16)
    return fused if fits else plain


def rotary(context: int, width: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of the rotary angles, (context, width / 2) each."""
    frequency = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(context, dtype=torch.float64)[:, None] * frequency
    return angle.cos().to(dtype), angle.sin().to(dtype)


def product_into(out: Tensor, a: Tensor, b: Tensor) -> None:
    """Write a @ b to ``out``, whose dtype may be another."""
    if a.dtype == out.dtype:
        torch.mm(a, b, out=out)
    else:
        out.copy_(a @ b)


def attention(
    x: Tensor, branch: Tensor | None, gain: Weight, qkv: Weight, out: Weight, angles: tuple[Tensor, Tensor],
    batch: int, heads: int,
) -> tuple[Tensor, Tensor, Pullback]:  # fmt: skip
    """W_out · attention(W_qkv · norm(x + branch)): causal, rotary, all heads in one product.

    Returns x + branch, the new branch in the matrices' dtype, and the pullback, which writes the weights' gradients.

    Parameters
    ----------
    x, branch
        The stream, (batch · t, width), and what is to be added to it first, if anything.
    gain, qkv, out
        Of shapes (width,), (3 width, width) and (width, width).
    angles
        Cosines and sines, (t, width / heads / 2) each.
    batch, heads
        Sequences, and heads of the attention.
    """
    do = kernels(x.dtype, qkv.value.dtype, x.device)
    stream, normed = do.rms_norm(x, branch, gain.value, qkv.value.dtype)
    q, k, v = do.split_heads(normed @ qkv.value.t(), batch, heads, *angles)
    sharpness = 1 / math.sqrt(q.shape[-1])
    p = do.causal_softmax(torch.bmm(q, k.transpose(1, 2)), sharpness)
    mixed = _tokens(torch.bmm(p, v), batch)

    def pullback(d_stream: Tensor, d_branch: Tensor) -> tuple[Tensor, Tensor]:
        product_into(out.grad, d_branch.t(), mixed)
        d_mixed = _heads(d_branch @ out.value, batch, heads)
        d_v = torch.bmm(p.transpose(1, 2), d_mixed)
        d_scores = do.causal_softmax_backward(p, torch.bmm(d_mixed, v.transpose(1, 2)), sharpness)
        d_q, d_k = torch.bmm(d_scores, k), torch.bmm(d_scores.transpose(1, 2), q)
        d_qkv = do.merge_heads(d_q, d_k, d_v, batch, *angles)
        product_into(qkv.grad, d_qkv.t(), normed)
        return do.rms_norm_backward(d_qkv @ qkv.value, stream, gain.value, d_stream, gain.grad)

    return stream, mixed @ out.value.t(), pullback


def feed_forward(
    x: Tensor, branch: Tensor | None, gain: Weight, into: Weight, down: Weight
) -> tuple[Tensor, Tensor, Pullback]:
    """W_down · (silu(gate) * up), with (gate, up) = W_in · norm(x + branch): SwiGLU (Shazeer 2020).

    Returns what :func:`attention` does.

    Parameters
    ----------
    x, branch
        The stream, (n, width), and what is to be added to it first, if anything.
    gain, into, down
        Of shapes (width,), (2 ffn, width) and (width, ffn).
    """
    do = kernels(x.dtype, into.value.dtype, x.device)
    stream, normed = do.rms_norm(x, branch, gain.value, into.value.dtype)
    both = normed @ into.value.t()
    inner = do.swiglu(both)

    def pullback(d_stream: Tensor, d_branch: Tensor) -> tuple[Tensor, Tensor]:
        product_into(down.grad, d_branch.t(), inner)
        d_both = do.swiglu_backward(d_branch @ down.value, both)
        product_into(into.grad, d_both.t(), normed)
        return do.rms_norm_backward(d_both @ into.value, stream, gain.value, d_stream, gain.grad)

    return stream, inner @ down.value.t(), pullback


def _tokens(x: Tensor, batch: int) -> Tensor:
    """(batch · heads, t, w) to (batch · t, heads · w)."""
    t, width = x.shape[1:]
    return x.view(batch, -1, t, width).transpose(1, 2).reshape(batch * t, -1)


def _heads(x: Tensor, batch: int, heads: int) -> Tensor:
    """(batch · t, heads · w) to (batch · heads, t, w)."""
    t = len(x) // batch
    return x.view(batch, t, heads, -1).transpose(1, 2).reshape(batch * heads, t, -1)
