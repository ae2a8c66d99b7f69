"""Does the mixture hold at the next model size? A paired run over seeds, against proportional and uniform.

Every arm is trained with the same seeds: for one seed, arms share initialisation, stream and windows
(``proxy.stream``), so what is compared is the mixture. A mixture is confirmed when its target loss is below those of
proportional *and* uniform in every seed. In-domain losses are reported beside: what a target gains, clusters may pay.

The arms are rows of the swarm's growing table, so a killed confirmation loses at most one model per worker, and the
baselines are trained once for all recipes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.recipe import Recipe
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.mixing.swarm.design import baseline_mixtures
from gem_assets.parallel.shard_map import ShardMap, serial_map
from gem_assets.types import Floats

if TYPE_CHECKING:  # torch is imported only where models are trained
    from gem_assets.proxy.swarm import SwarmProgress, SwarmSpec


RIVALS = ("proportional", "uniform")
NAME, PICTURE = "confirmation.json", "arms.png"


@dataclass(frozen=True)
class Standing:
    """How an arm came out of confirmation runs; gains are its target loss less proportional's, nats per token.

    Attributes
    ----------
    gain, low, high
        Mean over the seeds, and the least and the largest.
    in_domain
        The same mean of the clusters' held-out text; None when no cluster has a window.
    over_proportional, over_uniform, over_both
        Seeds in which the arm's loss is below theirs; 0 against itself, and of a baseline both is the other one.
    """

    gain: float
    low: float
    high: float
    in_domain: float | None
    over_proportional: int
    over_uniform: int
    over_both: int
    seeds: int


@dataclass(frozen=True)
class Confirmation:
    """Losses of every arm and seed.

    Attributes
    ----------
    arms
        Names; ``proportional`` and ``uniform`` are among them.
    target, in_domain : float64 arrays, shape (arms, seeds)
        Weighted mean loss of the targets, and mean loss of the clusters' held-out text, nats per token. NaN in
        ``in_domain`` when no cluster has a window.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    target: Floats
    in_domain: Floats

    def difference(self, arm: str, rival: str) -> Floats:
        """Target loss of an arm less that of a rival, seed by seed, ``(seeds,)``."""
        return self.target[self.arms.index(arm)] - self.target[self.arms.index(rival)]

    def standing(self, arm: str) -> Standing:
        """Return how an arm came out."""
        gains = self.difference(arm, "proportional")
        below = np.array([self.difference(arm, rival) < 0 for rival in RIVALS])
        inside = self.in_domain[self.arms.index(arm)] - self.in_domain[self.arms.index("proportional")]
        return Standing(
            gain=float(gains.mean()),
            low=float(gains.min()),
            high=float(gains.max()),
            in_domain=float(inside.mean()) if np.isfinite(inside).all() else None,
            over_proportional=int(below[0].sum()),
            over_uniform=int(below[1].sum()),
            over_both=int(below[[rival != arm for rival in RIVALS]].all(axis=0).sum()),
            seeds=len(self.seeds),
        )

    def wins(self, arm: str) -> int:
        """Seeds in which the arm's target loss is below those of proportional and uniform."""
        return self.standing(arm).over_both

    def confirmed(self, arm: str) -> bool:
        """Whether the arm beats both in every seed."""
        return arm not in RIVALS and self.wins(arm) == len(self.seeds)

    def verdict(self, arm: str) -> str:
        """Say in a sentence what the run found; what to use is for :func:`gem_assets.mixing.comparison.decide`."""
        told = "; ".join(
            f"{rival} {mean:+.4f} ± {spread:.4f} nats"
            for rival in RIVALS
            if rival != arm
            for mean, spread in [_mean_and_deviation(self.difference(arm, rival))]
        )
        found = self.standing(arm)
        if arm == "proportional":
            return f"measured: what the others are compared with (against {told})"
        better = f"better than proportional in {found.over_proportional} of {found.seeds} seeds"
        if arm in RIVALS:
            return f"measured: {better} (against {told})"
        return (
            f"{'confirmed' if self.confirmed(arm) else 'not confirmed'}: {better}, than uniform in "
            f"{found.over_uniform}, than both in {found.over_both} (against {told})"
        )

    def rows(self) -> list[dict[str, Any]]:
        """One row per arm and seed: target and in-domain loss, and the differences to the rivals."""
        return [
            {
                "arm": arm,
                "seed": seed,
                "target_loss": float(self.target[a, s]),
                "in_domain_loss": float(self.in_domain[a, s]),
                **{f"against_{rival}": float(self.difference(arm, rival)[s]) for rival in RIVALS},
            }
            for a, arm in enumerate(self.arms)
            for s, seed in enumerate(self.seeds)
        ]


