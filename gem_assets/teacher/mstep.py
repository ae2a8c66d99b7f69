"""The M-step: mean directions and concentrations from responsibility-weighted sums.

For fixed responsibilities the objective splits over clusters; ``mu = r / ||r||`` by Cauchy–Schwarz and kappa is the
maximum-likelihood one, clipped (:func:`gem_assets.teacher.vmf.fit_kappa`). Pseudo-documents of an earlier teacher are
simply added to the sums: a conjugate prior, so the step stays exact and the objective with the prior stays monotone.
"""

from dataclasses import dataclass

import numpy as np

from gem_assets.teacher.vmf import fit_kappa, log_norm
from gem_assets.types import Floats

#: Clusters with less soft mass than this many documents keep their parameters (dividing by it would be noise).
EMPTY_MASS = 1e-6


@dataclass(frozen=True)
class Theta:
    """Parameters of the mixture: unit directions ``mu`` (K, d), concentrations ``kappa`` (K,), offsets ``b`` (K,)."""

    mu: Floats
    kappa: Floats
    b: Floats

    @property
    def k(self) -> int:
        """Number of clusters."""
        return self.mu.shape[0]

    @property
    def d(self) -> int:
        """Dimension of the space."""
        return self.mu.shape[1]

    def directions(self) -> Floats:
        """``kappa * mu``, the natural parameter, shape (K, d)."""
        return self.kappa[:, None] * self.mu

    def constants(self) -> Floats:
        """``log C_d(kappa) - log K``, what a score has besides the product with the row."""
        return log_norm(self.kappa, self.d) - np.log(self.k)

    def with_offsets(self, b: Floats) -> "Theta":
        """The same density with other offsets."""
        return Theta(self.mu, self.kappa, b)


@dataclass(frozen=True)
class Sums:
    """``mass`` (K,) = sum of responsibilities, ``resultant`` (K, d) = sum of responsibility times row."""

    mass: Floats
    resultant: Floats

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.mass + other.mass, self.resultant + other.resultant)

    def scaled(self, factor: float) -> "Sums":
        """Both sums times ``factor``."""
        return Sums(self.mass * factor, self.resultant * factor)

    def mean_lengths(self) -> Floats:
        """Mean resultant length of each cluster, 0 where there is no mass."""
        length = np.linalg.norm(self.resultant, axis=1)
        return np.where(self.mass > EMPTY_MASS, length / np.maximum(self.mass, EMPTY_MASS), 0.0)


def maximise(sums: Sums, old: Theta, kappa_min: float, kappa_max: float, kappa_factor: float = 1.0) -> Theta:
    """Parameters that maximise the objective for the responsibilities behind ``sums``.

    Parameters
    ----------
    sums
        Responsibility-weighted sums, with the anchor added if there is one.
    old
        Parameters to keep for clusters without mass or without a direction; its ``b`` is carried over.
    kappa_min, kappa_max
        Bounds of kappa.
    kappa_factor
        Annealing factor on kappa; anything but 1 gives up the maximum.
    """
    length = np.linalg.norm(sums.resultant, axis=1)
    alive = (sums.mass > EMPTY_MASS) & (length > 1e-12 * np.maximum(sums.mass, EMPTY_MASS))
    mu = np.where(alive[:, None], sums.resultant / np.where(alive, length, 1.0)[:, None], old.mu)
    fitted = fit_kappa(np.where(alive, sums.mean_lengths(), 0.5), old.d, 0.0, kappa_max) * kappa_factor
    kappa = np.where(alive, np.clip(fitted, kappa_min, kappa_max), old.kappa)
    return Theta(mu, kappa, old.b)


def relax(old: Theta, new: Theta, factor: float, kappa_min: float, kappa_max: float) -> Theta:
    """Go ``factor`` times as far from ``old`` as ``new`` does, in ``kappa * mu``.

    EM moves a fixed share of the remaining way near its limit; stepping further saves a third of the iterations. The
    caller has to check the objective and fall back to ``new``.
    """
    natural = old.directions() + factor * (new.directions() - old.directions())
    length = np.linalg.norm(natural, axis=1)
    usable = length > 0
    mu = np.where(usable[:, None], natural / np.where(usable, length, 1.0)[:, None], new.mu)
    kappa = np.where(usable, np.clip(length, kappa_min, kappa_max), new.kappa)
    return Theta(mu, kappa, new.b)
