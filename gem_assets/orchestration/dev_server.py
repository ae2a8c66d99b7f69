"""Start the Dagster webserver and daemon on one data root, and stop them without leaving a process behind.

``dagster dev`` does the work; this module puts around it what it lacks: an absolute DAGSTER_HOME with a configuration,
one server per home (a lock that the server holds for its life), a port that is known to be free before any daemon
starts, a code location that is named the same wherever it is started, and an end that reaches every process. ``dagster
dev`` leaves its code servers running for up to 45 s after it has stopped, and cannot be stopped at all when SIGINT was
ignored at its start (``cmd &`` in a script): so it gets its own session here, default signal handlers, and the whole
process group is ended after it.
"""

import ctypes
import json
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import httpx

from gem_assets.orchestration.abandoned_runs import cancel_abandoned_runs
from gem_assets.orchestration.dagster_home import (
    DEFINITIONS_MODULE,
    LOCK_NAME,
    LaunchError,
    lock_file,
    port_is_free,
    prepare_home,
    running_server,
    write_workspace,
)
from gem_assets.orchestration.instance import open_instance
from gem_assets.orchestration.links import LINKS
from gem_assets.orchestration.server_log import LineFilter, plain
from gem_assets.orchestration.web_guard import HOSTS_VARIABLE, allowed_hosts, is_loopback
from gem_assets.secrets import redact
from gem_assets.settings import Settings

_STOP_PARENT_S, _STOP_GROUP_S = 10.0, 10.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

Echo = Callable[[str], None]


