"""A file of JSON lines that cannot be shortened, reordered or edited unnoticed.

Each line holds the digest of everything before it (``previous``). How far the file reaches, and its digest there,
stands in a second file: its head record. A line is written first and its head second, so a writer that is killed leaves
at most one line more than the head says; less than the head says was taken away by somebody.

Lines that were written before the chain have no ``previous``. They are adopted once, by the first ingest or append, and
the head record says how many they were and when that was.
"""

import json
import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from gem_assets.frozen import Frozen
from gem_assets.storage.durable import file_lock, fsync_dir, make_dirs, write_atomic

logger = logging.getLogger(__name__)

START = "0" * 64
PREVIOUS = "previous"


class ChainError(ValueError):
    """The file is not what was written; the message says what is wrong with it, and not what follows from that."""


class Head(Frozen):
    """How far a chained file reaches.

    Attributes
    ----------
    lines, digest
        Lines that were acknowledged, and the digest over all of them.
    adopted, adopted_at
        How many of them are older than the chain, and when they were adopted.
    """

    lines: int = Field(ge=0)
    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    adopted: int = Field(default=0, ge=0)
    adopted_at: datetime | None = None


@dataclass(frozen=True)
class Chain:
    """What a chained file holds.

    Attributes
    ----------
    lines
        Raw lines without their ends.
    digests
        One more than lines: ``digests[n]`` covers the first ``n``.
    head
        The head record; None for a file that is older than the chain, or new.
    """

    lines: list[bytes]
    digests: list[str]
    head: Head | None

    @property
    def reach(self) -> Head:
        """How far the file itself reaches."""
        return Head(lines=len(self.lines), digest=self.digests[-1])

    def holds(self, head: Head) -> bool:
        """Tell whether the file once reached to a head, and holds all of that still."""
        return head.lines < len(self.digests) and self.digests[head.lines] == head.digest


class ChainedFile:
    """A file of JSON lines with its head record beside it.

    The head record of the file ``path`` is ``<stem>.head.json``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head_path = path.with_name(f"{path.stem}.head.json")

    def read(self) -> Chain:
        """Return what the file holds, once every line is where it was written.

        Raises ChainError when lines are missing, edited, in another order or not chained.
        """
        while True:
            head = self._head()
            try:
                data = self.path.read_bytes()
            except FileNotFoundError:
                data = None
            # a writer may have come between the two files
            if head == self._head():
                return self._checked(data, head)

    def adopt(self) -> None:
        """Write the head record of a file that is older than the chain; a chained or empty one stays as it is."""
        if self.head_path.exists() or not self.path.exists():
            return
        with self._locked():
            chain = self.read()
            if chain.lines and chain.head is None:
                self._settled(chain)
                logger.info("%s is older than its chain: its %d lines are adopted as they are", self.path,
                            len(chain.lines))  # fmt: skip

    def append(self, line: Callable[[str], dict[str, Any]]) -> None:
        """Add a line durably; on return it is on the disk.

        ``line`` is given the digest of what is there so far, and returns the line as a JSON object.

        Raises ChainError when the file is damaged; nothing is written then.
        """
        make_dirs(self.path.parent)
        with self._locked():
            chain = self.read()
            head = self._settled(chain)
            text = json.dumps({PREVIOUS: head.digest, **line(head.digest)}, ensure_ascii=False).encode()
            created = not self.path.exists()
            with self.path.open("ab+") as handle:
                # what a killed writer left of a line was never acknowledged
                handle.truncate(sum(len(one) + 1 for one in chain.lines))
                handle.write(text + b"\n")
                handle.flush()
                os.fsync(handle.fileno())
            if created:
                fsync_dir(self.path.parent)
            self._write_head(head.model_copy(update={"lines": head.lines + 1, "digest": _next(head.digest, text)}))

    def _locked(self) -> AbstractContextManager[None]:
        return file_lock(self.path.with_name(f".{self.path.name}.lock"), purpose=f"append to {self.path.name}")

    def _settled(self, chain: Chain) -> Head:
        """Bring the head record to where the file reaches, and write it before anything depends on it."""
        if chain.head is None:
            adopted = len(chain.lines)
            at = datetime.now(UTC).replace(microsecond=0) if adopted else None
            head = chain.reach.model_copy(update={"adopted": adopted, "adopted_at": at})
        else:
            head = chain.head.model_copy(update=chain.reach.model_dump(include={"lines", "digest"}))
        if head != chain.head:
            self._write_head(head)
        return head

    def _head(self) -> Head | None:
        try:
            return Head.model_validate_json(self.head_path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise ChainError(f"its head record {self.head_path.name} is damaged") from error

    def _write_head(self, head: Head) -> None:
        write_atomic(self.head_path, head.model_dump_json(indent=1, exclude_defaults=True).encode() + b"\n")

    def _checked(self, data: bytes | None, head: Head | None) -> Chain:
        named = self.head_path.name
        if data is None and head is not None and head.lines:
            raise ChainError(f"it is missing; its head record {named} counts {head.lines} lines")
        *lines, rest = (data or b"").split(b"\n")
        digests = [START]
        for line in lines:
            digests.append(_next(digests[-1], line))
        previous = [_previous(line) for line in lines]
        if head is None:
            if any(previous):
                raise ChainError(f"its head record {named} is missing")
            return Chain(lines, digests, None)
        for number in range(head.adopted, len(lines)):
            if previous[number] is None:
                raise ChainError(f"line {number + 1} is damaged: it holds no digest of the lines before it")
            if previous[number] != digests[number]:
                raise ChainError(f"line {number + 1} does not follow from the lines before it")
        if len(lines) < head.lines:
            raise ChainError(f"it was shortened: it holds {len(lines)} lines and its head record {named} counts "
                             f"{head.lines}")  # fmt: skip
        if len(lines) > head.lines + 1:
            raise ChainError(f"it holds {len(lines)} lines and its head record {named} counts {head.lines}")
        if digests[head.lines] != head.digest:
            raise ChainError(f"its first {head.lines} lines are not those that its head record {named} was made from")
        if rest:
            logger.warning("%s ends in a line that was cut off; it was never acknowledged and does not count",
                           self.path)  # fmt: skip
        return Chain(lines, digests, head)


def _next(digest: str, line: bytes) -> str:
    return sha256(digest.encode("ascii") + line).hexdigest()


def _previous(line: bytes) -> Any:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found.get(PREVIOUS) if isinstance(found, dict) else None
