"""Turn one landed snapshot into clean document shards.

Three passes. Files become candidate rows, file by file on any number of workers; digests and signatures decide in
one process who is kept; the kept rows are streamed into shards in canonical order (file name, then place in the file).
So the bytes written depend on the landed files, the settings and what other snapshots keep, and on nothing else.
Memory: one batch per worker, whatever the size of the snapshot. Texts, signatures and what is kept of every candidate
stay on the disk, in a scratch folder below the output that is removed at the end (:mod:`gem_assets.storage.spill`).
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.dedup.candidates import BLOCKED, Blocked, Candidates
from gem_assets.corpus.dedup.known import KnownContent, NothingKnown, Owners
from gem_assets.corpus.dedup.verdicts import KEPT, Verdicts
from gem_assets.corpus.fragments import (
    FileJob,
    FileTally,
    extract_file,
    files_of,
    fragment_path,
    give_up_file,
    read_fragment,
    was_read,
)
from gem_assets.corpus.landed import (
    SUCCESS,
    LandedFile,
    LandingError,
    is_complete,
    landed_files,
    validate_snapshot_name,
)
from gem_assets.corpus.readers.records import DIED, HUNG
from gem_assets.corpus.report import FileReport, IngestReport, check_accounts
from gem_assets.corpus.schema import (
    DOCUMENT_SCHEMA,
    DUPLICATE_KINDS,
    DUPLICATE_SCHEMA,
    FILTERED_SCHEMA,
    QUARANTINE_SCHEMA,
)
from gem_assets.corpus.shards import DUPLICATES_FILE, FILTERED_FILE, QUARANTINE_FILE, ShardWriter, TableFile
from gem_assets.corpus.text.tokens import token_counter
from gem_assets.parallel.finished import keeping_finished
from gem_assets.parallel.shard_map import ShardDiedError, ShardLostError, ShardMap, serial_map
from gem_assets.storage.faults import StorageError, retried, unreadable
from gem_assets.storage.spill import Spill

TRIES = 2
"""How often a file may hang its reader, or end it, before it is quarantined."""
_NAMED = 5


class LandedFileChangedError(LandingError):
    """Landed files were written to while they were read; the message names them."""


def ingest_snapshot(
    landing: Path,
    snapshot: str,
    out: Path,
    config: CorpusConfig,
    *,
    known: KnownContent,
    map_shards: ShardMap = serial_map,
    blocked: Blocked | None = None,
    pinned: Mapping[str, str] | None = None,
    work: Path | None = None,
) -> IngestReport:
    """Read a landed snapshot and write its documents, duplicates, filtered and quarantined records.

    Parameters
    ----------
    out
        Empty folder, filled with ``part-*.parquet``, ``duplicates.parquet``, ``filtered.parquet`` and
        ``quarantine.parquet``. A snapshot without a single kept document has no ``part-*.parquet``.
    blocked
        Which documents must not be kept: they are filtered as ``blocked``, before duplicates are looked for.
    pinned
        SHA-256 of every file that can be read, by relative path: exactly these bytes are read, or nothing.
    work
        Folder for the rows of single files. Files that are finished there are not read again, so it belongs to one
        ``config`` and one ``pinned``, and is for the caller to remove. By default a folder in ``out``, which is gone
        afterwards.

    Raises
    ------
    LandingError
        There is no such snapshot, or it is not complete.
    LandedFileChangedError
        Files are not the pinned ones.
    StorageError
        A landed file could not be read at any try.
    FileExistsError
        ``out`` is not empty.
    AccountingError
        Counts do not add up; ``out`` must not be published.
    """
    validate_snapshot_name(snapshot)
    folder = landing / snapshot
    if not is_complete(folder):
        raise LandingError(
            f"{folder} has no {SUCCESS}: it is absent or still being written; create the mark once whole"
        )
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty: give an empty folder")
    tokenizer, _ = token_counter(config.tokenizer)
    scratch = out / ".scratch"
    scratch.mkdir()
    try:
        rows = scratch if work is None else work
        jobs = _jobs(retried(partial(landed_files, folder), folder), pinned)
        mapped = map_shards
        if work is not None:
            mapped = keeping_finished(map_shards, work, FileTally, partial(files_of, scratch=work))
        tallies = _read_all(jobs, rows, config, mapped, f"{snapshot}: reading")
        _refuse_changed(snapshot, jobs, tallies, pinned)
        with Spill(scratch) as spill:
            candidates = Candidates(rows, tallies, blocked, spill)
            across = known if config.duplicates_across_snapshots else NothingKnown()
            verdicts, owners = candidates.judge(across, config.near)
            with _Output(snapshot, out, config, candidates, verdicts, owners) as output:
                files: list[FileReport] = []
                for tally in tallies:
                    files.append(output.add_file(tally, rows))
                    spill.settle()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    report = _report(snapshot, tallies, files, output, tokenizer)
    check_accounts(report)
    return report


def _jobs(files: Sequence[LandedFile], pinned: Mapping[str, str] | None) -> list[FileJob]:
    return [
        FileJob(i, str(f.path), f.relative, f.problem, None if pinned is None else pinned.get(f.relative, ""))
        for i, f in enumerate(files)
    ]


def _refuse_changed(
    snapshot: str, jobs: Sequence[FileJob], tallies: Sequence[FileTally], pinned: Mapping[str, str] | None
) -> None:
    if pinned is None:
        return
    unlike = {tally.relative for tally in tallies if tally.changed}
    changed = sorted(unlike | (pinned.keys() - {job.relative for job in jobs if job.problem is None}))
    if changed:
        shown = ", ".join(changed[:_NAMED]) + (f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else "")
        raise LandedFileChangedError(
            f"snapshot {snapshot}: {shown} changed between being hashed and being read. Nothing was written, and the "
            "next try reads them again. Let nothing write to a snapshot that has its mark"
        )


def _read_all(
    jobs: Sequence[FileJob], scratch: Path, config: CorpusConfig, map_shards: ShardMap, label: str
) -> list[FileTally]:
    """Read every file; one whose reader had to be stopped ``TRIES`` times, or died, is given up and quarantined.

    Where it was stopped before it had all bytes of the file, the storage hangs and not the document.
    """
    extract = partial(extract_file, scratch=str(scratch), config=config)
    done: dict[int, FileTally] = {}
    strikes: Counter[int] = Counter()
    while waiting := [job for job in jobs if job.index not in done]:
        try:
            for tally in map_shards(extract, waiting, label):
                done[tally.index] = tally
        except ShardLostError as error:
            if not isinstance(error.item, FileJob):
                raise
            # of a reader that died the map has seen two deaths already
            died = isinstance(error, ShardDiedError)
            strikes[error.item.index] += TRIES if died else 1
            if strikes[error.item.index] >= TRIES and not was_read(error.item, scratch):
                raise unreadable(error.item.path, f"{error}; its bytes had not all come by then") from error
            if strikes[error.item.index] >= TRIES:
                reason = DIED if died else HUNG
                done[error.item.index] = give_up_file(error.item, reason, scratch=str(scratch), config=config)
        except RuntimeError as error:
            # the engine says which shard failed, and so does the cause
            if isinstance(error.__cause__, StorageError):
                raise error.__cause__ from None
            raise
    return [done[job.index] for job in jobs]


class _Output:
    """The four kinds of files of an ingest, and what was written into them."""

    def __init__(
        self,
        snapshot: str,
        out: Path,
        config: CorpusConfig,
        candidates: Candidates,
        verdicts: Verdicts,
        owners: Owners,
    ) -> None:
        self._snapshot = snapshot
        self._candidates = candidates
        self._verdicts = verdicts
        self._owners = owners
        self._next = 0
        self._stack = ExitStack()
        enter = self._stack.enter_context
        self.shards = enter(ShardWriter(out, config.shard_rows, config.shard_bytes))
        self._duplicates = enter(TableFile(out / DUPLICATES_FILE, DUPLICATE_SCHEMA))
        self._filtered = enter(TableFile(out / FILTERED_FILE, FILTERED_SCHEMA))
        self._quarantine = enter(TableFile(out / QUARANTINE_FILE, QUARANTINE_SCHEMA))
        self.duplicates: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.n_tokens = 0
        self.n_blocked = 0

    def __enter__(self) -> "_Output":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add_file(self, tally: FileTally, scratch: Path) -> FileReport:
        """Write what one file gave; files come in canonical order."""
        kept = duplicates = n_bytes = 0
        before = self._filtered.rows, self._quarantine.rows
        for batch in read_fragment(fragment_path(scratch, tally.index, "filtered")):
            self._filtered.write(batch)
        for batch in read_fragment(fragment_path(scratch, tally.index, "quarantine")):
            self._quarantine.write(_with_columns(batch, QUARANTINE_SCHEMA, snapshot=self._snapshot))
        for batch in read_fragment(fragment_path(scratch, tally.index, "documents")):
            rows = np.arange(self._next, self._next + batch.num_rows)
            self._next += batch.num_rows
            kind = self._verdicts.kind[rows]
            kept += self._keep(batch, rows, kind == KEPT)
            n_bytes += int(batch.column("n_bytes").to_numpy()[kind == KEPT].sum())
            duplicates += self._drop(batch, rows, (kind != KEPT) & (kind != BLOCKED))
            self._block(batch, kind == BLOCKED)
        return FileReport(
            file=tally.relative,
            read=tally.read,
            kept=kept,
            duplicates=duplicates,
            filtered=self._filtered.rows - before[0],
            quarantined=self._quarantine.rows - before[1],
            skipped=tally.skipped,
            n_bytes=n_bytes,
        )

    def _keep(self, batch: pa.RecordBatch, rows: NDArray[np.int64], mask: NDArray[np.bool_]) -> int:
        kept = batch.filter(pa.array(mask))
        counts = pa.array(self._verdicts.dup_count[rows[mask]], pa.int32())
        self.shards.write(_with_columns(kept, DOCUMENT_SCHEMA, snapshot=self._snapshot, dup_count=counts))
        self.languages.update(kept.column("lang").to_pylist())
        self.n_tokens += int(kept.column("n_tokens").to_numpy().sum())
        return kept.num_rows

    def _drop(self, batch: pa.RecordBatch, rows: NDArray[np.int64], mask: NDArray[np.bool_]) -> int:
        dropped = batch.select([n for n in batch.schema.names if n != "text"]).filter(pa.array(mask))
        ids, snapshots = self._candidates.stand_ins(rows[mask], self._verdicts, self._owners, self._snapshot)
        kinds = [DUPLICATE_KINDS[kind - 1] for kind in self._verdicts.kind[rows[mask]].tolist()]
        self.duplicates.update(kinds)
        self._duplicates.write(
            _with_columns(
                dropped,
                DUPLICATE_SCHEMA,
                snapshot=self._snapshot,
                kind=pa.array(kinds, pa.string()),
                kept_doc_id=pa.array(ids, pa.string()),
                kept_snapshot=pa.array(snapshots, pa.string()),
            )
        )
        return dropped.num_rows

    def _block(self, batch: pa.RecordBatch, mask: NDArray[np.bool_]) -> None:
        refused = batch.select([n for n in batch.schema.names if n != "text"]).filter(pa.array(mask))
        # the address is what was asked to go; file and offset say where to look, the blocklist says why
        refused = refused.set_column(refused.schema.get_field_index("url"), "url", pa.nulls(len(refused), pa.string()))
        self._filtered.write(_with_columns(refused, FILTERED_SCHEMA, reason="blocked"))
        self.n_blocked += refused.num_rows


def _with_columns(batch: pa.RecordBatch, schema: pa.Schema, **added: pa.Array | str) -> pa.RecordBatch:
    """Return a batch in ``schema``: its own columns where it has them, else the added ones (a string: in every row)."""
    columns: list[pa.Array] = []
    for field in schema:
        value = added.get(field.name)
        if isinstance(value, str):
            value = pa.repeat(pa.scalar(value, field.type), batch.num_rows)
        columns.append(batch.column(field.name) if value is None else value)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _report(
    snapshot: str,
    tallies: Sequence[FileTally],
    files: list[FileReport],
    output: _Output,
    tokenizer: str,
) -> IngestReport:
    filtered, quarantined, skipped = Counter[str](), Counter[str](), Counter[str]()
    for tally in tallies:
        filtered.update(tally.filtered)
        quarantined.update(tally.quarantined)
        skipped.update(tally.skipped)
    if output.n_blocked:
        filtered["blocked"] = output.n_blocked
    return IngestReport(
        snapshot=snapshot,
        n_files=len(files),
        read=sum(file.read for file in files),
        kept=sum(file.kept for file in files),
        duplicates={kind: output.duplicates[kind] for kind in DUPLICATE_KINDS},
        filtered=dict(sorted(filtered.items())),
        quarantined=dict(sorted(quarantined.items())),
        skipped=dict(sorted(skipped.items())),
        n_bytes=sum(file.n_bytes for file in files),
        n_tokens=output.n_tokens,
        languages=dict(sorted(output.languages.items())),
        tokenizer=tokenizer,
        shards=output.shards.shards,
        files=files,
        unread=dict(sorted(sum((Counter(tally.unread) for tally in tallies), Counter[str]()).items())),
        hung=[tally.relative for tally in tallies if HUNG in tally.quarantined],
        died=[tally.relative for tally in tallies if DIED in tally.quarantined],
    )
