"""Clusters and labels of a mixed corpus, end to end, over several seeds.

``python -m benchmarks.main_job [--quick]`` embeds ``multidomain/webmix_dev`` by the default method, fits the teacher
at K = 24, distils the student on its labels and compares both with spherical k-means on the same vectors. The last line
is one JSON object: worst case over the seeds for what has to hold, mean for what is compared.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.shared_data import shared_folder
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder
from gem_assets.student.config import StudentConfig
from gem_assets.student.distil import distil
from gem_assets.teacher.baselines import spherical_kmeans_labels
from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.metrics import balance
from gem_assets.teacher.seed_fit import seed_responsibilities
from gem_assets.teacher.teach import fit_teacher, report

K = 24


def main(quick: bool) -> dict[str, object]:
    corpus = pq.read_table(shared_folder() / "corpora" / "multidomain" / "webmix_dev.parquet")
    texts = corpus.column("text").cast(pa.large_string())
    vectors = fit_embedder(texts, EmbeddingConfig()).transform(texts)
    rows: list[dict[str, float]] = []
    sources: dict[str, list[float]] = {}
    for seed in range(1 if quick else 3):
        teacher = fit_teacher(vectors, TeacherConfig(k=K, seed=seed))
        fit = report(teacher)
        plain = balance(spherical_kmeans_labels(vectors, K, seed=seed), K)
        sample = pa.table(
            {
                "doc_id": corpus.column("doc_id"),
                "text": texts,
                "source": corpus.column("label"),
                "lang": corpus.column("lang"),
                "n_bytes": pa.array([len(t.encode()) for t in texts.to_pylist()]),
                "label": pa.array(teacher.labels_, pa.int16()),
            }
        )
        with tempfile.TemporaryDirectory() as folder:
            responsibilities = seed_responsibilities(teacher, vectors)
            student = distil(sample, responsibilities, np.zeros(len(texts)), StudentConfig(seed=seed), Path(folder))
        for group in student.by_source:
            sources.setdefault(group["group"], []).append(group["agreement"])
        rows.append(
            {
                "monotone": float(fit.monotone),
                "gap": fit.gap,
                "n_eff_over_k": fit.n_eff_over_k,
                "max_over_min": fit.max_over_min,
                "kmeans_n_eff_over_k": plain.n_eff_over_k,
                "kmeans_max_over_min": plain.max_over_min,
                "agreement": student.summary["agreement"],
                "share_drift": student.summary["share_drift"],
            }
        )
        print({name: round(value, 6) for name, value in rows[-1].items()}, flush=True)
    column = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        "documents": len(texts),
        "seeds": len(rows),
        "monotone": bool(column["monotone"].all()),
        "worst_gap": float(column["gap"].max()),
        "worst_n_eff_over_k": float(column["n_eff_over_k"].min()),
        "worst_max_over_min": float(column["max_over_min"].max()),
        "kmeans_n_eff_over_k": float(column["kmeans_n_eff_over_k"].mean()),
        "kmeans_max_over_min": float(column["kmeans_max_over_min"].mean()),
        "agreement": float(column["agreement"].mean()),
        "worst_agreement": float(column["agreement"].min()),
        "share_drift": float(column["share_drift"].mean()),
        "agreement_by_source": {name: round(float(np.mean(found)), 3) for name, found in sorted(sources.items())},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed")
    print(json.dumps(main(parser.parse_args().quick)))
