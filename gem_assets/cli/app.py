"""The ``gem`` app, and its commands ``demo``, ``dev``, ``land``, ``status`` and ``version``."""

import contextlib
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gem_assets.cli.console import (
    console,
    debug_from_arguments,
    friendly,
    print_json,
    progress_report,
    writable_streams,
)

if TYPE_CHECKING:
    from gem_assets.settings import Settings
    from gem_assets.storage.artifacts import ArtifactStore

#: Headings of ``gem --help``.
START = "Start here"
LOOK = "Look at a data root"
MIXTURES = "Choose and hand over a mixture"
EVIDENCE = "Account for it"
UPKEEP = "Keep it in order"

app = typer.Typer(
    name="gem",
    help="Crawl snapshots in, a balanced and named taxonomy and audited training mixtures out.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Start with [bold]gem demo[/], then look at it with [bold]gem dev --data-root gem-demo[/]. "
    "Any command takes --debug to show the full trace of an error.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as version_of

        console().print(f"gem-assets {version_of('gem-assets')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Crawl snapshots in, a balanced and named taxonomy and audited training mixtures out."""


DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        help="Folder that holds all data, tables, artifacts and history.",
        show_default="$GEM_DATA_ROOT, else ./gem-data",
        file_okay=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def opened(data_root: Path | None) -> "tuple[Settings, ArtifactStore]":
    """Return the settings and the results of a data root, which must exist."""
    from gem_assets.settings import load_existing
    from gem_assets.storage.artifacts import ArtifactStore

    settings = load_existing(data_root)
    return settings, ArtifactStore(settings.data_root)


@app.command(rich_help_panel=START)
@friendly
def demo(
    data_root: Annotated[
        Path, typer.Option("--data-root", help="Folder that the demo creates and owns.", file_okay=False)
    ] = Path("gem-demo"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Remove an earlier demo in that folder and start over.")
    ] = False,
    small: Annotated[bool, typer.Option("--small", help="Use a twelfth of the text, for a quick look.")] = False,
) -> None:
    """Run the whole graph on real text found on this machine; needs no network and no data."""
    from gem_assets.cli.demo import run_demo

    run_demo(data_root, fresh=fresh, small=small, out=console())


@app.command(rich_help_panel=START)
@friendly
def dev(
    data_root: DataRoot = None,
    port: Annotated[int, typer.Option("--port", "-p", help="Port of the web interface.", min=1, max=65535)] = 3000,
    host: Annotated[
        str,
        typer.Option("--host", help="Address to listen on. The interface has no password: keep it on loopback."),
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            help="Another host name to accept, such as that of a reverse proxy; can be repeated.",
        ),
    ] = None,
    no_ui: Annotated[
        bool, typer.Option("--no-ui", help="Run only the daemon, without web interface and result pages.")
    ] = False,
    module: Annotated[str | None, typer.Option("--module", hidden=True)] = None,
) -> None:
    """Start the Dagster web interface and daemon on a data root; Ctrl-C stops everything."""
    from gem_assets.orchestration.dagster_home import DEFINITIONS_MODULE
    from gem_assets.orchestration.dev_server import DevServer, serve
    from gem_assets.settings import load_settings

    settings = load_settings(data_root)
    out = console()

    def echo(line: str) -> None:
        out.print(line)

    server = DevServer(
        settings,
        host=host,
        port=port,
        echo=echo,
        module=module or DEFINITIONS_MODULE,
        allow_hosts=allow_host or (),
        ui=not no_ui,
    )
    echo("Starting the daemon ..." if no_ui else f"Starting on {server.url} ...")
    serve(server, echo)


@app.command("land", rich_help_panel=START)
@friendly
def land_files(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Files, or folders of files: WARC, WET, parquet, JSONL."),
    ],
    snapshot: Annotated[str, typer.Option("--snapshot", help="Name of the snapshot, for example 2026-11.")],
    data_root: DataRoot = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the files (the default).")] = False,
    link: Annotated[
        bool,
        typer.Option(
            "--link", help="Make symbolic links: takes no space, but the sources must stay where and as they are."
        ),
    ] = False,
    hardlink: Annotated[
        bool,
        typer.Option(
            "--hardlink",
            help="Make hard links: takes no space; needs one file system; the source names may be deleted.",
        ),
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a snapshot that has landed already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put crawl files into the landing folder; `_SUCCESS` is written last."""
    from gem_assets.cli.status import size_text
    from gem_assets.corpus.landing import LandingMode, land
    from gem_assets.settings import load_settings

    if copy + link + hardlink > 1:
        raise typer.BadParameter("choose one of --copy, --link and --hardlink")
    mode: LandingMode = "link" if link else "hardlink" if hardlink else "copy"
    landing_root = load_settings(data_root).landing
    with progress_report(quiet=as_json) as report:
        landed = land(
            sources,
            landing_root,
            snapshot,
            mode=mode,
            replace=replace,
            progress=lambda done, total, _: report(f"Landing {snapshot}", done, total),
        )
    if as_json:
        told = {"snapshot": landed.name, "files": landed.n_files, "bytes": landed.n_bytes, "path": str(landed.path)}
        print_json(told)
        return
    files = f"{landed.n_files:,} file{'s' if landed.n_files != 1 else ''}"
    console().print(f"Landed {landed.name}: {files}, {size_text(landed.n_bytes)}, in {landed.path}")


@app.command(rich_help_panel=LOOK)
@friendly
def status(
    data_root: DataRoot = None,
    timing: Annotated[
        bool, typer.Option("--timing", help="Show where the time between the last landing and its mixtures went.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the snapshots, assets and recipes of a data root."""
    from gem_assets.cli.status import collect_status, print_status
    from gem_assets.settings import load_settings

    if timing:
        from gem_assets.cli.timing import collect_timing, print_timing

        spent = collect_timing(load_settings(data_root))
        if as_json:
            print_json({"timing": spent.model_dump(mode="json") if spent is not None else None})
        else:
            print_timing(spent, console())
        return
    found = collect_status(load_settings(data_root))
    if as_json:
        print_json(found)
    else:
        print_status(found, console())


@app.command(rich_help_panel=LOOK)
def version(as_json: AsJson = False) -> None:
    """Print the versions of this package and of the libraries that affect its results."""
    import importlib.metadata
    import platform

    found = {"gem-assets": importlib.metadata.version("gem-assets"), "python": platform.python_version()}
    for name in ("dagster", "lancedb", "pylance", "torch", "faiss-cpu", "faiss-gpu", "numpy", "great-expectations"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    if as_json:
        print_json(found)
        return
    for name, number in found.items():
        console().print(f"{name} {number}")


def main() -> None:
    """Entry point of the ``gem`` command."""
    if sys.getfilesystemencoding() != "utf-8":
        # with another encoding every file that names none would be read and written in it; the terminal keeps its own
        keep = {"PYTHONUTF8": "1", "PYTHONIOENCODING": os.environ.get("PYTHONIOENCODING") or sys.stdout.encoding}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **keep})  # noqa: S606
    writable_streams()
    # nearly all that is imported stays until the end, so the collector would search it again and again for nothing
    gc.set_threshold(200_000)
    app(args=debug_from_arguments(sys.argv[1:]), prog_name="gem")
