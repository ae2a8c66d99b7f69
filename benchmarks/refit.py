"""Refits: how many clusters keep their id, and how many documents their label, when the corpus grows or changes.

``python -m benchmarks.refit [--quick]`` prints one JSON object as its last line. Two corpora, each embedded once by the
default method on what is there at first:

- ``tldr_recrawls``: six states of one site, each text once. The teacher of the first three is refitted on the first
  four, that one on the first five, and so on;
- ``webmix_dev``: a teacher on one random half is refitted on the other half, of which it has seen nothing.

For each refit, anchored (the default) and cold: the share of clusters that keep their domain id, and the adjusted Rand
index between the labels carried by id and the labels of the old teacher, on the documents of the new fit. ``--quick``
takes one seed.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from benchmarks.shared_data import shared_folder
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder
from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.crosswalk import Crosswalk
from gem_assets.teacher.refit import Domains
from gem_assets.teacher.seed_fit import MODEL_FOLDER, fit_on_sample, load_previous

Vectors = NDArray[np.float32]


def sample_of(vectors: Vectors) -> pa.Table:
    """Vectors as the table that the teacher stage reads."""
    flat = pa.array(vectors.ravel(), pa.float32())
    return pa.table(
        {
            "doc_id": [f"{i:032x}" for i in range(len(vectors))],
            "snapshot": ["s"] * len(vectors),
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )


def refit_figures(old: Path, new: Path, vectors: Vectors, k: int) -> dict[str, float]:
    """Compare a refit with the teacher before it on the rows of the refit."""
    before, after = (load_previous(folder, same_space=True) for folder in (old, new))
    old_ids, new_ids = np.array(before.domains.ids), np.array(after.domains.ids)
    was, now = before.teacher.predict(vectors), after.teacher.predict(vectors)
    walk = Crosswalk.read(new)
    return {
        "ids_kept": len(set(old_ids) & set(new_ids)) / k,
        "ari": float(adjusted_rand_score(old_ids[was], new_ids[now])),
        "documents_same_domain": float(np.mean(old_ids[was] == new_ids[now])),
        "births": len(walk.births),
        "iterations": json.loads((new / MODEL_FOLDER / "teacher.json").read_text())["n_iter"],
    }


def refit_chain(parts: list[Vectors], k: int, seed: int, work: Path) -> Iterator[dict[str, object]]:
    """Fit on the first part, then refit on each later one from the anchored refit before it, and cold beside it."""
    base = work / "first"
    base.mkdir()
    fit_on_sample(sample_of(parts[0]), TeacherConfig(k=k, seed=seed), base)
    for number, vectors in enumerate(parts[1:], 1):
        anchored = work / f"anchored-{number}"
        for how, seed_now in (("anchored", seed), ("cold", seed + 100)):
            out = work / f"{how}-{number}"
            out.mkdir()
            config = TeacherConfig(k=k, seed=seed_now, refit=how)
            fit_on_sample(sample_of(vectors), config, out, load_previous(base, same_space=True))
            assert Domains.read(out, k).next_id >= k
            yield {"step": number, "how": how, **refit_figures(base, out, vectors, k)}
        base = anchored


def tldr_parts() -> list[Vectors]:
    """Vectors of the growing site: all pages of the first n states, each text once, n = 3..6."""
    table = pq.read_table(shared_folder() / "corpora" / "snapshots" / "tldr_recrawls.parquet")
    states = sorted(set(table.column("snapshot").to_pylist()))
    texts, seen, ends = [], set[str](), []
    rows = table.select(["snapshot", "text"]).to_pylist()
    for state in states:
        for row in rows:
            if row["snapshot"] == state and row["text"] not in seen:
                seen.add(row["text"])
                texts.append(row["text"])
        ends.append(len(texts))
    documents = pa.array(texts, pa.large_string())
    vectors = fit_embedder(documents.slice(0, ends[2]), EmbeddingConfig(dimension=64)).transform(documents)
    return [vectors[:end] for end in ends[2:]]


def webmix_halves(seed: int) -> list[Vectors]:
    """Vectors of two random halves, embedded by what was fitted on the first."""
    table = pq.read_table(shared_folder() / "corpora" / "multidomain" / "webmix_dev.parquet", columns=["text"])
    texts = table.column("text").cast(pa.large_string()).combine_chunks()
    order = np.random.default_rng(seed).permutation(len(texts))
    first, second = (texts.take(pa.array(part)) for part in np.array_split(order, 2))
    embedder = fit_embedder(first, EmbeddingConfig())
    return [embedder.transform(first), embedder.transform(second)]


def main(quick: bool) -> dict[str, object]:
    rows: list[dict[str, object]] = []
    for seed in range(1 if quick else 3):
        for corpus, k, parts in (("tldr_recrawls", 24, tldr_parts()), ("webmix_dev", 24, webmix_halves(seed))):
            with tempfile.TemporaryDirectory() as work:
                for row in refit_chain(parts, k, seed, Path(work)):
                    rows.append({"corpus": corpus, "seed": seed, "documents": len(parts[int(str(row["step"]))]), **row})
                    print({key: round(v, 4) if isinstance(v, float) else v for key, v in rows[-1].items()}, flush=True)

    def figure(corpus: str, how: str, name: str, worst: bool = True) -> float:
        values = [float(str(row[name])) for row in rows if row["corpus"] == corpus and row["how"] == how]
        return round(min(values) if worst else float(np.mean(values)), 4)

    found: dict[str, object] = {"refits": len(rows) // 2, "seeds": 1 if quick else 3}
    for corpus in ("tldr_recrawls", "webmix_dev"):
        for how in ("anchored", "cold"):
            found[f"{corpus}_{how}_ids_kept_worst"] = figure(corpus, how, "ids_kept")
            found[f"{corpus}_{how}_ids_kept_mean"] = figure(corpus, how, "ids_kept", worst=False)
            found[f"{corpus}_{how}_ari_worst"] = figure(corpus, how, "ari")
            found[f"{corpus}_{how}_ari_mean"] = figure(corpus, how, "ari", worst=False)
            found[f"{corpus}_{how}_same_domain_mean"] = figure(corpus, how, "documents_same_domain", worst=False)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed")
    print(json.dumps(main(parser.parse_args().quick)))