class DevServer:
    """One webserver and daemon, alive between ``start`` and ``stop``; also a context manager.

    Parameters
    ----------
    settings
        Settings of the data root that the code server works on; its path is handed over as ``GEM_DATA_ROOT``.
    host, port
        Where the web interface listens. Anything but a loopback address opens it to the network, without a password.
    allow_hosts
        Further names under which it may be asked: that of a reverse proxy, say.
    ui
        Start the web interface; without it there is the daemon alone.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        host: str = "127.0.0.1",
        port: int = 3000,
        echo: Echo = print,
        module: str = DEFINITIONS_MODULE,
        allow_hosts: Sequence[str] = (),
        ui: bool = True,
    ) -> None:
        self.settings = settings
        self.home = settings.dagster_home
        self.host = host
        self.port = port
        self.module = module
        self.allow_hosts = tuple(allow_hosts)
        self.ui = ui
        self._echo = echo
        self._process: subprocess.Popen[str] | None = None
        self._lock_handle: Any = None
        self._reader: threading.Thread | None = None
        self._tail: deque[str] = deque(maxlen=12)

    @property
    def url(self) -> str:
        """Address to open in a browser on this machine."""
        shown = "127.0.0.1" if self.host in {"0.0.0.0", "::", ""} else self.host  # noqa: S104
        return f"http://[{shown}]:{self.port}" if ":" in shown else f"http://{shown}:{self.port}"

    @property
    def log_path(self) -> Path:
        """File that receives everything the server prints."""
        return self.home / "logs" / "gem-dev.log"

    def command(self, workspace: Path) -> list[str]:
        """Return the command line that is started."""
        python = [sys.executable, "-W", "ignore", "-m", "gem_assets.orchestration.web_server"]
        if not self.ui:
            return [*python, "daemon", "run", "--workspace", str(workspace)]
        return [*python, "dev", "--workspace", str(workspace), "--host", self.host, "--port", str(self.port)]

    def start(self) -> None:
        """Take the home and the port, then start the processes.

        Raises LaunchError when another server lives on the home, or the port is taken. Nothing has been started then.
        """
        prepare_home(self.settings)
        self._take_lock()
        try:
            if self.ui and not port_is_free(self.host, self.port):
                raise LaunchError(
                    f"Port {self.port} on {self.host} is taken by another program. "
                    f"Stop it, or choose another port: gem dev --port {self.port + 1}"
                )
            with open_instance(self.settings):
                pass  # what was told under the keys of before is under those of now, before a daemon looks
            for run_id in cancel_abandoned_runs(self.home):
                self._echo(f"run {run_id[:8]} was cut off when the last server ended; it is asked for again")
            self._spawn()
        except BaseException:
            self._release_lock()
            raise

    def wait_ready(self, timeout: float = 180.0, stop: threading.Event | None = None) -> bool:
        """Wait until the web interface answers; False when ``stop`` was set before.

        Raises LaunchError when the server dies or is not ready in time; the message ends with its last lines.
        """
        deadline = time.monotonic() + timeout
        while not (stop and stop.is_set()):
            self._raise_if_dead()
            if not self.ui:
                return True
            if self._ask("GET", "/server_info") is not None:
                self._report_load_error()
                return True
            if time.monotonic() > deadline:
                raise LaunchError(f"The web interface did not answer within {timeout:.0f} s.{self._last_lines()}")
            time.sleep(0.2)
        return False

    def wait(self, stop: threading.Event) -> None:
        """Return when ``stop`` is set.

        Raises LaunchError when the server dies before that.
        """
        while not stop.wait(0.5):
            self._raise_if_dead()

    def stop(self) -> None:
        """End every process of the server; safe to call at any time, and twice."""
        process, self._process = self._process, None
        if process is not None:
            # First the parent, so that nothing new is launched; then what it leaves behind, code servers and runs.
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_PARENT_S)
            for ending in (signal.SIGTERM, signal.SIGKILL):
                if self._end_group(process, ending):
                    break
            if self._reader is not None:
                self._reader.join(5)
            if process.stdout is not None:
                process.stdout.close()
        self._release_lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self) -> None:
        workspace = write_workspace(self.home, self.module)
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "GEM_DATA_ROOT": str(self.settings.data_root),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            HOSTS_VARIABLE: " ".join(sorted(allowed_hosts(self.host, self.allow_hosts))),
            "PYTHONUNBUFFERED": "1",
            "PYTHONSAFEPATH": "1",  # nothing is imported from the folder in which the command was given
        }
        checkout = Path(__file__).resolve().parents[2]
        if (checkout / "pyproject.toml").is_file():  # started from a checkout, perhaps without an installation
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(checkout), os.environ.get("PYTHONPATH")]))
        _become_subreaper()
        self._process = subprocess.Popen(
            self.command(workspace),
            env=environment,
            cwd=outside(self.settings.data_root),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            pass_fds=(self._lock_handle.fileno(),),
            preexec_fn=_child_setup,  # noqa: PLW1509  (no thread runs yet)
        )
        self._write_lock(self._process.pid)
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            self.log_path, maxBytes=20_000_000, backupCount=2, encoding="utf-8"
        )
        lines = LineFilter()
        try:
            for raw in process.stdout or ():
                line = redact(plain(raw.rstrip("\n")))
                handler.emit(logging.LogRecord("gem", logging.INFO, "", 0, line, (), None))
                self._tail.append(line)
                shown = lines.show(line)
                if shown is not None:
                    self._echo(shown)
        except (OSError, ValueError):  # the pipe was closed under the reader
            pass
        finally:
            handler.close()

    def _raise_if_dead(self) -> None:
        if self._process is None or self._process.poll() is not None:
            if self._reader is not None:
                self._reader.join(5)  # its last words may still be in the pipe
            code = self._process.returncode if self._process is not None else None
            raise LaunchError(f"The server has stopped by itself (exit code {code}).{self._last_lines()}")

    def _last_lines(self) -> str:
        tail = "\n".join(f"  {line}" for line in self._tail)
        return f" Its last lines, in full in {self.log_path}:\n{tail}"

    def _ask(self, method: str, path: str, **body: Any) -> dict[str, Any] | None:
        # trust_env=False: a proxy must not see loopback requests
        with httpx.Client(base_url=self.url, timeout=30, trust_env=False) as client:
            try:
                return client.request(method, path, **body).raise_for_status().json()
            except (httpx.HTTPError, ValueError):
                return None

    def _report_load_error(self) -> None:
        """Say when the web interface runs but the project's code did not load."""
        answer = self._ask("POST", "/graphql", json={"query": _LOAD_QUERY})
        entries = (((answer or {}).get("data") or {}).get("workspaceOrError") or {}).get("locationEntries") or []
        for entry in entries:
            error = entry.get("locationOrLoadError") or {}
            if error.get("__typename") == "PythonError":
                self._echo(f"The code location {entry['name']} did not load:\n{error.get('message', '').rstrip()}")

    def _end_group(self, process: subprocess.Popen[str], ending: signal.Signals) -> bool:
        """Signal what is left of the process group; True when nothing is left."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, ending)
        deadline = time.monotonic() + _STOP_GROUP_S
        while time.monotonic() < deadline:
            process.poll()
            with suppress(ChildProcessError):
                while os.waitpid(-process.pid, os.WNOHANG)[0]:
                    pass
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return True
            except PermissionError:  # macOS says so of a group of which only zombies are left
                return True
            time.sleep(0.05)
        return False

    def _take_lock(self) -> None:
        path = self.home / LOCK_NAME
        handle = path.open("a+", encoding="utf-8")
        if not lock_file(handle.fileno()) and not (end_orphans(self.home) and _lock_soon(handle.fileno())):
            handle.close()
            other = running_server(self.home)
            where = f"{other.url}, process {other.pid}" if other is not None else "just ended; try again"
            raise LaunchError(
                f"Another `gem dev` already runs on {self.home} ({where}). "
                "Use it, stop it, or start this one on another --data-root: two daemons on one home would both act."
            )
        self._lock_handle = handle
        self._write_lock(None)

    def _write_lock(self, group: int | None) -> None:
        """Say in the lock file who lives here; ``group`` is that of the processes, which outlive a killed launcher."""
        url = self.url if self.ui else "without a web interface"
        self._lock_handle.truncate(0)
        self._lock_handle.write(json.dumps({"pid": os.getpid(), "url": url, "group": group}))
        self._lock_handle.flush()

    def _release_lock(self) -> None:
        if self._lock_handle is not None:
            with suppress(OSError):
                self._lock_handle.truncate(0)
            self._lock_handle.close()
            self._lock_handle = None


def outside(data_root: Path) -> Path:
    """Return the present folder, or the one above the data root where it lies in that.

    Dagster reads a file ``.env`` of the folder that it is started in, and a data root may come from somebody else.
    """
    here = Path.cwd()
    return data_root.resolve().parent if here.resolve().is_relative_to(data_root.resolve()) else here


def end_orphans(home: Path) -> bool:
    """End what a killed launcher left on a home; False when its launcher lives, or is not known.

    Its processes were told to stop when it died, and take seconds for it. Whatever they were doing was cut off already.
    """
    try:
        record = json.loads((home / LOCK_NAME).read_text(encoding="utf-8"))
        launcher, group = int(record["pid"]), int(record["group"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    with suppress(PermissionError):
        try:
            os.kill(launcher, 0)
        except ProcessLookupError:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            return True
    return False


def _lock_soon(descriptor: int) -> bool:
    deadline = time.monotonic() + _STOP_GROUP_S
    while time.monotonic() < deadline:
        if lock_file(descriptor):
            return True
        time.sleep(0.05)
    return False


def serve(server: DevServer, echo: Echo = print) -> None:
    """Run a server until Ctrl-C, TERM or a closed terminal, then stop it.

    Must be called from the main thread.

    Raises LaunchError when the server cannot start or dies; its processes are gone then too.
    """
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if number != signal.SIGHUP or handler != signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, on_signal)
    try:
        with server:
            if server.wait_ready(stop=stop):
                echo(f"Dagster is ready at {server.url}" if server.ui else "The daemon runs, without a web interface")
                if server.ui and not is_loopback(server.host):
                    echo(_OPEN.format(host=server.host, port=server.port))
                if server.ui:
                    echo(f"  pages    {server.url}{LINKS}/ (audits and other pages of results)")
                echo(f"  data     {server.settings.data_root}")
                echo(f"  history  {server.home}")
                echo(f"  log      {server.log_path}")
                echo("Stop with Ctrl-C.")
                server.wait(stop)
            echo("Stopping the webserver, the daemon and their runs ...")
        echo("Stopped.")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_OPEN = (
    "  WARNING  it listens on {host}, and whoever reaches port {port} can start and stop runs: there is no password. "
    "Keep it on loopback and put a reverse proxy with authentication (nginx, Caddy, oauth2-proxy) in front of it: "
    "gem dev --allow-host NAME-OF-THE-PROXY"
)
_LOAD_QUERY = (
    "{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError "
    "{ __typename ... on PythonError { message } } } } } }"
)


def _become_subreaper() -> None:
    """Adopt orphaned grandchildren (Linux), so that the end of each can be waited for."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _child_setup() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # stops when this process is killed outright


def _prctl(option: int, value: int) -> None:
    if _LIBC is not None:  # pyright: ignore[reportUnnecessaryComparison]
        _LIBC.prctl(option, value, 0, 0, 0)


_LIBC: ctypes.CDLL | None = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
