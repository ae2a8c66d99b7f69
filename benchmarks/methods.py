"""Every mixture method on a problem whose answer is known: ``python -m benchmarks.methods [--quick] [--only PART …]``.

Prints how far each lands from the answer and, for the online methods, what a run costs against plain training of the
same tokens; the last line is one JSON object. The problems are small: they say that a method does what its equations
say, not that it makes a better model. The Bayesian searches run on the published RegMix tables (``../shared/golden``)
and are left out where those are absent.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.optimize import minimize

from benchmarks.mixing_golden import PILE_CC, swarm
from gem_assets.mixing.continual.policy import DataMixingAgent, random_trajectories
from gem_assets.mixing.continual.ratio_law import CriticalRatio
from gem_assets.mixing.domain_models import MergedProxies
from gem_assets.mixing.laws.base import normalised_rows
from gem_assets.mixing.laws.selection import spearman
from gem_assets.mixing.methods.aioli import AioliHook
from gem_assets.mixing.methods.bayes import search_pool
from gem_assets.mixing.methods.doge import DGAHook, DoGEHook
from gem_assets.mixing.methods.doremi import DoReMiHook
from gem_assets.mixing.methods.meta_rater import learn_weights
from gem_assets.mixing.methods.mixmin import mixmin
from gem_assets.mixing.methods.quadmix import QualityCorpus, search_quadmix, token_shares
from gem_assets.mixing.methods.quadmix import sampling_values as quadmix_values
from gem_assets.mixing.methods.qurating import select_by_quality
from gem_assets.mixing.methods.skillit import SkillItHook
from gem_assets.mixing.methods.tikmix import TiKMiXHook, propose_blended, propose_direct
from gem_assets.mixing.online.hook import OnlineHook, OnlineMethod
from gem_assets.mixing.online.trainer import train_online, train_reference
from gem_assets.mixing.search.fidelity import search_fidelities
from gem_assets.proxy.config import ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.pool import EvaluationSet, TokenPool
from gem_assets.proxy.train import train_proxy
from tests.proxy.worlds import markov_world

Figures = dict[str, float]
EVEN = np.full(3, 1 / 3)


def config(steps: int, batch: int = 4) -> ProxyConfig:
    """A decoder of some thousand parameters."""
    return ProxyConfig(
        model=ModelConfig(width=16, layers=1, heads=2, context=16),
        training=TrainingConfig(tokens=steps * batch * 16, batch=batch, precision="fp32"),
    )


def with_middle(stream: np.ndarray) -> tuple[TokenPool, EvaluationSet]:
    """The toy world with another middle domain, which is not among the targets."""
    pool, evaluation = markov_world()
    kept = evaluation.target != 1
    targets = EvaluationSet(
        ("first", "last"),
        evaluation.windows[kept],
        (evaluation.target[kept] > 0).astype(np.int64),
        np.full(2, 100),
        np.ones(2, bool),
    )
    return TokenPool.of([pool.domain(0), stream, pool.domain(2)], pool.vocab), targets


def online(seeds: int) -> Figures:
    """Share of the target's own domain (1/3 before), share of a domain of noise, and cost over plain training."""
    pool, evaluation = markov_world()
    noise = np.random.default_rng(0).integers(0, pool.vocab, 5000).astype(np.uint16)
    noisy = with_middle(noise)
    known = with_middle(np.full(5000, 7, np.uint16))
    out: Figures = {}

    def run(name: str, world: tuple[TokenPool, EvaluationSet], make: Callable[[], OnlineMethod], domain: int) -> None:
        shares, seconds, plain = [], 0.0, 0.0
        for seed in range(seeds):
            found = train_online(*world, make(), config(100), seed=seed)
            base = train_online(*world, OnlineHook(EVEN), config(100), seed=seed)
            shares.append(float(found.mixture[domain]))
            seconds, plain = seconds + found.seconds, plain + base.seconds
        out[f"{name}_share"] = float(np.mean(shares))
        out[f"{name}_worst"] = float(min(shares) if "own" in name else max(shares))
        out[f"{name}_cost"] = seconds / plain
        print(f"{name}: shares {np.round(shares, 3).tolist()}, {seconds / plain:.2f} x plain training", flush=True)

    first = np.eye(3)[0]
    run("doge_own", (pool, evaluation), lambda: DoGEHook(3, every=5, windows=2, targets=first), 0)
    run("dga_own", (pool, evaluation), lambda: DGAHook(3, every=5, windows=2, targets=first), 0)
    run("tikmix_own", (pool, evaluation), lambda: TiKMiXHook(3, stage_steps=20, windows=6, targets=first), 0)
    run("aioli_noise", noisy, lambda: AioliHook(3, round_steps=40, sweeps=1, play_steps=6, eta=3.0), 1)
    run("skillit_noise", noisy, lambda: SkillItHook(3, graph_steps=15, every=20, eta=2.0), 1)
    for name, world in (("doremi_known", known), ("doremi_noise", noisy)):
        reference = train_reference(world[0], EVEN, config(200), seed=99)
        run(name, world, lambda reference=reference: DoReMiHook(reference, EVEN, eta=0.3), 1)
    return out


