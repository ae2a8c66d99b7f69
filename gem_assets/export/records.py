"""A record of every export, so that a takedown knows where documents went.

``<data root>/exported/<id>/`` holds ``record.json`` (recipe, order, trainer, path, date, and size and SHA-256 of every
file) and a copy of the export's ledger. A record is written before the export gets its name, so a killed export leaves
a record without a folder, never a folder without a record. It stays when the folder goes.

``find_in_exports`` says which exports hold documents. The ledger names the documents; the files are then searched for
them, whatever the ledger says of their state: rows of JSON lines and parquet by document id and by the digest of the
text, token files by the digest of each token run between two end-of-document tokens.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

import gzip
import json
import shutil
import struct
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from gem_assets.export.ledger import EOS_ID, LEDGER_NAME, run_digest, text_digest
from gem_assets.frozen import Frozen
from gem_assets.storage.durable import fsync_dir, fsync_tree, locked_folder, make_dirs, write_atomic
from gem_assets.storage.identity import file_digest
from gem_assets.storage.manifest import FileRef

EXPORTS, RECORDS, RECORD_NAME = "exports", "exported", "record.json"
GRAVE_PREFIX, DRAFT_PREFIX = ".purged-", ".record-"
_CHUNK = 1 << 22

State = Literal["holds", "clean", "not searched", "replaced", "not found", "purged"]


class ExportRecord(Frozen):
    """One export.

    Attributes
    ----------
    id
        12 hex digits.
    at
        When it was written; UTC, to the microsecond, so that two exports within a second keep their order.
    mixture, recipe, order
        Recipe by name and by the identity of its artifact; identity of the order that was written, if one was.
    path
        Relative to the data root for what lies in it, else absolute.
    digest
        SHA-256 over names and digests of the files.
    share_bias
        By cluster, how far its share by this tokenizer is off the recipe's, as a part of that share; empty unless the
        order was counted with another tokenizer.
    purged_at, purged_by
        When its folder was deleted, and the requests that asked for it.
    """

    id: str
    at: datetime
    trainer: str
    mixture: str
    recipe: str
    order: str | None
    path: str
    tokenizer: str | None
    documents: int
    digest: str
    files: tuple[FileRef, ...]
    share_bias: dict[int, float] = Field(default_factory=dict[int, float])
    purged_at: datetime | None = None
    purged_by: tuple[str, ...] = ()

    @property
    def inside(self) -> bool:
        """Whether it was written into the data root."""
        return not Path(self.path).is_absolute()


class ExportHolding(Frozen):
    """An export that was given documents of a request.

    Attributes
    ----------
    id
        Of its record; empty for a folder that no record names.
    found
        How many its files still hold; None where they could not be searched.
    state
        ``holds``, ``clean`` (searched, none found), ``not searched`` (a file could not be read), ``replaced`` (a later
        export lies there), ``not found`` (the folder is not there any more: moved, copied or deleted by somebody) or
        ``purged``.
    """

    id: str
    at: datetime
    trainer: str
    mixture: str
    recipe: str
    order: str | None
    path: str
    inside: bool
    digest: str
    documents: int
    found: int | None
    state: State
    searched: str


def register(
    root: Path,
    folder: Path,
    path: Path,
    *,
    trainer: str,
    mixture: str,
    recipe: str,
    order: str | None,
    tokenizer: Path | None,
    share_bias: Mapping[int, float] | None = None,
    at: datetime | None = None,
) -> ExportRecord:
    """Put an export on record before it gets its name."""
    moment = at or datetime.now(UTC)
    place = path.resolve()
    inside = place.is_relative_to(root.resolve())
    shown = place.relative_to(root.resolve()).as_posix() if inside else str(place)
    files = tuple(
        FileRef(path=file.relative_to(folder).as_posix(), bytes=file.stat().st_size, sha256=file_digest(file))
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    )
    digest = sha256("\n".join(f"{file.path} {file.sha256}" for file in files).encode()).hexdigest()
    name = sha256(f"{shown}\n{moment.isoformat()}\n{digest}".encode()).hexdigest()[:12]
    record = ExportRecord(
        id=name, at=moment, trainer=trainer, mixture=mixture, recipe=recipe, order=order, path=shown,
        tokenizer=str(tokenizer) if tokenizer is not None else None,
        documents=pq.read_metadata(folder / LEDGER_NAME).num_rows, digest=digest, files=files,
        share_bias=dict(share_bias or {}),
    )  # fmt: skip
    target = root / RECORDS / name
    with locked_folder(root / RECORDS, DRAFT_PREFIX) as draft:
        filled = draft / "record"
        filled.mkdir()
        shutil.copyfile(folder / LEDGER_NAME, filled / LEDGER_NAME)
        (filled / RECORD_NAME).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        fsync_tree(filled)
        if target.exists():
            shutil.rmtree(target)
        filled.rename(target)
    fsync_dir(target.parent)
    return record


def records(root: Path) -> list[ExportRecord]:
    """Return the exports of a data root, oldest first.

    Raises ValueError when a record cannot be read: without it nobody knows what the export holds.
    """
    found: list[ExportRecord] = []
    for path in sorted((root / RECORDS).glob(f"[!.]*/{RECORD_NAME}")):
        try:
            found.append(ExportRecord.model_validate_json(path.read_bytes()))
        except ValueError as error:
            raise ValueError(f"{path} is not the record of an export; restore it from a backup: {error}") from error
    return sorted(found, key=lambda one: (one.at, one.id))


def latest_bias(root: Path, mixture: str) -> ExportRecord | None:
    """Return the newest export that found the order of a mixture counted with another tokenizer than its own.

    ``mixture`` is the name of the recipe's asset.
    """
    found = [one for one in records(root) if one.mixture == mixture and one.share_bias]
    return found[-1] if found else None


def export_places(root: Path) -> list[Path]:
    """Return the folders into which exports were written, sorted."""
    return sorted({root / EXPORTS, *((root / one.path).parent for one in records(root))})


def unregistered(root: Path) -> list[str]:
    """Return the folders below ``exports/`` that no record names: copies, and exports of an earlier release."""
    known = {one.path for one in records(root)}
    folders = sorted(p for p in (root / EXPORTS).glob("*") if p.is_dir() and not p.name.startswith("."))
    return [name for name in (folder.relative_to(root).as_posix() for folder in folders) if name not in known]


def find_in_exports(root: Path, documents: Iterable[str]) -> list[ExportHolding]:
    """Return every export that was given some documents, oldest first, and whether its files still hold them."""
    wanted = pa.array(sorted(set(documents)), pa.string())
    known = records(root)
    last = {record.path: record.id for record in known}
    found: list[ExportHolding] = []
    for record in known:
        listed = pq.read_table(root / RECORDS / record.id / LEDGER_NAME)
        listed = listed.filter(pc.is_in(listed.column("doc_id"), value_set=wanted))
        if listed.num_rows:
            held, state, searched = _look(root, record, listed, last[record.path])
            about = record.model_dump(include=set(ExportHolding.model_fields) & set(ExportRecord.model_fields))
            about |= {"documents": listed.num_rows, "found": held, "state": state, "searched": searched}
            found.append(ExportHolding(inside=record.inside, **about))
    return [*found, *_unregistered_holdings(root, wanted)]


def _look(root: Path, record: ExportRecord, listed: pa.Table, standing: str) -> tuple[int | None, State, str]:
    """Return how many documents the files of an export hold, its state, and what was searched."""
    folder = root / record.path
    if record.purged_at is not None:
        return 0, "purged", f"deleted on {record.purged_at:%Y-%m-%d}"
    if standing != record.id:
        return None, "replaced", f"export {standing} lies there now"
    if not folder.is_dir():
        return None, "not found", "the folder is not there any more"
    held, searched = search(folder, listed)
    if held == 0 and _unchanged(folder, record):
        # a packed format may cut the last document of a cluster, which no digest of the whole finds
        return listed.num_rows, "holds", f"{searched}; its files are those that were written"
    return held, "not searched" if held is None else "holds" if held else "clean", searched


def _unchanged(folder: Path, record: ExportRecord) -> bool:
    paths = ((folder / file.path, file) for file in record.files)
    return all(path.is_file() and file_digest(path) == file.sha256 for path, file in paths)


def _unregistered_holdings(root: Path, wanted: pa.Array) -> Iterator[ExportHolding]:
    """Search folders that no record names; only by document ids, since nobody wrote down what they hold."""
    nothing = pa.nulls(len(wanted), pa.string())
    listed = pa.table({"doc_id": wanted, "text": nothing, "run": nothing})
    for path in unregistered(root) if len(wanted) else ():
        held, searched = search(root / path, listed)
        if held == 0 and next(_token_files(root / path), None) is not None:
            held, searched = None, "its token files hold no ids, and there is no ledger of its documents"
        if held != 0:
            moment = datetime.fromtimestamp((root / path).stat().st_mtime, UTC).replace(microsecond=0)
            yield ExportHolding(
                id="", at=moment, trainer="unknown", mixture="unknown", recipe="", order=None, path=path, inside=True,
                digest="", documents=held or 0, found=held, state="holds" if held else "not searched",
                searched=f"{searched}; it is not on record",
            )  # fmt: skip


def search(folder: Path, listed: pa.Table) -> tuple[int | None, str]:
    """Search the files of an export for documents of its ledger.

    Returns how many documents are found, None where a file could not be read; and what was searched.
    """
    ids = set(listed.column("doc_id").to_pylist())
    by_text = dict(zip(listed.column("text").to_pylist(), listed.column("doc_id").to_pylist(), strict=True))
    by_run = dict(zip(listed.column("run").to_pylist(), listed.column("doc_id").to_pylist(), strict=True))
    eos = (listed.schema.metadata or {}).get(EOS_ID)
    found: set[str] = set()
    rows = runs = 0
    try:
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != LEDGER_NAME):
            reader = _ROWS.get("".join(path.suffixes[-2:])) or _ROWS.get(path.suffix)
            if reader is not None:
                rows += 1
                for doc_id, text in reader(path):
                    found |= {doc_id} & ids
                    found |= {by_text[name] for name in (text_digest(text),) if name in by_text}
        for group in _token_files(folder) if eos is not None else ():
            runs += len(group)
            found |= {by_run[name] for name in _runs(group, int(eos or b"0")) if name in by_run}
    except (OSError, ValueError, KeyError, struct.error) as error:
        return None, f"a file cannot be read: {error}"
    return len(found), f"{rows} files of rows by id and text, {runs} files of tokens by token runs"


def purge_export(root: Path, holding: ExportHolding, requests: Sequence[str], *, at: datetime | None = None) -> None:
    """Delete the folder of an export in the data root and say so in its record; the record and its ledger stay."""
    folder = root / holding.path
    if folder.is_dir():
        make_dirs(root / EXPORTS)
        grave = root / EXPORTS / f"{GRAVE_PREFIX}{uuid.uuid4().hex}"
        folder.rename(grave)
        fsync_dir(folder.parent)
    if holding.id:
        path = root / RECORDS / holding.id / RECORD_NAME
        record = ExportRecord.model_validate_json(path.read_bytes())
        moment = (at or datetime.now(UTC)).replace(microsecond=0)
        marked = record.model_copy(update={"purged_at": moment, "purged_by": tuple(requests)})
        write_atomic(path, (marked.model_dump_json(indent=1) + "\n").encode())
    sweep(root)


def sweep(root: Path) -> None:
    """Delete export folders that lost their name."""
    for grave in (root / EXPORTS).glob(f"{GRAVE_PREFIX}*"):
        shutil.rmtree(grave)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            row: dict[str, Any] = json.loads(line)
            yield str(row.get("doc_id")), str(row.get("text"))


def _parquet(path: Path) -> Iterator[tuple[str, str]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["doc_id", "text"]):
            yield from zip(batch.column("doc_id").to_pylist(), batch.column("text").to_pylist(), strict=True)


_ROWS: dict[str, Callable[[Path], Iterator[tuple[str, str]]]] = {
    ".jsonl": _lines, ".jsonl.gz": _lines, ".parquet": _parquet,
}  # fmt: skip


def _token_files(folder: Path) -> Iterator[list[tuple[Path, int, np.dtype[Any]]]]:
    """Yield the token files of each cluster in their order, with the byte where tokens begin and their type."""
    for path in sorted(folder.rglob("*.bin")):
        with path.with_suffix(".idx").open("rb") as index:
            code = struct.unpack("<9sQB", index.read(18))[2]
        yield [(path, 0, np.dtype(np.uint16 if code == 8 else np.int32))]
    for path in sorted(folder.rglob("*.ds")):
        first = path.with_name(f"{path.name}.metadata").read_text(encoding="utf-8").splitlines()[0]
        yield [(path, 0, np.dtype(f"<u{first.rpartition('|')[2]}"))]
    for cluster in sorted({path.parent for path in folder.rglob("*.mds")}):
        yield [(path, _mds_start(path), np.dtype(np.int32)) for path in sorted(cluster.glob("*.mds"))]
    for cluster in sorted({path.parent for path in folder.rglob("part-*.npy")}):
        # arrays without a header do not say their width; every width that fits is tried
        for width in (1, 2, 4):
            yield [(path, 0, np.dtype(f"<u{width}")) for path in sorted(cluster.glob("part-*.npy"))]


def _mds_start(path: Path) -> int:
    with path.open("rb") as file:
        return int(np.fromfile(file, dtype="<u4", count=2)[1])


def _runs(files: Sequence[tuple[Path, int, np.dtype[Any]]], eos: int) -> Iterator[str]:
    """Yield the digest of every token run that an end-of-document token ends, across files; and of the rest."""
    rest: npt.NDArray[Any] = np.zeros(0, dtype=np.int64)
    for path, start, dtype in files:
        with path.open("rb") as file:
            file.seek(start)
            while len(chunk := np.fromfile(file, dtype=dtype, count=_CHUNK)):
                ids = np.concatenate([rest.astype(dtype), chunk])
                begin = 0
                for end in np.flatnonzero(ids == eos).tolist():
                    yield run_digest(ids[begin:end])
                    begin = end + 1
                rest = ids[begin:]
    if len(rest):
        yield run_digest(rest)
