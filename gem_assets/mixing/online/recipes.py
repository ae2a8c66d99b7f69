"""Methods as recipes, from what the graph holds: token streams, windows and the inventory.

    doremi, aioli, skillit, doge, dga    one online run of a proxy each            (``online.hooks``)
    tikmix, tikmix_m                     the same                                  (``online.influence``)
    mixmin, merging                      one proxy per cluster                       (``domain_models``)
    end_upsampling                       two recipes, one after the other          (``upsampling``)

Periods of the online methods are set by the length of the run, since published ones are for 5,000 steps and more. Each
run yields one trajectory and no prediction, so nothing here can be cross-validated: the verdict says that, and a
confirmation run is what tells. On proxies of the default size DoReMi was seen to beat none of its starting points;
these recipes are for larger models.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gem_assets.mixing.caps import apply_caps
from gem_assets.mixing.laws.base import Floats
from gem_assets.mixing.laws.proposal import divergence
from gem_assets.mixing.method_data import MethodData, MethodResult, merged, mixed_by_likelihood
from gem_assets.mixing.online.hooks import AioliHook, DGAHook, DoGEHook, DoReMiHook, SkillItHook
from gem_assets.mixing.online.influence import TiKMiXBlendHook, TiKMiXHook
from gem_assets.mixing.online.trainer import OnlineMethod, OnlineResult, train_online, train_reference
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.mixing.recipe_artifact import MixtureFrame
from gem_assets.proxy.config import ProxyConfig

ONLINE = ("doremi", "aioli", "skillit", "doge", "dga", "tikmix", "tikmix_m")
MIXMIN, MERGING = "mixmin", "merging"
END_UPSAMPLING = "end_upsampling"
METHOD_STRATEGIES = (*ONLINE, MIXMIN, MERGING)

#: eta times the steps of DoReMi: what keeps its weights from wandering on short runs.
_DOREMI_DRIFT = 15.0
_SHOWN = 20
Progress = Callable[[int, int], None]


def make_hook(name: str, data: MethodData, natural: Floats, config: ProxyConfig) -> OnlineMethod:
    """Build an online method with periods that fit the run.

    Parameters
    ----------
    name
        One of :data:`ONLINE`.
    natural
        Natural shares of the active clusters ``(A,)``: DoReMi's reference and start.
    """
    count, steps, targets = data.pool.domains, config.steps, data.importance
    match name:
        case "doremi":
            reference = train_reference(data.pool, natural, config, seed=config.seed + 1)
            return DoReMiHook(reference, natural, eta=min(1.0, _DOREMI_DRIFT / steps))
        case "aioli":
            # four rounds, half of each spent on measuring
            period = max(steps // 4, count + 1)
            return AioliHook(
                count, round_steps=period, sweeps=1, play_steps=max(1, period // (2 * count)), seed=config.seed
            )
        case "skillit":
            return SkillItHook(count, graph_steps=max(4, steps // 16), every=max(1, steps // 10))
        case "doge":
            return DoGEHook(count, every=max(1, steps // 32), windows=2, targets=targets)
        case "dga":
            return DGAHook(count, every=max(1, steps // 32), windows=2, targets=targets)
        case "tikmix":
            return TiKMiXHook(count, stage_steps=max(1, steps // 5), windows=4, targets=targets)
        case "tikmix_m":
            return TiKMiXBlendHook(count, stage_steps=max(1, steps // 5), windows=4, targets=targets, seed=config.seed)
        case _:
            raise ValueError(f"no online method {name!r}; there are {', '.join(ONLINE)}")


def publish_method_recipe(
    strategy: str,
    folder: Path,
    importance: Mapping[str, float],
    frame: MixtureFrame,
    config: ProxyConfig,
    out: Path,
    *,
    progress: Progress | None = None,
) -> Recipe:
    """Run one method and write its recipe into ``out``.

    Parameters
    ----------
    strategy
        One of :data:`METHOD_STRATEGIES`.
    folder
        Prepared tokens and windows.
    importance
        Weight of the targets by name. Aioli and Skill-It always follow all of them, DoReMi none: its objective is the
        excess loss on the clusters themselves.
    frame
        Inventory and caps; the shares are capped here.

    Raises
    ------
    PoolError
        When clusters, windows and configuration do not fit each other.
    DivergedError
        When training diverges.
    """
    data = MethodData.load(folder, importance, config.model.context)
    natural = data.natural_shares(frame.supply)
    if strategy == MIXMIN:
        found = mixed_by_likelihood(data, config)
    elif strategy == MERGING:
        found = merged(data, natural, frame.caps[data.active], config)
    else:
        run = train_online(data.pool, data.evaluation, make_hook(strategy, data, natural, config), config,
                           progress=progress)  # fmt: skip
        found = MethodResult(run.mixture, _told(run), _cost_notes(run))
    shares = np.zeros(len(frame.supply.clusters))
    # a cluster whose text has gone since the tokens were prepared cannot be given a share
    shares[data.active] = np.where(natural > 0, found.shares, 0.0)
    shares = apply_caps(shares, frame.caps)
    predicted, proportional, even = found.predicted
    wanted = [n for n, w in zip(data.evaluation.names, data.importance, strict=True) if w > 0]
    recipe = frame.recipe(
        strategy,
        shares,
        RecipeEvidence(
            method=strategy,
            target=None if strategy == "doremi" else ", ".join(wanted),
            kl_to_prior=divergence(shares, frame.supply.token_shares),
            verdict=found.verdict,
            notes=found.notes,
            predicted_loss=predicted,
            predicted_loss_proportional=proportional,
            predicted_loss_uniform=even,
        ),
    )
    frame.write(recipe, out, found.tables)
    return recipe


def _told(run: OnlineResult) -> dict[str, list[dict[str, Any]]]:
    steps = np.unique(np.linspace(0, len(run.trajectory) - 1, _SHOWN).astype(int))
    rows = [
        {
            "step": int(i) + 1,
            "largest_share": float(run.trajectory[i].max()),
            "distance_to_answer": 0.5 * float(np.abs(run.trajectory[i] - run.mixture).sum()),
        }
        for i in steps
    ]
    return {"trajectory": rows, "costs": [asdict(run.costs)]}


def _cost_notes(run: OnlineResult) -> tuple[str, ...]:
    costs = run.costs
    return (
        f"{run.tokens:,} tokens trained on; beside that {costs.branch_steps} steps taken back, {costs.gradients} "
        f"gradients of single clusters or targets, {costs.evaluations} evaluations, {costs.forwards} forward passes",
    )
