"""``gem explore``: the corpus, its clusters and its mixtures in a browser."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from gem_assets.cli.app import LOOK, DataRoot, app
from gem_assets.cli.console import console, friendly, progress_report


@app.command(rich_help_panel=LOOK)
@friendly
def explore(
    data_root: DataRoot = None,
    port: Annotated[int, typer.Option("--port", "-p", help="Port to listen on.", min=1, max=65535)] = 3002,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. There is no password: keep it on loopback.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="Another host name to accept; can be repeated.")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser window.")] = True,
) -> None:
    """Open the explorer: map, clusters, mixing desk, comparison, search and history. `gem dev` serves it, too."""
    import uvicorn

    from gem_assets.explorer.application import Lazily
    from gem_assets.orchestration.dagster_home import LaunchError, port_is_free
    from gem_assets.orchestration.page_server import Pages
    from gem_assets.orchestration.web_guard import WebGuard, allowed_hosts, is_loopback
    from gem_assets.settings import load_existing

    settings = load_existing(data_root)
    if not port_is_free(host, port):
        raise LaunchError(f"port {port} is in use; choose another with --port")
    out = console()
    url = f"http://{host if is_loopback(host) else 'localhost'}:{port}/"
    out.print(f"The explorer of {settings.data_root} is at {url}. Stop it with Ctrl-C.")
    if not is_loopback(host):
        out.print("Anybody who reaches this address can read the corpus: there is no password.")
    if browser:
        webbrowser.open(url)
    pages = Pages(Lazily(settings.data_root), settings.data_root, explorer="")
    guarded = WebGuard(pages, allowed_hosts(host, allow_host or ()))
    uvicorn.run(guarded, host=host, port=port, log_level="warning")


@app.command(name="export-atlas", rich_help_panel=LOOK)
@friendly
def export_atlas(
    out: Annotated[Path, typer.Argument(help="Parquet file to write.", dir_okay=False)],
    data_root: DataRoot = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write the map with clusters and texts as a parquet file for a viewer such as Embedding Atlas."""
    from gem_assets.explorer.atlas import write_atlas
    from gem_assets.explorer.errors import RequestError
    from gem_assets.explorer.views import Views
    from gem_assets.settings import load_existing

    settings = load_existing(data_root)
    if out.exists() and not force:
        raise RequestError(f"{out} is there already; replace it with --force")
    if not out.parent.is_dir():
        raise RequestError(f"{out.parent} is not a folder")
    with progress_report() as report:
        documents = write_atlas(Views(settings), out, lambda done, total, _: report("Writing", done, total))
    console().print(
        f"Wrote {documents:,} documents to {out}. Open it with: embedding-atlas {out} --x x --y y --text text",
        soft_wrap=True,
        markup=False,
    )