def vertices(seeds: int) -> Figures:
    """Part of the runs in which TiKMiX gives the target's own domain less than .1 after the first stage."""
    pool, evaluation = markov_world()
    out: Figures = {}
    for name, windows, entropy in (("few", 2, 0.1), ("many", 6, 0.5)):
        left = [
            float(
                train_online(
                    pool,
                    evaluation,
                    TiKMiXHook(3, stage_steps=20, windows=windows, entropy=entropy, targets=np.eye(3)[target]),
                    config(100),
                    seed=seed,
                )
                .trajectory[20:, target]
                .min()
                < 0.1
            )
            for target in range(3)
            for seed in range(seeds)
        ]
        out[f"tikmix_{name}_left"] = float(np.mean(left))
    return out


def likelihood() -> Figures:
    """MixMin against the most likely mixture of four categorical sources."""
    rng = np.random.default_rng(0)
    sources = rng.dirichlet(np.ones(30), 4)
    tokens = rng.choice(30, 4000, p=np.array([0.5, 0.3, 0.2, 0.0]) @ sources)
    logs = np.log(sources[:, tokens].T)

    def negative(v: np.ndarray) -> float:
        shares = np.exp(v - v.max())
        return -float(np.mean(np.log(np.exp(logs) @ (shares / shares.sum()))))

    direct = minimize(negative, np.zeros(4), method="BFGS", options={"gtol": 1e-9}).x
    direct = np.exp(direct - direct.max()) / np.exp(direct - direct.max()).sum()
    return {"mixmin_max_error": float(np.abs(mixmin(logs, tolerance=1e-9) - direct).max())}


def influences() -> Figures:
    """TiKMiX-D against a general solver; M against a planted optimum."""
    rng = np.random.default_rng(0)
    table, prior = rng.normal(size=(6, 3)), rng.dirichlet(np.ones(6))
    found = propose_direct(table, prior, entropy=0.3).shares
    constraints = [
        {"type": "eq", "fun": lambda p: p.sum() - 1},
        {"type": "ineq", "fun": lambda p: p @ table - prior @ table},
    ]
    general = minimize(
        lambda p: -(p @ table.mean(axis=1) - 0.3 * np.sum(p * np.log(np.maximum(p, 1e-300)))),
        prior,
        bounds=[(1e-9, 1)] * 6,
        constraints=constraints,
        tol=1e-12,
    ).x
    best = np.array([0.55, 0.35, 0.1])
    blended = propose_blended(EVEN, lambda p: np.array([-np.sum((p - best) ** 2)]), draws=200, concentration=10.0)
    return {
        "tikmix_d_max_error": float(np.abs(found - general).max()),
        "tikmix_m_max_error": float(np.abs(blended - best).max()),
    }


