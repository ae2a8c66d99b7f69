"""The swarm of one inventory, grown in place: design, train what is missing, publish the table.

Writes, into the artifact, ``swarm.parquet`` (the table that laws are fitted to), ``proxies.parquet`` (every row as
trained, repeats and failures included), ``shares.png`` and ``report.json``. Rows themselves lie in a folder that
outlives artifacts (``proxy.swarm``), and so do the drawn mixtures: they are drawn once for a taxonomy, from the shares
there were then, so that a new snapshot moves the fixed mixtures alone and trains four proxies, not forty.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.mixing.swarm.design import BASELINES, LEXICAL, SwarmDesign, draw_mixtures, fixed_mixtures
from gem_assets.mixing.swarm.runs import TrainedSwarm, trained_swarm
from gem_assets.mixing.swarm.table import SwarmTable
from gem_assets.parallel.shard_map import ShardMap, serial_map
from gem_assets.proxy.config import ProxyConfig
from gem_assets.proxy.counts import DomainCounts
from gem_assets.proxy.lexical import LexicalProxy, mean_spearman
from gem_assets.proxy.noise import seed_noise
from gem_assets.proxy.pool import EvaluationSet, TokenPool
from gem_assets.proxy.repetition import Repetition
from gem_assets.proxy.swarm import (
    ProxyJob,
    SwarmFolderError,
    SwarmProgress,
    SwarmRows,
    SwarmSpec,
    run_swarm,
    swarm_jobs,
)
from gem_assets.report.swarm_plots import shares_against_loss
from gem_assets.storage.durable import make_dirs, write_atomic
from gem_assets.storage.identity import digest, finite
from gem_assets.types import Floats

SWARM_NAME, ROWS_NAME, REPORT_NAME, PICTURE = "swarm.parquet", "proxies.parquet", "report.json", "shares.png"


def swarm_spec(
    config: ProxyConfig, data: Path, taxonomy: str, domains: int, repetition: Repetition | None = None
) -> SwarmSpec:
    """Describe a swarm over clusters ``0 .. domains-1``, on a GPU when the settings say so or there is one."""
    device = config.device
    if device == "auto":
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    together = 1 if device == "cpu" else config.together
    return SwarmSpec(config, data, taxonomy, tuple(map(str, range(domains))), device, together, repetition)


def matched_repetition(
    folder: Path, taxonomy: str, supply: ClusterSupply, config: ProxyConfig, mixing: MixingConfig
) -> Repetition | None:
    """Return the run that the swarm of a taxonomy stands for, kept since its first proxies; None where none is matched.

    It is kept so that a new snapshot, which changes every cluster's tokens a little, does not make all proxies stale.
    Another ``mixing.token_budget`` is another run.

    Raises
    ------
    SwarmFolderError
        When the kept file cannot be read; names it.
    """
    if config.repetition == "off":
        return None
    make_dirs(folder)
    path = folder / f"repetition-{digest({'taxonomy': taxonomy, 'budget': mixing.token_budget})[:32]}.json"
    if not path.is_file():
        budget = mixing.token_budget if mixing.token_budget is not None else supply.total_tokens
        now = Repetition(budget, tuple(int(n) for n in supply.tokens))
        write_atomic(path, json.dumps(now.stored()).encode())
    try:
        return Repetition.read(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SwarmFolderError(f"{path} cannot be read ({error}); remove it, and it is written again") from error


def drawn_mixtures(
    folder: Path,
    taxonomy: str,
    supply: ClusterSupply,
    config: ProxyConfig,
    groups: NDArray[np.int64] | None = None,
) -> tuple[Floats, str]:
    """Return the drawn mixtures of a taxonomy, kept since they were first drawn, and their digest.

    Raises SwarmFolderError when the kept file cannot be read; names it.
    """
    make_dirs(folder)
    kind: dict[str, Any] = {
        "taxonomy": taxonomy,
        "sampler": config.sampler,
        "mixtures": config.mixtures,
        "seed": config.seed,
    }
    if config.sampler == "hierarchical" and groups is not None:
        kind["groups"] = groups.tolist()
    path = folder / f"drawn-{digest(kind)[:32]}.npy"
    if not path.is_file():
        count = max(1, config.mixtures - len(BASELINES) - 1)
        drawn = draw_mixtures(config.sampler, supply.token_shares, count, groups=groups, seed=config.seed + 42)
        buffer = io.BytesIO()
        np.save(buffer, drawn, allow_pickle=False)
        write_atomic(path, buffer.getvalue())
    try:
        mixtures = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SwarmFolderError(f"{path} cannot be read ({error}); remove it, and mixtures are drawn again") from error
    return mixtures, digest(mixtures.tolist())[:32]


def grown_design(
    drawn: Floats, supply: ClusterSupply, config: MixingConfig, lexical_optimum: Floats, pool: TokenPool
) -> SwarmDesign:
    """Put today's fixed mixtures before the drawn ones; clusters that the pool has no tokens of get no share."""
    fixed = fixed_mixtures(supply, config, lexical_optimum)
    rows = np.where(pool.sizes > 0, [*fixed.values(), *drawn], 0.0)
    labels = (*fixed, *(f"drawn-{i:03d}" for i in range(len(drawn))))
    return SwarmDesign(labels, rows / rows.sum(axis=1, keepdims=True))


def train_design(
    design: SwarmDesign,
    spec: SwarmSpec,
    folder: Path,
    *,
    map_shards: ShardMap = serial_map,
    progress: SwarmProgress | None = None,
) -> SwarmRows:
    """Train what is missing of a design, and the repeats from which noise is known."""
    jobs = swarm_jobs(design.labels, design.mixtures, spec.config)
    return run_swarm(jobs, spec, folder, map_shards=map_shards, progress=progress)


