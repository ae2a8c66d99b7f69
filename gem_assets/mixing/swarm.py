"""Swarm tables: mixtures of proxy runs beside the losses they reached, checked on the way in.

Reads the two public layouts and its own parquet. Published tables carry errors (an aggregate that is not the mean of
its parts was one table's best run), so every row is examined and each fault is named with file, line and run. By choice
the import refuses faulty tables, drops the rows, or keeps them flagged.

    RegMix      mixtures: index + one column a domain;  losses: index + one column a target
    Olmix       ratios: run, name, index + domains;     metrics: run (name, index) + metrics
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.lineage.identity import digest

Floats = NDArray[np.float64]
OnFault = Literal["refuse", "drop", "flag"]

SUM_TOLERANCE = 5e-3
AGGREGATE_TOLERANCE = 1e-3
SAME_MIXTURE = 1e-6
_KEY_COLUMNS = ("run", "run_id", "index", "name")
_SHARE, _LOSS = "share:", "loss:"


@dataclass(frozen=True)
class SwarmFault:
    """Something wrong with one row; ``line`` counts from 1 and includes the header."""

    file: str
    line: int
    run: str
    kind: Literal["sum", "share", "loss", "aggregate", "duplicate_run", "conflict", "unmatched"]
    message: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}, run {self.run}: {self.message}"


class SwarmError(ValueError):
    """A swarm table cannot be used; ``faults`` lists every row that is wrong."""

    def __init__(self, message: str, faults: Sequence[SwarmFault] = ()) -> None:
        shown = "".join(f"\n  {fault}" for fault in faults[:20])
        more = f"\n  … and {len(faults) - 20} more" if len(faults) > 20 else ""
        super().__init__(message + shown + more)
        self.faults = tuple(faults)


@dataclass(frozen=True)
class SwarmTable:
    """Runs of a swarm.

    Attributes
    ----------
    runs
        Name of each run, ``n`` of them, distinct.
    domains, targets
        Names of the columns.
    mixtures
        ``(n, K)``, shares as given (a published table's rounding is kept).
    losses
        ``(n, T)``.
    faults
        What was found wrong with rows that are still in the table.
    dropped
        What was found wrong with rows that are not.
    """

    runs: tuple[str, ...]
    domains: tuple[str, ...]
    targets: tuple[str, ...]
    mixtures: Floats
    losses: Floats
    faults: tuple[SwarmFault, ...] = ()
    dropped: tuple[SwarmFault, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.runs)
        if self.mixtures.shape != (n, len(self.domains)) or self.losses.shape != (n, len(self.targets)):
            raise ValueError(
                f"{n} runs, {len(self.domains)} domains and {len(self.targets)} targets do not fit mixtures "
                f"{self.mixtures.shape} and losses {self.losses.shape}"
            )

    @property
    def identity(self) -> str:
        """sha256 of names and values; recipes cite it as the swarm they rest on."""
        return digest(
            {
                "runs": self.runs,
                "domains": self.domains,
                "targets": self.targets,
                "mixtures": self.mixtures.tolist(),
                "losses": self.losses.tolist(),
            }
        )

    def loss_of(self, target: str) -> Floats:
        """Losses ``(n,)`` of one target; ``KeyError`` names those there are."""
        if target not in self.targets:
            raise KeyError(f"no target {target!r}; there are {', '.join(self.targets)}")
        return self.losses[:, self.targets.index(target)]

    def by_target(self) -> dict[str, Floats]:
        """Losses per target, as :func:`gem_assets.mixing.laws.select.choose_laws` takes them."""
        return {t: self.losses[:, i] for i, t in enumerate(self.targets)}

    def write(self, path: Path) -> None:
        """Write as parquet: ``run``, ``share:<domain>``…, ``loss:<target>``…"""
        columns: dict[str, pa.Array] = {"run": pa.array(self.runs, pa.string())}
        columns |= {_SHARE + d: pa.array(self.mixtures[:, i]) for i, d in enumerate(self.domains)}
        columns |= {_LOSS + t: pa.array(self.losses[:, i]) for i, t in enumerate(self.targets)}
        pq.write_table(pa.table(columns), path, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a table written by :meth:`write`."""
        table = pq.read_table(path)
        names: list[str] = table.column_names
        shares = [n for n in names if n.startswith(_SHARE)]
        losses = [n for n in names if n.startswith(_LOSS)]
        if "run" not in names or not shares or not losses:
            raise SwarmError(f"{path} is not a swarm table: its columns are {', '.join(names)}")

        def stacked(columns: Sequence[str]) -> Floats:
            return np.column_stack([table.column(c).to_numpy().astype(np.float64) for c in columns])

        return cls(
            runs=tuple(table.column("run").to_pylist()),
            domains=tuple(n.removeprefix(_SHARE) for n in shares),
            targets=tuple(n.removeprefix(_LOSS) for n in losses),
            mixtures=stacked(shares),
            losses=stacked(losses),
        )


def import_swarm(
    mixtures: Path,
    losses: Path,
    *,
    domains: Sequence[str] | None = None,
    aggregates: Mapping[str, Sequence[str]] | None = None,
    on_fault: OnFault = "refuse",
    sum_tolerance: float = SUM_TOLERANCE,
) -> SwarmTable:
    """Read the two CSV files of a RegMix or Olmix swarm and check every row.

    Parameters
    ----------
    mixtures, losses
        The files. Rows are joined by ``run`` (Olmix) or ``index`` (RegMix).
    domains
        Domains that the mixture file must have, in the order wanted; columns are put in that order by name. ``None``
        takes the file's.
    aggregates
        Loss columns that must be the mean of others: name to names of the parts.
    on_fault
        ``refuse`` raises if any row is wrong, ``drop`` leaves such rows out, ``flag`` keeps them. Rows that are in one
        file only are faults too, and are never kept.
    sum_tolerance
        How far from 1 a row of shares may sum; published tables round to three decimals.

    Raises
    ------
    SwarmError
        If a file has no key column, a domain is missing or unknown, no row is left, or (``refuse``) a row is wrong.
    """
    left, right = _read(mixtures), _read(losses)
    key = next((k for k in _KEY_COLUMNS if k in left.columns and k in right.columns), None)
    if key is None:
        raise SwarmError(
            f"{mixtures.name} and {losses.name} share none of the key columns {', '.join(_KEY_COLUMNS)}; "
            f"they have {', '.join(left.columns[:6])}… and {', '.join(right.columns[:6])}…"
        )
    found = [c for c in left.columns if c not in _KEY_COLUMNS]
    targets = [c for c in right.columns if c not in _KEY_COLUMNS]
    wanted = list(domains) if domains is not None else found
    repeated = sorted({d for d in wanted if wanted.count(d) > 1})
    if repeated:
        raise SwarmError(f"domains {', '.join(repeated)} are asked for more than once; name each domain once")
    missing, unknown = [d for d in wanted if d not in found], [d for d in found if d not in wanted]
    if missing or unknown:
        raise SwarmError(
            f"{mixtures.name} does not have the domains asked for: missing {missing or 'none'}, unknown "
            f"{unknown or 'none'}"
        )
    if not targets:
        raise SwarmError(f"{losses.name} holds no loss column beside {key}")
    for name, parts in (aggregates or {}).items():
        absent = [c for c in (name, *parts) if c not in targets]
        if absent:
            raise SwarmError(f"{losses.name} has no column {absent[0]!r} to check the aggregate {name!r} with")
    faults: list[SwarmFault] = []
    kept = _joined(left, right, key, faults)
    table = (
        SwarmTable(
            runs=tuple(run for run, _, _ in kept),
            domains=tuple(wanted),
            targets=tuple(targets),
            mixtures=np.array([[_number(left.rows[i][d]) for d in wanted] for _, i, _ in kept]).reshape(len(kept), -1),
            losses=np.array([[_number(right.rows[j][t]) for t in targets] for _, _, j in kept]).reshape(len(kept), -1),
        )
        if kept
        else None
    )
    if table is None:
        raise SwarmError(f"{mixtures.name} and {losses.name} have no {key} in common", faults)
    lines = [(left.file, i + 2, right.file, j + 2) for _, i, j in kept]
    row_faults = _examine(table, lines, aggregates or {}, sum_tolerance)
    everything = [*faults, *(fault for _, fault in row_faults)]
    if everything and on_fault == "refuse":
        raise SwarmError(
            f"{len(everything)} rows of {mixtures.name} and {losses.name} are wrong; correct them, or drop or flag "
            "them",
            everything,
        )
    if on_fault == "drop":
        bad = {row for row, _ in row_faults}
        good = [i for i in range(len(table.runs)) if i not in bad]
        if not good:
            raise SwarmError(f"every row of {mixtures.name} is wrong", everything)
        return replace(
            table,
            runs=tuple(table.runs[i] for i in good),
            mixtures=table.mixtures[good],
            losses=table.losses[good],
            dropped=tuple(everything),
        )
    return replace(table, faults=tuple(fault for _, fault in row_faults), dropped=tuple(faults))


@dataclass(frozen=True)
class _Csv:
    file: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]


