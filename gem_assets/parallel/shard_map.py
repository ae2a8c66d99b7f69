"""The function type through which every stage spreads its file-by-file work.

A stage that works file by file receives a ``ShardMap`` and calls it once. In a test or a notebook that is
:func:`serial_map`; on the graph it is the engine's process pool or cluster. Stages never know which.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class ShardLostError(RuntimeError):
    """A shard took its process with it; what else was in work may run again."""

    def __init__(self, message: str, item: object) -> None:
        super().__init__(message)
        self.item = item

    def __reduce__(self) -> tuple[type["ShardLostError"], tuple[str, object]]:
        """Let it cross process borders with its item."""
        return type(self), (str(self), self.item)


class ShardHungError(ShardLostError):
    """A shard took longer than it may and was stopped."""


class ShardDiedError(ShardLostError):
    """A shard ended its process, also when it ran alone: it needs too much memory, or crashes native code."""


class ShardMap(Protocol):
    """Apply a picklable function to every item; results come back in the order of the items."""

    def __call__(self, fn: Callable[[T], R], items: Sequence[T], label: str, /) -> Iterator[R]:
        """Map; ``label`` says in logs and errors what the work is.

        Raises ShardLostError when an item takes longer than the map allows, or ends its process twice; it names the
        item.
        """
        ...


def serial_map(fn: Callable[[T], R], items: Sequence[T], label: str, /) -> Iterator[R]:  # noqa: ARG001
    """Run in this process, one item after the other."""
    return map(fn, items)
