"""Mixture methods against published tables: ``python -m benchmarks.mixing_golden``.

Needs the golden tables beside the checkout (``../shared/golden``, or ``GEM_SHARED``). Prints what it measures and, as
its last line, one JSON object. Each figure is a function of its own, so the tests check the same code.
"""

import argparse
import csv
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

from gem_assets.mixing.heuristics import unimax_shares
from gem_assets.mixing.laws.base import Law
from gem_assets.mixing.laws.exposure import EffectiveExposureLaw
from gem_assets.mixing.laws.log_linear import LogLinearLaw
from gem_assets.mixing.laws.proposal import Proposal, propose_convex, simulate
from gem_assets.mixing.laws.selection import spearman
from gem_assets.mixing.laws.trees import TreesLaw
from gem_assets.mixing.rehydration import RemovalRates, rehydrate
from gem_assets.mixing.swarm.table import SwarmTable, import_swarm
from gem_assets.mixing.tokenizer.bpe import count_words, infer_mixture, train_bpe
from gem_assets.mixing.tokenizer.inference import read_merges
from gem_assets.proxy.config import TokenizerConfig
from gem_assets.proxy.tokens import FILE as TOKENIZER
from gem_assets.proxy.tokens import ProxyTokenizer

Floats = NDArray[np.float64]

# token shares of the 17 Pile domains in the order of the tables, as the published notebook writes them
PILE_PRIOR = np.array(
    [
        0.11328527, 0.07960865, 0.00391349, 0.1853759, 0.05108136, 0.01596293, 0.10175077, 0.00370752, 0.06652935,
        0.00175077, 0.02708548, 0.23686921, 0.01184346, 0.00792997, 0.00803296, 0.03882595, 0.04644696,
    ]
)  # fmt: skip
PILE_CC = "metric/the_pile_pile_cc_val_loss"
# simulated optimum for Pile-CC, rounded as printed
PILE_CC_OPTIMUM = np.array(
    [
        0.004663, 0.003944, 4.8e-7, 0.005810, 0.007255, 0.000690, 0.001137, 0.000126, 0.001112,
        0.002566, 0.003722, 0.890924, 0.061429, 0.000345, 0.002494, 0.012301, 0.001482,
    ]
)  # fmt: skip
FLOAT_TIE = ("maw_Latn", 8)
BPE_SHARES = np.array([0.55, 0.35, 0.10])


def swarm(golden: Path, part: str, size: str) -> SwarmTable:
    """One of the published RegMix tables."""
    folder = golden / "regmix"
    return import_swarm(folder / f"{part}_mixture_{size}.csv", folder / f"{part}_pile_loss_{size}.csv")


def correlations(laws: Sequence[Law], table: SwarmTable) -> Floats:
    """Rank correlation x 100 of each target's law with the losses of a table."""
    return np.array([100 * spearman(law.predict(table.mixtures), table.losses[:, i]) for i, law in enumerate(laws)])


def squared_errors(laws: Sequence[Law], table: SwarmTable) -> Floats:
    """Mean squared error of each target's law on a table."""
    return np.array([np.mean((law.predict(table.mixtures) - table.losses[:, i]) ** 2) for i, law in enumerate(laws)])


def regmix_trees(golden: Path) -> list[TreesLaw]:
    """RegMix's regressor per target, stopped on the test runs as in the published notebook."""
    train, test = swarm(golden, "train", "1m"), swarm(golden, "test", "1m")
    return [
        TreesLaw(42, (test.mixtures, test.losses[:, i])).fit(train.mixtures, train.losses[:, i])
        for i in range(len(train.targets))
    ]


def regmix_optimum(golden: Path, trees: Sequence[TreesLaw]) -> Proposal:
    """Average of the best 128 of 100,000 simulated mixtures for the Pile-CC loss."""
    law = trees[swarm(golden, "train", "1m").targets.index(PILE_CC)]
    return simulate(law.predict, PILE_PRIOR)


