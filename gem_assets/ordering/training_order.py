"""Write the training order of a recipe: ``position, doc_id, cluster, epoch, score`` for every exposure of the run.

Draw (`draw`), sort by cluster and score, place each document on its cluster's curve and that curve in the run
(`interleave`), sort by place, write. Two spilling sorts and four linear passes; memory is the sort's limit plus a
batch, plus 12 bytes per document of the largest cluster up to 16 million documents, whatever the corpus weighs (segment
and Gumbel jitter add 16 bytes per document of the largest cluster). Disk: about 130 bytes per exposure while it runs.
The result does not depend on the order of the input, on threads or on memory.

Writes ``part-*.parquet`` and ``report.json``.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.ordering.config import CurveConfig, OrderingConfig
from gem_assets.ordering.draw import cut_times, drawn_copies, supply_of
from gem_assets.ordering.external import Spool, sort_batches
from gem_assets.ordering.hashing import seeded
from gem_assets.ordering.ids import pack, unpack
from gem_assets.ordering.interleave import cluster_curve, due_progress
from gem_assets.ordering.operators import rank_blocks, reads_ascending
from gem_assets.ordering.plan import RecipeLike, RunPlan, plan_run
from gem_assets.ordering.report import OrderReport, RunTally
from gem_assets.ordering.staging import Staged, stage
from gem_assets.storage.identity import finite

ORDER_SCHEMA = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("cluster", pa.int16(), nullable=False),
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("n_tokens", pa.int64(), nullable=False),
        pa.field("phase", pa.int16(), nullable=False),
        pa.field("metadata", pa.bool_(), nullable=False),
    ]
)

# ids are two words (`ids`) or one string
_PACKED_ID = [("upper", pa.uint64()), ("lower", pa.uint64())]
_PLAIN_ID = [("doc_id", pa.string())]
_CARRIED = [("index", pa.int32()), ("epoch", pa.int32()), ("score", pa.float64()), ("n_tokens", pa.int32())]
_ROWS = 131_072
_PART_ROWS = 16_777_216
_IN_MEMORY = 16_777_216


@dataclass(frozen=True)
class _Walk:
    """One walk along the curve: rows of a cluster (and pass) that stand together after the first sort."""

    group: int
    number: int
    rows: int


def build_order(
    documents: Iterable[pa.RecordBatch], recipe: RecipeLike, config: OrderingConfig, out: Path
) -> OrderReport:
    """Draw a recipe's documents and write them in training order.

    Parameters
    ----------
    documents
        Batches with doc_id, cluster, n_tokens, the score column, and dup_count when rehydration is on; read once.
    recipe
        Token shares per cluster, phases and token budget.
    config
        Curve, score column and run options.
    out
        Existing folder to fill.

    Returns
    -------
    Totals, shares, epochs and exhaustion per cluster, and what was left out.

    Raises
    ------
    ValueError
        If a batch lacks a column or holds a value that cannot be used, a cluster with a share has no tokens, a
        document comes twice, or options contradict the recipe.
    """
    return write_order(documents, plan_run(recipe, config.final_phase), config, out)


def write_order(documents: Iterable[pa.RecordBatch], plan: RunPlan, config: OrderingConfig, out: Path) -> OrderReport:
    """Do the work of :func:`build_order` for a run that is laid out already; `config.final_phase` is not read."""
    if not config.interleave and len(plan.bounds) > 2:
        raise ValueError(
            f"the run has {len(plan.bounds) - 1} phases, and one curve over all clusters cannot keep their shares; "
            "set interleave=true, or use a recipe with one phase and no final_phase"
        )
    with tempfile.TemporaryDirectory(dir=out, prefix=".work-") as folder:
        work = Path(folder)
        staged = stage(documents, plan, config, work / "staged.arrow")
        supply = supply_of(staged.replay, len(plan.clusters))
        staged.require_tokens(supply, plan)
        cuts = cut_times(staged.replay, supply, plan.targets, config.draw_seed)
        ids = _PACKED_ID if staged.packed else _PLAIN_ID
        rows = sort_batches(
            _drawn(staged, cuts, config),
            pa.schema([("tie", pa.uint64()), *ids, *_CARRIED]),
            _rank_columns(config),
            scratch=work,
            memory_mb=config.memory_mb,
            threads=config.threads,
        )
        spool, walks = _spool(rows, pa.schema([*ids, *_CARRIED]), config, work)
        staged.spool.path.unlink()
        _place(walks, plan, config, work)
        placed = sort_batches(
            _placed(spool, work),
            pa.schema([("due", pa.float64()), *ids, *_CARRIED]),
            ("due", "index"),
            scratch=work,
            memory_mb=config.memory_mb,
            threads=config.threads,
        )
        tally = RunTally(plan, supply)
        _write(placed, plan, config, out, tally)
    report = tally.report(staged.left_out, metadata=config.metadata_prefix is not None)
    (out / "report.json").write_text(
        json.dumps(finite(report.as_dict()), indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    return report


def _rank_columns(config: OrderingConfig) -> list[str]:
    """Columns whose order is the rank inside each walk along the curve, walks first."""
    columns = ["index"] if config.interleave else []
    if config.repeats == "passes":
        columns.append("epoch")
    # for a random order the tie-break is enough
    if config.curve.strategy != "random":
        columns.append("score" if reads_ascending(config.curve) else "-score")
    return [*columns, "tie"]


def _drawn(staged: Staged, cuts: npt.NDArray[np.float64], config: OrderingConfig) -> Iterator[pa.RecordBatch]:
    """Exposures with a tie-break of their own."""
    ids = _PACKED_ID if staged.packed else _PLAIN_ID
    schema = pa.schema([("tie", pa.uint64()), *ids, *_CARRIED])
    for part, doc_id, score in staged.rows():
        words = pack(doc_id) if staged.packed else None
        for rows, epoch in drawn_copies(part, cuts, config.draw_seed):
            chosen = [doc_id.take(pa.array(rows))] if words is None else [pa.array(w[rows]) for w in words]
            yield pa.record_batch(
                [
                    pa.array(seeded(part.key[rows], config.curve.seed, epoch)),
                    *chosen,
                    pa.array(part.cluster[rows].astype(np.int32)),
                    pa.array(epoch.astype(np.int32)),
                    pa.array(score[rows]),
                    pa.array(part.n_tokens[rows].astype(np.int32)),
                ],
                schema=schema,
            )


def _spool(
    rows: Iterator[pa.RecordBatch], schema: pa.Schema, config: OrderingConfig, work: Path
) -> tuple[Spool, list[_Walk]]:
    """Write the sorted rows and their token counts; return the rows and the walks in their order."""
    walks: list[_Walk] = []
    last: tuple[int, int, str] | None = None
    with Spool(work / "sorted.arrow", schema) as spool, (work / "tokens.bin").open("wb") as tokens:
        for batch in rows:
            last = _refuse_twice(batch, last)
            batch.column("n_tokens").to_numpy().tofile(tokens)
            spool.write(batch.select(schema.names))
            _extend(walks, batch, config)
    return spool, walks


def _extend(walks: list[_Walk], batch: pa.RecordBatch, config: OrderingConfig) -> None:
    """Append the walks that a sorted batch holds."""
    zero = np.zeros(batch.num_rows, dtype=np.int32)
    group = batch.column("index").to_numpy() if config.interleave else zero
    number = batch.column("epoch").to_numpy() if config.repeats == "passes" else zero
    starts = np.flatnonzero(np.concatenate(([True], (np.diff(group) != 0) | (np.diff(number) != 0))))
    for start, stop in zip(starts, [*starts[1:], len(group)], strict=True):
        walk = _Walk(int(group[start]), int(number[start]), int(stop - start))
        if walks and (walks[-1].group, walks[-1].number) == (walk.group, walk.number):
            walks[-1] = _Walk(walk.group, walk.number, walks[-1].rows + walk.rows)
        else:
            walks.append(walk)


def _refuse_twice(batch: pa.RecordBatch, last: tuple[int, int, str] | None) -> tuple[int, int, str]:
    """Raise if a document stands twice in the input; equal rows are neighbours after the sort."""
    tie, epoch = batch.column("tie").to_numpy(), batch.column("epoch").to_numpy()
    for at in np.flatnonzero((np.diff(tie) == 0) & (np.diff(epoch) == 0)).tolist():
        pair = _ids(batch.slice(at, 2)).to_pylist()
        if pair[0] == pair[1]:
            raise ValueError(f"document {pair[0]} comes twice; give each doc_id once")
    first, end = _ids(batch.slice(0, 1))[0].as_py(), _ids(batch.slice(batch.num_rows - 1))[0].as_py()
    if last is not None and last == (int(tie[0]), int(epoch[0]), first):
        raise ValueError(f"document {first} comes twice; give each doc_id once")
    return int(tie[-1]), int(epoch[-1]), end


def _ids(batch: pa.RecordBatch) -> pa.Array:
    """The batch's document ids as strings."""
    if "doc_id" in batch.schema.names:
        return batch.column("doc_id")
    return unpack(batch.column("upper").to_numpy(), batch.column("lower").to_numpy())


