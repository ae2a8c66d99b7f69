"""DoReMi: weight to the domains in which a small model still lags a reference (Xie et al. 2023, Algorithm 1).

A reference model is trained on the reference weights; a proxy of the same size is trained with domain weights that
follow its excess loss. At every step, for each domain in the batch,

    λ_i = mean over its tokens of max(ℓ_proxy - ℓ_ref, 0)
    p  ← (1 - c) · softmax(log p + η λ) + c / K

and the result is the average of ``p`` over the steps. The excess is clipped per token, then averaged; a domain that the
batch does not hold keeps its last ``λ``. The reference loss has no gradient, so the proxy minimises the weighted mean
of its own loss.

Measured on small proxies the answer moves with ``η``, the starting weights and the seed, and beats none of its starting
points: a method for long runs, not for a laptop. Keep ``η`` times the number of steps below about 15 for a mild change.
"""

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.online.declaration import TOY, single_run
from gem_assets.mixing.online.simplex import Floats, as_weights, logarithm, softmax


class DoReMi:
    """State of the domain weights.

    Parameters
    ----------
    initial
        Starting weights ``(K,)``.
    eta
        Step size; 1 in the paper, 0.1 where weights collapse.
    smoothing
        ``c``, the uniform part mixed in; 1e-3 in the paper and the published script.

    Attributes
    ----------
    weights
        Current weights ``(K,)``, with which the proxy loss is weighted.
    excess
        Last ``λ`` of every domain.
    steps
        Updates so far.
    """

    def __init__(self, initial: Floats, *, eta: float = 1.0, smoothing: float = 1e-3) -> None:
        if not eta > 0 or not 0 <= smoothing < 1:
            raise ValueError(f"eta must be above 0 and smoothing in [0, 1), not {eta} and {smoothing}")
        self.weights = as_weights(initial)
        self.eta, self.smoothing = eta, smoothing
        self.excess = np.zeros(len(self.weights))
        self.steps = 0
        self._sum = np.zeros(len(self.weights))

    def update(self, excess: Floats, present: NDArray[np.bool_] | None = None) -> Floats:
        """Take one step and return the new weights.

        Parameters
        ----------
        excess
            Mean clipped excess loss per domain ``(K,)``, nats; see :func:`domain_excess`.
        present
            Which domains the batch held; all by default.
        """
        seen = np.ones(len(self.weights), bool) if present is None else present
        if not np.isfinite(excess[seen]).all():
            raise ValueError(f"the excess loss of domain {int(np.argmax(seen & ~np.isfinite(excess)))} is not finite")
        self.excess = np.where(seen, excess, self.excess)
        moved = softmax(logarithm(self.weights) + self.eta * self.excess)
        self.weights = (1 - self.smoothing) * moved + self.smoothing / len(moved)
        self._sum += self.weights
        self.steps += 1
        return self.weights

    @property
    def average(self) -> Floats:
        """The result: mean of the weights over the updates."""
        return self._sum / self.steps if self.steps else self.weights.copy()


def domain_excess(
    proxy_losses: Floats, reference_losses: Floats, domains: NDArray[np.int64], count: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Clip the excess per token and average it per domain.

    Parameters
    ----------
    proxy_losses, reference_losses
        Loss of every token of the batch, ``(n,)``.
    domains
        Domain of every token, ``(n,)``.

    Returns
    -------
    tuple
        Mean clipped excess ``(count,)`` and which domains were present ``(count,)``.
    """
    clipped = np.maximum(np.asarray(proxy_losses, np.float64) - reference_losses, 0.0)
    tokens = np.bincount(domains, minlength=count)
    sums = np.bincount(domains, clipped, minlength=count)
    return np.divide(sums, tokens, out=np.zeros(count), where=tokens > 0), tokens > 0


def loss_weights(weights: Floats, sampling: Floats) -> Floats:
    """Weight of each domain's tokens in the proxy loss when batches are drawn with ``sampling``; sum 1."""
    return as_weights(np.divide(weights, sampling, out=np.zeros(len(weights)), where=sampling > 0))


METHOD = single_run(
    "doremi",
    "DoReMi: weight to the clusters in which a proxy still lags a reference trained on the natural shares." + TOY,
    cost="a reference and a run twice as dear as plain training",
    use="there is no target: level the excess loss",
    source="Xie et al. 2023",
)
