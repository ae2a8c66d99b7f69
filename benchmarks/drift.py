"""Drift figures without drift and with it: how often the check is wrong, and what it sees.

``python -m benchmarks.drift [--quick]``. Space, teacher and student are fitted on four tenths of a corpus, which with
another tenth are the reference; snapshots of several sizes are drawn from the other half.

*Nothing changed*: drawn from the other half as it is; also with a reference of which everything was fitted on.
*Something changed* (``webmix_dev``): a source is gone or makes up half of the snapshot; documents of an unseen corpus
make up a tenth, a quarter or all of it; the fit was made without a source that is there now. ``tldr_recrawls``: the
reference is three states of one site, each later state's new texts are a snapshot.

Printed for each: quantiles of the three figures, and how often the check warns and asks for a refit, by two rules: as
it is now, and the first one: plain thresholds of .05 / .15, .25 / .75 and .05 / .15 without regard to chance, and the
reference's documents that were fitted on like any others. The last line is one JSON object. ``--quick``: one seed, a
quarter of the documents, 50 draws.
"""

import argparse
import json
from dataclasses import dataclass, fields
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.shared_data import shared_folder
from gem_assets.drift.config import DriftConfig, Threshold
from gem_assets.drift.report import METRICS, Sums, compare
from gem_assets.embedding.base import Embedder
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder
from gem_assets.student.config import StudentConfig
from gem_assets.student.labeller import StudentLabeller
from gem_assets.student.report import held_out_mask
from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.seed_fit import seed_responsibilities
from gem_assets.teacher.teach import fit_teacher

K = 24
NOW = DriftConfig(least_documents=1)
PLAIN = DriftConfig(
    least_documents=1,
    errors=0,
    divergence=Threshold(warn=0.05, refit=0.15),
    likelihood_drop=Threshold(warn=0.25, refit=0.75),
    unsure_rise=Threshold(warn=0.05, refit=0.15),
)
SIZES = (100, 200, 500, 1_000, 2_000, 4_000)
CHANGED_SIZES = (200, 1_000, 4_000)
SOURCES = ("legal_code", "medical_qa", "code_python", "fiction")
LEFT_OUT = ("medical_qa", "code_python", "fiction")
UNSEEN = {"ag_news": "ag_news_test", "reuters": "reuters21578", "web_topics": "web_topics_formats"}


@dataclass(frozen=True)
class Model:
    """What a reference gave: space, teacher, student."""

    space: Embedder
    teacher: GemTeacher
    student: StudentLabeller
    held_out: NDArray[np.bool_]

    @classmethod
    def fit(cls, texts: pa.Array, seed: int) -> "Model":
        """Fit all three on documents, as the graph would."""
        space = fit_embedder(texts, EmbeddingConfig())
        vectors = space.transform(texts)
        teacher = fit_teacher(vectors, TeacherConfig(k=K, seed=seed), ids=[str(i) for i in range(len(texts))])
        labels = teacher.predict(vectors)
        held_out = held_out_mask([str(i) for i in range(len(texts))], StudentConfig().held_out_share, 0, labels)
        soft, rows = seed_responsibilities(teacher, vectors), np.flatnonzero(~held_out)
        student = StudentLabeller.fit(texts.take(pa.array(rows)), labels[rows], soft[rows], n_clusters=K)
        return cls(space, teacher, student, held_out)

    def read(self, texts: pa.Array, trained_on: bool = False) -> "Documents":
        """Return what drift is measured from, of new documents or of those that it was fitted on."""
        found = self.student.predict(texts)
        scores = self.teacher.score_samples(self.space.transform(texts))
        unseen = self.held_out if trained_on else np.ones(len(texts), bool)
        return Documents(found.cluster, np.full(len(texts), trained_on), unseen, found.margin < NOW.margin, scores)