def quality() -> Figures:
    """QuRating's odds, and what QuaDMix and Meta-rater find of a planted quality."""
    scores = np.repeat([0.0, 1.0], 300_000)
    taken = select_by_quality(scores, np.ones(600_000, np.int64), np.array([6000.0]), tau=2.0).copies
    odds = float(taken[300_000:].sum() / taken[:300_000].sum() / np.exp(0.5))
    rng = np.random.default_rng(0)
    corpus = QualityCorpus(rng.normal(size=(800, 2)), np.arange(800) % 2, rng.integers(5, 50, 800))
    worth = corpus.scores[:, 0] + np.where(corpus.domains == 0, 0.8, -0.8)
    rule, search = search_quadmix(
        corpus,
        lambda many: np.array([-(v * corpus.tokens) @ worth / (v @ corpus.tokens) for v in many]),
        runs=120,
        candidates=4000,
    )
    values = quadmix_values(corpus, rule)
    values3 = rng.normal(size=(3000, 3))
    learned = learn_weights(
        values3,
        np.full(3000, 10),
        6000,
        lambda many: np.array([-(values3[chosen] @ [0.8, 0.6, 0.0]).mean() for chosen in many]),
        runs=120,
        candidates=3000,
    ).weights
    return {
        "qurating_odds_over_theory": odds,
        "quadmix_right_score": float(rule.merge[0, 0]),
        "quadmix_right_domain": float(token_shares(corpus, values)[0]),
        "quadmix_cv_spearman": search.cv_spearman,
        "metarater_cosine": float(learned @ [0.8, 0.6, 0.0] / np.linalg.norm(learned)),
    }


def ratio() -> Figures:
    """Critical ratio of planted losses with noise of 0.0005 nats, within and one doubling beyond the tokens."""
    grid = np.array([0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8])
    tokens, ratios = (a.ravel() for a in np.meshgrid([2e9, 5e9, 10e9, 20e9], grid))
    drop = 0.05 * (tokens / 20e9) ** 0.6
    losses = 2.5 - drop + 0.4 * ratios**1.5 + 5e-4 * np.random.default_rng(0).standard_normal(len(tokens))
    found = CriticalRatio().fit(tokens, ratios, losses, start=2.5)
    expected = (0.05 * (found.tokens_ / 20e9) ** 0.6 / 0.4) ** (2 / 3)
    beyond = (0.05 * 2.0**0.6 / 0.4) ** (2 / 3)
    return {
        "critical_ratio_max_error": float(np.abs(found.ratios_ - expected).max()),
        "critical_ratio_beyond_error": float(abs(found.predict(np.array([40e9]))[0] - beyond)),
    }


def merged() -> Figures:
    """Rank correlation, over 16 mixtures, of merged models' losses with those of trained ones; a target each."""
    pool, evaluation = markov_world()
    mixtures = np.random.default_rng(0).dirichlet(np.ones(3), 16)
    trained = np.array([train_proxy(pool, evaluation, p, config(60)).losses[-1] for p in mixtures])
    model = MergedProxies(config(60)).fit(pool)
    found = model.predict(mixtures, evaluation)
    per_target = [spearman(found[:, j], trained[:, j]) for j in range(3)]
    return {
        "merging_spearman": float(np.mean(per_target)),
        "merging_spearman_of_mean": spearman(found.mean(axis=1), trained.mean(axis=1)),
        "merging_cost": model.tokens_ / (60 * 64 * 16),
    }


class Decay:
    """Losses that fall by ``exp(-A p)`` a period: only the mean mixture counts."""

    help = np.array([[0.5, 0.05, 0.0], [0.05, 0.4, 0.05], [0.0, 0.05, 0.1]])
    start, importance = np.array([4.0, 3.0, 3.0]), np.array([0.5, 0.3, 0.2])

    def reset(self) -> np.ndarray:  # noqa: D102
        self.loss = self.start.copy()
        return self.loss.copy()

    def step(self, mixture: np.ndarray) -> np.ndarray:  # noqa: D102
        self.loss = 1 + (self.loss - 1) * np.exp(-self.help @ mixture)
        return self.loss.copy()

    def gain(self, mixture: np.ndarray) -> float:  # noqa: D102
        end = 1 + (self.start - 1) * np.exp(-6 * self.help @ mixture)
        return float((self.start - end) @ self.importance)


