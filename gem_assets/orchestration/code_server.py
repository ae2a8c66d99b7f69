"""Dagster's code server as ``gem dev`` starts it: the process of a run is forked from one that has loaded the code.

Dagster starts an interpreter for each run, which loads Dagster, the definitions, Great Expectations and matplotlib
again: four seconds of processor time around a step that may take a tenth of one. ``python -m
gem_assets.orchestration.code_server api grpc …`` is ``dagster api grpc …``, except that the first run starts a process
that loads all that and nothing else, and every run is a fork of it. Dagster has no setting for this, so names of its
modules are replaced.
"""

import importlib
import multiprocessing
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from gem_assets.orchestration.dagster_home import DEFINITIONS_MODULE

_MODULE = "gem_assets.orchestration.code_server"
LOADED = (
    "dagster._grpc.impl",
    "dagster._core.execution.api",
    "dagster._core.storage.sqlite_storage",
    "great_expectations",
    "gem_assets.report.plots",
    _MODULE,
)
"""What nearly every run needs beside the definitions. None of it starts a thread, and Lance must not be forked."""


def serve(arguments: list[str]) -> None:
    """Run ``dagster api grpc``, or ``dagster code-server``, which starts the former."""
    start_code_servers_here()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([definitions_of(arguments), *LOADED])
    server: Any = importlib.import_module("dagster._grpc.server")
    server.multiprocessing = SimpleNamespace(get_context=lambda _: context)
    cli: Any = importlib.import_module("dagster._cli")
    cli.cli(args=arguments, prog_name="dagster", auto_envvar_prefix=cli.ENV_PREFIX)


def definitions_of(arguments: Sequence[str]) -> str:
    """Return the module of definitions that a code server is told to load."""
    return arguments[arguments.index("-m") + 1] if "-m" in arguments else DEFINITIONS_MODULE


def start_code_servers_here() -> None:
    """Let every code server that this process starts be one of these, and stay until it ends.

    A daemon without a web server would start a new one every minute. That reads all the code again and asks every asset
    what it would make, and nothing is launched in those seconds.
    """
    server: Any = importlib.import_module("dagster._grpc.server")
    server.get_python_environment_entry_point = lambda python: [python, "-m", _MODULE]
    servers: Any = importlib.import_module("dagster._core.remote_representation.grpc_server_registry")
    servers.GrpcServerRegistry.clear_all_grpc_endpoints = forget_ended_servers


def forget_ended_servers(registry: Any) -> None:
    """Let a new code server be started in place of one that has ended or did not load, and only then."""
    with registry._lock:
        for origin, entry in list(registry._active_entries.items()):
            process = getattr(entry, "process", None)  # None: the code did not load
            if process is None or process.server_process.poll() is not None:
                del registry._active_entries[origin]


if __name__ == "__main__":
    serve(sys.argv[1:])
