"""Dagster's development server with :class:`gem_assets.web_guard.WebGuard` in front of its web server.

``python -m gem_assets.web_server dev …`` is ``dagster dev``, which starts its web server as a process of its own; here
that process is ``python -m gem_assets.web_server serve …``, which is ``dagster-webserver`` behind the guard. Dagster
offers no place to add a middleware, so one function of each is replaced.
"""

import importlib
import os
import sys
from typing import Any

from gem_assets.page_server import PAGES_URL_VARIABLE, PageLinks
from gem_assets.web_guard import HOSTS_VARIABLE, WebGuard, allowed_hosts

_PLAIN = ["-m", "dagster_webserver"]
_GUARDED = ["-m", "gem_assets.web_server", "serve"]


def dev(arguments: list[str]) -> None:
    """Run ``dagster dev``."""
    command: Any = importlib.import_module("dagster._cli.dev")
    start = command.open_ipc_subprocess

    def guarded(parts: list[str], **options: Any) -> Any:
        if parts[1:3] == _PLAIN:
            parts = [parts[0], *_GUARDED, *parts[3:]]
        return start(parts, **options)

    command.open_ipc_subprocess = guarded
    command.dev_command(args=arguments, prog_name="dagster dev")


def serve(arguments: list[str]) -> None:
    """Run ``dagster-webserver``."""
    cli: Any = importlib.import_module("dagster_webserver.cli")
    make = cli.create_app_from_workspace_process_context
    pages = os.environ.get(PAGES_URL_VARIABLE)
    allowed = frozenset(os.environ.get(HOSTS_VARIABLE, "").split()) or allowed_hosts("127.0.0.1")

    def guarded(*values: Any, **options: Any) -> Any:
        app = make(*values, **options)
        if pages:
            app.add_middleware(PageLinks, pages=pages)
        app.add_middleware(WebGuard, allowed=allowed)  # the last one is asked first
        return app

    cli.create_app_from_workspace_process_context = guarded
    cli.dagster_webserver(args=arguments, prog_name="dagster-webserver", auto_envvar_prefix="DAGSTER_WEBSERVER")


if __name__ == "__main__":
    {"dev": dev, "serve": serve}[sys.argv[1]](sys.argv[2:])
