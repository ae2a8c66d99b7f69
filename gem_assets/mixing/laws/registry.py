"""The laws by name, with what each needs. A new law is its module and one line here."""

from collections.abc import Mapping

from gem_assets.mixing.laws.base import LawEntry
from gem_assets.mixing.laws.exposure import EffectiveExposureLaw, LogExposureLaw, PowerSumLaw
from gem_assets.mixing.laws.gaussian import GaussianLaw
from gem_assets.mixing.laws.log_linear import DataMixingLaw, LogLinearLaw
from gem_assets.mixing.laws.trees import TreesLaw

LAWS: Mapping[str, LawEntry] = {
    "log_exposure": LawEntry(LogExposureLaw, lambda _: 8),
    "effective_exposure": LawEntry(EffectiveExposureLaw, lambda k: max(12, k)),
    "bimix": LawEntry(PowerSumLaw, lambda _: 8),
    "log_linear": LawEntry(LogLinearLaw, lambda k: k + 4),
    "data_mixing_law": LawEntry(DataMixingLaw, lambda k: 3 * k),
    "lightgbm": LawEntry(TreesLaw, lambda _: 64),
    "gp": LawEntry(GaussianLaw, lambda _: 12),
}
