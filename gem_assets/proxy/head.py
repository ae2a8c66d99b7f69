"""Head and cross-entropy in one pass, a few rows at a time.

The logits of a 2,048-entry head are the largest array of a proxy by far. They are computed for ``chunk`` rows, turned
into losses and gradients while they sit in the cache, and dropped; all is done in the forward pass, since the loss is
the end of the graph. Regularisers of the output (``centring``) act on the same rows:

* soft cap c: logits become c tanh(l / c) before the softmax;
* z-loss: lambda mean(logsumexp(l)^2) adds 2 lambda / N lse_t p_t to the gradient in the logits of row t (PaLM).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from gem_assets.proxy.ops import apply, kernels


class _CrossEntropy(Function):
    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        embedding: Tensor,
        target: Tensor,
        z_loss: float,
        soft_cap: float | None,
        compute: torch.dtype,
        chunk: int,
        weights: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        n, do = len(h), kernels(h, compute)
        rows, matrix = h.to(compute), embedding.to(compute)
        if weights is None:
            weights = torch.full((n,), 1 / n, dtype=h.dtype, device=h.device)
        losses: list[Tensor] = []
        total = torch.zeros((), dtype=h.dtype, device=h.device)
        need = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        d_rows, d_embedding = torch.empty_like(rows), torch.zeros_like(embedding) if need else None
        for start in range(0, n, chunk):
            part = rows[start : start + chunk]
            weight = weights[start : start + chunk]
            some, lse, grad = do.cross_entropy(
                part @ matrix.t(), target[start : start + chunk], weight, z_loss, soft_cap
            )
            losses.append(some)
            total += (weight * (some + z_loss * lse.square())).sum()
            if d_embedding is not None:
                torch.mm(grad, matrix, out=d_rows[start : start + chunk])
                d_embedding += grad.t() @ part
        if d_embedding is not None:
            ctx.save_for_backward(d_rows.to(h.dtype), d_embedding)
        rows_loss = torch.cat(losses)
        ctx.mark_non_differentiable(rows_loss)
        return total, rows_loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        grad_h, grad_e = ctx.saved_tensors
        return grads[0] * grad_h, grads[0] * grad_e, None, None, None, None, None, None


def cross_entropy(
    h: Tensor,
    embedding: Tensor,
    target: Tensor,
    *,
    z_loss: float = 0.0,
    soft_cap: float | None = None,
    compute: torch.dtype | None = None,
    chunk: int = 128,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the training loss and each row's own loss.

    Parameters
    ----------
    h : Tensor, shape (n, d)
        Final hidden states.
    embedding : Tensor, shape (vocab, d)
        Output embedding E; the logits are h Eᵀ.
    target : int64 Tensor, shape (n,)
        What should have been predicted.
    z_loss
        Weight of the mean squared log-partition in the training loss.
    soft_cap
        Bound of the logits, or None.
    compute
        Dtype of the matrix products, the rows' own when None. In bfloat16 the logits are rounded to 8 bits, which is
        harmless while their mean is near 0.
    chunk
        Rows at a time; changes time and memory, and the result only by the order of sums.
    weights : Tensor, shape (n,)
        Weight of each row in the training loss; 1 / n each when None.

    Returns
    -------
    tuple of Tensor
        Mean (or weighted sum of) cross-entropy in nats plus z-loss, differentiable; and the cross-entropy of each
        row, without gradient, shape (n,).
    """
    return apply(_CrossEntropy, h, embedding, target, z_loss, soft_cap, compute or h.dtype, chunk, weights)
