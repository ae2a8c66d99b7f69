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

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.online.hook import Batch, OnlineHook
from gem_assets.mixing.online.simplex import as_weights, logarithm, softmax, uniform
from gem_assets.mixing.online.single_run import TOY, single_run
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.method_data import MethodData
    from gem_assets.mixing.online.trainer import OnlineRun
    from gem_assets.proxy.config import ProxyConfig
    from gem_assets.proxy.train import ProxyTrainer


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

    The proxy loss is weighted with ``weights``, ``(K,)``.
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

    Returns the mean clipped excess ``(count,)`` and which domains were present ``(count,)``.

    Parameters
    ----------
    proxy_losses, reference_losses
        Loss of every token of the batch, ``(n,)``.
    domains
        Domain of every token, ``(n,)``.
    """
    clipped = np.maximum(np.asarray(proxy_losses, np.float64) - reference_losses, 0.0)
    tokens = np.bincount(domains, minlength=count)
    sums = np.bincount(domains, clipped, minlength=count)
    return np.divide(sums, tokens, out=np.zeros(count), where=tokens > 0), tokens > 0


def loss_weights(weights: Floats, sampling: Floats) -> Floats:
    """Weight of each domain's tokens in the proxy loss when batches are drawn with ``sampling``; sum 1."""
    return as_weights(np.divide(weights, sampling, out=np.zeros(len(weights)), where=sampling > 0))


class DoReMiHook(OnlineHook):
    """DoReMi (Xie et al. 2023): batches are drawn evenly, the loss carries the weights.

    ``reference`` was trained on the reference weights, with the same vocabulary; see ``online.trainer``.
    """

    def __init__(
        self, reference: "ProxyTrainer", initial: Floats, *, eta: float = 1.0, smoothing: float = 1e-3
    ) -> None:
        super().__init__(initial)
        self._reference = reference
        self._even = uniform(len(self._shares))
        self.rule = DoReMi(initial, eta=eta, smoothing=smoothing)

    @property
    def sampling(self) -> Floats:
        """Even over the domains that hold text."""
        return self._even

    @property
    def mixture(self) -> Floats:
        """Mean of the weights over the steps."""
        return self.rule.average

    def begin(self, run: "OnlineRun") -> None:
        """Look which domains hold text."""
        super().begin(run)
        self._even = run.even()

    def loss_weights(self, run: "OnlineRun", batch: Batch) -> NDArray[np.float64]:
        """Update the weights from the excess loss of the batch, then weigh its sequences with them."""
        proxy, reference = run.token_losses(batch), run.token_losses(batch, self._reference)
        domains = np.repeat(batch.domains, proxy.shape[1])
        excess, present = domain_excess(proxy.ravel(), reference.ravel(), domains, run.pool.domains)
        weights = self.rule.update(excess, present)
        return loss_weights(weights, self._even)[batch.domains]


def hook(data: "MethodData", natural: Floats, config: "ProxyConfig") -> DoReMiHook:
    """Build the method on a reference of the natural shares ``(A,)``, with a step size that fits the run."""
    from gem_assets.mixing.online.trainer import train_reference

    reference = train_reference(data.pool, natural, config, seed=config.seed + 1)
    return DoReMiHook(reference, natural, eta=min(1.0, _DRIFT / config.steps))


#: eta times the steps: what keeps the weights from wandering on short runs.
_DRIFT = 15.0

METHOD = single_run(
    "doremi",
    "DoReMi: weight to the clusters in which a proxy still lags a reference trained on the natural shares." + TOY,
    hook=hook,
    targets=False,
    cost="a reference run, and a run at twice the cost of plain training",
    use="there is no target: level the excess loss",
    source="Xie et al. 2023",
)
