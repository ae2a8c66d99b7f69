"""Drift over snapshots: three figures each, overall and by language, against what the teacher was fitted on.

- ``divergence``: Jensen–Shannon divergence of label shares from the reference, bits in [0, 1];
- ``likelihood_drop``: reference mean log-likelihood minus the snapshot's, in standard deviations of the reference;
- ``unsure_rise``: share of labels below the margin, minus that of the reference.

The last two leave out what was fitted on: the student's training documents for the one, the teacher's for the other,
as long as ``least_documents`` others are left of the reference. A corpus that is smaller than the fits' samples has
none; its documents then look less likely than new ones do, and the drop is understated.

Even without drift, n documents differ from n_ref by chance. What is judged is each figure less ``errors`` standard
errors of sampling, so that a small snapshot has to differ by more before it warns. With r = 1/n + 1/n_ref and K
clusters in use, the divergence of equal shares is close to r / (8 ln 2) times a chi-squared figure of K - 1 degrees of
freedom: (K - 1) r / (8 ln 2) bits on average (``expected_divergence``, taken off too), with a standard error of
sqrt(2 (K - 1)) r / (8 ln 2). The others have those of a difference of means and of shares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.drift.config import DriftConfig, Threshold
from gem_assets.drift.statistics import COUNTS_NAME, LIKELIHOOD_NAME
from gem_assets.frozen import Frozen
from gem_assets.report.plots import drift_lines
from gem_assets.types import Floats

EVERY_LANGUAGE = "all"
REPORT_NAME, TABLE_NAME, PICTURE_NAME = "drift.json", "drift.parquet", "drift.png"
METRICS = ("divergence", "likelihood_drop", "unsure_rise")
TITLES = dict(zip(METRICS, ("divergence, bits", "likelihood drop, sd", "unsure rise, share"), strict=True))
SHOWN_COLUMNS = ["snapshot", "lang", "level", "documents", *METRICS]
Level = Literal["steady", "warn", "refit"]


class DriftRow(Frozen):
    """One snapshot, whole (``lang`` is ``all``) or in one language.

    Attributes
    ----------
    reference
        Whether the teacher was fitted on this snapshot.
    mean_log_likelihood
        Nats per document, over ``scored`` documents; None when none was scored.
    certain_divergence, certain_likelihood_drop, certain_unsure_rise
        The figures less what sampling explains; these are judged.
    level
        The worst of the three; ``steady`` for rows that are too small to judge.
    """

    snapshot: str
    lang: str
    reference: bool
    documents: int
    scored: int
    divergence: float
    expected_divergence: float
    mean_log_likelihood: float | None
    likelihood_drop: float
    unsure_share: float
    unsure_rise: float
    # reports of the first version lack these
    certain_divergence: float = 0.0
    certain_likelihood_drop: float = 0.0
    certain_unsure_rise: float = 0.0
    judged: bool
    level: Level

    def certain(self, metric: str) -> float:
        """Return what is judged of a metric: the figure less what sampling explains."""
        return float(getattr(self, f"certain_{metric}"))


class DriftReport(Frozen):
    """All snapshots, in the order of their names.

    Attributes
    ----------
    teacher
        Identity of the teacher; a refit is asked for once for each.
    level
        The worst level of any whole snapshot. Languages warn at most: one that is new asks for eyes before a refit.
    """

    teacher: str
    level: Level
    rows: tuple[DriftRow, ...]

    @property
    def beyond(self) -> tuple[DriftRow, ...]:
        """Rows that warn or ask for a refit."""
        return tuple(row for row in self.rows if row.level != "steady")

    @classmethod
    def read(cls, folder: Path) -> "DriftReport":
        """Read from a drift artifact."""
        return cls.model_validate_json((folder / REPORT_NAME).read_bytes())


@dataclass(frozen=True)
class Sums:
    """What :mod:`gem_assets.drift.statistics` keeps of some documents.

    Attributes
    ----------
    counts
        float64 (K,): labels by cluster.
    unseen, unsure
        Labels of documents that the student was not trained on, and those of them below the margin.
    scored, total, squares
        float64 (2,): documents whose log-likelihood was taken, the sum of it and of its squares; of documents that the
        teacher was fitted on, and of others.
    """

    counts: Floats
    unseen: float
    unsure: float
    scored: Floats
    total: Floats
    squares: Floats

    @property
    def documents(self) -> float:
        """Labels in all clusters."""
        return float(self.counts.sum())

    def likelihood(self, least: int) -> tuple[float, float, float]:
        """Documents scored, mean and variance of their log-likelihood: of unseen ones if there are enough, else all."""
        used = slice(1, 2) if self.scored[1] >= least else slice(0, 2)
        n, total, squares = (float(part[used].sum()) for part in (self.scored, self.total, self.squares))
        mean = total / max(n, 1.0)
        return n, mean, max(squares / max(n, 1.0) - mean**2, 1e-12)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.counts + other.counts,
            self.unseen + other.unseen,
            self.unsure + other.unsure,
            self.scored + other.scored,
            self.total + other.total,
            self.squares + other.squares,
        )


def publish_drift(
    statistics: Mapping[str, Path], fitted_on: Sequence[str], k: int, teacher: str, config: DriftConfig, out: Path
) -> DriftReport:
    """Compare every snapshot with those that the teacher was fitted on and write report, table and picture.

    Parameters
    ----------
    statistics
        Artifact of :func:`gem_assets.drift.statistics.publish_statistics` of each snapshot.
    fitted_on
        Snapshots of the teacher's fit; all of them count as reference when none is left.
    """
    sums = {name: read_sums(folder, k) for name, folder in sorted(statistics.items())}
    reference = [name for name in fitted_on if name in sums] or list(sums)
    rows: list[DriftRow] = []
    langs = sorted({lang for by_lang in sums.values() for lang in by_lang})
    for lang in [EVERY_LANGUAGE, *(lang for lang in langs if lang != EVERY_LANGUAGE)]:
        base = _pooled([sums[name][lang] for name in reference if lang in sums[name]], k)
        rows += [
            compare(name, lang, by_lang[lang], base, name in reference, config)
            for name, by_lang in sums.items()
            if lang in by_lang
        ]
    whole = [row.level for row in rows if row.lang == EVERY_LANGUAGE]
    by_language = ["warn" for row in rows if row.lang != EVERY_LANGUAGE and row.level != "steady"]
    report = DriftReport(teacher=teacher, level=_worst([*whole, *by_language]), rows=tuple(rows))
    (out / REPORT_NAME).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    pq.write_table(pa.Table.from_pylist([row.model_dump() for row in rows]), out / TABLE_NAME, compression="zstd")
    shown = [row for row in rows if row.lang == EVERY_LANGUAGE]
    limits = {title: (getattr(config, name).warn, getattr(config, name).refit) for name, title in TITLES.items()}
    lines = {title: [row.certain(name) for row in shown] for name, title in TITLES.items()}
    (out / PICTURE_NAME).write_bytes(drift_lines([row.snapshot for row in shown], lines, limits))
    return report


def shown_rows(report: DriftReport) -> list[dict[str, Any]]:
    """Return a row for each that is judged, with the figures that are judged; columns ``SHOWN_COLUMNS``."""
    return [
        {
            "snapshot": row.snapshot,
            "lang": row.lang,
            "level": "reference" if row.reference else row.level,
            "documents": row.documents,
            **{metric: row.certain(metric) for metric in METRICS},
        }
        for row in report.rows
        if row.judged
    ]


def read_sums(folder: Path, k: int) -> dict[str, Sums]:
    """Read the sums of one snapshot, by language, with all languages together under ``all``."""
    counts, likelihood = pq.read_table(folder / COUNTS_NAME), pq.read_table(folder / LIKELIHOOD_NAME)
    found = {EVERY_LANGUAGE: _pooled((), k)}

    def add(lang: str, sums: Sums) -> None:
        for key in (lang, EVERY_LANGUAGE):
            found[key] = found[key] + sums if key in found else sums

    none = np.zeros(2)
    for row in counts.to_pylist():
        one = np.zeros(k)
        one[row["cluster"]] = row["documents"]
        # the first version counted unsure labels among all documents
        unseen = row.get("unseen", row["documents"])
        add(row["lang"], Sums(one, unseen, row["unsure"], none, none, none))
    for row in likelihood.to_pylist():
        part = np.eye(2)[int(row.get("unseen", True))]
        sums = [part * row[name] for name in ("documents", "total", "squares")]
        add(row["lang"], Sums(np.zeros(k), 0.0, 0.0, *sums))
    return found


def jensen_shannon(p: Floats, q: Floats) -> float:
    """Jensen–Shannon divergence of two share vectors, in bits (Lin 1991): 0 when equal, 1 when disjoint."""
    middle = (p + q) / 2

    def relative(a: Floats) -> float:
        used = a > 0
        return float((a[used] * np.log2(a[used] / middle[used])).sum())

    return max(0.0, (relative(p) + relative(q)) / 2)


def compare(name: str, lang: str, own: Sums, base: Sums, reference: bool, config: DriftConfig) -> DriftRow:
    """Compare the documents of one snapshot, in one language or all, with those of the reference."""
    n, n_base = own.documents, base.documents
    share = own.unsure / own.unseen if own.unseen else 0.0
    divergence = expected = drop = rise = 0.0
    certain = dict.fromkeys(METRICS, 0.0)
    if n and n_base:
        chance = (1 / n + 1 / n_base) / (8 * np.log(2))
        freedom = int(((own.counts + base.counts) > 0).sum()) - 1
        divergence, expected = jensen_shannon(own.counts / n, base.counts / n_base), freedom * chance
        certain["divergence"] = divergence - expected - config.errors * float(np.sqrt(2 * freedom)) * chance
    if own.unseen and base.unseen:
        pooled = (own.unsure + base.unsure) / (own.unseen + base.unseen)
        error = np.sqrt(pooled * (1 - pooled) * (1 / own.unseen + 1 / base.unseen))
        rise = share - base.unsure / base.unseen
        certain["unsure_rise"] = rise - config.errors * float(error)
    scored, mean, spread = own.likelihood(config.least_documents)
    base_scored, base_mean, base_spread = base.likelihood(config.least_documents)
    if scored and base_scored > 1:
        drop = (base_mean - mean) / float(np.sqrt(base_spread))
        error = np.sqrt((max(spread, base_spread) / scored + base_spread / base_scored) / base_spread)
        certain["likelihood_drop"] = drop - config.errors * float(error)
    judged = min(n, n_base) >= config.least_documents
    levels = [_level(certain[metric], getattr(config, metric)) for metric in METRICS]
    return DriftRow(
        snapshot=name,
        lang=lang,
        reference=reference,
        documents=int(n),
        scored=int(scored),
        divergence=divergence,
        expected_divergence=expected,
        mean_log_likelihood=mean if scored else None,
        likelihood_drop=drop,
        unsure_share=share,
        unsure_rise=rise,
        **{f"certain_{metric}": max(0.0, certain[metric]) for metric in METRICS},
        judged=judged,
        level=_worst(levels) if judged and not reference else "steady",
    )


def _pooled(parts: Sequence[Sums], k: int) -> Sums:
    none = np.zeros(2)
    total = Sums(np.zeros(k), 0.0, 0.0, none, none, none)
    for part in parts:
        total = total + part
    return total


def _level(value: float, limits: Threshold) -> Level:
    return "refit" if value >= limits.refit else "warn" if value >= limits.warn else "steady"


def _worst(levels: Sequence[str]) -> Level:
    return "refit" if "refit" in levels else "warn" if "warn" in levels else "steady"
