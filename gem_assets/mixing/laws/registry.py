"""The laws by name, with what each needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gem_assets.mixing.laws.base import Law
from gem_assets.mixing.laws.exposure import EffectiveExposureLaw, LogExposureLaw, PowerSumLaw
from gem_assets.mixing.laws.gaussian import GaussianLaw
from gem_assets.mixing.laws.log_linear import DataMixingLaw, LogLinearLaw
from gem_assets.mixing.laws.trees import TreesLaw


@dataclass(frozen=True)
class LawEntry:
    """A law on offer.

    Attributes
    ----------
    make
        Builds an unfitted law from a seed.
    least_runs
        Fewest runs with which it is worth trying, from the number of clusters.
    convex
        Whether proposals can use its gradient; otherwise they search.
    """

    make: Callable[[int], Law]
    least_runs: Callable[[int], int]
    convex: bool


LAWS: Mapping[str, LawEntry] = {
    "log_exposure": LawEntry(LogExposureLaw, lambda _: 8, True),
    "effective_exposure": LawEntry(EffectiveExposureLaw, lambda k: max(12, k), True),
    "bimix": LawEntry(PowerSumLaw, lambda _: 8, True),
    "log_linear": LawEntry(LogLinearLaw, lambda k: k + 4, True),
    "data_mixing_law": LawEntry(DataMixingLaw, lambda k: 3 * k, True),
    "lightgbm": LawEntry(TreesLaw, lambda _: 64, False),
    "gp": LawEntry(GaussianLaw, lambda _: 12, False),
}
