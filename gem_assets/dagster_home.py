"""The DAGSTER_HOME of a data root: its configuration, its workspace, and the lock of the one server living on it."""

import errno
import fcntl
import json
import os
import socket
from dataclasses import dataclass
from importlib import resources as package_files
from pathlib import Path

from gem_assets.settings import Settings

DEFINITIONS_MODULE = "gem_assets.definitions"
LOCATION_NAME = "gem_assets"
LOCK_NAME = "gem-dev.lock"
CONFIG_NAME = "dagster.yaml"


class LaunchError(RuntimeError):
    """The server cannot start or has died; the message says why and what to do."""


@dataclass(frozen=True)
class RunningServer:
    """A live server as its lock file describes it."""

    pid: int
    url: str


def prepare_home(settings: Settings) -> Path:
    """Make the DAGSTER_HOME of a data root, as an absolute path that Dagster accepts, and return it.

    The configuration template is copied in once; a file that is already there belongs to the user and is kept.

    Parameters
    ----------
    settings
        Settings of the data root; created when missing.

    Raises
    ------
    LaunchError
        When the folder cannot be made or written.
    """
    home = settings.dagster_home
    try:
        home.mkdir(parents=True, exist_ok=True)
        config = home / CONFIG_NAME
        if not config.exists():
            template = package_files.files("gem_assets").joinpath("templates", CONFIG_NAME).read_text(encoding="utf-8")
            config.write_text(template, encoding="utf-8")
    except OSError as error:
        raise LaunchError(
            f"{home} cannot be used as DAGSTER_HOME: {error.strerror or error}. "
            "Choose another data root with --data-root or GEM_DATA_ROOT."
        ) from error
    if not os.access(home, os.W_OK):
        raise LaunchError(
            f"{home} cannot be written, and Dagster keeps its history there. Make it writable, or work on a copy of "
            "the data root"
        )
    return home


def write_workspace(home: Path, module: str = DEFINITIONS_MODULE) -> Path:
    """Write the workspace file that the server loads, and return its path.

    The location has the same name as in the repository's ``workspace.yaml``: sensor state and history hang on it.
    """
    path = home / "workspace.yaml"
    path.write_text(
        "# Written by `gem dev` at every start.\n"
        "load_from:\n"
        "  - python_module:\n"
        f"      module_name: {module}\n"
        f"      location_name: {LOCATION_NAME}\n",
        encoding="utf-8",
    )
    return path


def running_server(home: Path) -> RunningServer | None:
    """Return the server that lives on this home, or None."""
    path = home / LOCK_NAME
    if not path.is_file():
        return None
    with path.open("r+", encoding="utf-8") as handle:
        if lock_file(handle.fileno()):
            return None
        try:
            record = json.loads(handle.read() or "{}")
        except json.JSONDecodeError:
            record = {}
    return RunningServer(int(record.get("pid", 0)), str(record.get("url", "an unknown address")))


def port_is_free(host: str, port: int) -> bool:
    """Tell whether a server can listen there.

    Raises
    ------
    LaunchError
        When the host name cannot be resolved on this machine, or the port may not be used by this user.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise LaunchError(f"--host {host} is no address of this machine ({error}). Use 127.0.0.1.") from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except PermissionError as error:
            raise LaunchError(f"Port {port} needs more rights than this user has; use one above 1023.") from error
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise LaunchError(f"--host {host} is no address of this machine. Use 127.0.0.1.") from error
            return False
    return True


def lock_file(descriptor: int) -> bool:
    """Take the lock of an open file for as long as it is open; False when another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
