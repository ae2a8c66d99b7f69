"""Mixtures that need no training: shares from counts alone.

Every strategy is a pure function from the supply to wished shares; :func:`make_recipe` then applies the
repetition caps and freezes the result. These are the baselines that a learned mixture has to beat, and
token-count rules beat most of them (Held et al. 2025). All cost microseconds.

``uniform`` and ``balanced`` differ in what they make equal. ``uniform`` gives every cluster the same number
of *tokens*. ``balanced`` gives every cluster the same number of *documents*: the GEM teacher balances the
mean responsibility over documents towards ``u = 1/K`` (Eq. 3), and what is left of imbalance after hard
labels, the student's drift and later snapshots is weighted out, each document of cluster ``k`` by ``u_k /
(n_k/N)``. In tokens that is a share in proportion to ``u_k`` times the tokens per document. Where the labels
are balanced already it is the natural mixture, so it repeats text only as far as balance was missed, and long
documents keep their length.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.caps import InfeasibleMixtureError, apply_caps, share_caps
from gem_assets.mixing.config import CODE_VERSION, MixingConfig
from gem_assets.mixing.methods.base import Method, MethodWork, mixing_settings
from gem_assets.mixing.recipe import Recipe
from gem_assets.mixing.supply import ClusterSupply

Strategy = Callable[[ClusterSupply, MixingConfig], NDArray[np.float64]]


def proportional(supply: ClusterSupply, config: MixingConfig) -> NDArray[np.float64]:  # noqa: ARG001
    """Shares as the text comes: ``p_i = N_i / ΣN``."""
    return supply.token_shares


def uniform(supply: ClusterSupply, config: MixingConfig) -> NDArray[np.float64]:  # noqa: ARG001
    """The same number of tokens from every cluster that holds text."""
    return _normalised(np.where(supply.tokens > 0, 1.0, 0.0))


def temperature(supply: ClusterSupply, config: MixingConfig) -> NDArray[np.float64]:
    """Flattened counts, ``p_i ∝ N_i^τ``; the rule of multilingual models (Conneau et al. 2020)."""
    flat = np.where(supply.tokens > 0, np.maximum(supply.tokens, 1).astype(np.float64) ** config.temperature, 0.0)
    return _normalised(flat)


def unimax(supply: ClusterSupply, config: MixingConfig) -> NDArray[np.float64]:
    """As uniform as an epoch cap allows (UniMax, Chung et al. 2023).

    Clusters from the smallest to the largest each receive ``min(rest of the budget / clusters left, cap ·
    N_i)``. Where even the caps together stay below the budget the shares are those of the caps, hence
    proportional.
    """
    budget = float(config.token_budget if config.token_budget is not None else supply.total_tokens)
    return unimax_shares(supply.tokens.astype(np.float64), budget, config.unimax_epochs)


def unimax_shares(sizes: NDArray[np.float64], budget: float, epochs: float) -> NDArray[np.float64]:
    """UniMax on bare sizes, in any unit that ``budget`` shares; float64 ``(K,)``, sum 1."""
    given = np.zeros(len(sizes))
    rest = budget
    order = np.argsort(sizes, kind="stable")
    for position, index in enumerate(order):
        given[index] = min(rest / (len(order) - position), epochs * sizes[index])
        rest -= given[index]
    return _normalised(given)


def balanced(supply: ClusterSupply, config: MixingConfig) -> NDArray[np.float64]:  # noqa: ARG001
    """The same number of documents from every cluster that holds text (see the module's docstring)."""
    return _normalised(supply.tokens_per_doc)


HEURISTICS: Mapping[str, Strategy] = {
    "proportional": proportional,
    "uniform": uniform,
    "temperature": temperature,
    "unimax": unimax,
    "balanced": balanced,
}
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
    budget = config.token_budget if config.token_budget is not None else supply.total_tokens
    most = config.repetition_cap * supply.total_tokens
    if budget > most * (1 + 1e-9):
        raise InfeasibleMixtureError(
            f"a budget of {budget} tokens needs {budget / supply.total_tokens:.4g} epochs over the "
            f"{supply.total_tokens} "
            f"available tokens, repetition_cap is {config.repetition_cap:g}; lower token_budget to "
            f"{int(most)} or raise "
            "repetition_cap"
        )
    wished = HEURISTICS[strategy](supply, config)
    shares = apply_caps(wished, share_caps(supply.tokens, budget, config.repetition_cap))
    return Recipe.create(
        strategy,
        shares,
        supply,
        names=names,
        taxonomy_version=taxonomy_version,
        tokenizer=tokenizer,
        repetition_cap=config.repetition_cap,
        token_budget=budget,
        seed=config.seed,
    )


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weights.sum()
    if total <= 0:
        raise ValueError("the inventory holds no tokens; land and label a snapshot first")
    return weights / total


def make_rule(strategy: str, work: MethodWork) -> Recipe:
    """Write the recipe of a rule."""
    from gem_assets.mixing.recipe_artifact import write_recipe

    frame = work.frame
    recipe = make_recipe(
        strategy, frame.supply, frame.names, frame.taxonomy_version, frame.config, frame.tokenizer
    )  # fmt: skip
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
        unconfirmed="is a rule that nothing was learned for, and has no claim to confirm",
        kinds=frozenset({"json", "parquet"}),
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