def evaluate_round(
    mixtures: Floats,
    label: str,
    spec: SwarmSpec,
    folder: Path,
    *,
    map_shards: ShardMap = serial_map,
    progress: SwarmProgress | None = None,
) -> Floats:
    """Train mixtures ``(m, K)`` into the growing table and return their losses ``(m, J)``.

    ``label`` says where they come from, such as ``climb-2``; the rows carry it with a number behind it.

    Raises SwarmFolderError when one of them diverged.
    """
    pool = spec.pool()
    rows = np.where(pool.sizes > 0, mixtures, 0.0)
    rows /= rows.sum(axis=1, keepdims=True)
    jobs = [ProxyJob.of(f"{label}-{i:03d}", row, spec.config.seed) for i, row in enumerate(rows)]
    found = run_swarm(jobs, spec, folder, map_shards=map_shards, progress=progress)
    if len(found.failed):
        raise SwarmFolderError(f"a proxy of {label} diverged: {found.failed.column('error')[0]}")
    losses = {tuple(p.tolist()): loss for p, loss in zip(found.mixtures, found.losses, strict=True)}
    return np.array([losses[job.shares] for job in jobs])


@dataclass(frozen=True)
class SwarmReport:
    """What a swarm says of itself; figures as they stand in ``report.json``."""

    figures: dict[str, Any]
    mixtures: list[dict[str, Any]]


def publish_swarm(
    rows: SwarmRows,
    lexical: LexicalProxy,
    names: Mapping[int, str],
    out: Path,
    repetition: Repetition | None = None,
) -> tuple[TrainedSwarm, dict[str, Any]]:
    """Write the artifact of a swarm and return it with its figures.

    The figures: proxies, failures, noise between seeds against spread between mixtures (both of the mean over targets,
    nats), and how well stage 0 ranks the trained proxies (mean rank correlation over targets).
    """
    swarm = trained_swarm(rows, repetition)
    swarm.table.write(out / SWARM_NAME)
    pq.write_table(rows.table, out / ROWS_NAME, compression="zstd")
    wanted = [swarm.table.targets.index(t) for t in swarm.wanted]
    mean = swarm.table.losses[:, wanted].mean(1)
    fixed = {label: i for i, label in enumerate(swarm.labels) if label in (*BASELINES, LEXICAL)}
    shown = [names.get(int(d), d) for d in swarm.table.domains]
    picture = shares_against_loss(swarm.table.mixtures, mean, shown, fixed, "mean loss of the targets")
    (out / PICTURE).write_bytes(picture)
    zero = lexical.losses(swarm.table.mixtures)
    figures: dict[str, Any] = {
        "proxies": len(rows),
        "mixtures": len(swarm.labels),
        "failed": len(rows.failed),
        "targets": len(wanted),
        "for_budget": repetition.budget if repetition is not None else None,
        "stage0_spearman": mean_spearman(zero[:, wanted], swarm.table.losses[:, wanted]),
        "best_mixture": swarm.labels[int(mean.argmin())],
        "best_loss": float(mean.min()),
    }
    try:
        noise = seed_noise(rows)
        figures |= {"seed_deviation": noise.mean_within, "mixture_deviation": noise.mean_between}
    except SwarmFolderError:
        figures["seed_deviation"] = None  # without repeats there is nothing to say
    table = [
        {
            "mixture": label,
            "target_loss": float(mean[i]),
            "stage0_loss": float(zero[i, wanted].mean()),
            "largest_share": float(swarm.table.mixtures[i].max()),
        }
        for i, label in enumerate(swarm.labels)
    ]
    report = {
        "figures": figures,
        "mixtures": sorted(table, key=lambda row: row["target_loss"]),
        "labels": swarm.labels,
        "in_domain": swarm.in_domain,
        "other": swarm.other,
        "repetition": repetition.stored() if repetition is not None else None,
    }
    (out / REPORT_NAME).write_text(json.dumps(finite(report), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return swarm, figures


def read_trained(folder: Path) -> TrainedSwarm:
    """Read the swarm back from an artifact."""
    report = json.loads((folder / REPORT_NAME).read_text(encoding="utf-8"))
    parts = {name: tuple(report[name]) for name in ("labels", "in_domain", "other")}
    repetition = Repetition.read(report.get("repetition"))  # swarms of older code matched none
    return TrainedSwarm(table=SwarmTable.read(folder / SWARM_NAME), **parts, repetition=repetition)


def describe_swarm(folder: Path) -> SwarmReport:
    """Read figures and mixtures, best first, back from an artifact."""
    report = json.loads((folder / REPORT_NAME).read_text(encoding="utf-8"))
    return SwarmReport(report["figures"], report["mixtures"])


def lexical_proxy(counts: DomainCounts, data: Path, config: ProxyConfig) -> LexicalProxy:
    """The n-gram model of counts on the evaluation windows of a prepared folder."""
    return LexicalProxy.of(counts, EvaluationSet.load(data), config.counts, config.tau)


def merge_counts(folders: list[Path]) -> DomainCounts:
    """Add up the counts of several snapshots.

    Raises ValueError when there is none.
    """
    if not folders:
        raise ValueError("no snapshot has counts for these clusters yet; materialize cluster_counts first")
    total = DomainCounts.load(folders[0])
    for folder in folders[1:]:
        total = total.merge(DomainCounts.load(folder))
    return total


def wanted_targets(data: Path) -> dict[str, float]:
    """Importance of the targets of a prepared folder: the user's equally, or without any those of the clusters."""
    evaluation = EvaluationSet.load(data)
    own = [name for name, inside in zip(evaluation.names, evaluation.in_domain, strict=True) if not inside]
    return dict.fromkeys(own or evaluation.names, 1.0)
