"""What the files of a landed snapshot hold: their digests, one fingerprint over all, and what ``gem land`` recorded.

The record lies beside the landing folder and names size and digest of every file as it was landed. It belongs to one
mark: a ``_SUCCESS`` that somebody wrote later says that the folder is whole as it is now, and no record speaks for it.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from gem_assets.corpus.landed import RECORDS_FOLDER, SUCCESS, LandedFile, LandingError, landed_files, open_regular
from gem_assets.storage.durable import make_dirs, write_atomic
from gem_assets.storage.faults import is_storage_error, unreadable

# a file changed again inside one tick of the clock keeps its times: younger digests are not remembered
_SETTLED_NS: Final = 2_000_000_000
_NAMED: Final = 5
_COPY_BLOCK: Final = 1 << 20

Recorded = tuple[int, str | None]
"""Size in bytes and SHA-256 of a file; a file that was only linked has no digest."""


def landed_digests(snapshot_dir: Path, cache_file: Path | None = None) -> list[tuple[str, int, str]]:
    """Return (relative path, size in bytes, SHA-256 of the content) of every data file, sorted by path.

    A file that must not be opened has its problem in place of the digest.

    ``cache_file`` remembers the digests of single files under path, size and times, so that a second call reads only
    what changed. A cache that cannot be read or written is done without.

    Raises StorageError when a file that is listed cannot be read now.
    """
    remembered = _read_cache(cache_file)
    fresh: dict[str, list[int | str]] = {}
    found: list[tuple[str, int, str]] = []
    try:
        for file in landed_files(snapshot_dir):
            digest, entry = _file_digest(file, remembered)
            if entry is not None:
                fresh[file.relative] = entry
            found.append((file.relative, file.n_bytes, digest))
    except OSError:
        # what was read before the storage failed need not be read again
        _write_cache(cache_file, remembered, remembered | fresh)
        raise
    _write_cache(cache_file, remembered, fresh)
    return found


def fingerprint(snapshot_dir: Path, cache_file: Path | None = None) -> str:
    """Return the SHA-256 over the lines of :func:`landed_digests`: the version of a snapshot's content."""
    return fingerprint_of(landed_digests(snapshot_dir, cache_file))


def fingerprint_of(digests: Iterable[tuple[str, int, str]]) -> str:
    """Return the version of a snapshot's content from what :func:`landed_digests` gave."""
    total = hashlib.sha256()
    for line in digests:
        total.update(json.dumps(line, ensure_ascii=True).encode("ascii") + b"\n")
    return total.hexdigest()


def _read_cache(cache_file: Path | None) -> dict[str, list[int | str]]:
    try:
        loaded = json.loads(cache_file.read_bytes()) if cache_file is not None else {}
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(loaded, dict):
        return {}
    return {k: v for k, v in loaded.items() if isinstance(v, list) and len(v) == 4}


def _write_cache(
    cache_file: Path | None, before: Mapping[str, list[int | str]], now: Mapping[str, list[int | str]]
) -> None:
    if cache_file is None or now == before:
        return
    with contextlib.suppress(OSError):
        make_dirs(cache_file.parent)
        write_atomic(cache_file, json.dumps(now, sort_keys=True).encode("utf-8"))


def _file_digest(file: LandedFile, remembered: dict[str, list[int | str]]) -> tuple[str, list[int | str] | None]:
    """Return the digest and, where it may be remembered, its cache entry."""
    if file.problem is not None:
        return file.problem, None
    try:
        started = time.time_ns()
        with open_regular(file.path) as handle:
            state = _state(handle)
            known = remembered.get(file.relative)
            if known is not None and known[:3] == state:
                return str(known[3]), known
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
            settled = max(state[1:]) < started - _SETTLED_NS and _state(handle) == state
    except OSError as error:
        if is_storage_error(error):
            raise unreadable(file.path, error) from error
        return f"unreadable_file: {type(error).__name__}", None
    return digest, [*state, digest] if settled else None


def _state(handle: BufferedReader) -> list[int]:
    """Size and times of an open file; the time of its last change of any kind cannot be set by hand."""
    about = os.fstat(handle.fileno())
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns]


def copy_hashed(source: Path, target: Path) -> str:
    """Copy a regular file and return the SHA-256 of what was copied.

    Raises OSError when the source cannot be read or is not a regular file, or the target cannot be written.
    """
    digest = hashlib.sha256()
    with open_regular(source) as handle, target.open("wb") as out:
        while block := handle.read(_COPY_BLOCK):
            digest.update(block)
            out.write(block)
    return digest.hexdigest()


def record_landing(snapshot_dir: Path, files: Mapping[str, Recorded]) -> None:
    """Write down what was landed, by relative path; the mark has been written."""
    record = _record_file(snapshot_dir)
    make_dirs(record.parent)
    content = {"mark": _mark(snapshot_dir), "files": files}
    write_atomic(record, json.dumps(content, sort_keys=True).encode("utf-8") + b"\n")


def check_landing(snapshot_dir: Path, digests: Sequence[tuple[str, int, str]]) -> None:
    """Compare what lies in a snapshot's folder with what ``gem land`` put there, where it did.

    Raises
    ------
    StorageError
        When a landed file is not there.
    LandingError
        When a landed file holds other bytes.
    """
    recorded = _recorded(snapshot_dir)
    if not recorded:
        return
    found = {relative: (size, digest) for relative, size, digest in digests}
    if lost := [relative for relative in recorded if relative not in found]:
        why = "it was landed and is no longer there" if len(lost) == 1 else f"landed files are gone: {_names(lost)}"
        raise unreadable(snapshot_dir / lost[0], why)
    changed = [
        relative
        for relative, (size, digest) in recorded.items()
        if found[relative][0] != size or digest not in (None, found[relative][1])
    ]
    if changed:
        raise LandingError(
            f"snapshot {snapshot_dir.name}: {_names(changed)} no longer as landed, the bytes are others. Put the "
            f"landed files back, or land them again with --replace. If the change is meant, touch "
            f"{snapshot_dir / SUCCESS}"
        )


def _names(relatives: Sequence[str]) -> str:
    more = len(relatives) - _NAMED
    return ", ".join(relatives[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _record_file(snapshot_dir: Path) -> Path:
    return snapshot_dir.parent.parent / RECORDS_FOLDER / f"{snapshot_dir.name}.files"


def _mark(snapshot_dir: Path) -> int:
    return (snapshot_dir / SUCCESS).lstat().st_mtime_ns


def _recorded(snapshot_dir: Path) -> dict[str, Recorded]:
    path = _record_file(snapshot_dir)
    try:
        with open_regular(path) as handle:
            record: Any = json.loads(handle.read())
        mark = record["mark"]
        files = {str(relative): (int(size), digest) for relative, (size, digest) in record["files"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LandingError(
            f"{path}, which says what was landed, is damaged ({type(error).__name__}): land the snapshot again with "
            "--replace, or remove the record to take the folder as it is"
        ) from error
    return files if mark == _mark(snapshot_dir) else {}
