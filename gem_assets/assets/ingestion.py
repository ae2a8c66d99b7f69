"""Ingest a snapshot unless its result stands: what is pinned, what is borrowed, what is committed.

The identity of the result covers the landed bytes, the settings and the texts that other snapshots keep for this one.
Those last are known only after reading, so the result that is current is asked first: as long as its keepers still keep
what it borrowed, and no new entry of the blocklist concerns one of its rows, it stands.
"""

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gem_assets.corpus.config import CODE_VERSION, CorpusConfig
from gem_assets.corpus.dedup.known import KnownContent, NothingKnown, RememberedKnown
from gem_assets.corpus.dedup.ownership import borrowed_texts, borrowing_version, dangling_texts
from gem_assets.corpus.fingerprints import check_landing, fingerprint_of, landed_digests
from gem_assets.corpus.landed import complete_folder
from gem_assets.corpus.readers.records import DIED, HUNG
from gem_assets.corpus.report import IngestReport
from gem_assets.corpus.shards import DUPLICATES_FILE
from gem_assets.orchestration.plan import Reason
from gem_assets.orchestration.stage import Stage
from gem_assets.settings import Settings
from gem_assets.stages import LANDING, RAW_SHARDS
from gem_assets.storage.artifacts import Artifact
from gem_assets.storage.faults import retried
from gem_assets.storage.identity import digest
from gem_assets.storage.manifest import FileRef, InputRef
from gem_assets.storage.store import shard_files
from gem_assets.takedown.blocklist import BlockEntry, Matcher, blocklist_of
from gem_assets.takedown.certificate import checked_requests
from gem_assets.takedown.request import BLOCKED_BY, applied_entries, blocklist_input, unapplied
from resources import EngineResource, StoreResource

LIBRARIES = ("pyarrow", "zstandard", "brotli", "resiliparse", "datasketch")
SHA256_DIGITS = 64


class NothingKeptError(RuntimeError):
    """A snapshot gave no document at all, neither new nor known."""


def ingesting(
    store: StoreResource, engine: EngineResource, settings: Settings, snapshot: str
) -> Generator[Stage, None, Stage]:
    """Declare the stage of a snapshot, as far as it is known before reading; asked for more, commit its result.

    Raises
    ------
    LandingError
        When the snapshot has not landed completely, or its name is none, or its files changed since they were landed.
    StorageError
        When a landed file cannot be read; a run has tried several times by then.
    NothingKeptError
        When not one document could be kept; nothing is written then.
    BlocklistError
        When the blocklist lacks something that was on it; nothing is read then.
    """
    # whoever only asks is answered at once, and asks again
    pauses = () if store.only_asks else None
    landed = retried(partial(landed_input, settings, snapshot), settings.landing / snapshot, pauses=pauses)
    config = settings.corpus
    standing = store.artifacts.snapshots(RAW_SHARDS)
    current = standing.pop(snapshot, None)
    across = config.duplicates_across_snapshots
    shards = {name: shard_files(artifact) for name, artifact in standing.items()} if across else {}
    stage_with = partial(_stage, store, snapshot, config, landed)

    entries = blocked_entries(store)
    why = _must_read(store, current, shards, entries)
    if current is None or why is not None:
        declared = stage_with([])
        declared.why = why or Reason(kind="missing", text="never made")
    else:
        borrowed = [ref for ref in current.manifest.inputs if ref.asset == RAW_SHARDS]
        metrics = current.manifest.metrics
        given_up = given_up_inputs(metrics.get(HUNG), metrics.get(DIED), settings)
        declared = stage_with([*borrowed, *given_up, *blocklist_input(applied_entries(current))])
    yield declared
    if declared.why is None and declared.done is not None:
        return declared

    from gem_assets.corpus.ingest import LandedFileChangedError, ingest_snapshot

    known: KnownContent = NothingKnown()
    if shards:
        identities = {name: artifact.identity for name, artifact in standing.items()}
        known = RememberedKnown(shards, identities, store.cache("known_texts"))
    blocked = Matcher(entries)
    read_from = stage_with([]).identity
    with store.scratch() as scratch, store.shard_folder(RAW_SHARDS, snapshot, read_from) as work:
        try:
            report = ingest_snapshot(
                settings.landing,
                snapshot,
                scratch,
                config,
                known=known,
                map_shards=engine.shard_map(RAW_SHARDS),
                blocked=blocked if entries else None,
                pinned={file.path: file.sha256 for file in landed.files},
                work=work,
            )
        except LandedFileChangedError:
            # the next try hashes every file again
            settings.landing_cache(snapshot).unlink(missing_ok=True)
            raise
        _refuse_empty(report, snapshot)
        borrowed = borrowed_inputs(store, scratch / DUPLICATES_FILE)
        given_up = given_up_inputs(report.hung, report.died, settings)
        stage = stage_with([*borrowed, *given_up, *blocklist_input(blocked.hits)])
        if stage.done is None:
            with stage.write() as draft:
                for path in sorted(scratch.iterdir()):
                    path.rename(draft.path / path.name)
                draft.counts = totals(report)
                draft.metrics = {
                    "tokenizer": report.tokenizer,
                    "by_file": [file.model_dump(mode="json") for file in report.files],
                    "filtered_by_reason": report.filtered,
                    "skipped_by_type": report.skipped,
                    "fields_not_understood": report.unread,
                    **({BLOCKED_BY: sorted(blocked.hits)} if blocked.hits else {}),
                    **({HUNG: report.hung} if report.hung else {}),
                    **({DIED: report.died} if report.died else {}),
                }
    return stage