def published_mixes(golden: Path, trees: Sequence[TreesLaw]) -> dict[str, float]:
    """Loss on Pile-CC that the trees predict for the mixtures of the published 1B runs.

    Two of them are mixtures of 22 domains of which the 17 are left; their shares are scaled to sum 1.
    """
    table = swarm(golden, "train", "1m")
    law = trees[table.targets.index(PILE_CC)]
    found: dict[str, float] = {}
    for path in sorted((golden / "regmix" / "config_1b").glob("*.yaml")):
        shares = yaml.safe_load(path.read_text())["train"]
        row = np.array([float(shares.get(domain, 0.0)) for domain in table.domains])
        found[path.stem] = float(law.predict(row[None] / row.sum())[0])
    return found


def size_correlation(golden: Path) -> float:
    """Rank correlation of 1M with 60M losses of the same 256 mixtures, mean over the targets."""
    small, large = swarm(golden, "test", "1m"), swarm(golden, "test", "60m")
    return float(np.mean([spearman(small.loss_of(t), large.loss_of(t)) for t in small.targets]))


def effective_exposure(golden: Path, runs: int, subsets: int = 3) -> float:
    """Mean rank correlation over targets and random subsets of so many runs, x 100."""
    train, test = swarm(golden, "train", "1m"), swarm(golden, "test", "1m")
    found: list[float] = []
    for seed in range(subsets):
        rows = np.random.default_rng(seed).permutation(len(train.runs))[:runs]
        laws = [
            EffectiveExposureLaw().fit(train.mixtures[rows], train.losses[rows, i]) for i in range(len(train.targets))
        ]
        found.append(float(correlations(laws, test).mean()))
    return float(np.mean(found))


def loglinear_laws(golden: Path) -> list[LogLinearLaw]:
    """Log-linear law of every target on the 512 runs."""
    train = swarm(golden, "train", "1m")
    return [LogLinearLaw().fit(train.mixtures, train.losses[:, i]) for i in range(len(train.targets))]


def loglinear_kl(laws: Sequence[LogLinearLaw], kl_weight: float = 0.05) -> Proposal:
    """Proposal for the mean of the targets under a divergence from the Pile's shares."""
    return propose_convex(laws, PILE_PRIOR, kl_weight=kl_weight)


def rehydration_mismatches(golden: Path) -> tuple[int, int]:
    """Languages x most repetitions that differ from the published weights or totals, and how many were compared."""
    folder = golden / "fineweb2_rehydration"
    totals = json.loads((folder / "weights" / "resulting_ds_sizes.json").read_text())
    weights = {
        most: json.loads((folder / "weights" / f"up_to_{most:02d}_reps.json").read_text()) for most in range(3, 11)
    }
    wrong = compared = 0
    for path in sorted((folder / "distributions").glob("*.json")):
        rates = RemovalRates.from_published(json.loads(path.read_text()))
        if len(rates.sizes) < 5:
            continue  # upstream's smoothing returns artefacts for these
        for most, published in weights.items():
            if (path.stem, most) == FLOAT_TIE:
                continue
            found = rehydrate(rates, most)
            expected = {int(size): reps for size, reps in published[path.stem].items()}
            compared += 1
            wrong += found.repetitions != expected or found.documents != totals[str(most)][path.stem]
    return wrong, compared


def unimax_error(golden: Path) -> float:
    """Largest difference from Marin's published UniMax mixture."""
    with (golden / "marin" / "proportional_unimax.csv").open() as file:
        rows = list(csv.DictReader(file))
    sizes = np.array([float(r["proportional"]) for r in rows])
    published = np.array([float(r["unimax"]) for r in rows])
    return float(np.abs(unimax_shares(sizes, 0.905353 * float(sizes.sum()), 1.25) - published).max())


def bpe_error(corpora: Path, merges: int = 400, characters: int = 1_000_000) -> float:
    """log10 of the mean squared error of the inferred shares of three categories."""
    table = pq.read_table(corpora / "multidomain" / "webmix_dev.parquet", columns=["text", "label"])
    labels, texts = table.column("label").to_pylist(), table.column("text").to_pylist()
    words = [
        count_words(" ".join(t for t, own in zip(texts, labels, strict=True) if own == label)[:characters])
        for label in ("legal_code", "medical_qa", "code_python")
    ]
    estimate = infer_mixture(words, train_bpe(words, BPE_SHARES, merges))
    return float(np.log10(np.mean((estimate.shares - BPE_SHARES) ** 2)))