@dataclass(frozen=True)
class Documents:
    """Of n documents: cluster, was the teacher fitted on it, has the student never seen it, is its label unsure,
    log-likelihood.
    """

    cluster: NDArray[np.int16]
    fitted: NDArray[np.bool_]
    unseen: NDArray[np.bool_]
    unsure: NDArray[np.bool_]
    score: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.cluster)

    def sums(self, rows: NDArray[np.int64] | None = None) -> Sums:
        """Add up some of them, or all."""
        own = np.arange(len(self)) if rows is None else rows
        score, unseen = self.score[own], self.unseen[own]
        counts = np.bincount(self.cluster[own], minlength=K).astype(float)
        unsure = float((self.unsure[own] & unseen).sum())
        fitted, n = self.fitted[own], len(own)
        parts = [np.array([part[fitted].sum(), part[~fitted].sum()]) for part in (np.ones(n), score, score**2)]
        return Sums(counts, float(unseen.sum()), unsure, *parts)

    def take(self, rows: NDArray[np.int64]) -> "Documents":
        """Return some of them."""
        names = [field.name for field in fields(self)]
        return Documents(*(getattr(self, name)[rows] for name in names))


@dataclass(frozen=True)
class Reference:
    """What snapshots are compared with: as it is now, and with unsure labels counted among all documents."""

    now: Sums
    plain: Sums

    @classmethod
    def of(cls, model: Model, fitted: pa.Array, others: pa.Array | None = None) -> "Reference":
        """Read the documents that a model was fitted on, and further ones of the same snapshots."""
        everything = [model.read(fitted, trained_on=True), *([model.read(others)] if others is not None else [])]
        blind = [
            Documents(d.cluster, np.zeros(len(d), bool), np.ones(len(d), bool), d.unsure, d.score) for d in everything
        ]
        return cls(*(reduce(add, (part.sums() for part in parts)) for parts in (everything, blind)))


def judge(draws: list[Sums], base: Reference) -> dict[str, Any]:
    """Say how some snapshots compare with the reference: quantiles of each figure, and how often each rule speaks."""
    rows = [compare("s", "all", own, base.now, False, NOW) for own in draws]
    plain = [compare("s", "all", own, base.plain, False, PLAIN).level for own in draws]
    found: dict[str, Any] = {}
    for metric in METRICS:
        values = np.array([getattr(row, metric) for row in rows])
        if metric == "divergence":
            values = values - np.array([row.expected_divergence for row in rows])
        found[metric] = [round(float(v), 4) for v in np.quantile(values, (0.01, 0.5, 0.99))]
    for name, levels in (("now", [row.level for row in rows]), ("plain", plain)):
        found[f"{name}_warn"] = round(float(np.mean([level != "steady" for level in levels])), 4)
        found[f"{name}_refit"] = round(float(np.mean([level == "refit" for level in levels])), 4)
    return found


def draw(pool: Documents, size: int, draws: int, chance: np.random.Generator) -> list[Sums]:
    """Draw snapshots of one size from some documents."""
    return [pool.sums(chance.choice(len(pool), size, replace=False)) for _ in range(draws)]


def mixed(pool: Documents, other: Documents, size: int, share: float, draws: int, chance: Any) -> list[Sums]:
    """Draw snapshots of which a share comes from other documents, with repetition where those are few."""
    own = round(size * share)
    return [
        pool.sums(chance.choice(len(pool), size - own, replace=False))
        + other.sums(chance.choice(len(other), own, replace=own > len(other)))
        for _ in range(draws)
    ]


def column(file: str, name: str) -> NDArray[Any]:
    """Read a column of one of the shared corpora."""
    table = pq.read_table(shared_folder() / "corpora" / f"{file}.parquet", columns=[name])
    return np.array(table.column(name).to_pylist(), object)


def texts_of(values: NDArray[Any]) -> pa.Array:
    """Return texts as the stages read them."""
    return pa.array(values.tolist(), pa.large_string())


