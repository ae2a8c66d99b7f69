"""Drift over snapshots: three figures each, whole and by language, against what the teacher was fitted on.

- ``divergence``: Jensen–Shannon divergence of label shares from the reference, bits in [0, 1];
- ``likelihood_drop``: reference mean log-likelihood minus the snapshot's, in standard deviations of the reference;
- ``unsure_rise``: share of labels below the margin, minus that of the reference.

Even without drift, n documents over K clusters diverge from n_ref by (K - 1) (1/n + 1/n_ref) / (8 ln 2) bits on
average; ``expected_divergence`` states it, and the divergence is judged above it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from gem_assets.drift.config import DriftConfig, Threshold
from gem_assets.drift.statistics import COUNTS_NAME, LIKELIHOOD_NAME
from gem_assets.report.plots import drift_lines

EVERY_LANGUAGE = "all"
REPORT_NAME, TABLE_NAME, PICTURE_NAME = "drift.json", "drift.parquet", "drift.png"
METRICS = ("divergence", "likelihood_drop", "unsure_rise")
Level = Literal["steady", "warn", "refit"]
Floats = NDArray[np.float64]


class DriftRow(BaseModel):
    """One snapshot, whole (``lang`` is ``all``) or in one language.

    Attributes
    ----------
    reference
        Whether the teacher was fitted on this snapshot.
    mean_log_likelihood
        Nats a document, over ``scored`` documents; None when none was scored.
    level
        The worst of the three figures; ``steady`` for rows that are too small to judge.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    judged: bool
    level: Level


class DriftReport(BaseModel):
    """All snapshots, in the order of their names.

    Attributes
    ----------
    teacher
        Identity of the teacher; a refit is asked for once for each.
    level
        The worst level of any whole snapshot. Languages warn at most: one that is new asks for eyes before a refit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
class _Sums:
    counts: Floats
    unsure: float
    scored: float
    total: float
    squares: float

    @property
    def documents(self) -> float:
        return float(self.counts.sum())

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(
            self.counts + other.counts,
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
    k
        Number of clusters.
    teacher
        Identity of the teacher.
    """
    sums = {name: read_sums(folder, k) for name, folder in sorted(statistics.items())}
    reference = [name for name in fitted_on if name in sums] or list(sums)
    rows: list[DriftRow] = []
    langs = sorted({lang for by_lang in sums.values() for lang in by_lang})
    for lang in [EVERY_LANGUAGE, *(lang for lang in langs if lang != EVERY_LANGUAGE)]:
        base = _pooled([sums[name][lang] for name in reference if lang in sums[name]], k)
        rows += [
            _row(name, lang, by_lang[lang], base, name in reference, config)
            for name, by_lang in sums.items()
            if lang in by_lang
        ]
    whole = [row.level for row in rows if row.lang == EVERY_LANGUAGE]
    by_language = ["warn" for row in rows if row.lang != EVERY_LANGUAGE and row.level != "steady"]
    report = DriftReport(teacher=teacher, level=_worst([*whole, *by_language]), rows=tuple(rows))
    (out / REPORT_NAME).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    pq.write_table(pa.Table.from_pylist([row.model_dump() for row in rows]), out / TABLE_NAME, compression="zstd")
    shown = [row for row in rows if row.lang == EVERY_LANGUAGE]
    limits = {name: (getattr(config, name).warn, getattr(config, name).refit) for name in METRICS}
    lines = {name: [getattr(row, name) for row in shown] for name in METRICS}
    (out / PICTURE_NAME).write_bytes(drift_lines([row.snapshot for row in shown], lines, limits))
    return report


def read_sums(folder: Path, k: int) -> dict[str, _Sums]:
    """Read the sums of one snapshot, by language, with all languages together under ``all``."""
    counts, likelihood = pq.read_table(folder / COUNTS_NAME), pq.read_table(folder / LIKELIHOOD_NAME)
    found: dict[str, _Sums] = {}

    def add(lang: str, sums: _Sums) -> None:
        for key in (lang, EVERY_LANGUAGE):
            found[key] = found[key] + sums if key in found else sums

    for row in counts.to_pylist():
        one = np.zeros(k)
        one[row["cluster"]] = row["documents"]
        add(row["lang"], _Sums(one, row["unsure"], 0.0, 0.0, 0.0))
    for row in likelihood.to_pylist():
        add(row["lang"], _Sums(np.zeros(k), 0.0, row["documents"], row["total"], row["squares"]))
    return found


def jensen_shannon(p: Floats, q: Floats) -> float:
    """Jensen–Shannon divergence of two share vectors, in bits (Lin 1991): 0 when equal, 1 when disjoint."""
    middle = (p + q) / 2

    def relative(a: Floats) -> float:
        used = a > 0
        return float((a[used] * np.log2(a[used] / middle[used])).sum())

    return max(0.0, (relative(p) + relative(q)) / 2)


def _row(name: str, lang: str, own: _Sums, base: _Sums, reference: bool, config: DriftConfig) -> DriftRow:
    n, n_base = own.documents, base.documents
    divergence = expected = 0.0
    if n and n_base:
        divergence = jensen_shannon(own.counts / n, base.counts / n_base)
        cells = int(((own.counts + base.counts) > 0).sum())
        expected = (cells - 1) / (8 * np.log(2)) * (1 / n + 1 / n_base)
    drop = 0.0
    if own.scored and base.scored > 1:
        mean = base.total / base.scored
        spread = np.sqrt(max(base.squares / base.scored - mean**2, 1e-12))
        drop = float((mean - own.total / own.scored) / spread)
    share = own.unsure / n if n else 0.0
    rise = share - base.unsure / n_base if n_base else 0.0
    judged = min(n, n_base) >= config.least_documents
    figures = {"divergence": divergence - expected, "likelihood_drop": drop, "unsure_rise": rise}
    levels = [_level(figures[metric], getattr(config, metric)) for metric in METRICS]
    return DriftRow(
        snapshot=name,
        lang=lang,
        reference=reference,
        documents=int(n),
        scored=int(own.scored),
        divergence=divergence,
        expected_divergence=expected,
        mean_log_likelihood=own.total / own.scored if own.scored else None,
        likelihood_drop=drop,
        unsure_share=share,
        unsure_rise=rise,
        judged=judged,
        level=_worst(levels) if judged and not reference else "steady",
    )


def _pooled(parts: Sequence[_Sums], k: int) -> _Sums:
    total = _Sums(np.zeros(k), 0.0, 0.0, 0.0, 0.0)
    for part in parts:
        total = total + part
    return total


def _level(value: float, limits: Threshold) -> Level:
    return "refit" if value >= limits.refit else "warn" if value >= limits.warn else "steady"


def _worst(levels: Sequence[str]) -> Level:
    return "refit" if "refit" in levels else "warn" if "warn" in levels else "steady"