def _place(walks: list[_Walk], plan: RunPlan, config: OrderingConfig, work: Path) -> None:
    """Write when each spooled row is due in the run, in the rows' order."""
    total = sum(walk.rows for walk in walks)
    if not total:
        raise ValueError(
            f"a budget of {plan.targets.sum():.0f} tokens is less than half a document in each of the "
            f"{len(plan.clusters)} clusters; raise the token budget"
        )
    lengths = np.memmap(work / "tokens.bin", dtype=np.int32, mode="r", shape=(total,))
    group_tokens: dict[int, float] = {}
    start = 0
    for walk in walks:
        taken = float(lengths[start : start + walk.rows].sum(dtype=np.int64))
        group_tokens[walk.group] = group_tokens.get(walk.group, 0.0) + taken
        start += walk.rows
    del lengths
    start, before = 0, dict.fromkeys(group_tokens, 0.0)
    with (work / "due.bin").open("wb") as out:
        for walk in walks:
            tokens, due = _columns(work, start, walk.rows)
            curve = _walk_curve(config, plan, walk, total)
            blocks = rank_blocks(walk.rows, curve)
            before[walk.group] = due_progress(blocks, tokens, due, before[walk.group], group_tokens[walk.group])
            for low in range(0, walk.rows, _ROWS):
                part = np.asarray(due[low : low + _ROWS])
                (plan.run_time(walk.group, part) if config.interleave else part).tofile(out)
            start += walk.rows