def steered(seeds: int) -> Figures:
    """Gain of Data Mixing Agent as a part of the optimum's, after imitation alone and after both stages."""
    world = Decay()
    grid = np.array([(i, j, 60 - i - j) for i in range(61) for j in range(61 - i)]) / 60
    best = max(world.gain(p) for p in grid)
    found: dict[int, list[float]] = {0: [], 300: []}
    for seed in range(seeds):
        walks = random_trajectories(world, EVEN, 6, 120, seed=seed)
        for steps, gains in found.items():
            policy = DataMixingAgent(world.importance, improvement_steps=steps, seed=seed).fit(walks)
            gains.append(policy.run(world).gain(world.importance) / best)
    return {
        "agent_imitation": float(np.mean(found[0])),
        "agent_improved": float(np.mean(found[300])),
        "agent_even": world.gain(EVEN) / best,
    }


def pools(golden: Path, seeds: int) -> Figures:
    """Runs until the best of 256 published 60M mixtures for Pile-CC is found; one 1M run costs a sixtieth."""
    small, large = swarm(golden, "test", "1m"), swarm(golden, "test", "60m")
    losses = [small.loss_of(PILE_CC), large.loss_of(PILE_CC)]
    mixtures, best = normalised_rows(large.mixtures), losses[1].min()
    single, multi = [], []
    for seed in range(seeds):
        one = search_pool(mixtures, lambda i: float(losses[1][i]), 40, seed=seed)
        hits = np.flatnonzero(np.array(one.losses) <= best)
        single.append(float(hits[0] + 1) if len(hits) else 256.0)
        two = search_fidelities(
            mixtures, lambda i, s: float(losses[s][i]), [0.0, 1.0], [1 / 60, 1.0], 6.0, first=8, seed=seed
        )
        costs = np.cumsum([(1 / 60, 1.0)[s] for _, s in two.tried])
        hits = np.flatnonzero([s == 1 and losses[1][i] <= best for i, s in two.tried])
        multi.append(float(costs[hits[0]]) if len(hits) else 256.0)
        print(f"seed {seed}: {single[-1]:.0f} runs of one size, {multi[-1]:.2f} of two", flush=True)
    return {
        "bayes_median_runs": float(np.median(single)),
        "fidelity_median_cost": float(np.median(multi)),
        "fidelity_worst_cost": float(max(multi)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer seeds")
    parser.add_argument("--only", nargs="*", default=[], help="parts to run; all by default")
    arguments = parser.parse_args()
    quick: bool = arguments.quick
    figures: Figures = {}
    parts: dict[str, Callable[[], Figures]] = {
        "online": lambda: online(2 if quick else 5),
        "vertices": lambda: vertices(2 if quick else 5),
        "likelihood": likelihood,
        "influences": influences,
        "quality": quality,
        "ratio": ratio,
        "merged": merged,
        "steered": lambda: steered(1 if quick else 5),
    }
    golden = Path(os.environ.get("GEM_SHARED") or Path(__file__).resolve().parents[2] / "shared") / "golden"
    if golden.is_dir():
        parts["pools"] = lambda: pools(golden, 3 if quick else 10)
    for name, measure in parts.items():
        if arguments.only and name not in arguments.only:
            continue
        start = time.process_time()
        found = measure()
        figures |= found
        print(f"{name}: {found} in {time.process_time() - start:.1f} CPU-s", flush=True)
    print(json.dumps({key: float(f"{value:.4g}") for key, value in figures.items()}))


if __name__ == "__main__":
    main()
