"""Head and cross-entropy in one pass, a few rows at a time.

The logits of a 2,048-entry head are the largest array of a proxy by far. They are computed for ``chunk`` rows, turned
into losses and gradients while they sit in the cache, and dropped. Regularisers of the output (``centring``) act on
the same rows:

* soft cap c: logits become c tanh(l / c) before the softmax;
* z-loss: lambda mean(logsumexp(l)^2) adds 2 lambda / N lse_t p_t to the gradient in the logits of row t (PaLM).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gem_assets.proxy.ops import kernels, product_into


class HeadLoss(NamedTuple):
    """What a head says of its rows.

    Attributes
    ----------
    loss
        Mean (or weighted sum) of the cross-entropy in nats plus z-loss, ().
    rows
        Cross-entropy of each row, (n,).
    d_hidden
        Gradient of the loss in the hidden states, (n, d), in the dtype of the products; empty unless asked for.
    d_embedding
        In the output embedding, (vocab, d), in the embedding's dtype; empty unless asked for.
    """

    loss: Tensor
    rows: Tensor
    d_hidden: Tensor
    d_embedding: Tensor


def cross_entropy(
    h: Tensor,
    embedding: Tensor,
    target: Tensor,
    *,
    z_loss: float = 0.0,
    soft_cap: float | None = None,
    compute: torch.dtype | None = None,
    chunk: int = 512,
    weights: Tensor | None = None,
    gradient: bool = True,
    into: Tensor | None = None,
) -> HeadLoss:
    """Return the training loss, each row's own loss, and the gradients.

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
        Dtype of the matrix products, the states' own when None. In bfloat16 the logits are rounded to 8 bits, which is
        harmless while their mean is near 0.
    chunk
        Rows at a time; changes time and memory, and the result only by the order of sums.
    weights : Tensor, shape (n,)
        Weight of each row in the training loss, in the embedding's dtype; 1 / n each when None.
    into : Tensor, shape (vocab, d)
        Where the gradient in the embedding is written; a new tensor when None.
    """
    n, compute, dtype = len(h), compute or h.dtype, embedding.dtype
    do = kernels(dtype, compute, h.device)
    states, matrix = h.to(compute), embedding.to(compute)
    if weights is None:
        weights = torch.full((n,), 1 / n, dtype=dtype, device=h.device)
    rows, lse = torch.empty_like(weights), torch.empty_like(weights)
    d_hidden = torch.empty_like(states) if gradient else states[:0]
    d_embedding = embedding[:0] if not gradient else torch.empty_like(embedding) if into is None else into
    for start in range(0, n, chunk):
        part = slice(start, start + chunk)
        rows[part], lse[part], d_logits = do.cross_entropy(
            states[part] @ matrix.t(), target[part], weights[part], z_loss, soft_cap
        )
        if gradient:
            torch.mm(d_logits, matrix, out=d_hidden[part])
            if start == 0:
                product_into(d_embedding, d_logits.t(), states[part])
            else:
                d_embedding += d_logits.t() @ states[part]
    loss = (weights * (rows + z_loss * lse.square())).sum()
    return HeadLoss(loss, rows, d_hidden, d_embedding)