def bpe_library_error(corpora: Path, merges: int = 400, characters: int = 1_000_000) -> float:
    """The same for a tokenizer of the ``tokenizers`` library, trained on other documents than it is judged by."""
    table = pq.read_table(corpora / "multidomain" / "webmix_dev.parquet", columns=["text", "label"])
    labels, texts = table.column("label").to_pylist(), table.column("text").to_pylist()
    training: list[str] = []
    judged: list[str] = []
    for label, share in zip(("legal_code", "medical_qa", "code_python"), BPE_SHARES, strict=True):
        own = [t for t, name in zip(texts, labels, strict=True) if name == label]
        text = "\n".join(own[::2]).encode()[: int(share * characters)].decode(errors="ignore")
        training += [text[i : i + 2000] for i in range(0, len(text), 2000)]
        judged.append("\n".join(own[1::2])[:characters])
    with tempfile.TemporaryDirectory() as folder:
        ProxyTokenizer.train(training, TokenizerConfig(vocab=256 + merges + 1)).save(Path(folder))
        learned, count = read_merges(Path(folder) / TOKENIZER, merges)
    estimate = infer_mixture([count(text) for text in judged], learned)
    return float(np.log10(np.mean((estimate.shares - BPE_SHARES) ** 2)))


def timed(name: str, measure: Callable[[], object]) -> object:
    """Run one measurement and say how long it took."""
    start = time.perf_counter()
    result = measure()
    print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("GEM_SHARED") or Path(__file__).resolve().parents[2] / "shared"
    parser.add_argument("--shared", type=Path, default=Path(default), help="folder with golden/ and corpora/")
    shared: Path = parser.parse_args().shared
    golden = shared / "golden"
    if not golden.is_dir():
        raise SystemExit(f"no golden tables at {golden}; set GEM_SHARED or --shared")
    started = time.perf_counter()
    trees = regmix_trees(golden)
    optimum = regmix_optimum(golden, trees)
    print(f"RegMix trees and simulation: {time.perf_counter() - started:.1f} s", flush=True)
    print("predicted Pile-CC loss of published mixtures:", published_mixes(golden, trees), flush=True)
    laws = loglinear_laws(golden)
    path = {weight: loglinear_kl(laws, weight) for weight in (0.0, 0.005, 0.05, 0.1, 0.5)}
    for weight, proposal in path.items():
        print(f"log-linear, KL weight {weight:g}: predicted {proposal.predicted:.4f}, KL {proposal.kl:.3f}")
    exposure = {runs: effective_exposure(golden, runs) for runs in (16, 32, 64, 128)}
    print("effective exposure by runs:", {runs: round(value, 2) for runs, value in exposure.items()}, flush=True)
    wrong, compared = rehydration_mismatches(golden)
    print(f"rehydration: {compared} weight tables compared", flush=True)
    figures = {
        "regmix_1m_spearman": float(correlations(trees, swarm(golden, "test", "1m")).mean()),
        "regmix_60m_spearman": float(correlations(trees, swarm(golden, "test", "60m")).mean()),
        "regmix_1m_mse": float(np.mean(squared_errors(trees, swarm(golden, "test", "1m")))),
        "regmix_1m_60m_spearman": size_correlation(golden),
        "regmix_optimum_max_error": float(np.abs(optimum.shares - PILE_CC_OPTIMUM).max()),
        "effective_exposure_n64": exposure[64],
        "loglinear_kl_pred": path[0.05].predicted,
        "loglinear_kl_divergence": path[0.05].kl,
        "rehydration_mismatches": wrong,
        "unimax_max_error": unimax_error(golden),
        "bpe_log10_mse": timed("BPE inference", lambda: bpe_error(shared / "corpora")),
        "bpe_library_log10_mse": timed("BPE inference, other documents", lambda: bpe_library_error(shared / "corpora")),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
