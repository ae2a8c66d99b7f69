"""Shards that are finished stay finished: what a failed or killed run has made is taken over by the next one.

Beside the files of a shard lies a manifest with their sizes and the result of the shard. The worker writes it, last, so
that a driver that is killed loses nothing. The folder belongs to one function and one identity of its inputs.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from gem_assets.parallel.shard_map import ShardMap

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)

Outputs = Callable[[Any], Sequence[Path] | None]
"""Gives the files of a shard from its result, or None where it must not be taken over."""


def keeping_finished(map_shards: ShardMap, folder: Path, result: type[Any], outputs: Outputs) -> ShardMap:
    """Return a map that leaves out the shards that are finished in ``folder``.

    Parameters
    ----------
    folder
        Where the shard function writes its files, and the manifests go.
    result
        Type of the results: one that pydantic writes as JSON and reads again.
    outputs
        A function of a module, or a partial of one.
    """
    kind = TypeAdapter[Any](result)

    def mapped(fn: Callable[[T], R], items: Sequence[T], label: str, /) -> Iterator[R]:
        found = [_taken_over(_manifest(folder, item), kind) for item in items]
        rest = [item for item, kept in zip(items, found, strict=True) if kept is None]
        if len(rest) < len(items):
            logger.info(f"{label}: {len(items) - len(rest)} of {len(items)} shards were finished by an earlier run")
        finish = partial(_finish, fn=fn, folder=folder, result=result, outputs=outputs)
        fresh = map_shards(finish, rest, label)
        for kept in found:
            yield next(fresh) if kept is None else kept[0]
        # a map that is read to its end keeps its workers
        yield from fresh

    return mapped


def _finish(item: T, *, fn: Callable[[T], R], folder: Path, result: type[Any], outputs: Outputs) -> R:
    made = fn(item)
    files = outputs(made)
    if files is not None:
        sizes = {str(path): _settled(path) for path in files}
        record = {"files": sizes, "result": TypeAdapter[Any](result).dump_python(made, mode="json")}
        manifest = _manifest(folder, item)
        part = manifest.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(record), encoding="utf-8")
        _settled(part)
        part.replace(manifest)
    return made


def _settled(path: Path) -> int | None:
    """Force a file to the disk and return its size, None where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _manifest(folder: Path, item: object) -> Path:
    return folder / f"{hashlib.sha256(repr(item).encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.finished"


def _taken_over(manifest: Path, kind: TypeAdapter[Any]) -> tuple[Any] | None:
    try:
        record: Any = json.loads(manifest.read_bytes())
        whole = all(_size(Path(path)) == size for path, size in record["files"].items())
        return (kind.validate_python(record["result"], strict=False),) if whole else None
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None
