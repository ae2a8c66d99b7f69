"""Dagster's processes as ``gem dev`` starts them.

``python -m gem_assets.orchestration.web_server dev …`` is ``dagster dev``, which starts its web server and its daemon
as processes of their own. Here these are ``… serve``, which is ``dagster-webserver`` behind
:class:`~gem_assets.orchestration.web_guard.WebGuard`, with the pages of results under ``/pages`` and the explorer under
``/explore``, and ``… daemon``, which is ``dagster-daemon`` looking at its sensors every second instead of every five,
and only while there is something to see. Their code servers are those of :mod:`gem_assets.orchestration.code_server`.
Dagster has no setting for any of this, so names of its modules are replaced.
"""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.routing import Mount

from gem_assets.explorer.application import Lazily
from gem_assets.orchestration.code_server import start_code_servers_here
from gem_assets.orchestration.links import EXPLORER
from gem_assets.orchestration.page_server import Pages
from gem_assets.orchestration.web_guard import HOSTS_VARIABLE, WebGuard, allowed_hosts
from gem_assets.settings import load_settings, resolve_data_root

_OURS = {"dagster_webserver": "serve", "dagster._daemon": "daemon"}
_LOOK_EVERY_S = 1


def dev(arguments: list[str]) -> None:
    """Run ``dagster dev``."""
    command: Any = importlib.import_module("dagster._cli.dev")
    start = command.open_ipc_subprocess

    def guarded(parts: list[str], **options: Any) -> Any:
        if parts[1] == "-m" and parts[2] in _OURS:
            parts = [parts[0], "-m", "gem_assets.orchestration.web_server", _OURS[parts[2]], *parts[3:]]
        return start(parts, **options)

    command.open_ipc_subprocess = guarded
    start_code_servers_here()
    command.dev_command(args=arguments, prog_name="dagster dev")


def serve(arguments: list[str]) -> None:
    """Run ``dagster-webserver``."""
    cli: Any = importlib.import_module("dagster_webserver.cli")
    make = cli.create_app_from_workspace_process_context
    data_root = resolve_data_root()
    allowed = frozenset(os.environ.get(HOSTS_VARIABLE, "").split()) or allowed_hosts("127.0.0.1")

    def guarded(*values: Any, **options: Any) -> Any:
        app = make(*values, **options)
        app.router.routes.insert(0, Mount(EXPLORER, app=Lazily(data_root)))
        app.add_middleware(Pages, data_root=data_root)
        app.add_middleware(WebGuard, allowed=allowed)  # the last one is asked first
        return app

    cli.create_app_from_workspace_process_context = guarded
    mutations: Any = importlib.import_module("dagster_graphql.schema.roots.mutation")
    mutations.add_dynamic_partition = only_landed(mutations.add_dynamic_partition, load_settings().landing)
    cli.dagster_webserver(args=arguments, prog_name="dagster-webserver", auto_envvar_prefix="DAGSTER_WEBSERVER")


def only_landed(add: Callable[..., Any], landing: Path) -> Callable[..., Any]:
    """Let *Add a partition* take a snapshot that has landed, and refuse any other with the way to land it."""
    errors: Any = importlib.import_module("dagster_graphql.schema.errors")
    refusal: Any = importlib.import_module("dagster_graphql.implementation.utils").UserFacingGraphQLError

    def checked(info: Any, selector: Any, partitions: str, partition: str) -> Any:
        from gem_assets.corpus.landed import LandingError, complete_folder

        try:
            complete_folder(landing, partition)
        except LandingError as error:
            raise refusal(errors.GrapheneUnauthorizedError(message=str(error))) from error
        return add(info, selector, partitions, partition)

    return checked


def daemon(arguments: list[str]) -> None:
    """Run ``dagster-daemon``; each sensor has its own interval, so a shorter loop only takes waiting away."""
    from gem_assets.orchestration.bookkeeping import only_when_due

    sensors: Any = importlib.import_module("dagster._daemon.sensor")
    sensors.MIN_INTERVAL_LOOP_TIME = _LOOK_EVERY_S
    sensors.execute_sensor_iteration = only_when_due(sensors.execute_sensor_iteration, load_settings())
    start_code_servers_here()
    cli: Any = importlib.import_module("dagster._daemon.cli")
    cli.cli(args=arguments, prog_name="dagster-daemon", obj={})


if __name__ == "__main__":
    {"dev": dev, "serve": serve, "daemon": daemon}[sys.argv[1]](sys.argv[2:])
