"""Clusterings side by side on every labelled corpus: ``python -m benchmarks.clusters [--quick]``.

k-means, spherical k-means, movMF with a learnt prior, vMF with a fixed prior (lambda 0), GEM, balanced optimal
transport (a hundred times GEM's lambda), a random partition, and the labels themselves as an imported taxonomy. As many
clusters as labels unless ``--clusters`` says otherwise; mean and standard deviation over seeds. The last line is one
JSON object:

- ``corpora``: for each corpus its documents, labels, ``label_n_eff_over_k`` (1 when the labels are equally frequent),
  anisotropy before and after the clusters' directions are taken out, and for each method the measures as [mean, sd];
- ``gem_minus_spherical_kmeans``: differences of the means by corpus. On corpora whose labels are long-tailed, balance
  costs agreement with the labels, and this is where it shows.

Measures: ``n_eff_over_k``, ``max_over_min`` (null when a cluster is empty), ``gini``; ``cosine`` to the centre,
``pairwise`` cosine, ``npmi`` of topic words, all weighted by size; ``nmi``, ``ari``, ``purity`` against the labels;
``reseeding`` and ``halves``: adjusted Rand index between seeds, and between fits to two halves.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.labelled_corpora import CORPORA, Corpus, load_corpus
from benchmarks.shared_data import shared_folder
from gem_assets.teacher.baselines import METHODS, STARTS, ImportedTaxonomy, baseline
from gem_assets.teacher.metrics import (
    agreement,
    anisotropy,
    balance,
    cosine_coherence,
    effective_clusters,
    pairwise_cosine,
    residuals,
    stability,
)
from gem_assets.teacher.stability import half_stability
from gem_assets.teacher.topics import WordPresence, topic_npmi, word_presence

QUICK_METHODS = ("spherical_kmeans", "vmf_fixed_prior", "gem")
SHOWN = ("n_eff_over_k", "max_over_min", "cosine", "pairwise", "npmi", "nmi", "ari", "purity", "reseeding", "halves")

Measures = dict[str, float]
Table = dict[str, dict[str, list[float | None]]]


def measure(corpus: Corpus, presence: WordPresence, labels: NDArray[np.integer], k: int) -> Measures:
    sizes, agreed = balance(labels, k), agreement(labels, corpus.labels)
    return {
        "n_eff_over_k": sizes.n_eff_over_k,
        "max_over_min": sizes.max_over_min,
        "gini": sizes.gini,
        "cosine": cosine_coherence(corpus.vectors, labels, k),
        "pairwise": pairwise_cosine(corpus.vectors, labels, k),
        "npmi": topic_npmi(presence, labels, k),
        "nmi": agreed.nmi,
        "ari": agreed.ari,
        "purity": agreed.purity,
    }


def summary(runs: list[Measures]) -> dict[str, list[float | None]]:
    """Mean and standard deviation of each measure; null where one run has no finite value."""
    found: dict[str, list[float | None]] = {}
    for name in runs[0]:
        values = np.array([run[name] for run in runs])
        finite = bool(np.isfinite(values).all())
        found[name] = [float(values.mean()), float(values.std())] if finite else [None, None]
    return found


def compare(
    corpus: Corpus, k: int, methods: tuple[str, ...], seeds: int, starts: int, say: Callable[[str], None]
) -> dict[str, object]:
    presence = word_presence(corpus.texts)
    table: Table = {}
    gem_labels = np.zeros(len(corpus.vectors), np.int32)
    for method in methods:
        began = time.process_time()
        labelings = [baseline(method, k, seed=seed, starts=starts).fit(corpus.vectors).labels_ for seed in range(seeds)]
        seconds = (time.process_time() - began) / seeds
        table[method] = summary([measure(corpus, presence, labels, k) for labels in labelings])
        table[method]["reseeding"] = [stability(labelings), None]
        table[method]["halves"] = [half_stability(partial(_named, method, k, starts), corpus.vectors), None]
        table[method]["cpu_s"] = [seconds, None]
        if method == "gem":
            gem_labels = labelings[0]
        say(f"{corpus.name:12s} {method:18s} " + " ".join(_cell(table[method][name]) for name in SHOWN))
    human = ImportedTaxonomy(corpus.labels.tolist()).fit(corpus.vectors)
    own = len(human.names_)
    table["imported_taxonomy"] = summary([measure(corpus, presence, human.labels_, own)])
    say(
        f"{corpus.name:12s} {'imported_taxonomy':18s} "
        + " ".join(_cell(v) for v in _padded(table["imported_taxonomy"]))
    )
    return {
        "documents": len(corpus.vectors),
        "labels": own,
        "clusters": k,
        "label_n_eff_over_k": effective_clusters(np.bincount(human.labels_)) / own,
        "anisotropy_before": asdict(anisotropy(corpus.vectors)),
        "anisotropy_after": asdict(anisotropy(residuals(corpus.vectors, gem_labels, k))),
        "methods": table,
    }


def _named(method: str, k: int, starts: int, seed: int):
    return baseline(method, k, seed=seed, starts=starts)


def _padded(row: dict[str, list[float | None]]) -> list[list[float | None]]:
    return [row.get(name, [None, None]) for name in SHOWN]


def _cell(value: list[float | None]) -> str:
    mean, sd = value
    if mean is None:
        return f"{'-':>12s}"
    return f"{mean:.3f}" + (f"±{sd:.3f}" if sd is not None else " " * 6) if mean < 100 else f"{mean:12.0f}"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three methods, two seeds, 2,000 documents a corpus")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=8_000, help="most documents of a corpus")
    parser.add_argument("--clusters", type=int, help="clusters, instead of as many as labels")
    parser.add_argument("--starts", type=int, default=STARTS, help="short fits of which a mixture continues the best")
    parser.add_argument("--only", nargs="*", help="names of corpora")
    given = parser.parse_args(arguments)
    seeds, rows = (2, 2_000) if given.quick else (given.seeds, given.rows)
    methods = QUICK_METHODS if given.quick else METHODS
    folder = shared_folder() / "corpora"
    print(f"{'corpus':12s} {'method':18s} " + " ".join(f"{name:>12s}" for name in SHOWN), flush=True)
    results: dict[str, dict[str, object]] = {}
    for name, file, column in CORPORA:
        if given.only and name not in given.only:
            continue
        corpus = load_corpus(folder, name, file, column, rows)
        results[name] = compare(
            corpus, given.clusters or corpus.classes, methods, seeds, given.starts, lambda line: print(line, flush=True)
        )
    differences = {
        name: {
            measured: _difference(result["methods"], measured)  # pyright: ignore[reportArgumentType]
            for measured in ("n_eff_over_k", "cosine", "pairwise", "npmi", "nmi", "ari", "reseeding", "halves")
        }
        for name, result in results.items()
    }
    print(
        json.dumps(
            {"corpora": results, "gem_minus_spherical_kmeans": differences, "seeds": seeds, "starts": given.starts}
        )
    )


def _difference(table: Table, measured: str) -> float | None:
    gem, other = table["gem"][measured][0], table["spherical_kmeans"][measured][0]
    return None if gem is None or other is None else gem - other


if __name__ == "__main__":
    main(sys.argv[1:])