def _columns(work: Path, start: int, rows: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """A walk's token counts, and room for its due times: in memory, or on disk for a very long walk."""
    path = work / "tokens.bin"
    if rows <= _IN_MEMORY:
        return np.fromfile(path, dtype=np.int32, count=rows, offset=4 * start), np.empty(rows)
    tokens = np.memmap(path, dtype=np.int32, mode="r", offset=4 * start, shape=(rows,))
    return tokens, np.memmap(work / "walk.bin", dtype=np.float64, mode="w+", shape=(rows,))


def _walk_curve(config: OrderingConfig, plan: RunPlan, walk: _Walk, total: int) -> CurveConfig:
    if config.curve.strategy == "random":
        # ranks are random already
        return CurveConfig(strategy="curriculum")
    if not config.interleave:
        return config.curve
    return cluster_curve(config.curve, (int(plan.clusters[walk.group]), walk.number), walk.rows, total)


def _placed(spool: Spool, work: Path) -> Iterator[pa.RecordBatch]:
    """Spooled rows with their due times."""
    with (work / "due.bin").open("rb") as due:
        for batch in spool.read():
            when = np.fromfile(due, dtype=np.float64, count=batch.num_rows)
            yield pa.RecordBatch.from_arrays([pa.array(when), *batch.columns], ["due", *batch.schema.names])


def _write(placed: Iterator[pa.RecordBatch], plan: RunPlan, config: OrderingConfig, out: Path, tally: RunTally) -> None:
    """Write the rows in their order, in files of at most 16 million."""
    plain_from = 1.0 if config.metadata_prefix is None else 1.0 - config.metadata_prefix.cooldown
    writer: pq.ParquetWriter | None = None
    position = in_part = 0
    try:
        for batch in _regrouped(placed, config.row_group):
            if writer is None or in_part + batch.num_rows > _PART_ROWS:
                if writer is not None:
                    writer.close()
                part = out / f"part-{tally.files:05d}.parquet"
                writer = pq.ParquetWriter(part, ORDER_SCHEMA, compression="zstd", use_dictionary=False)
                tally.files += 1
                in_part = 0
            due, index = batch.column("due").to_numpy(), batch.column("index").to_numpy()
            phase = plan.phase_of(due)
            metadata = (due < plain_from) if config.metadata_prefix is not None else np.zeros(len(due), dtype=bool)
            rows = pa.record_batch(
                [
                    pa.array(np.arange(position, position + len(due))),
                    _ids(batch),
                    pa.array(plan.clusters[index].astype(np.int16)),
                    batch.column("epoch"),
                    batch.column("score"),
                    batch.column("n_tokens").cast(pa.int64()),
                    pa.array(phase),
                    pa.array(metadata),
                ],
                schema=ORDER_SCHEMA,
            )
            writer.write_batch(rows, row_group_size=config.row_group)
            tally.add(index, batch.column("n_tokens").to_numpy(), batch.column("epoch").to_numpy(), phase, metadata)
            position += batch.num_rows
            in_part += batch.num_rows
    finally:
        if writer is not None:
            writer.close()


def _regrouped(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of exactly `rows` rows but the last, so that the files do not depend on how the sort cut its output."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        while count >= rows:
            whole = pa.Table.from_batches(waiting).combine_chunks().to_batches()[0]
            yield whole.slice(0, rows)
            waiting, count = [whole.slice(rows)], count - rows
    if count:
        yield pa.Table.from_batches(waiting).combine_chunks().to_batches()[0]


def order_files(folder: Path) -> list[Path]:
    """Parquet files of a written order, in training order."""
    files = sorted(folder.glob("part-*.parquet"))
    if not files:
        raise FileNotFoundError(f"no part-*.parquet in {folder}; build the training order first")
    return files
