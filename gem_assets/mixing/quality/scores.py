"""Scores of documents from a file: one row per document, one column per rater, every fault named with its count."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.storage.identity import file_digest
from gem_assets.types import Floats

OnFault = Literal["refuse", "leave_out"]

KEY = "doc_id"
_NAMED = 3


class ScoreFileError(ValueError):
    """Scores that cannot be used; the message names the file, what is wrong and how often, and the way out."""


@dataclass(frozen=True)
class DocumentScores:
    """Scores of some of the documents that were asked for.

    Attributes
    ----------
    rows : int64 array, shape (n,)
        Positions of the scored documents among those asked for, ascending.
    scores : float64 array, shape (n, S)
        Higher is better.
    """

    raters: tuple[str, ...]
    rows: NDArray[np.int64]
    scores: Floats
    faults: tuple[str, ...] = ()


def file_of_scores(file: str | None) -> str | None:
    """Digest of a file of scores, which stands for its name in identities; None without one.

    Raises ScoreFileError when there is no such file.
    """
    if file is None:
        return None
    if not Path(file).is_file():
        raise ScoreFileError(
            f"mixing.scores.file names {file}, which is not a file; correct it, or leave it out to use "
            "the built-in raters"
        )
    return file_digest(Path(file))


def read_scores(path: Path, doc_ids: Sequence[str], on_fault: OnFault = "refuse") -> DocumentScores:
    """Read scores of given documents from parquet or JSONL with ``doc_id`` and one numeric column per rater.

    Further documents in the file do not matter. Columns that hold no numbers are not raters.

    ``on_fault`` ``leave_out`` takes documents without a finite score in every column out of the choice, and columns
    that are the same everywhere; ``refuse`` names them.

    Raises ScoreFileError when the file cannot be read, a document stands in it twice, no rater or no document is left,
    or something is wrong and is to be refused.
    """
    table = _read(path)
    ids = [str(value) for value in table.column(KEY).to_pylist()]
    place = {name: number for number, name in enumerate(ids)}
    if len(place) != len(ids):
        twice, times = Counter(ids).most_common(1)[0]
        raise ScoreFileError(f"{path} has {len(ids)} rows of {len(place)} documents, {times} of {twice}; keep one each")
    raters = [name for name in table.column_names if name != KEY and _is_number(table.schema.field(name).type)]
    if not raters:
        raise ScoreFileError(f"{path} has no numeric column beside {KEY}; it has {', '.join(table.column_names)}")
    where = np.array([place.get(name, -1) for name in doc_ids], np.int64)
    columns = [np.asarray(table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)) for name in raters]
    values = np.column_stack(columns)[where] if len(ids) else np.full((len(where), len(raters)), np.nan)
    values[where < 0] = np.nan
    return check_scores(values, doc_ids, raters, on_fault, where=str(path))


def check_scores(
    values: Floats, doc_ids: Sequence[str], raters: Sequence[str], on_fault: OnFault, *, where: str
) -> DocumentScores:
    """Name or leave out documents without a score and raters that are the same everywhere.

    ``values`` are ``(n, S)``, nan where a score is missing.

    Raises ScoreFileError, see :func:`read_scores`.
    """
    faults: list[str] = []
    finite = np.isfinite(values)
    absent = np.asarray(~finite.any(axis=1), bool)
    if absent.any():
        faults.append(f"{_documents(absent, doc_ids)} without any score")
    for number, rater in enumerate(raters):
        partly = ~finite[:, number] & ~absent
        if partly.any():
            faults.append(f"{_documents(partly, doc_ids)} without a finite {rater}")
    rows = np.flatnonzero(finite.all(axis=1))
    scores = values[rows]
    constant = np.zeros(len(raters), bool)
    if len(rows):
        constant |= scores.max(axis=0) == scores.min(axis=0)
    faults += [f"{raters[int(i)]} is {scores[0, i]:g} everywhere" for i in np.flatnonzero(constant)]
    if faults and on_fault == "refuse":
        raise ScoreFileError(
            f"{where}: {'; '.join(faults)}. Complete the scores, or leave these out with mixing.scores.on_fault = "
            "'leave_out'"
        )
    if len(rows) == 0 or constant.all():
        raise ScoreFileError(f"{where}: no {'document' if len(rows) == 0 else 'rater'} is left: {'; '.join(faults)}")
    kept = tuple(rater for rater, same in zip(raters, constant, strict=True) if not same)
    return DocumentScores(kept, rows, scores[:, ~constant], tuple(faults))


def _documents(mask: NDArray[np.bool_], doc_ids: Sequence[str]) -> str:
    named = [doc_ids[int(i)] for i in np.flatnonzero(mask)[:_NAMED]]
    more = ", ..." if mask.sum() > _NAMED else ""
    return f"{int(mask.sum())} of {len(mask)} documents ({', '.join(named)}{more})"


def _read(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        else:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            names = list(dict.fromkeys(name for line in lines for name in line))
            # JSON has nan and mixes whole numbers with others
            columns: dict[str, list[Any]] = {name: [_number(line.get(name)) for line in lines] for name in names}
            table = pa.table(columns)
    except (OSError, ValueError, AttributeError, TypeError, pa.ArrowInvalid) as error:
        raise ScoreFileError(f"{path} cannot be read as parquet or JSONL: {error}") from error
    if KEY not in table.column_names:
        raise ScoreFileError(f"{path} has no column {KEY!r}; it has {', '.join(table.column_names) or 'none'}")
    return table


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)
