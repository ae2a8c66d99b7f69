"""Everything in a proxy step except matrix products, in PyTorch operations: any dtype, any device.

The reference for ``fused``, which has the same functions compiled for the CPU. ``compute`` is the dtype of matrix
products, the residual stream keeps its own.
"""

import torch
from torch import Tensor

EPS = 1e-6


def rms_norm(x: Tensor, branch: Tensor | None, gain: Tensor, compute: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return y = x + branch and y / rms(y) * gain in ``compute``, for the rows of x (n, d)."""
    y = x if branch is None else x + branch
    return y, (y * _scale(y) * gain).to(compute)


def rms_norm_backward(
    grad: Tensor, y: Tensor, gain: Tensor, residual: Tensor | None, d_gain: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradient of :func:`rms_norm` in y, plus ``residual``, in y's dtype and in that of ``grad``.

    The gradient in the gain is written to ``d_gain``; ``grad`` and ``residual`` may be overwritten.
    """
    above, scale = grad.to(y.dtype), _scale(y)
    unit = y * scale
    d_unit = above * gain
    d_y = (d_unit - unit * (d_unit * unit).mean(-1, keepdim=True)) * scale
    d_gain.copy_((above * unit).sum(0))
    d_y = d_y if residual is None else d_y + residual
    return d_y, d_y.to(grad.dtype)


def swiglu(both: Tensor) -> Tensor:
    """Return silu(gate) * up of (gate, up) side by side, (n, 2 f)."""
    gate, up = both.chunk(2, -1)
    return torch.nn.functional.silu(gate) * up


def swiglu_backward(grad: Tensor, both: Tensor) -> Tensor:
    """Return the gradient of :func:`swiglu`, (n, 2 f)."""
    gate, up = both.chunk(2, -1)
    open_ = torch.sigmoid(gate)
    return torch.cat([grad * up * open_ * (1 + gate * (1 - open_)), grad * gate * open_], -1)


def split_heads(qkv: Tensor, batch: int, heads: int, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries and keys, turned by their positions, and values, (batch * heads, t, width) each.

    Parameters
    ----------
    qkv : Tensor, shape (batch * t, 3 * heads * width)
        Projections.
    cos, sin : Tensor, shape (t, width / 2)
        Of the angle of each position; the halves of the width are the two coordinates.
    """
    t, half = cos.shape
    parts = qkv.view(batch, t, 3, heads, 2 * half).permute(2, 0, 3, 1, 4)
    q, k = (_turn(part, cos, sin).reshape(batch * heads, t, -1) for part in parts[:2])
    return q, k, parts[2].reshape(batch * heads, t, -1)


def merge_heads(d_q: Tensor, d_k: Tensor, d_v: Tensor, batch: int, cos: Tensor, sin: Tensor) -> Tensor:
    """Return the gradient of :func:`split_heads`, (batch * t, 3 * heads * width)."""
    t = cos.shape[0]
    d_q, d_k, d_v = (d.view(batch, -1, t, d.shape[-1]) for d in (d_q, d_k, d_v))
    parts = torch.stack([_turn(d_q, cos, -sin), _turn(d_k, cos, -sin), d_v])
    return parts.permute(1, 3, 0, 2, 4).reshape(batch * t, -1)


def causal_softmax(scores: Tensor, scale: float) -> Tensor:
    """Return the softmax over keys of ``scale * scores`` (g, t, t); a query sees keys up to its own. May overwrite."""
    t = scores.shape[-1]
    later = torch.ones(t, t, dtype=torch.bool, device=scores.device).triu(1)
    return (scores * scale).masked_fill(later, -torch.inf).softmax(-1)


def causal_softmax_backward(p: Tensor, grad: Tensor, scale: float) -> Tensor:
    """Return the gradient in the scores of :func:`causal_softmax`. May overwrite ``grad``."""
    return (grad - (grad * p).sum(-1, keepdim=True)) * p * scale


def cross_entropy(
    logits: Tensor, target: Tensor, weights: Tensor, z_loss: float, cap: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return losses, log-partitions and gradients of rows.

    These are the cross-entropy (r,), logsumexp (r,), and the gradient of the weighted sum in the logits, (r, vocab), in
    their dtype.

    Parameters
    ----------
    logits, target
        (r, vocab) and int64 (r,). The logits may be overwritten.
    weights
        Weight of each row in the loss, (r,); its dtype is that of losses and sums.
    z_loss, cap
        Weight of the squared log-partition; bound of the logits or None.
    """
    values = logits.to(weights.dtype)
    bent = None if cap is None else torch.tanh(values / cap)
    values = values if bent is None or cap is None else bent * cap
    lse = values.logsumexp(1)
    losses = lse - values.gather(1, target[:, None]).squeeze(1)
    grad = (values - lse[:, None]).exp() * ((1 + 2 * z_loss * lse) * weights)[:, None]
    grad.scatter_add_(1, target[:, None], -weights[:, None])
    if bent is not None:
        grad *= 1 - bent.square()
    return losses, lse, grad.to(logits.dtype)


def centre(embedding: Tensor) -> None:
    """Subtract the mean of the rows, in place."""
    embedding.sub_(embedding.mean(0))


def _scale(y: Tensor) -> Tensor:
    return torch.rsqrt(y.square().mean(-1, keepdim=True) + EPS)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(x.dtype)
