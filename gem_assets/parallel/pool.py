"""Run shards in processes: order is kept, a hung or killed worker is named, one crash loses nothing else.

Each worker has one shard at a time, so the time of a shard runs from its start, and a worker that dies names its shard.
A shard whose worker was killed runs once more by itself, when all others in work are done: what was killed only for
lack of memory beside its neighbours succeeds, and what kills its worker again is named in the error.

Workers stay for 20 seconds after a map, for the next one. Each may use a bounded amount of memory, so that a shard
without measure ends its own process and not one that the kernel chooses; the shard that is run again by itself may use
nearly all of the machine's.
"""

import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import TypeVar

from gem_assets.parallel.machine import MemoryShare
from gem_assets.parallel.process import WorkerProcess
from gem_assets.parallel.shard_map import ShardDiedError, ShardHungError
from gem_assets.parallel.window import Window
from gem_assets.parallel.worker import Answer, loaded

T = TypeVar("T")
R = TypeVar("R")

_KEEP_S = 20.0


class ShardError(RuntimeError):
    """A shard failed; the message names it, the cause is chained."""


class ShardTimeoutError(ShardError, ShardHungError):
    """A shard took longer than allowed and was stopped."""


class WorkerKilledError(ShardError, ShardDiedError):
    """A shard's process was killed, twice."""


def pool_map(
    fn: Callable[[T], R],
    items: Sequence[T],
    label: str,
    *,
    workers: int,
    timeout_s: float,
    memory: MemoryShare | None = None,
) -> Iterator[R]:
    """Yield ``fn(item)`` for every item, in order, computed in ``workers`` processes.

    Raises ShardError when ``fn`` raises; :class:`ShardTimeoutError` and :class:`WorkerKilledError` are its kinds.
    """
    pool = _take_pool(workers, memory)
    try:
        yield from pool.run(fn, items, label, timeout_s)
    except BaseException:
        pool.stop()
        raise
    _keep_pool(pool)


def serial(fn: Callable[[T], R], items: Sequence[T], label: str) -> Iterator[R]:
    """Yield ``fn(item)`` in this process, with the same errors but those of a time limit."""
    for item in items:
        try:
            result = fn(item)
        except Exception as error:
            raise failed(label, item, error) from error
        yield result


def failed(label: str, item: object, error: BaseException) -> ShardError:
    """Return the error that names a shard."""
    return ShardError(f"{label}: shard {item} failed: {type(error).__name__}: {error}")


def killed(label: str, item: object, how: str = "") -> WorkerKilledError:
    """Return the error for a shard that ended its process; ``how`` it ended."""
    return WorkerKilledError(
        f"{label}: the process that worked on shard {item} was killed{how}, also when run alone. Most often that is "
        "lack of memory: split the shard, or add memory (worker_memory_mb, where it is set); a crash in a native "
        "library looks the same",
        item,
    )


def too_slow(label: str, item: object, timeout_s: float) -> ShardTimeoutError:
    """Return the error for a shard that was stopped."""
    return ShardTimeoutError(
        f"{label}: shard {item} was stopped after {timeout_s:g} s. Raise shard_timeout_s (GEM_SHARD_TIMEOUT_S) if it "
        "needs longer than that",
        item,
    )


def failure(answer: Answer, label: str, item: object) -> ShardError:
    """Return the error of a shard that raised, with the cause and where it was raised."""
    error = ShardError(f"{label}: shard {item} failed: {answer.failure}")
    error.add_note(f"In the worker process:\n{answer.trace}")
    error.__cause__ = answer.error
    return error


class _Pool:
    def __init__(self, size: int, memory: MemoryShare | None) -> None:
        self.size = size
        self.memory = memory
        self.workers: list[WorkerProcess] = []

    def run(self, fn: Callable[[T], R], items: Sequence[T], label: str, timeout_s: float) -> Iterator[R]:
        window = Window[R](len(items))
        again, killed_once = deque[int](), set[int]()
        alone: WorkerProcess | None = None
        while window.open:
            while alone is None and self._has_room() and (index := window.start()) is not None:
                self._idle().give(index, pickle.dumps((fn, items[index])))
            if again and not self._busy():
                index = again.popleft()
                alone = self._start(alone=True)
                alone.give(index, pickle.dumps((fn, items[index])))
            for worker in self._ready(items, label, timeout_s):
                index, data = worker.index, worker.take()
                assert index is not None
                if worker is alone:
                    alone = None
                answer = None if data is None else loaded(data)
                if answer is not None and data is not None and not answer.out_of_memory:
                    if index in killed_once:
                        # it may use more memory than is there for one among others
                        self._drop(worker)
                    if answer.failure is None:
                        window.finish(index, answer.result, len(data))
                    else:
                        window.fail(index, failure(answer, label, items[index]))
                    continue
                how = f" ({answer.failure})" if answer is not None else worker.how_it_ended()
                self._drop(worker)
                if index in killed_once:
                    raise killed(label, items[index], how)
                killed_once.add(index)
                again.append(index)
            yield from window.due()

    def stop(self) -> None:
        for worker in list(self.workers):
            worker.kill()
        self.workers.clear()

    def _ready(self, items: Sequence[object], label: str, timeout_s: float) -> list[WorkerProcess]:
        busy = self._busy()
        oldest = min(busy, key=lambda worker: worker.started)
        left = oldest.started + timeout_s - time.monotonic()
        ready = wait([worker.connection for worker in busy], timeout=max(0.0, left))
        if not ready and oldest.index is not None:
            raise too_slow(label, items[oldest.index], timeout_s)
        return [worker for worker in busy if worker.connection in ready]

    def _busy(self) -> list[WorkerProcess]:
        return [worker for worker in self.workers if worker.index is not None]

    def _has_room(self) -> bool:
        return len(self._busy()) < self.size

    def _idle(self) -> WorkerProcess:
        return next((worker for worker in self.workers if worker.index is None), None) or self._start()

    def _start(self, *, alone: bool = False) -> WorkerProcess:
        memory = None if self.memory is None else self.memory.alone if alone else self.memory.beside
        worker = WorkerProcess(memory)
        self.workers.append(worker)
        return worker

    def _drop(self, worker: WorkerProcess) -> None:
        self.workers.remove(worker)
        worker.kill()


_KEPT: list[tuple[_Pool, threading.Timer]] = []
_KEPT_LOCK = threading.Lock()


def _take_pool(size: int, memory: MemoryShare | None) -> _Pool:
    with _KEPT_LOCK:
        for position, (pool, timer) in enumerate(_KEPT):
            if (pool.size, pool.memory) == (size, memory):
                timer.cancel()
                del _KEPT[position]
                return pool
    return _Pool(size, memory)


def _keep_pool(pool: _Pool) -> None:
    """Let workers live a while: a run maps several times, and a worker's imports take longer than many a shard."""

    def end() -> None:
        with _KEPT_LOCK:
            kept = any(entry[0] is pool for entry in _KEPT)
            _KEPT[:] = [entry for entry in _KEPT if entry[0] is not pool]
        if kept:  # else another map took it while the timer went off
            pool.stop()

    timer = threading.Timer(_KEEP_S, end)
    timer.daemon = True
    with _KEPT_LOCK:
        _KEPT.append((pool, timer))
    timer.start()
