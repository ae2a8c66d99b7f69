"""The DAGSTER_HOME of a data root: its configuration, its workspace, and the lock of the one server living on it."""

import errno
import fcntl
import json
import logging
import os
import socket
from dataclasses import dataclass
from importlib import resources as package_files
from pathlib import Path
from typing import Any, cast

import yaml

from gem_assets.settings import Settings
from gem_assets.storage.durable import write_atomic

DEFINITIONS_MODULE = "gem_assets.definitions"
LOCATION_NAME = "gem_assets"
LOCK_NAME = "gem-dev.lock"
CONFIG_NAME = "dagster.yaml"
CONFIG_VARIABLE = "GEM_DAGSTER_YAML"
PLAIN_SECTIONS = frozenset({
    "auto_materialize", "backfills", "code_servers", "concurrency", "freshness", "nux", "retention", "run_monitoring",
    "run_queue", "run_retries", "schedules", "sensors", "telemetry",
})  # fmt: skip
"""Sections of Dagster's configuration that hold numbers and switches, and cannot name a class, a command or an address.
"""
POSTGRES = {"postgres": {"postgres_url": {"env": "DAGSTER_PG_URL"}}}
"""The one storage that a data root may ask for: its address is the operator's."""
_LONGEST_CONFIG = 65_536

logger = logging.getLogger(__name__)


class LaunchError(RuntimeError):
    """The server cannot start or has died; the message says why and what to do."""


@dataclass(frozen=True)
class RunningServer:
    """A live server as its lock file describes it."""

    pid: int
    url: str


def prepare_home(settings: Settings) -> Path:
    """Make the DAGSTER_HOME of a data root, as an absolute path that Dagster accepts, and return it.

    Dagster loads whatever class its configuration names, and a data root may come from somebody else. So the file that
    ``GEM_DAGSTER_YAML`` names is copied in; without that variable a file that is there stays as long as it sets nothing
    but plain values (:data:`PLAIN_SECTIONS`), and any other one is set aside and written again.

    The data root is created when missing.

    Raises LaunchError when the folder cannot be made or written.
    """
    home = settings.dagster_home
    try:
        home.mkdir(parents=True, exist_ok=True)
        _write_config(home / CONFIG_NAME)
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


def _write_config(path: Path) -> None:
    chosen = os.environ.get(CONFIG_VARIABLE)
    if chosen:
        try:
            wanted = Path(chosen).read_bytes()
        except OSError as error:
            raise LaunchError(f"{CONFIG_VARIABLE}={chosen} cannot be read: {error.strerror or error}") from error
        if not path.is_file() or path.is_symlink() or path.read_bytes() != wanted:
            write_atomic(path, wanted)
        return
    if path.exists() or path.is_symlink():
        why = _not_plain(path)
        if why is None:
            return
        aside = path.with_name(f"{path.name}.set-aside")
        path.replace(aside)
        logger.warning(
            "%s %s, so it is not used: it was moved to %s and the usual one was written. If it is yours, keep it "
            "outside of the data root and name it in %s",
            path, why, aside.name, CONFIG_VARIABLE,
        )  # fmt: skip
    template = package_files.files("gem_assets").joinpath("templates", CONFIG_NAME).read_bytes()
    write_atomic(path, template)


def _not_plain(path: Path) -> str | None:
    """Return what a configuration does that a data root may not ask for, or None."""
    if path.is_symlink() or not path.is_file():
        return "is not a plain file"
    if path.stat().st_size > _LONGEST_CONFIG:
        return f"is longer than {_LONGEST_CONFIG} bytes"
    try:
        found: Any = yaml.safe_load(path.read_bytes()) or {}
    except (yaml.YAMLError, ValueError, RecursionError):
        return "is not valid YAML"
    if not isinstance(found, dict):
        return "is not a list of settings"
    sections = cast("dict[Any, Any]", found)
    if sections.get("storage") == POSTGRES:
        del sections["storage"]
    strange = sorted(str(name)[:40] for name in sections.keys() - PLAIN_SECTIONS)
    return f"sets {', '.join(strange)}, which can name code or send data elsewhere" if strange else None


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
        # else it is where `gem dev` was started, and a torch.py there would be imported for torch
        f"      working_directory: {json.dumps(str(Path(__file__).resolve().parents[2]))}\n"
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

    Raises LaunchError when the host name cannot be resolved on this machine, or the port may not be used by this user.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise LaunchError(f"--host {host} is not an address of this machine ({error}). Use 127.0.0.1.") from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except PermissionError as error:
            raise LaunchError(f"Port {port} needs more rights than this user has; use one above 1023.") from error
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise LaunchError(f"--host {host} is not an address of this machine. Use 127.0.0.1.") from error
            return False
    return True


def lock_file(descriptor: int) -> bool:
    """Take the lock of an open file for as long as it is open; False when another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