def _read(path: Path) -> _Csv:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = tuple(c.strip() for c in reader.fieldnames or ())
            reader.fieldnames = list(columns)
            rows = tuple({k: (v or "") for k, v in row.items() if isinstance(k, str)} for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SwarmError(f"{path} cannot be read as CSV: {error}") from error
    doubled = [c for c in columns if columns.count(c) > 1]
    if not columns or doubled:
        raise SwarmError(f"{path} has {'the column ' + doubled[0] + ' twice' if doubled else 'no header'}")
    return _Csv(path.name, columns, rows)


def _joined(left: _Csv, right: _Csv, key: str, faults: list[SwarmFault]) -> list[tuple[str, int, int]]:
    places: dict[str, int] = {}
    for j, row in enumerate(right.rows):
        run = row[key].strip()
        if run in places:
            faults.append(
                SwarmFault(right.file, j + 2, run, "duplicate_run", f"{key} {run} stands on line {places[run] + 2} too")
            )
        else:
            places[run] = j
    joined: list[tuple[str, int, int]] = []
    seen: dict[str, int] = {}
    for i, row in enumerate(left.rows):
        run = row[key].strip()
        if run in seen:
            faults.append(
                SwarmFault(left.file, i + 2, run, "duplicate_run", f"{key} {run} stands on line {seen[run] + 2} too")
            )
            continue
        seen[run] = i
        if run in places:
            joined.append((run, i, places[run]))
        else:
            faults.append(SwarmFault(left.file, i + 2, run, "unmatched", f"no losses for it in {right.file}"))
    faults.extend(
        SwarmFault(right.file, j + 2, run, "unmatched", f"no mixture for it in {left.file}")
        for run, j in places.items()
        if run not in seen
    )
    return joined


def _examine(
    table: SwarmTable,
    lines: Sequence[tuple[str, int, str, int]],
    aggregates: Mapping[str, Sequence[str]],
    sum_tolerance: float,
) -> list[tuple[int, SwarmFault]]:
    found: list[tuple[int, SwarmFault]] = []
    sums = table.mixtures.sum(axis=1)
    for row, (left, left_line, right, right_line) in enumerate(lines):
        run, shares, losses = table.runs[row], table.mixtures[row], table.losses[row]
        bad_share = [d for d, s in zip(table.domains, shares, strict=True) if not (math.isfinite(s) and s >= 0)]
        if bad_share:
            value = shares[table.domains.index(bad_share[0])]
            found.append(
                (row, SwarmFault(left, left_line, run, "share", f"the share of {bad_share[0]} is {value}, not a share"))
            )
        elif abs(sums[row] - 1) > sum_tolerance:
            found.append((row, SwarmFault(left, left_line, run, "sum", f"shares sum to {sums[row]:.6g}, not to 1")))
        bad_loss = [t for t, v in zip(table.targets, losses, strict=True) if not math.isfinite(v)]
        if bad_loss:
            found.append(
                (
                    row,
                    SwarmFault(
                        right, right_line, run, "loss", f"{bad_loss[0]} is {losses[table.targets.index(bad_loss[0])]}"
                    ),
                )
            )
            continue
        for name, parts in aggregates.items():
            stated = losses[table.targets.index(name)]
            mean = float(np.mean([losses[table.targets.index(p)] for p in parts]))
            if abs(stated - mean) > AGGREGATE_TOLERANCE * max(1.0, abs(mean)):
                text = f"{name} is {stated:.6g}, the mean of its {len(parts)} parts is {mean:.6g}"
                found.append((row, SwarmFault(right, right_line, run, "aggregate", text)))
    found.extend(_conflicts(table, lines))
    return sorted(found, key=lambda pair: pair[0])


def _conflicts(table: SwarmTable, lines: Sequence[tuple[str, int, str, int]]) -> list[tuple[int, SwarmFault]]:
    """Runs of one mixture with different losses; repeats with other seeds belong in tables of their own."""
    found: list[tuple[int, SwarmFault]] = []
    first: dict[bytes, int] = {}
    for row in range(len(table.runs)):
        place = np.round(table.mixtures[row] / SAME_MIXTURE).tobytes()
        if place not in first:
            first[place] = row
            continue
        earlier = first[place]
        if not np.array_equal(table.losses[row], table.losses[earlier], equal_nan=True):
            text = f"the same mixture as run {table.runs[earlier]} (line {lines[earlier][1]}) with other losses"
            found.append((row, SwarmFault(lines[row][0], lines[row][1], table.runs[row], "conflict", text)))
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
