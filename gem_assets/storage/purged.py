"""What purges deleted: which table versions and results are gone, on whose request, and where their rows stand now.

One line per purge in ``<data root>/purges.jsonl``, on the disk before the first file goes. No manifest is ever
rewritten: what names a deleted version is read at the version that took its place, where the rows of its snapshot have
the same digest. Where they have not (documents that were taken down were among them), and for results that were
deleted, readers say "purged on <date> by request <id>".
"""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ValidationError

from gem_assets.storage.durable import file_lock, fsync_dir

PURGES_NAME = "purges.jsonl"


class PurgedError(ValueError):
    """Something that was deleted by a purge is asked for; the message says when and on whose request."""


class Version(BaseModel, frozen=True, extra="forbid"):
    """A version of a table."""

    table: str
    version: int


class Moved(BaseModel, frozen=True, extra="forbid"):
    """Rows of one snapshot that a manifest names at a deleted version, and the version that holds the same rows."""

    table: str
    version: int
    snapshot: str | None
    digest: str
    to: int


class Result(BaseModel, frozen=True, extra="forbid"):
    """A committed result."""

    asset: str
    partition: str | None
    identity: str


class Purge(BaseModel, frozen=True, extra="forbid"):
    """One line: what one purge was about to delete."""

    at: datetime
    requests: tuple[str, ...]
    versions: tuple[Version, ...] = ()
    moved: tuple[Moved, ...] = ()
    results: tuple[Result, ...] = ()

    def __str__(self) -> str:
        return f"purged on {self.at:%Y-%m-%d} by request {', '.join(self.requests)}"


class Purges:
    """What the purges of one data root deleted.

    A URL is where a purged root was mirrored to object storage; it is only read.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root).rstrip("/")
        self.path = Path(self.root) / PURGES_NAME

    @cached_property
    def lines(self) -> tuple[Purge, ...]:
        """Every purge, oldest first.

        Raises PurgedError when a line before the last is damaged.
        """
        try:
            if "://" not in self.root:
                return tuple(_parse(self.path.read_bytes(), str(self.path)))
            import fsspec

            # Lance's own name for its object-store code over a folder
            url = f"{self.root.replace('file-object-store://', 'file://')}/{PURGES_NAME}"
            with fsspec.open(url, "rb") as file:
                return tuple(_parse(file.read(), url))  # pyright: ignore[reportAttributeAccessIssue]
        except FileNotFoundError:
            return ()

    def append(self, purge: Purge) -> None:
        """Write a line durably; on return it is on the disk."""
        with file_lock(self.path.with_name(f".{PURGES_NAME}.lock"), purpose="append to the list of purges"):
            with self.path.open("ab+") as handle:
                handle.seek(0)
                handle.truncate(handle.read().rfind(b"\n") + 1)
                handle.write(purge.model_dump_json().encode() + b"\n")
                handle.flush()
                os.fsync(handle.fileno())
            fsync_dir(self.path.parent)
        for name in ("lines", "moved"):
            self.__dict__.pop(name, None)

    def of_version(self, table: str, version: int) -> Purge | None:
        """Return the purge that deleted a table version."""
        return next((one for one in self.lines if Version(table=table, version=version) in one.versions), None)

    def of_result(self, asset: str, identity: str, partition: str | None = None) -> Purge | None:
        """Return the purge that deleted a result."""
        wanted = Result(asset=asset, partition=partition, identity=identity)
        return next((one for one in self.lines if wanted in one.results), None)

    def successor(self, table: str, version: int, snapshot: str | None) -> int | None:
        """Return the version that holds what a snapshot held at a deleted one; None where no version does."""
        at = version
        for one in self.moved:
            if (one.table, one.version, one.snapshot) == (table, at, snapshot):
                at = one.to
        return at if at != version else None

    def successors(self, table: str, version: int) -> set[int]:
        """Return the versions that hold what any snapshot held at a deleted one."""
        names = {one.snapshot for one in self.moved if (one.table, one.version) == (table, version)}
        return {to for name in names if (to := self.successor(table, version, name)) is not None}

    @cached_property
    def moved(self) -> tuple[Moved, ...]:
        """Every move, oldest first."""
        return tuple(move for one in self.lines for move in one.moved)


def _parse(data: bytes, source: str) -> Iterator[Purge]:
    # a last line without its newline was never acknowledged: nothing was deleted on its word
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        try:
            yield Purge.model_validate(json.loads(line))
        except (ValidationError, ValueError) as error:
            raise PurgedError(f"{source} line {number} is damaged; restore it from a backup: {error}") from error
