"""``gem demo``: make the demo's landing area, run the graph on it, show the results."""

import contextlib
import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gem_assets.cli.console import Terminal, progress_report, run_steps
from gem_assets.orchestration.dagster_home import running_server
from gem_assets.settings import load_settings

if TYPE_CHECKING:  # slow to import: each is loaded where it is used, after the first line has been printed
    from gem_assets.demo.landing import DemoSources

MARKER = "demo.json"
LOG = Path("logs", "demo.log")
_SMALL_CLUSTERS, _CLUSTERS = 8, 24


class DemoFolderError(RuntimeError):
    """The folder cannot be used for the demo; the message says why and what to do."""


class DemoFailedError(RuntimeError):
    """A step of the graph failed; the message names it."""


def run_demo(data_root: Path, *, fresh: bool, small: bool, out: Terminal) -> None:
    """Run the demo in a folder of its own and print its summary.

    Raises
    ------
    DemoFolderError
        When the folder holds something else, another size of demo, or a live server.
    DemoFailedError
        When a step failed; the summary of the others has been printed.
    """
    started = time.monotonic()
    root = data_root.expanduser().absolute()
    made = claim_folder(root, fresh=fresh, small=small)
    settings = load_settings(root)
    if made is None:
        out.print("Building three crawl snapshots from the text of this Python environment")
        from gem_assets.demo.landing import build_demo_landing

        with progress_report() as report:
            made = _record(root, build_demo_landing(settings.landing, small=small, progress=report), small=small)
    else:
        out.print("The demo's snapshots are there already; each step keeps what is up to date (--fresh starts over)")
    out.print("Running the asset graph")
    log = settings.dagster_home / LOG
    with run_steps(log) as report:
        from gem_assets.run import materialize_everything

        summary = materialize_everything(settings, report)
        from gem_assets.cli.summary import print_summary
    print_summary(settings, made, summary, seconds=time.monotonic() - started, log=log, out=out)
    if summary.failed:
        names = ", ".join(f"{step.asset}{f' [{step.snapshot}]' if step.snapshot else ''}" for step in summary.failed)
        steps = "1 step" if len(summary.failed) == 1 else f"{len(summary.failed)} steps"
        raise DemoFailedError(f"{steps} failed: {names}. The full log is in {log}")


def claim_folder(root: Path, *, fresh: bool, small: bool) -> dict[str, Any] | None:
    """Make sure that the folder is the demo's to fill.

    Returns the record of the landing area that is already complete there, or None when it has to be built.
    """
    if root.exists() and not root.is_dir():
        raise DemoFolderError(f"{root} is a file; name a folder that the demo may make: --data-root")
    marker = root / MARKER
    if root.is_dir() and any(root.iterdir()) and not marker.is_file():
        raise DemoFolderError(
            f"{root} is not empty and was not made by the demo; nothing in it was touched. "
            "Name another folder: --data-root"
        )
    server = running_server(root / "dagster") if root.is_dir() else None
    if server is not None:
        raise DemoFolderError(
            f"A `gem dev` runs on {root} ({server.url}, process {server.pid}); its daemon would run the same assets at "
            "the same time. Stop it first, or name another folder: --data-root"
        )
    record: dict[str, Any] = {}
    if marker.is_file():
        with contextlib.suppress(json.JSONDecodeError):
            record = json.loads(marker.read_text(encoding="utf-8"))
    if record.get("landed") and not fresh:
        if record.get("small") != small:
            size = "small" if record.get("small") else "full"
            raise DemoFolderError(
                f"{root} holds the {size} demo. Add --fresh to replace it, or name another folder: --data-root"
            )
        return record
    if root.is_dir():
        shutil.rmtree(root)
    root.mkdir(parents=True)
    marker.write_text(json.dumps({"landed": False}), encoding="utf-8")
    clusters = _SMALL_CLUSTERS if small else _CLUSTERS
    (root / "gem.toml").write_text(
        "# Settings of this data root; every stage's section may stand here.\n"
        "# After a change, `gem demo` runs only what the change reaches.\n\n"
        f"[teacher]\nk = {clusters}\n\n"
        "[corpus.filters]\nmax_digit_ratio = 0.3  # tables of numbers\n",
        encoding="utf-8",
    )
    return None


def _record(root: Path, sources: "DemoSources", *, small: bool) -> dict[str, Any]:
    record = {"landed": True, "small": small, **asdict(sources)}
    record = json.loads(json.dumps(record, default=str))
    (root / MARKER).write_text(json.dumps(record, indent=1), encoding="utf-8")
    return record
