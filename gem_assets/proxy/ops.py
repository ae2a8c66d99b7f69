"""The two halves of a decoder block, each one autograd node with its backward written out.

A proxy step is so small that most of its time goes into launching small operations and into attention kernels made
for long contexts. Here a sublayer (norm, projections, attention or SwiGLU, residual) is one node. Its matrix products
run in ``compute``: bfloat16 where the processor multiplies it, four times as fast as float32 on AVX-512 BF16. All that
is summed or normalised has the residual stream's dtype. The scores of all heads are one batched product, kept whole: at
256 tokens that costs less than half of what the flash kernel does, forward and backward. What lies between the products
comes from ``fused`` on a CPU and from ``plain`` elsewhere; in float64 the nodes are exact, and tested that way.
"""

import math
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from gem_assets.proxy import fused, plain


def kernels(x: Tensor, compute: torch.dtype) -> ModuleType:
    """Return ``fused`` where it works on these tensors, else ``plain``."""
    fits = x.device.type == "cpu" and x.dtype == torch.float32 and compute in (torch.float32, torch.bfloat16)
    return fused if fits else plain


def rotary(context: int, width: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of the rotary angles, (context, width / 2) each."""
    frequency = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(context, dtype=torch.float64)[:, None] * frequency
    return angle.cos().to(dtype), angle.sin().to(dtype)


class Attention(Function):
    """x + W_out · attention(W_qkv · norm(x)): causal, rotary, all heads in one product.

    Inputs: x (batch · t, width), gain (width,), w_qkv (3 width, width), w_out (width, width), cos and sin (t, head
    width / 2), batch, heads, compute dtype.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gain: Tensor,
        w_qkv: Tensor,
        w_out: Tensor,
        cos: Tensor,
        sin: Tensor,
        batch: int,
        heads: int,
        compute: torch.dtype,
    ) -> Tensor:
        """See the class."""
        do = kernels(x, compute)
        normed, scale = do.rms_norm(x, gain, compute)
        w_qkv, w_out = w_qkv.to(compute), w_out.to(compute)
        q, k, v = do.split_heads(normed @ w_qkv.t(), batch, heads, cos, sin)
        p = do.causal_softmax(torch.bmm(q, k.transpose(1, 2)), 1 / math.sqrt(q.shape[-1]))
        mixed = _tokens(torch.bmm(p, v), batch)
        ctx.save_for_backward(x, gain, scale, normed, w_qkv, w_out, q, k, v, p, mixed, cos, sin)
        ctx.batch = batch
        return x + mixed @ w_out.t()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Gradients in x, gain, w_qkv and w_out."""
        x, gain, scale, normed, w_qkv, w_out, q, k, v, p, mixed, cos, sin = ctx.saved_tensors
        do, batch, grad = kernels(x, normed.dtype), ctx.batch, grads[0]
        out = grad.to(normed.dtype)
        d_w_out = out.t() @ mixed
        d_mixed = _heads(out @ w_out, batch, len(q) // batch)
        d_v = torch.bmm(p.transpose(1, 2), d_mixed)
        d_scores = do.causal_softmax_backward(p, torch.bmm(d_mixed, v.transpose(1, 2)), 1 / math.sqrt(q.shape[-1]))
        d_q, d_k = torch.bmm(d_scores, k), torch.bmm(d_scores.transpose(1, 2), q)
        d_qkv = do.merge_heads(d_q, d_k, d_v, batch, cos, sin)
        d_w_qkv = d_qkv.t() @ normed
        d_x, d_gain = do.rms_norm_backward(d_qkv @ w_qkv, x, scale, gain, grad)
        return d_x, d_gain, d_w_qkv.to(x.dtype), d_w_out.to(x.dtype), None, None, None, None, None


class FeedForward(Function):
    """x + W_down · (silu(gate) * up), with (gate, up) = W_in · norm(x): SwiGLU (Shazeer 2020).

    Inputs: x (n, width), gain (width,), w_in (2 ffn, width), w_down (width, ffn), compute dtype.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, w_in: Tensor, w_down: Tensor, compute: torch.dtype) -> Tensor:
        """See the class."""
        do = kernels(x, compute)
        normed, scale = do.rms_norm(x, gain, compute)
        w_in, w_down = w_in.to(compute), w_down.to(compute)
        both = normed @ w_in.t()
        inner = do.swiglu(both)
        ctx.save_for_backward(x, gain, scale, normed, w_in, w_down, both, inner)
        return x + inner @ w_down.t()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Gradients in x, gain, w_in and w_down."""
        x, gain, scale, normed, w_in, w_down, both, inner = ctx.saved_tensors
        do, grad = kernels(x, normed.dtype), grads[0]
        out = grad.to(normed.dtype)
        d_w_down = out.t() @ inner
        d_both = do.swiglu_backward(out @ w_down, both)
        d_w_in = d_both.t() @ normed
        d_x, d_gain = do.rms_norm_backward(d_both @ w_in, x, scale, gain, grad)
        return d_x, d_gain, d_w_in.to(x.dtype), d_w_down.to(x.dtype), None


class Norm(Function):
    """x / rms(x) * gain over rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:
        """See the class."""
        out, scale = kernels(x, x.dtype).rms_norm(x, gain, x.dtype)
        ctx.save_for_backward(x, gain, scale)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Gradients in x and gain."""
        x, gain, scale = ctx.saved_tensors
        return kernels(x, x.dtype).rms_norm_backward(grads[0], x, scale, gain, None)


def apply(function: type[Function], *arguments: Any) -> Any:
    """Call an autograd node; the stubs leave ``Function.apply`` untyped."""
    return function.apply(*arguments)


def _tokens(x: Tensor, batch: int) -> Tensor:
    """(batch · heads, t, w) to (batch · t, heads · w)."""
    t, width = x.shape[1:]
    return x.view(batch, -1, t, width).transpose(1, 2).reshape(batch * t, -1)


def _heads(x: Tensor, batch: int, heads: int) -> Tensor:
    """(batch · t, heads · w) to (batch · heads, t, w)."""
    t = len(x) // batch
    return x.view(batch, t, heads, -1).transpose(1, 2).reshape(batch * heads, t, -1)
