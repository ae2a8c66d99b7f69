"""A worker process with a pipe, seen from the process that gives it shards.

It starts clean (``forkserver``; Lance must not be forked), with one thread for BLAS: the processes are the parallelism.
"""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Generator
from multiprocessing.connection import Connection
from typing import Final

from gem_assets.parallel.worker import serve

_ONE_THREAD: Final[dict[str, str]] = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class WorkerProcess:
    """One process and the shard that it works on.

    ``memory_bytes`` is what it may use, mapped files aside; None sets no limit.

    ``started`` says when the shard was given, on the monotonic clock.
    """

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
        """Hand over a shard: a pickled ``(fn, item)``."""
        self.index, self.started = index, time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a dead worker shows when it is waited for
            self._pipe.send_bytes(task)

    def take(self) -> bytes | None:
        """Return the pickled answer that is ready, or None when the process ended without one."""
        try:
            answer = self._pipe.recv_bytes()
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
