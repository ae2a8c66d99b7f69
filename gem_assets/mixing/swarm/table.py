"""Swarm tables: mixtures of proxy runs beside the losses they reached, checked on the way in.

Reads the two public layouts and its own parquet. Published tables carry errors (an aggregate that is not the mean of
its parts was one table's best run), so every row is examined and each fault is named with file, line and run. By choice
the import refuses faulty tables, drops the rows, or keeps them flagged.

    RegMix      mixtures: index + one column per domain;  losses: index + one column per target
    Olmix       ratios: run, name, index + domains;     metrics: run (name, index) + metrics
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.mixing.swarm.csv_tables import KEY_COLUMNS, SwarmCsv, SwarmError, SwarmFault, read_swarm_csv
from gem_assets.storage.identity import digest
from gem_assets.types import Floats

OnFault = Literal["refuse", "drop", "flag"]

SUM_TOLERANCE = 5e-3
AGGREGATE_TOLERANCE = 1e-3
SAME_MIXTURE = 1e-6
_SHARE, _LOSS = "share:", "loss:"


@dataclass(frozen=True)
class SwarmTable:
    """Runs of a swarm.

    Attributes
    ----------
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

    Raises SwarmError if a file has no key column, a domain is missing or unknown, no row is left, or (``refuse``) a row
    is wrong.

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
    """
    left, right = read_swarm_csv(mixtures), read_swarm_csv(losses)
    key = next((k for k in KEY_COLUMNS if k in left.columns and k in right.columns), None)
    if key is None:
        raise SwarmError(
            f"{mixtures.name} and {losses.name} share none of the key columns {', '.join(KEY_COLUMNS)}; "
            f"they have {', '.join(left.columns[:6])}… and {', '.join(right.columns[:6])}…"
        )
    found = [c for c in left.columns if c not in KEY_COLUMNS]
    targets = [c for c in right.columns if c not in KEY_COLUMNS]
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
    faults: list[SwarmFault] = [*left.faults, *right.faults]
    kept = _joined(left, right, key, faults)
    table = (
        SwarmTable(
            runs=tuple(run for run, _, _ in kept),
            domains=tuple(wanted),
            targets=tuple(targets),
            mixtures=_numbers(left, [i for _, i, _ in kept], wanted),
            losses=_numbers(right, [j for _, _, j in kept], targets),
        )
        if kept
        else None
    )
    if table is None:
        raise SwarmError(f"{mixtures.name} and {losses.name} have no {key} in common", faults)
    lines = [_Place(left, i, right, j) for _, i, j in kept]
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
class _Place:
    """Where a run stands: its row in the file of mixtures and in that of losses."""

    left: SwarmCsv
    left_row: int
    right: SwarmCsv
    right_row: int

    def share_fault(self, run: str, kind: Literal["sum", "share", "conflict"], message: str) -> SwarmFault:
        return SwarmFault(self.left.file, self.left.rows[self.left_row].line, run, kind, message)

    def loss_fault(self, run: str, kind: Literal["loss", "aggregate"], message: str) -> SwarmFault:
        return SwarmFault(self.right.file, self.right.rows[self.right_row].line, run, kind, message)


def _numbers(table: SwarmCsv, rows: Sequence[int], columns: Sequence[str]) -> Floats:
    values = [[table.number(table.rows[row].cells[name]) for name in columns] for row in rows]
    return np.array(values, np.float64).reshape(len(rows), -1)


def _joined(left: SwarmCsv, right: SwarmCsv, key: str, faults: list[SwarmFault]) -> list[tuple[str, int, int]]:
    places = _places(right, key, faults)
    seen = _places(left, key, faults)
    faults.extend(
        SwarmFault(left.file, left.rows[i].line, run, "unmatched", f"no losses for it in {right.file}")
        for run, i in seen.items()
        if run not in places
    )
    faults.extend(
        SwarmFault(right.file, right.rows[j].line, run, "unmatched", f"no mixture for it in {left.file}")
        for run, j in places.items()
        if run not in seen
    )
    return [(run, i, places[run]) for run, i in seen.items() if run in places]


def _places(table: SwarmCsv, key: str, faults: list[SwarmFault]) -> dict[str, int]:
    """Return the row of each run, the first where it stands twice."""
    places: dict[str, int] = {}
    for number, row in enumerate(table.rows):
        run = row.cells[key].strip()
        if run in places:
            first = table.rows[places[run]].line
            faults.append(
                SwarmFault(table.file, row.line, run, "duplicate_run", f"{key} {run} stands on line {first} too")
            )
        else:
            places[run] = number
    return places


def _examine(
    table: SwarmTable, places: Sequence[_Place], aggregates: Mapping[str, Sequence[str]], sum_tolerance: float
) -> list[tuple[int, SwarmFault]]:
    found: list[tuple[int, SwarmFault]] = []
    sums = table.mixtures.sum(axis=1)
    for row, place in enumerate(places):
        run, shares, losses = table.runs[row], table.mixtures[row], table.losses[row]
        bad_share = next(
            (d for d, s in zip(table.domains, shares, strict=True) if not (math.isfinite(s) and s >= 0)), None
        )
        if bad_share is not None:
            held = place.left.rows[place.left_row].cells[bad_share].strip()
            found.append(
                (row, place.share_fault(run, "share", f"the share of {bad_share} is {held or 'missing'}, not a share"))
            )
        elif abs(sums[row] - 1) > sum_tolerance:
            hint = (
                "; they look like per cent, divide them by 100" if abs(sums[row] - 100) <= 100 * sum_tolerance else ""
            )
            found.append((row, place.share_fault(run, "sum", f"shares sum to {sums[row]:.6g}, not to 1{hint}")))
        bad_loss = next((t for t, v in zip(table.targets, losses, strict=True) if not math.isfinite(v)), None)
        if bad_loss is not None:
            held = place.right.rows[place.right_row].cells[bad_loss].strip()
            found.append((row, place.loss_fault(run, "loss", f"{bad_loss} is {held or 'missing'}, not a number")))
            continue
        for name, parts in aggregates.items():
            stated = losses[table.targets.index(name)]
            mean = float(np.mean([losses[table.targets.index(p)] for p in parts]))
            if abs(stated - mean) > AGGREGATE_TOLERANCE * max(1.0, abs(mean)):
                text = f"{name} is {stated:.6g}, the mean of its {len(parts)} parts is {mean:.6g}"
                found.append((row, place.loss_fault(run, "aggregate", text)))
    found.extend(_conflicts(table, places))
    return sorted(found, key=lambda pair: pair[0])


def _conflicts(table: SwarmTable, places: Sequence[_Place]) -> list[tuple[int, SwarmFault]]:
    """Runs of one mixture with different losses; repeats with other seeds belong in tables of their own."""
    found: list[tuple[int, SwarmFault]] = []
    first: dict[bytes, int] = {}
    for row in range(len(table.runs)):
        mixture = np.round(table.mixtures[row] / SAME_MIXTURE).tobytes()
        if mixture not in first:
            first[mixture] = row
            continue
        earlier = first[mixture]
        if not np.array_equal(table.losses[row], table.losses[earlier], equal_nan=True):
            line = places[earlier].left.rows[places[earlier].left_row].line
            text = f"the same mixture as run {table.runs[earlier]} (line {line}) with other losses"
            found.append((row, places[row].share_fault(table.runs[row], "conflict", text)))
    return found
