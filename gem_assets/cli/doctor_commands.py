"""``gem doctor``: check a data root against its manifests, and clean up after killed runs."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gem_assets.cli.app import UPKEEP, AsJson, DataRoot, app
from gem_assets.cli.console import console, friendly, print_json

_STYLE = {"error": "bold red", "warning": "yellow", "info": "dim"}


@app.command(rich_help_panel=UPKEEP)
@friendly
def doctor(
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Remove what killed runs left behind, set torn versions aside, rewrite torn pointers."
        ),
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also hash every file and every row, and recompute audits and caches.")
    ] = False,
    versions: Annotated[
        int, typer.Option("--versions", help="How many of the newest versions of each table to open.", min=1)
    ] = 5,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Check keys, vectors, labels, manifests, versions, orphan files and landed bytes. Exits with 1 on an error."""
    from gem_assets.maintenance.doctor import examine, repair_and_examine
    from gem_assets.settings import load_existing
    from gem_assets.storage.store import Store

    settings = load_existing(data_root)
    store = Store(root=str(settings.data_root))
    look = partial(examine, deep=deep, versions=versions, fingerprint=_fingerprint)
    done, found = repair_and_examine(store, look, deep=deep) if repair else ([], look(store))
    if as_json:
        about = {"repaired": done, "findings": [one.model_dump() for one in found]}
        print_json(about)
    else:
        out = console()
        for line in done:
            out.print(f"repaired  {line}")
        for one in found:
            out.print(f"{one.severity:<8}  ", style=_STYLE[one.severity], end="")
            out.print(str(one).partition(" ")[2])
        if not found:
            out.print(f"{settings.data_root} is sound.")
    if any(one.severity == "error" for one in found):
        raise typer.Exit(1)


def _fingerprint(folder: Path) -> str:
    from gem_assets.corpus.landing import fingerprint

    return fingerprint(folder)