def confirm(
    arms: Mapping[str, Floats],
    seeds: Sequence[int],
    spec: "SwarmSpec",
    folder: Path,
    importance: Mapping[str, float],
    *,
    map_shards: ShardMap = serial_map,
    progress: "SwarmProgress | None" = None,
) -> Confirmation:
    """Train every arm with every seed and compare.

    Raises ValueError when a rival is not among the arms, a target is unknown, or a model diverged.

    Parameters
    ----------
    arms
        Shares ``(K,)`` by name, ``proportional`` and ``uniform`` among them.
    seeds
        Of initialisation and stream; at least one.
    spec
        Of the models to train: the next size, not the proxies'.
    """
    from gem_assets.mixing.methods.lexical import target_weights
    from gem_assets.proxy.swarm import ProxyJob, run_swarm

    missing = [rival for rival in RIVALS if rival not in arms]
    if missing or not seeds:
        raise ValueError(f"a confirmation needs seeds and the arms {', '.join(RIVALS)}; {missing or 'seeds'} missing")
    jobs = {(name, seed): ProxyJob.of(name, shares, seed) for name, shares in arms.items() for seed in seeds}
    rows = run_swarm(list(jobs.values()), spec, folder, map_shards=map_shards, progress=progress)
    if len(rows.failed):
        failure = rows.failed.to_pylist()[0]
        raise ValueError(f"the model of {failure['label']} with seed {failure['seed']} diverged: {failure['error']}")
    weights = target_weights(rows.targets, importance)
    target = rows.losses @ (weights / weights.sum())
    inside = rows.in_domain
    in_domain = rows.losses[:, inside].mean(1) if inside.any() else np.full(len(rows), np.nan)
    # two arms may be the same mixture and then share a row
    place = {(tuple(p.tolist()), s): i for i, (p, s) in enumerate(zip(rows.mixtures, rows.seeds.tolist(), strict=True))}
    index = np.array([[place[jobs[name, seed].shares, seed] for seed in seeds] for name in arms])
    return Confirmation(tuple(arms), tuple(seeds), target[index], in_domain[index])


def publish_confirmation(
    recipe: Recipe,
    supply: ClusterSupply,
    config: MixingConfig,
    spec: "SwarmSpec",
    folder: Path,
    out: Path,
    *,
    map_shards: ShardMap = serial_map,
    progress: "SwarmProgress | None" = None,
) -> Confirmation:
    """Confirm a recipe on a prepared folder's windows and write ``confirmation.json`` and ``arms.png``.

    The windows are those that the swarm was judged by: with few clusters and targets that is a small optimism, and the
    reason why the models are larger and the seeds others.

    Parameters
    ----------
    recipe, supply, config
        What is to hold, and what the baselines are made of.
    """
    from gem_assets.mixing.swarm.growth import wanted_targets
    from gem_assets.proxy.pool import TokenPool
    from gem_assets.report.swarm_plots import loss_bars

    baselines = baseline_mixtures(supply, config)
    arms = {recipe.strategy: recipe.shares, **{rival: baselines[rival] for rival in RIVALS}}
    has_text = TokenPool.load(spec.data).sizes > 0
    trained = {name: np.where(has_text, shares, 0.0) for name, shares in arms.items()}
    found = confirm(
        {name: shares / shares.sum() for name, shares in trained.items()},
        [spec.config.seed + 1 + i for i in range(spec.config.confirmation.seeds)],
        spec,
        folder,
        wanted_targets(spec.data),
        map_shards=map_shards,
        progress=progress,
    )
    content = {
        "recipe": recipe.identity,
        "arms": found.arms,
        "seeds": found.seeds,
        "target": found.target.tolist(),
        "in_domain": [[None if np.isnan(v) else v for v in row] for row in found.in_domain.tolist()],
    }
    (out / NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    gains = [found.difference(arm, "proportional") for arm in found.arms]
    (out / PICTURE).write_bytes(
        loss_bars(
            list(found.arms),
            [float(g.mean()) for g in gains],
            [(float(g.min()), float(g.max())) for g in gains],
            "Does it hold at the next model size?",
            f"target loss less proportional's, nats; mean and range of {len(found.seeds)} paired seeds",
        )
    )
    return found


def describe_confirmation(folder: Path) -> Confirmation:
    """Read a confirmation back from an artifact."""
    content = json.loads((folder / NAME).read_text(encoding="utf-8"))
    target, in_domain = (np.array(content[name], np.float64) for name in ("target", "in_domain"))
    return Confirmation(tuple(content["arms"]), tuple(content["seeds"]), target, in_domain)


def _mean_and_deviation(values: Floats) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
