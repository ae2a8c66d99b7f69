"""Which shard starts next and which result is due, kept apart from where shards run.

Shards start as slots become free, whatever the first of them takes; results that come early are held until their turn.
Only their bytes are bounded. A bound on their number would leave most slots of a large cluster idle behind one slow
shard.
"""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

R = TypeVar("R")

HELD_BYTES: Final = 256 << 20
"""Bytes of results that may wait for their turn before no further shard is started."""


class Window(Generic[R]):
    """The shards of one map, by index.

    Of several failures the first in order is raised, so that an error does not depend on timing: after a failure only
    what comes before it is still started.
    """

    def __init__(self, total: int, held_bytes: int = HELD_BYTES) -> None:
        self._total = total
        self._most = held_bytes
        self._next = 0
        self._due = 0
        self._held: dict[int, tuple[R, int]] = {}
        self._held_bytes = 0
        self._failure: tuple[int, Exception] | None = None

    @property
    def open(self) -> bool:
        """Whether results are still to come."""
        return self._due < self._total

    def start(self) -> int | None:
        """Return the index of the next shard to start, or None where none may start now."""
        stop = self._total if self._failure is None else self._failure[0]
        # whatever is held, the result that is due has to be made
        if self._next >= stop or (self._held_bytes >= self._most and self._next != self._due):
            return None
        self._next += 1
        return self._next - 1

    def finish(self, index: int, result: R, n_bytes: int) -> None:
        """Take the result of a shard, which has ``n_bytes``."""
        self._held[index] = result, n_bytes
        self._held_bytes += n_bytes

    def fail(self, index: int, error: Exception) -> None:
        """Take the error of a shard; it is raised when its turn comes."""
        if self._failure is None or index < self._failure[0]:
            self._failure = index, error

    def due(self) -> Iterator[R]:
        """Yield the results whose turn has come.

        Raises the error of the first shard that failed, in its turn.
        """
        while self._due in self._held:
            result, n_bytes = self._held.pop(self._due)
            self._held_bytes -= n_bytes
            self._due += 1
            yield result
        if self._failure is not None and self._failure[0] == self._due:
            raise self._failure[1]
