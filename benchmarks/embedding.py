"""Cluster quality and speed of the embedders on labelled corpora: ``python -m benchmarks.embedding [--quick]``.

Every variant is fitted on the corpus itself, without its labels; spherical k-means (faiss) with as many clusters as
labels, mean NMI over seeds. Seconds are CPU seconds of one thread. Corpora are those of ../shared (or GEM_SHARED). The
last line is one JSON object.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import normalized_mutual_info_score
from sklearn.preprocessing import normalize

from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder

#: File; for each label column a name and the NMI of spherical k-means on MiniLM vectors, where it was measured before.
CORPORA: dict[str, dict[str, tuple[str, float | None]]] = {
    "labeled/web_topics_formats.parquet": {"label": ("web pages", 0.40), "format": ("web formats", None)},
    "labeled/ag_news_test.parquet": {"label": ("short news", 0.59)},
    "labeled/reuters21578.parquet": {"label": ("reuters", 0.51)},
    "snapshots/tldr_recrawls.parquet": {"label": ("tldr", None)},
    "multidomain/webmix_dev.parquet": {"label": ("webmix", 0.77)},
}

DEFAULT = "cca 256 (default)"
VARIANTS: dict[str, EmbeddingConfig] = {
    "lsa 100, idf": EmbeddingConfig(method="lsa", dimension=100, idf_power=1.0),
    "lsa 256, idf": EmbeddingConfig(method="lsa", idf_power=1.0),
    "lsa 256, idf^2": EmbeddingConfig(method="lsa"),
    "lsa 256, idf^2, centred": EmbeddingConfig(method="lsa", remove_common_component=True),
    DEFAULT: EmbeddingConfig(),
    "cca 128": EmbeddingConfig(dimension=128),
    "cca 256 + lsa 100": EmbeddingConfig(method="cca+lsa"),
    "cca 256 + lsa 256": EmbeddingConfig(method="cca+lsa", lsa_dimension=256, lsa_weight=0.8),
    "cca 256, bigrams": EmbeddingConfig(bigrams=True),
    "cca 256, char 3-5": EmbeddingConfig(char_ngrams=(3, 5), hash_bits=22),
}
QUICK = ("lsa 256, idf", DEFAULT)
SLOW = ("cca 256, char 3-5",)
TEXTBOOK = "textbook tf-idf + svd-100"


def load(folder: Path, file: str) -> pa.Table:
    """Texts and labels; Reuters without its documents of no or several topics, re-crawls in their last state."""
    table = pq.read_table(folder / file)
    if file.startswith("snapshots/"):
        last = max(table["snapshot"].to_pylist())
        table = table.filter(pc.equal(table["snapshot"], last))
    return table.filter(pc.invert(pc.starts_with(table["label"], "(")))


def nmi(vectors: np.ndarray, labels: np.ndarray, seeds: int) -> tuple[float, float]:
    """Mean and standard deviation over seeds."""
    found = []
    for seed in range(seeds):
        means = faiss.Kmeans(
            vectors.shape[1],
            len(set(labels)),
            niter=40,
            spherical=True,
            seed=seed,
            max_points_per_centroid=len(vectors),
            min_points_per_centroid=1,
        )
        means.train(vectors)
        found.append(normalized_mutual_info_score(labels, means.index.search(vectors, 1)[1][:, 0]))
    return float(np.mean(found)), float(np.std(found))


def embedded(texts: pa.ChunkedArray, config: EmbeddingConfig) -> tuple[np.ndarray, dict[str, float]]:
    """Vectors, CPU seconds of the fit and speed of the best of three passes."""
    start = time.process_time()
    embedder = fit_embedder(texts, config)
    fit_s = time.process_time() - start
    seconds = []
    vectors = np.zeros((0, 0), np.float32)
    for _ in range(3):
        start = time.process_time()
        vectors = embedder.transform(texts)
        seconds.append(time.process_time() - start)
    least = min(seconds)
    return vectors, {"fit_s": fit_s, "docs_per_s": len(texts) / least, "mb_per_s": texts.nbytes / least / 1e6}


def textbook(texts: pa.ChunkedArray) -> np.ndarray:
    """scikit-learn's TF-IDF with its English stop words and SVD-100."""
    matrix = TfidfVectorizer(stop_words="english").fit_transform(texts.to_pylist())
    return normalize(TruncatedSVD(100, random_state=0).fit_transform(matrix)).astype(np.float32)


def main() -> None:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two variants, two seeds, 3,000 documents a corpus")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="names of variants to run")
    parser.add_argument("--all", action="store_true", help="the slow variants too")
    args = parser.parse_args()
    folder = Path(os.environ.get("GEM_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "corpora"
    if not folder.is_dir():
        raise SystemExit(f"no corpora in {folder}; set GEM_SHARED to the folder that holds them")
    faiss.omp_set_num_threads(1)
    seeds = 2 if args.quick else args.seeds
    names = args.only or (QUICK if args.quick else [n for n in (TEXTBOOK, *VARIANTS) if args.all or n not in SLOW])

    print(f"{'corpus':12s} {'variant':26s} {'NMI':>6s} {'sd':>5s} {'fit s':>6s} {'docs/s':>8s} {'MB/s':>6s}")
    results: dict[str, dict[str, dict[str, float]]] = {}
    for file, columns in CORPORA.items():
        table = load(folder, file)
        if args.quick:
            table = table.take(pa.array(np.random.default_rng(0).permutation(len(table))[:3000]))
        texts = table["text"]
        for corpus, encoder in columns.values():
            results[corpus] = {"MiniLM (measured before)": {"nmi": encoder}} if encoder is not None else {}
        for name in names:
            vectors, figures = (textbook(texts), {}) if name == TEXTBOOK else embedded(texts, VARIANTS[name])
            for column, (corpus, _) in columns.items():
                mean, sd = nmi(vectors, np.array(table[column].to_pylist()), seeds)
                results[corpus][name] = {"nmi": mean, "sd": sd, **figures}
                speed = "".join(f" {figures[key]:8.1f}" for key in figures)
                print(f"{corpus:12s} {name:26s} {mean:6.3f} {sd:5.3f}{speed}", flush=True)
    summary: dict[str, float] = {}
    if all(DEFAULT in rows for rows in results.values()):
        summary["docs_per_s_core"] = round(min(rows[DEFAULT]["docs_per_s"] for rows in results.values()))
    if all({DEFAULT, TEXTBOOK} <= rows.keys() for rows in results.values()):
        change = {corpus: rows[DEFAULT]["nmi"] - rows[TEXTBOOK]["nmi"] for corpus, rows in results.items()}
        web = results["web pages"]
        gap = web["MiniLM (measured before)"]["nmi"] - web[TEXTBOOK]["nmi"]
        summary["web_gap_closed"] = round(change["web pages"] / gap, 2)
        summary["worst_change_to_textbook"] = round(min(change.values()), 3)
    rounded = {
        corpus: {name: {k: round(v, 3) for k, v in row.items()} for name, row in rows.items()}
        for corpus, rows in results.items()
    }
    print(json.dumps({"benchmark": "embedding", "seeds": seeds, **summary, "nmi": rounded}))


if __name__ == "__main__":
    main()
