"""How file-by-file work is spread: the one function type that every shard stage takes.

A stage that works file by file receives a ``ShardMap`` and calls it once. In a test or a notebook that is
:func:`serial_map`; on the graph it is the engine's process pool or cluster. Stages never know which.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class ShardMap(Protocol):
    """Apply a picklable function to every item; results come back in the order of the items."""

    def __call__(self, fn: Callable[[T], R], items: Sequence[T], label: str, /) -> Iterator[R]:
        """Map; ``label`` says in logs and errors what the work is."""
        ...


def serial_map(fn: Callable[[T], R], items: Sequence[T], label: str, /) -> Iterator[R]:  # noqa: ARG001
    """Run in this process, one item after the other."""
    return map(fn, items)