def blocked_entries(store: StoreResource) -> list[BlockEntry]:
    """Return what must not be kept, once the list is known to be whole.

    Raises BlocklistError when the list lacks something that was on it; see
    :func:`gem_assets.takedown.certificate.checked_requests`.
    """
    blocklist = blocklist_of(store.root)
    if blocklist is None:
        return []
    checked_requests(store.artifacts)
    blocklist.adopt()
    return blocklist.entries()


def landed_input(settings: Settings, snapshot: str) -> InputRef:
    """Pin the landed files of a snapshot: its fingerprint, and size and digest of every file.

    Raises
    ------
    LandingError
        When there is no such snapshot, or it is not complete or not as it was landed.
    StorageError
        When a landed file is gone or cannot be read.
    """
    folder = complete_folder(settings.landing, snapshot)
    digests = landed_digests(folder, settings.landing_cache(snapshot))
    check_landing(folder, digests)
    return InputRef(
        asset=LANDING,
        partition=snapshot,
        data_version=fingerprint_of(digests),
        files=tuple(
            FileRef(path=path, bytes=size, sha256=digest)
            for path, size, digest in digests
            if len(digest) == SHA256_DIGITS
        ),
    )


def borrowed_inputs(store: StoreResource, duplicates: Path) -> list[InputRef]:
    """Pin what other snapshots keep for this one, by the content of what is borrowed."""
    with store.spill() as spill:
        return [
            InputRef(asset=RAW_SHARDS, partition=keeper, data_version=borrowing_version(digests), rows=len(digests))
            for keeper, digests in borrowed_texts(duplicates, spill).items()
        ]


def given_up_inputs(hung: Any, died: Any, settings: Settings) -> list[InputRef]:
    """Pin the files that were given up, with the time and memory that they had: more of it has them read again."""
    limits = {
        "hung_files": (hung, {"shard_timeout_s": settings.shard_timeout_s}),
        "died_files": (died, {"worker_memory_mb": settings.worker_memory_mb}),
    }
    return [
        InputRef(asset=asset, data_version=digest({"files": files, **limit}), rows=len(files))
        for asset, (files, limit) in limits.items()
        if files
    ]


def _must_read(
    store: StoreResource,
    current: Artifact | None,
    shards: Mapping[str, Sequence[Path]],
    entries: Sequence[BlockEntry],
) -> Reason | None:
    """Say why a result does not stand whatever its identity is, or None."""
    if current is None:
        return None
    if unapplied(current, entries):
        return Reason(kind="takedown", text="a request to take documents down concerns it")
    if all(ref.asset != RAW_SHARDS for ref in current.manifest.inputs):
        return None
    with store.spill() as spill:
        dangling = dangling_texts(current.path / DUPLICATES_FILE, shards, spill) > 0
    return Reason(kind="texts", text="another snapshot let go a text that was left to it") if dangling else None


def _stage(store: StoreResource, snapshot: str, config: CorpusConfig, landed: InputRef, found: list[InputRef]) -> Stage:
    return Stage(
        store,
        RAW_SHARDS,
        partition=snapshot,
        config=config,
        code_version=CODE_VERSION,
        inputs=[landed, *found],
        libraries=LIBRARIES,
        version_prefix=landed.data_version,
    )


def totals(report: IngestReport) -> dict[str, int]:
    """Return the counts of a snapshot; ``read`` is the sum of the four that follow it."""
    return {
        "files": report.n_files,
        "read": report.read,
        "kept": report.kept,
        "duplicates": report.n_duplicates,
        "filtered": report.n_filtered,
        "quarantined": report.n_quarantined,
        "tokens": report.n_tokens,
        "bytes": report.n_bytes,
    }


def _refuse_empty(report: IngestReport, snapshot: str) -> None:
    if report.kept or report.n_duplicates or report.filtered.get("blocked"):
        return
    if report.n_files == 0:
        raise NothingKeptError(f"snapshot {snapshot} holds no files beside _SUCCESS; land files, then _SUCCESS")
    reasons = ", ".join(f"{reason} {count}" for reason, count in (report.quarantined | report.filtered).items())
    raise NothingKeptError(
        f"snapshot {snapshot} gave no document: {report.read} records in {report.n_files} files"
        + (f" ({reasons})" if reasons else "")
        + ". Nothing was written. Check the files and the column names in [corpus.columns], then land it again."
    )
