"""Does a proxy find the share that is best for a run that repeats text?

``python -m benchmarks.epochs [--root ROOT] [--quick]``. For a cluster of the prepared tokens of a finished root: its
share, against all other text, at which the loss on its own held-out windows is least. The run has sixteen times the
proxies' tokens, and so little of the cluster that it reads it several times. Brute force trains the run itself at every
share; proxies are trained at the same shares, once as they are and once with the run's repetition
(:mod:`gem_assets.proxy.repetition`). Seeds and streams are shared by all. The last line is one JSON object:

``share_error_matched``, ``share_error_off``
    Mean distance of the proxies' best share from brute force's, over clusters and seeds.
``regret_matched``, ``regret_off``
    What the run loses at the proxies' best share, nats per token above its own best, mean.
``cases``
    Cluster, seed, the three best shares.
``load``
    Of the machine, at the start and at the end.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.explore import finished_root
from gem_assets.proxy.config import ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.pool import EvaluationSet, TokenPool
from gem_assets.proxy.repetition import Repetition
from gem_assets.proxy.train import train_proxy
from gem_assets.settings import load_existing
from gem_assets.stages import PROXY_TOKENS
from gem_assets.storage.store import Store
from gem_assets.types import Floats

SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9)
PROXY_TOKENS_EACH, TIMES = 16_384, 16
CLUSTER_TOKENS = 16_384
"""Of the cluster that the run has: at a share of a half it reads them eight times."""
CLUSTERS, SEEDS = 3, (0, 1, 2)


def config_of(tokens: int) -> ProxyConfig:
    """Return a small proxy, trained on so many tokens."""
    model = ModelConfig(width=48, layers=2, heads=2, context=128)
    return ProxyConfig(model=model, training=TrainingConfig(tokens=tokens, batch=4, evaluate_at=(1.0,)))


def losses(pool: TokenPool, evaluation: EvaluationSet, tokens: int, seed: int) -> Floats:
    """Loss at each of :data:`SHARES` of the first domain, nats per token."""
    config = config_of(tokens)
    return np.array(
        [train_proxy(pool, evaluation, np.array([p, 1 - p]), config, seed=seed).losses[-1][0] for p in SHARES]
    )


def case(whole: TokenPool, evaluation: EvaluationSet, cluster: int, seed: int) -> dict[str, Any]:
    """Best shares of one cluster, by brute force and by both kinds of proxy."""
    run_tokens = PROXY_TOKENS_EACH * TIMES
    own = whole.domain(cluster)
    others = np.concatenate([whole.domain(k) for k in range(whole.domains) if k != cluster])
    rng = np.random.default_rng(seed)
    rest = others[rng.integers(0, max(1, len(others) - run_tokens)) :][:run_tokens]
    # the proxies' pool holds more of the cluster than the run has, as one does that serves all budgets
    pool = TokenPool.of([own, rest], whole.vocab, whole.tokenizer)
    run = Repetition(run_tokens, (CLUSTER_TOKENS, len(rest)))
    real = losses(TokenPool.of([own[:CLUSTER_TOKENS], rest], whole.vocab), evaluation, run_tokens, seed)
    cut = run.cut(pool, PROXY_TOKENS_EACH, config_of(1).model.context)
    found = {
        "brute": real,
        "matched": losses(cut, evaluation, PROXY_TOKENS_EACH, seed),
        "off": losses(pool, evaluation, PROXY_TOKENS_EACH, seed),
    }
    best = {name: int(np.argmin(values)) for name, values in found.items()}
    return {
        "cluster": cluster,
        "seed": seed,
        **{name: SHARES[at] for name, at in best.items()},
        "regret_matched": float(real[best["matched"]] - real.min()),
        "regret_off": float(real[best["off"]] - real.min()),
    }


def measure(root: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Run the cases of a root, each printed when it is done."""
    prepared = Store(load_existing(root).data_root).artifacts.current(PROXY_TOKENS)
    if prepared is None:
        raise SystemExit(f"{root} has no {PROXY_TOKENS}; make them with: gem run --until {PROXY_TOKENS}")
    whole, evaluation = TokenPool.load(prepared.path), EvaluationSet.load(prepared.path)
    own = [name for name, inside in zip(evaluation.names, evaluation.in_domain, strict=True) if inside]
    cases: list[dict[str, Any]] = []
    for name in own[:: max(1, len(own) // CLUSTERS)][: 1 if quick else CLUSTERS]:
        target = evaluation.only(np.array([evaluation.names.index(name)]))
        windows = target.windows[:, -config_of(1).model.context - 1 :]
        short = EvaluationSet(target.names, windows, target.target, target.n_bytes, target.in_domain)
        for seed in SEEDS[:1] if quick else SEEDS:
            cases.append(case(whole, short, int(name), seed))
            print(cases[-1], flush=True)
    return cases


def main() -> None:
    """Run every case and print the means."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--root", type=Path, help="a finished data root, instead of a small demo's")
    parser.add_argument("--quick", action="store_true", help="one cluster, one seed")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        cases = measure(asked.root or finished_root(Path(folder)), quick=asked.quick)
    told = {
        f"share_error_{name}": float(np.mean([abs(one[name] - one["brute"]) for one in cases]))
        for name in ("matched", "off")
    }
    regret = {name: float(np.mean([one[name] for one in cases])) for name in ("regret_matched", "regret_off")}
    print(json.dumps({**told, **regret, "cases": cases, "load": [round(load, 1), round(os.getloadavg()[0], 1)]}))


if __name__ == "__main__":
    main()