def webmix(seed: int, part: float, draws: int, say: Any) -> None:
    """Random halves of ``webmix_dev``, without and with changes."""
    chance = np.random.default_rng(seed)
    texts, source = (column("multidomain/webmix_dev", name) for name in ("text", "label"))
    order = chance.permutation(len(texts))[: round(part * len(texts))]
    half, more, other = np.split(order, [round(0.4 * len(order)), round(0.5 * len(order))])
    model = Model.fit(texts_of(texts[half]), seed)
    base, pool = Reference.of(model, *map(texts_of, (texts[half], texts[more]))), model.read(texts_of(texts[other]))
    small = Reference.of(model, texts_of(texts[half]))
    for size in SIZES:
        if size <= len(pool):
            say("nothing, all fitted", "webmix", size, judge(draw(pool, size, draws, chance), small))
            say("nothing", "webmix", size, judge(draw(pool, size, draws, chance), base))
    strangers = {name: model.read(texts_of(column(f"labeled/{file}", "text")[:4_000])) for name, file in UNSEEN.items()}
    for size in CHANGED_SIZES:
        if size > len(pool):
            continue
        for name in SOURCES:
            mine = np.flatnonzero(source[other] == name)
            rest, own = pool.take(np.setdiff1d(np.arange(len(pool)), mine)), pool.take(mine)
            if size <= len(rest):
                say("gone", name, size, judge(draw(rest, size, draws, chance), base))
            say("half of it", name, size, judge(mixed(pool, own, size, 0.5, draws, chance), base))
        for name, stranger in strangers.items():
            for share in (0.1, 0.25, 1.0):
                say(f"unseen {share:.0%}", name, size, judge(mixed(pool, stranger, size, share, draws, chance), base))
    for name in LEFT_OUT:
        known, rest = (part[source[part] != name] for part in (half, more))
        model = Model.fit(texts_of(texts[known]), seed)
        base, pool = (
            Reference.of(model, *map(texts_of, (texts[known], texts[rest]))),
            model.read(texts_of(texts[other])),
        )
        without = pool.take(np.flatnonzero(source[other] != name))
        for size in CHANGED_SIZES:
            if size <= len(without):
                say("nothing", f"without {name}", size, judge(draw(without, size, draws, chance), base))
                say("new source", name, size, judge(draw(pool, size, draws, chance), base))


def tldr(seed: int, draws: int, say: Any) -> None:
    """Three states of one site, and what each later one added."""
    chance = np.random.default_rng(seed)
    texts, state = (column("snapshots/tldr_recrawls", name) for name in ("text", "snapshot"))
    seen, first = set[str](), np.zeros(len(texts), bool)
    for i in np.argsort(state, kind="stable"):
        first[i] = str(texts[i]) not in seen
        seen.add(str(texts[i]))
    texts, state = texts[first], state[first]
    states = sorted(set(state))
    early = chance.permutation(np.flatnonzero(np.isin(state, states[:3])))
    half, more, other = np.split(early, [round(0.5 * len(early)), round(0.65 * len(early))])
    model = Model.fit(texts_of(texts[half]), seed)
    base, pool = Reference.of(model, *map(texts_of, (texts[half], texts[more]))), model.read(texts_of(texts[other]))
    for size in SIZES:
        if size <= len(pool):
            say("nothing", "tldr", size, judge(draw(pool, size, draws, chance), base))
    for name in states[3:]:
        new = model.read(texts_of(texts[state == name]))
        say("later state", name, len(new), judge([new.sums()], base))


def main(quick: bool) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def say(change: str, what: str, size: int, figures: dict[str, Any]) -> None:
        found.append({"change": change, "what": what, "documents": size, **figures})
        print(json.dumps(found[-1]), flush=True)

    for seed in range(1 if quick else 3):
        webmix(seed, 0.25 if quick else 1.0, 50 if quick else 200, say)
        tldr(seed, 50 if quick else 200, say)

    def mean(figure: str, *changes: str, size: int | None = None) -> float:
        chosen = [r[figure] for r in found if r["change"] in changes and size in (None, r["documents"])]
        return round(float(np.mean(chosen)), 4) if chosen else float("nan")

    real = sorted({str(r["change"]) for r in found if not str(r["change"]).startswith("nothing")})
    return {
        "false_alarms": {
            rule: {size: mean(f"{rule}_warn", "nothing", size=size) for size in SIZES} for rule in ("now", "plain")
        },
        "false_alarms_all_fitted": {size: mean("now_warn", "nothing, all fitted", size=size) for size in SIZES},
        "seen": {rule: {c: mean(f"{rule}_warn", c) for c in real} for rule in ("now", "plain")},
        "refits": {rule: {c: mean(f"{rule}_refit", c) for c in real} for rule in ("now", "plain")},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, a quarter of the documents")
    print(json.dumps(main(parser.parse_args().quick)))
