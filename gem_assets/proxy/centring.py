"""Output-embedding centring: keeps logits in the range where bfloat16 can tell them apart.

Stollenwerk, Lokrantz, Hertzberg, "Output Embedding Centering for Stable LLM Pretraining" (arXiv 2601.02031). With E the
output embedding (vocab, d), mu the mean of its rows and h a hidden state, the mean logit is mu · h. Adam lets mu grow;
at a mean logit m bfloat16 spaces logits 2^(floor(log2 m) - 7) apart, and the loss suffers. Four remedies:

``mu-centring``
    E <- E - mu after each optimiser step. No parameter, no cost to speak of.
``mu-loss``
    Adds lambda |mu|^2 to the loss; the gradient of each row is 2 lambda mu / vocab. Published lambda: 1e-4.
``z-loss``
    Adds lambda mean(logsumexp(l)^2) (PaLM). Changes gradients.
``soft cap``
    l <- c tanh(l / c), c = 30 by convention. No cure for logits that have drifted already: it saturates and learning
    stops. Centre first.

For an *untied* head mu-centring is a change of gauge: the loss depends on E only up to a common shift of its rows, the
gradient sums to 0 over rows, AdamW and clipping keep it so, and the trajectory with and without centring is the same in
exact arithmetic. All it does is keep rounding small, so it is on by default there. With a *tied* head the shift moves
the input embedding too, the trajectory differs, and reports are mixed; it is off unless asked for. Under a soft cap or
z-loss it is not a gauge change either.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gem_assets.proxy.ops import kernels


@dataclass(frozen=True)
class LogitStatistics:
    """Where the logits stand.

    Attributes
    ----------
    mean
        Mean logit over vocabulary and tokens, mu · h on average.
    max_abs
        Largest magnitude of a logit.
    mu_norm
        Norm of the mean output embedding.
    spacing
        Distance of neighbouring bfloat16 numbers at ``max_abs``: what rounding can hide.
    """

    mean: float
    max_abs: float
    mu_norm: float
    spacing: float


def centre(embedding: Tensor) -> None:
    """Subtract the mean row, in place: the step of mu-centring."""
    kernels(embedding.dtype, embedding.dtype, embedding.device).centre(embedding)


def mu_penalty(embedding: Tensor) -> Tensor:
    """Return |mu|^2, to be weighted and added to the loss."""
    return embedding.mean(0).square().sum()


def mu_penalty_gradient(embedding: Tensor, weight: float) -> Tensor:
    """Return the gradient of ``weight`` |mu|^2 in each row of the embedding, (d,): the same for all."""
    return 2 * weight / len(embedding) * embedding.mean(0)


def logit_statistics(hidden: Tensor, embedding: Tensor) -> LogitStatistics:
    """Measure the logits of hidden states (n, d) under an output embedding (vocab, d), in the states' dtype."""
    with torch.no_grad():
        mu = embedding.mean(0)
        max_abs = float((hidden @ embedding.t()).abs().max())
        exponent = torch.frexp(torch.tensor(max_abs)).exponent.item() - 1
        return LogitStatistics(
            mean=float((hidden @ mu).mean()),
            max_abs=max_abs,
            mu_norm=float(mu.norm()),
            spacing=2.0 ** (exponent - 7) if max_abs > 0 else 0.0,
        )
