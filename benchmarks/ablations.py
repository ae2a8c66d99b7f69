"""The method taken apart: ``python -m benchmarks.ablations [--quick] [--out FOLDER]``.

Four tables on two labelled corpora (a long-tailed mix of domains, and real web pages with 23 evenly sampled topics),
the default embedding space; the last line is one JSON object with the same four keys:

- ``ladder``: k-means, spherical k-means, vMF with a fixed prior, GEM, and GEM with an entropy instead of the squared
  distance, at K = 24: what each step changes;
- ``k_sweep``: GEM at K = 12 ... 48, with stability over halves and drop in bigram loss; a picture with ``--out``;
- ``lambda_sweep``: lambda as a multiple of kappa at K = 24, from none to near balanced transport; ``unseen_n_eff`` is
  the balance of documents that the fit did not see, with the offsets b and without;
- ``selection``: 10 documents per cluster chosen by the Geometric Influence Score (terms standardised, and as printed),
  at random, by confidence alone and by centrality alone. ``named_right`` is the share of them whose human label is the
  commonest one of their cluster (what a namer that is shown them has to go by); ``student`` is the agreement with the
  teacher, on documents held out at random, of a student trained on ``train_per_cluster`` documents so chosen.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.entropy_term import fit_entropy
from benchmarks.k_sweep import sweep_curves, sweep_k
from benchmarks.labelled_corpora import CORPORA, Corpus, load_corpus
from benchmarks.shared_data import shared_folder
from gem_assets.proxy.bigram_drop import BigramDrop
from gem_assets.student.config import StudentConfig
from gem_assets.student.labeller import StudentLabeller
from gem_assets.taxonomy.config import TaxonomyConfig
from gem_assets.taxonomy.gis import geometric_influence
from gem_assets.teacher.baselines import STARTS, baseline
from gem_assets.teacher.config import PAPER_RATIO, TeacherConfig
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.metrics import agreement, balance, cosine_coherence
from gem_assets.teacher.seed_fit import seed_responsibilities
from gem_assets.teacher.topics import WordPresence, topic_npmi, word_presence

K = 24
CHOSEN = ("webmix", "web topics")
TABLES = ("ladder", "k_sweep", "lambda_sweep", "selection")
KS = (12, 16, 24, 32, 36, 48)
RATIOS = (0.0, 0.5, 1.0, 2.0, PAPER_RATIO, 50.0)
EXEMPLARS = 10
#: beta of the entropy ablation, nats, as a multiple of kappa.
ENTROPY_RATIO = 0.23

Row = dict[str, float | None]
Floats = NDArray[np.float64]


class Bench:
    """A corpus with everything the tables ask of it."""

    def __init__(self, corpus: Corpus, seeds: int, starts: int) -> None:
        self.corpus = corpus
        self.seeds = seeds
        self.starts = starts
        self.words: WordPresence = word_presence(corpus.texts)
        self.drop = BigramDrop.of(corpus.texts)

    def figures(self, labels: NDArray[np.integer], k: int) -> Row:
        """Balance, coherence, drop in loss and agreement with the labels."""
        sizes, agreed = balance(labels, k), agreement(labels, self.corpus.labels)
        return {
            "n_eff_over_k": sizes.n_eff_over_k,
            "max_over_min": None if sizes.empty else sizes.max_over_min,
            "cosine": cosine_coherence(self.corpus.vectors, labels, k),
            "npmi": topic_npmi(self.words, labels, k),
            "bigram_drop": self.drop(labels, k),
            "nmi": agreed.nmi,
            "ari": agreed.ari,
        }

    def mean(self, fit: Callable[[int], NDArray[np.integer]]) -> Row:
        """Mean of the figures over seeds."""
        return mean_rows([self.figures(fit(seed), K) for seed in range(self.seeds)])


def mean_rows(rows: list[Row]) -> Row:
    found: Row = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        known = [v for v in values if v is not None]
        found[name] = float(np.mean(known)) if len(known) == len(values) else None
    return found


def ladder(bench: Bench) -> dict[str, Row]:
    x = bench.corpus.vectors

    def by_entropy(seed: int) -> NDArray[np.integer]:
        start = GemTeacher(K, seed=seed, n_init=bench.starts).fit(x).theta
        return fit_entropy(x, start, ENTROPY_RATIO * float(start.kappa.mean()), max_iter=30).labels

    steps = {
        name: bench.mean(lambda seed, name=name: baseline(name, K, seed=seed, starts=bench.starts).fit(x).labels_)
        for name in ("kmeans", "spherical_kmeans", "vmf_fixed_prior", "gem")
    }
    return {**steps, "gem_entropy_term": bench.mean(by_entropy)}


def lambda_sweep(bench: Bench) -> dict[str, Row]:
    x = bench.corpus.vectors
    half = np.random.default_rng(0).permutation(len(x))
    seen, unseen = x[half[: len(x) // 2]], x[half[len(x) // 2 :]]
    kappa = float(GemTeacher(K, n_init=bench.starts).fit(x).kappa_.mean())
    rows: dict[str, Row] = {}
    for ratio in RATIOS:
        row = bench.mean(
            lambda seed, ratio=ratio: GemTeacher(K, ratio * kappa, seed=seed, n_init=bench.starts).fit(x).labels_
        )
        teacher = GemTeacher(K, ratio * kappa, n_init=bench.starts).fit(seen)
        scores = teacher.log_joint(unseen)
        row["unseen_n_eff_over_k"] = balance(scores.argmax(axis=1), K).n_eff_over_k
        row["unseen_n_eff_over_k_without_b"] = balance((scores - teacher.b_).argmax(axis=1), K).n_eff_over_k
        rows[f"{ratio:g}"] = row
    return rows


def best_by(scores: Floats, labels: NDArray[np.integer], allowed: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """The ``count`` documents of each cluster with the highest score, of those allowed."""
    chosen: list[NDArray[np.int64]] = []
    for cluster in range(K):
        rows = np.flatnonzero((labels == cluster) & allowed)
        chosen.append(rows[np.argsort(-scores[rows], kind="stable")[:count]])
    return np.concatenate(chosen)


def selection(bench: Bench, per_cluster: int) -> dict[str, Row]:
    x, human = bench.corpus.vectors, np.unique(bench.corpus.labels, return_inverse=True)[1]
    runs: dict[str, list[Row]] = {}
    for seed in range(bench.seeds):
        teacher = GemTeacher(K, seed=seed, n_init=bench.starts).fit(x)
        labels = teacher.labels_
        joint = teacher.log_joint(x)
        confidence = joint[np.arange(len(x)), labels] - np.logaddexp.reduce(joint, axis=1)
        centrality = teacher.log_density(x, labels)
        rng = np.random.default_rng(seed)
        held_out = rng.random(len(x)) < 0.3
        commonest = np.array([np.bincount(human[labels == c], minlength=1).argmax() for c in range(K)])
        responsibilities = seed_responsibilities(teacher, x)
        orders = {
            "random": rng.random(len(x)),
            "confidence": confidence,
            "centrality": centrality,
            "gis": geometric_influence(x, labels, confidence, centrality, TaxonomyConfig()),
            "gis_as_printed": geometric_influence(x, labels, confidence, centrality, TaxonomyConfig(gis="literal")),
        }
        for name, scores in orders.items():
            shown = best_by(scores, labels, np.ones(len(x), bool), EXEMPLARS)
            train = best_by(scores, labels, ~held_out, per_cluster)
            student = StudentLabeller.fit(
                [bench.corpus.texts[int(i)] for i in train],
                labels[train],
                responsibilities[train],
                StudentConfig(seed=seed, match_shares=False),
                n_clusters=K,
            )
            test = np.flatnonzero(held_out)
            predicted = student.predict([bench.corpus.texts[int(i)] for i in test]).cluster
            runs.setdefault(name, []).append(
                {
                    "named_right": float(np.mean(human[shown] == commonest[labels[shown]])),
                    "student": float(np.mean(predicted == labels[test])),
                    "trained_on": float(len(train)),
                }
            )
    return {name: {**mean_rows(rows), "student_sd": _sd(rows, "student")} for name, rows in runs.items()}


def _sd(rows: list[Row], name: str) -> float:
    return float(np.std([row[name] for row in rows if row[name] is not None]))


def show(title: str, rows: dict[str, Row]) -> None:
    names = list(next(iter(rows.values())))
    print(f"\n{title}\n{'':18s}" + " ".join(f"{name[:13]:>13s}" for name in names))
    for label, row in rows.items():
        cells = (row[name] for name in names)
        print(f"{label:18s}" + " ".join(f"{'-':>13s}" if v is None else f"{v:13.3f}" for v in cells), flush=True)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one corpus, one seed, 2,000 documents, K of 12 and 24")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=6_000, help="most documents of a corpus")
    parser.add_argument("--starts", type=int, default=STARTS, help="short fits of which a mixture continues the best")
    parser.add_argument("--only", nargs="*", default=CHOSEN, help="names of corpora")
    parser.add_argument("--tables", nargs="*", default=TABLES, choices=TABLES, help="tables to make")
    parser.add_argument("--train-per-cluster", type=int, default=50)
    parser.add_argument("--out", type=Path, help="folder for the pictures of the K sweep")
    given = parser.parse_args(arguments)
    seeds, rows, ks = (1, 2_000, KS[:3:2]) if given.quick else (given.seeds, given.rows, KS)
    folder = shared_folder() / "corpora"
    results: dict[str, dict[str, object]] = {table: {} for table in TABLES}
    for name, file, column in CORPORA:
        if name not in given.only or (given.quick and name != CHOSEN[0]):
            continue
        bench = Bench(load_corpus(folder, name, file, column, rows), seeds, given.starts)
        if "ladder" in given.tables:
            results["ladder"][name] = found = ladder(bench)
            show(f"{name}: ladder, K = {K}", found)
        if "k_sweep" in given.tables:
            points = sweep_k(bench.corpus.vectors, ks, TeacherConfig(n_init=given.starts), bigram_drop=bench.drop)
            show(f"{name}: K sweep", {str(p.k): {n: v for n, v in asdict(p).items() if n != "k"} for p in points})
            results["k_sweep"][name] = [asdict(p) for p in points]
            if given.out is not None:
                given.out.mkdir(parents=True, exist_ok=True)
                (given.out / f"k_sweep_{name.replace(' ', '_')}.png").write_bytes(sweep_curves(points))
        if "lambda_sweep" in given.tables:
            results["lambda_sweep"][name] = found = lambda_sweep(bench)
            show(f"{name}: lambda / kappa, K = {K}", found)
        if "selection" in given.tables:
            results["selection"][name] = found = selection(bench, given.train_per_cluster)
            show(f"{name}: selection", found)
    print(json.dumps({**results, "seeds": seeds, "starts": given.starts, "train_per_cluster": given.train_per_cluster}))


if __name__ == "__main__":
    main(sys.argv[1:])
