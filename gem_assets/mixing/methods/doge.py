"""Methods that follow gradient alignment: DoGE and DGA.

Both ask how far a step on one domain's gradient lowers a target's loss, ``<∇L_i, ∇L_target>``, and move weight there by
mirror steps. They differ in scaling, clipping and smoothing. K + 1 gradients an update: done every ten to twenty steps.
"""

import numpy as np

from gem_assets.mixing.online.declaration import TOY, single_run
from gem_assets.mixing.online.simplex import Floats, as_weights, logarithm, softmax, uniform


class DoGE:
    """Domain reweighting with generalisation estimation (Fan et al. 2023).

    ``score_i = lr · <∇L_i, ∇L_val> / (mean gradient norm + 1e-6)``, clipped to ``[0, 5 lr]``; ``p ∝ p · exp(score/μ)``.
    The result is the average of the weights over the updates.

    Parameters
    ----------
    count
        Number of domains; weights start uniform.
    mu
        Bregman coefficient; 0.01 in the published runs.
    clip
        Largest score in units of the learning rate.
    """

    def __init__(self, count: int, *, mu: float = 0.01, clip: float = 5.0) -> None:
        if not mu > 0 or not clip > 0:
            raise ValueError(f"mu and clip must be above 0, not {mu} and {clip}")
        self.weights = uniform(count)
        self.mu, self.clip = mu, clip
        self.steps = 0
        self._sum = np.zeros(count)

    def update(self, products: Floats, norms: Floats, learning_rate: float) -> Floats:
        """Take one step.

        Parameters
        ----------
        products
            Inner product of each domain's gradient with the target's, ``(K,)``.
        norms
            Norm of each domain's gradient, ``(K,)``.
        """
        raw = learning_rate * np.asarray(products, np.float64) / (float(np.mean(norms)) + 1e-6)
        if not np.isfinite(raw).all():
            raise ValueError(f"the gradient product of domain {int(np.argmin(np.isfinite(raw)))} is not finite")
        scores = np.clip(raw, 0.0, self.clip * learning_rate)
        self.weights = softmax(logarithm(self.weights) + scores / self.mu)
        self._sum += self.weights
        self.steps += 1
        return self.weights

    @property
    def average(self) -> Floats:
        """The result: mean of the weights over the updates."""
        return self._sum / self.steps if self.steps else self.weights.copy()


class DGA:
    """Dynamic gradient alignment (Fan et al. 2024): mirror steps with a running average.

    ``p' ∝ p · exp(η a)`` with ``a_i = <∇L_i, ∇L_target>``, then ``p ← (1 - β) p + β p'``. For thousands of domains let
    the entries be a few basis distributions and read :meth:`mixture`. No public code exists; the rule is the published
    one, the scaling of ``a`` is the caller's.
    """

    def __init__(self, initial: Floats, *, eta: float = 1.0, beta: float = 1.0, basis: Floats | None = None) -> None:
        if not eta > 0 or not 0 < beta <= 1:
            raise ValueError(f"eta must be above 0 and beta in (0, 1], not {eta} and {beta}")
        self.weights = as_weights(initial)
        self.eta, self.beta, self.basis = eta, beta, basis

    def update(self, products: Floats) -> Floats:
        """Take the alignments ``(K,)`` and return the new weights."""
        if not np.isfinite(products).all():
            raise ValueError(f"the gradient product of domain {int(np.argmin(np.isfinite(products)))} is not finite")
        moved = softmax(logarithm(self.weights) + self.eta * np.asarray(products, np.float64))
        self.weights = (1 - self.beta) * self.weights + self.beta * moved
        return self.weights

    @property
    def mixture(self) -> Floats:
        """Weights over the domains: those of the basis distributions, spread out."""
        return self.weights if self.basis is None else as_weights(self.weights @ self.basis)


METHODS = (
    single_run(
        "doge",
        "DoGE: weight to the clusters whose gradients agree with those of the targets." + TOY,
        cost="2.5 times plain training at an update every 5 steps",
        use="there is one target",
        source="Fan et al. 2023",
    ),
    single_run(
        "dga",
        "Dynamic gradient alignment: mirror steps along the agreement of gradients." + TOY,
        cost="1.6 times plain training",
        use="there are one target and many domains",
        source="Fan et al. 2024",
    ),
)
