"""What an online method is: a hook that the trainer calls around every step (``trainer``)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.online.simplex import as_weights
from gem_assets.types import Floats

if TYPE_CHECKING:  # the trainer imports torch
    from gem_assets.mixing.online.trainer import OnlineRun


class OnlineMethod(Protocol):
    """What the trainer asks of a method."""

    @property
    def sampling(self) -> Floats:
        """Shares from which the next batch is drawn, ``(K,)``."""
        ...

    @property
    def mixture(self) -> Floats:
        """The answer so far, ``(K,)``, sum 1."""
        ...

    def begin(self, run: "OnlineRun") -> None:
        """Look at the untrained model; called once."""
        ...

    def loss_weights(self, run: "OnlineRun", batch: "Batch") -> NDArray[np.float64] | None:
        """Weight of each sequence's tokens in the loss of the next step, ``(B,)``; ``None`` for equal."""
        ...

    def after_step(self, run: "OnlineRun") -> None:
        """Measure, train probes, and change the mixture."""
        ...


@dataclass(frozen=True)
class Batch:
    """Windows ``(B, context + 1)`` and the domain of each ``(B,)``, both int64."""

    windows: NDArray[np.int64]
    domains: NDArray[np.int64]


class OnlineHook:
    """A method that does nothing: trains on fixed shares. Base of the hooks, and their baseline.

    ``shares`` are ``(K,)``.
    """

    def __init__(self, shares: Floats) -> None:
        self._shares = as_weights(shares)

    @property
    def sampling(self) -> Floats:
        """See :class:`OnlineMethod`."""
        return self.mixture

    @property
    def mixture(self) -> Floats:
        """See :class:`OnlineMethod`."""
        return self._shares

    def begin(self, run: "OnlineRun") -> None:
        """See :class:`OnlineMethod`."""
        from gem_assets.proxy.pool import PoolError

        if len(self.mixture) != run.pool.domains:
            raise PoolError(f"the method has {len(self.mixture)} weights, the pool {run.pool.domains} domains")

    def loss_weights(self, run: "OnlineRun", batch: Batch) -> NDArray[np.float64] | None:  # noqa: ARG002
        """See :class:`OnlineMethod`."""
        return None

    def after_step(self, run: "OnlineRun") -> None:
        """See :class:`OnlineMethod`."""


def at_least_one(**settings: int) -> None:
    """Refuse settings of a method that count something and are below 1, all in one message."""
    if min(settings.values()) < 1:
        names, values = " and ".join(settings), " and ".join(map(str, settings.values()))
        raise ValueError(f"{names} must be at least 1, not {values}")
