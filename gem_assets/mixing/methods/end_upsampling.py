"""End-of-training upsampling: good data last (Blakeney et al. 2024).

The last 10 to 20 % of the tokens are spent on another mixture, with the domains that matter for the benchmarks raised
against web text; reported +6.9 MMLU, +8.3 GSM8K and +6.2 HumanEval at 7B parameters and 1T tokens. Leaving one raised
domain out of that phase measures what it is worth, at the price of a tenth of a run instead of a whole one.

The answer is a recipe with two phases. Repetition counts over both of them: the caps of the second phase are what the
first has left.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gem_assets.mixing.caps import InfeasibleMixtureError, apply_caps
from gem_assets.mixing.methods.base import Method, MethodWork, mixing_settings
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.types import Floats

if TYPE_CHECKING:
    from pathlib import Path

    from gem_assets.mixing.recipe_artifact import MixtureFrame

END_UPSAMPLING = "end_upsampling"
FRACTION = 0.15


class UpsamplingError(ValueError):
    """A second phase that cannot be; the message says which number has to change."""


def raised(base: Floats, positions: Sequence[int], share: float) -> Floats:
    """Give the clusters at ``positions`` so large a share together; ratios inside both parts stay.

    Raises UpsamplingError if no position is given, one is out of range or has no share to raise, or all clusters are
    named.
    """
    start = np.asarray(base, np.float64) / np.sum(base)
    chosen = np.zeros(len(start), bool)
    if len(positions) == 0 or min(positions) < 0 or max(positions) >= len(start):
        raise UpsamplingError(f"name clusters by position between 0 and {len(start) - 1}, not {list(positions)}")
    chosen[list(positions)] = True
    if not 0 < share <= 1:
        raise UpsamplingError(f"the share of the raised clusters must be in (0, 1], not {share}")
    if not start[chosen].sum() > 0 or (share < 1 and not start[~chosen].sum() > 0):
        raise UpsamplingError("raised clusters and the rest both need a share in the first phase to be scaled from")
    rest = start[~chosen].sum()
    return np.where(chosen, start * share / start[chosen].sum(), start * (1 - share) / rest if rest > 0 else 0.0)


def two_phases(
    base: Floats, final: Floats, frame: "MixtureFrame", fraction: float = FRACTION
) -> tuple[tuple[float, Floats], tuple[float, Floats]]:
    """Return ``((1 - fraction, base), (fraction, final))`` with the second cut to what the caps have left.

    Raises
    ------
    UpsamplingError
        If the fraction is not inside (0, 1), or the first phase alone breaks a cap.
    InfeasibleMixtureError
        If the text that is left does not fill the second phase.
    """
    if not 0 < fraction < 1:
        raise UpsamplingError(f"the last phase must be a part of the run inside (0, 1), not {fraction}")
    first = np.asarray(base, np.float64) / np.sum(base)
    left = (frame.caps - (1 - fraction) * first) / fraction
    # a first phase exactly at its cap leaves 0, up to rounding
    if np.any(left < -1e-9):
        worst = int(np.argmin(left))
        cluster, most = int(frame.supply.clusters[worst]), frame.config.repetition_cap
        raise UpsamplingError(
            f"cluster {cluster} is over its cap of {most:g} epochs in the first phase; lower its share or the token "
            "budget, or raise repetition_cap"
        )
    try:
        second = apply_caps(np.asarray(final, np.float64), np.maximum(left, 0.0))
    except InfeasibleMixtureError as error:
        raise InfeasibleMixtureError(f"the last phase of {fraction:g} cannot be filled: {error}") from error
    return (1 - fraction, first), (fraction, second)


def upsampled_recipe(base: Floats, final: Floats, frame: "MixtureFrame", fraction: float = FRACTION) -> Recipe:
    """Make the recipe of two phases; its shares are the average of both."""
    (early, first), (late, second) = two_phases(base, final, frame, fraction)
    moved = 0.5 * float(np.abs(second - first).sum())
    notes = (f"the last {100 * fraction:.3g} % of the tokens move {100 * moved:.3g} % of them",)
    return frame.recipe(
        END_UPSAMPLING,
        early * first + late * second,
        RecipeEvidence(method=END_UPSAMPLING, notes=notes),
        phases=[(early, first.tolist()), (late, second.tolist())],
    )


def publish_end_upsampling(base: Recipe, final: Recipe, frame: "MixtureFrame", out: "Path") -> Recipe:
    """Write the recipe that spends the last part of the tokens on another one's shares.

    Raises ValueError when the recipes are of other clusters than the inventory.
    """
    clusters = tuple(int(c) for c in frame.supply.clusters)
    for recipe in (base, final):
        if tuple(e.cluster for e in recipe.entries) != clusters or recipe.taxonomy_version != frame.taxonomy_version:
            raise ValueError(f"recipe {recipe.strategy} is of other clusters than the inventory; materialize it again")
    recipe = upsampled_recipe(base.shares, final.shares, frame)
    phases = [
        {"phase": n, "fraction": p.fraction, "largest_share": max(p.shares)}
        for n, p in enumerate(recipe.phases, start=1)
    ]
    frame.write(recipe, out, {"phases": phases})
    return recipe


def make(work: MethodWork) -> Recipe:
    """Write the recipe that ends on the lexical mixture."""
    return publish_end_upsampling(work.recipe("proportional"), work.recipe("lexical"), work.frame, work.out)


METHOD = Method(
    END_UPSAMPLING,
    "lab",
    "End-of-training upsampling: the natural shares for most of the tokens, the lexical recipe for the last 15 %. A "
    "recipe of two phases; repetition counts over both.",
    make,
    mixing_settings,
    cost="microseconds",
    use="good text is scarce: spend it in the last 10 to 20 %",
    source="Blakeney et al. 2024",
    recipes=("proportional", "lexical"),
    unconfirmed="is a recipe of two phases, and a confirmation trains on one mixture",
)
