"""Run shards in processes: order is kept, a hung or killed worker is named, one crash loses nothing else.

Each worker has one shard at a time, so the time of a shard runs from its start, and a worker that dies names its shard.
A shard whose worker was killed runs once more by itself, when all others in work are done: what was killed only for
lack of memory beside its neighbours succeeds, and what kills its worker again is named in the error. Results that come
early wait for their turn, a few per worker at most. Of several failures the first in order is raised, so the error does
not depend on timing.

Workers start clean (``forkserver``; Lance must not be forked) with one thread for BLAS each: the processes are the
parallelism. They stay for 20 seconds after a map, for the next one. Each may use a bounded amount of memory, so that a
shard without measure ends its own process and not one that the kernel chooses; the shard that is run again by itself
may use nearly all of the machine's.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from gem_assets.parallel.machine import MemoryShare
from gem_assets.parallel.shard_map import ShardDiedError, ShardHungError
from gem_assets.parallel.worker import Answer, serve

T = TypeVar("T")
R = TypeVar("R")

_ONE_THREAD: dict[str, str] = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_AHEAD = 8
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

    Raises
    ------
    ShardError
        When ``fn`` raises; :class:`ShardTimeoutError` and :class:`WorkerKilledError` are its kinds.
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


class _Worker:
    """One process with a pipe, and the shard that it works on."""

    def __init__(self, memory_bytes: int | None) -> None:
        context = multiprocessing.get_context("forkserver")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, memory_bytes), daemon=True)
        with _environment(_ONE_THREAD):
            self._process.start()
        other.close()
        self.index: int | None = None
        self.started = 0.0

    def give(self, index: int, task: bytes) -> None:
        """Hand over a shard."""
        self.index, self.started = index, time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a dead worker shows when it is waited for
            self._pipe.send_bytes(task)

    def take(self) -> Answer | None:
        """Return the answer that is ready, or None when the process ended without one."""
        try:
            answer: Answer = pickle.loads(self._pipe.recv_bytes())  # noqa: S301  (from our own child)
        except (EOFError, OSError):
            return None
        self.index = None
        return answer

    @property
    def connection(self) -> Connection:
        """Readable when an answer is there, or when the process is gone."""
        return self._pipe

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def how_it_ended(self) -> str:
        """Return `` (SIGSEGV)``, `` (exit code 1)`` or nothing, once the process is gone."""
        self._process.join(1)
        code = self._process.exitcode
        if not code:
            return ""
        return f" ({signal.Signals(-code).name})" if code < 0 else f" (exit code {code})"


class _Pool:
    def __init__(self, size: int, memory: MemoryShare | None) -> None:
        self.size = size
        self.memory = memory
        self.workers: list[_Worker] = []

    def run(self, fn: Callable[[T], R], items: Sequence[T], label: str, timeout_s: float) -> Iterator[R]:
        waiting, again = deque(range(len(items))), deque[int]()
        answers: dict[int, Answer] = {}
        failed_first, killed_once = len(items), set[int]()
        due = 0
        alone: _Worker | None = None
        while due < len(items):
            # after a failure only what comes before it is still of interest
            ahead = min(failed_first, due + _AHEAD * self.size)
            while alone is None and waiting and waiting[0] < ahead and (worker := self._idle()):
                index = waiting.popleft()
                worker.give(index, pickle.dumps((fn, items[index])))
            if again and not self._busy():
                index = again.popleft()
                alone = self._start(alone=True)
                alone.give(index, pickle.dumps((fn, items[index])))
            for worker in self._ready(items, label, timeout_s):
                index, answer = worker.index, worker.take()
                assert index is not None
                if worker is alone:
                    alone = None
                if answer is not None and not answer.out_of_memory:
                    if index in killed_once:
                        # it may use more memory than is there for one among others
                        self._drop(worker)
                    answers[index] = answer
                    failed_first = min(failed_first, index if answer.failure else failed_first)
                    continue
                how = f" ({answer.failure})" if answer is not None else worker.how_it_ended()
                self._drop(worker)
                if index in killed_once:
                    raise killed(label, items[index], how)
                killed_once.add(index)
                again.append(index)
            while due in answers:
                yield _result(answers.pop(due), label, items[due])
                due += 1

    def stop(self) -> None:
        for worker in list(self.workers):
            worker.kill()
        self.workers.clear()

    def _ready(self, items: Sequence[object], label: str, timeout_s: float) -> list[_Worker]:
        busy = self._busy()
        oldest = min(busy, key=lambda worker: worker.started)
        left = oldest.started + timeout_s - time.monotonic()
        ready = wait([worker.connection for worker in busy], timeout=max(0.0, left))
        if not ready and oldest.index is not None:
            raise too_slow(label, items[oldest.index], timeout_s)
        return [worker for worker in busy if worker.connection in ready]

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.index is not None]

    def _idle(self) -> _Worker | None:
        idle = next((worker for worker in self.workers if worker.index is None), None)
        return idle or (self._start() if len(self.workers) < self.size else None)

    def _start(self, *, alone: bool = False) -> _Worker:
        memory = None if self.memory is None else self.memory.alone if alone else self.memory.beside
        worker = _Worker(memory)
        self.workers.append(worker)
        return worker

    def _drop(self, worker: _Worker) -> None:
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


def _result(answer: Answer, label: str, item: object) -> Any:
    if answer.failure is None:
        return answer.result
    error = ShardError(f"{label}: shard {item} failed: {answer.failure}")
    error.add_note(f"In the worker process:\n{answer.trace}")
    raise error from answer.error


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Generator[None]:
    """Set variables while a child is started; BLAS libraries read them once, when they are loaded."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
