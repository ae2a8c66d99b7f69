"""Extract the text of a page in a helper process that may be lost.

The HTML parser is compiled code that does not return to Python before it is done, and pages exist that cost it hours,
gigabytes or a crash. So each process that reads pages keeps one helper process, which has a limit of memory and, for
every page, one of processor time. A page that exceeds them ends the helper and becomes a quarantine row; the next page
gets a new helper. Processor time is counted, not time on the clock, so a busy machine refuses no page.
"""

import contextlib
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO, Final, NoReturn, cast

from gem_assets.corpus.readers.records import Damaged

BASE_CPU_S: Final = 3
"""Seconds of processor time for any page; a page of 50 kB takes 2 ms."""
BYTES_PER_CPU_S: Final = 1 << 18
"""One more second for as many bytes of the page."""
MEMORY_BYTES: Final = 3 << 30
"""Address space of the helper."""

_ROOT: Final = str(Path(__file__).resolve().parents[3])
_START: Final = (
    f"import sys; sys.path.insert(0, {_ROOT!r}); from gem_assets.corpus.text.contained import serve; serve()"
)
_LENGTH: Final = struct.Struct("<Q")
_SECONDS: Final = struct.Struct("<I")
_MOST_GROWTH: Final = 8
_TEXT, _FAILED = b"T", b"F"


def page_text(html: str) -> str:
    """Return :func:`gem_assets.corpus.text.html.html_to_text` of a page, within limits of time and memory.

    Raises Damaged ``costly_page``: the page needs more time or memory than any sound one. ``reader_error``: the parser
    failed.
    """
    with _LOCK:
        helper = _take_helper()
        page = html.encode("utf-8", "surrogatepass")
        answer = helper.ask(page, BASE_CPU_S + len(page) // BYTES_PER_CPU_S)
        if answer is None:
            _drop_helper()
            raise Damaged("costly_page", helper.obituary())
    kind, rest = answer[:1], answer[1:]
    if kind == _FAILED:
        name = rest.decode()
        raise Damaged("costly_page" if name == "MemoryError" else "reader_error", name)
    return rest.decode("utf-8", "surrogatepass")


class _Helper:
    def __init__(self) -> None:
        self.owner = os.getpid()
        # -P: nothing is imported from the folder that the user stands in
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def ask(self, page: bytes, cpu_s: int) -> bytes | None:
        """Return the answer to a page, or None where the helper ended over it."""
        stdin, stdout = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        try:
            _send(stdin, _SECONDS.pack(cpu_s) + page)
            return _receive(stdout)
        except (BrokenPipeError, ConnectionResetError):
            return None
        except BaseException:
            # interrupted half-way: what the pipe holds next is the answer to this page, not to another one
            _drop_helper()
            raise

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def obituary(self) -> str:
        """Return why the process ended."""
        code = self._process.wait()
        if code == -signal.SIGXCPU:
            return "more processor time than any sound page of its size"
        return f"the parser ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"


_LOCK: Final = threading.Lock()
_HELPERS: Final[list[_Helper]] = []


def _take_helper() -> _Helper:
    # a forked child inherits the list, but the helper is its parent's
    if _HELPERS and _HELPERS[0].owner != os.getpid():
        _HELPERS.clear()
    if not _HELPERS:
        _HELPERS.append(_Helper())
    return _HELPERS[0]


def _drop_helper() -> None:
    while _HELPERS:
        _HELPERS.pop().end()


def serve() -> NoReturn:
    """Answer pages on standard input until it ends: what the helper process runs."""
    from gem_assets.corpus.text.html import html_to_text

    # a Ctrl-C goes to the whole group; the parent decides when its helper ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(ValueError, OSError):
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while (request := _receive(stdin)) is not None:
        (cpu_s,), page = _SECONDS.unpack_from(request), request[_SECONDS.size :]
        _limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + cpu_s)
        try:
            text = html_to_text(page.decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")
            # layout can multiply a text; no sound page does
            answer = _FAILED + b"MemoryError" if len(text) > _MOST_GROWTH * len(page) + 65_536 else _TEXT + text
        except Exception as error:
            answer = _FAILED + type(error).__name__.encode()
        try:
            _send(stdout, answer)
        except BrokenPipeError:
            break
    # nobody reads any more, so there is nothing to flush
    os._exit(0)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _send(stream: BinaryIO, data: bytes) -> None:
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def _receive(stream: BinaryIO) -> bytes | None:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    return data if len(data) == length else None
