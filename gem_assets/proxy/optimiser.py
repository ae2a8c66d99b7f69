"""AdamW over one flat vector: clipping, update and average of the weights in a single pass.

A proxy has so few parameters that an optimiser's time is the passes it makes over them: norm, clipping, update and
average are five in PyTorch's operations and two here. The arithmetic is that of ``torch.optim.AdamW`` (Loshchilov,
Hutter 2019): decay is decoupled and multiplied by the rate, moments are corrected for their start.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gem_assets.proxy.fused import Array, jit

EPS = 1e-8


@dataclass(frozen=True)
class Group:
    """A stretch of the vector that trains alike: ``scale`` times the rate, ``decay`` times the scaled rate."""

    part: slice
    scale: float
    decay: float


class FlatAdamW:
    """The optimiser of a flat vector of parameters.

    Parameters
    ----------
    flat, grad
        Parameters and their gradient, contiguous, of one dtype, on the CPU.
    groups
        How its parts train.
    """

    def __init__(self, flat: Tensor, grad: Tensor, groups: Sequence[Group], betas: tuple[float, float]) -> None:
        self._flat, self._grad, self._groups, self._betas = flat, grad, tuple(groups), betas
        self._first, self._second = torch.zeros_like(flat), torch.zeros_like(flat)
        self.average = flat.clone()
        self.steps = 0

    def snapshot(self) -> tuple[Tensor, ...]:
        """Return copies of the parameters, both moments and the average, for :meth:`restore`."""
        return tuple(t.clone() for t in (self._flat, self._first, self._second, self.average))

    def restore(self, kept: tuple[Tensor, ...], steps: int) -> None:
        """Go back to a snapshot taken after ``steps`` steps."""
        for own, old in zip((self._flat, self._first, self._second, self.average), kept, strict=True):
            own.copy_(old)
        self.steps = steps

    def step(self, rate: float, clip: float, average_rate: float) -> float:
        """Update the parameters and move the average towards them; the gradient is left as it is.

        Returns the norm of the gradient before clipping.

        Parameters
        ----------
        clip
            The gradient is scaled to this norm where it is longer.
        average_rate
            Part of the way to the new parameters that the average goes.
        """
        self.steps += 1
        norm = float(self._grad.norm())
        # as in torch.nn.utils.clip_grad_norm_
        factor = min(1.0, clip / (norm + 1e-6))
        arrays = [a.numpy() for a in (self._flat, self._grad, self._first, self._second, self.average)]
        kind = arrays[0].dtype.type
        corrections = [1 - beta**self.steps for beta in self._betas]
        for group in self._groups:
            scaled = rate * group.scale
            numbers = (
                factor,
                scaled / corrections[0],
                1 - scaled * group.decay,
                *self._betas,
                *(1 - beta for beta in self._betas),
                1 / math.sqrt(corrections[1]),
                EPS,
                average_rate,
            )
            _update(*(a[group.part] for a in arrays), *(kind(x) for x in numbers))
        return norm


@jit
def _update(
    p: Array,
    g: Array,
    first: Array,
    second: Array,
    average: Array,
    factor: Any,
    rate: Any,
    keep: Any,
    beta_1: Any,
    beta_2: Any,
    rest_1: Any,
    rest_2: Any,
    correction: Any,
    eps: Any,
    average_rate: Any,
) -> None:
    for i in range(len(p)):
        grad = g[i] * factor
        m = beta_1 * first[i] + rest_1 * grad
        v = beta_2 * second[i] + rest_2 * grad * grad
        first[i] = m
        second[i] = v
        new = p[i] * keep - rate * m / (np.sqrt(v) * correction + eps)
        p[i] = new
        average[i] += average_rate * (new - average[i])
