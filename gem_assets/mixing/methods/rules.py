"""Mixtures that need no training: shares from counts alone.

The formulas are in :mod:`gem_assets.mixing.heuristics`; :func:`make_recipe` applies the repetition caps and freezes the
result. These are the baselines that a learned mixture has to beat, and token-count rules beat most of them (Held et al.
2025). All cost microseconds.
"""

from collections.abc import Mapping
from functools import partial

from gem_assets.mixing.caps import InfeasibleMixtureError, apply_caps
from gem_assets.mixing.config import CODE_VERSION, MixingConfig
from gem_assets.mixing.heuristics import HEURISTICS
from gem_assets.mixing.methods.base import Method, MethodWork, mixing_settings
from gem_assets.mixing.recipe import Recipe
from gem_assets.mixing.supply import ClusterSupply

STRATEGIES: tuple[str, ...] = tuple(HEURISTICS)


def make_recipe(
    strategy: str,
    supply: ClusterSupply,
    names: Mapping[int, str],
    taxonomy_version: str,
    config: MixingConfig,
    tokenizer: str,
) -> Recipe:
    """Turn a strategy's wished shares into a recipe within the repetition caps.

    Raises
    ------
    ValueError
        For an unknown strategy or an empty inventory.
    InfeasibleMixtureError
        If even every token repeated ``repetition_cap`` times does not fill the budget.
    """
    if strategy not in HEURISTICS:
        raise ValueError(f"unknown strategy {strategy!r}; there are {', '.join(STRATEGIES)}")
    if supply.total_tokens == 0:
        raise ValueError("the inventory holds no tokens; land and label a snapshot first")
    from gem_assets.mixing.recipe_artifact import MixtureFrame

    frame = MixtureFrame(supply, names, taxonomy_version, tokenizer, config)
    most = config.repetition_cap * supply.total_tokens
    if frame.budget > most * (1 + 1e-9):
        raise InfeasibleMixtureError(
            f"a budget of {frame.budget} tokens needs {frame.budget / supply.total_tokens:.4g} epochs over the "
            f"{supply.total_tokens} available tokens, repetition_cap is {config.repetition_cap:g}; lower token_budget "
            f"to {int(most)} or raise repetition_cap"
        )
    return frame.recipe(strategy, apply_caps(HEURISTICS[strategy](supply, config), frame.caps))


def make_rule(strategy: str, work: MethodWork) -> Recipe:
    """Write the recipe of a rule."""
    from gem_assets.mixing.recipe_artifact import write_recipe

    frame = work.frame
    supply, version = frame.supply, frame.taxonomy_version
    recipe = make_recipe(strategy, supply, frame.names, version, frame.config, frame.tokenizer)
    write_recipe(recipe, frame.supply, work.out)
    return recipe


def _rule(name: str, summary: str, use: str, source: str = "") -> Method:
    return Method(
        name,
        "rules",
        summary,
        partial(make_rule, name),
        mixing_settings,
        cost="microseconds",
        use=use,
        source=source,
        unconfirmed="is a rule: it claims no gain that a run could confirm",
        code_version=CODE_VERSION,
        policy="fan_in",
    )


METHODS = (
    _rule(
        "proportional",
        "Token shares as the text comes. What every other mixture has to beat.",
        "always: the baseline",
    ),
    _rule("uniform", "The same number of tokens from every cluster, within the repetition cap.", "always: a baseline"),
    _rule(
        "temperature",
        "Token counts to the power `mixing.temperature`: between proportional (1) and uniform (0).",
        "small clusters should count for more",
        "Conneau et al. 2020",
    ),
    _rule(
        "unimax",
        "As uniform as an epoch cap allows (UniMax): small clusters are never repeated past it.",
        "small clusters must not be repeated too often",
        "Chung et al. 2023",
    ),
    _rule(
        "balanced",
        "The GEM mixture: every cluster weighs the same in documents, so what is left of imbalance after hard labels "
        "and new snapshots is weighted out, and long documents keep their length.",
        "the default of this project",
    ),
)
