"""``gem remove``: take a snapshot out of a data root."""

from typing import Annotated

import typer

from gem_assets.cli.app import UPKEEP, AsJson, DataRoot, app
from gem_assets.cli.console import console, friendly, print_json


@app.command(rich_help_panel=UPKEEP)
@friendly
def remove(
    snapshot: Annotated[str, typer.Argument(help="Name of a snapshot that is no longer in the landing folder.")],
    data_root: DataRoot = None,
    force: Annotated[
        bool, typer.Option("--force", help="Remove it even if another snapshot loses texts that it left to this one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a snapshot: its documents leave shards, vectors, labels and all later mixtures."""
    from gem_assets.corpus.landing import validate_snapshot_name
    from gem_assets.maintenance.snapshot_removal import RemovalError, remove_snapshot
    from gem_assets.orchestration.abandoned_runs import cancel_abandoned_runs, work_under_way
    from gem_assets.orchestration.dagster_home import prepare_home, running_server
    from gem_assets.orchestration.instance import open_instance
    from gem_assets.settings import load_existing
    from gem_assets.storage.store import Store

    settings = load_existing(data_root)
    validate_snapshot_name(snapshot)
    home = prepare_home(settings)
    cancel_abandoned_runs(home, server=running_server(home) is None)
    with open_instance(settings) as instance:
        busy = work_under_way(instance, home, snapshot)
        if busy is not None:
            raise RemovalError(
                f"{busy} is under way and may read {snapshot}: wait for it to end, or stop it, then remove the snapshot"
            )
        done = remove_snapshot(Store(root=str(settings.data_root)), snapshot, instance=instance, force=force)
    if as_json:
        print_json({"snapshot": snapshot, "documents": done.documents, "rows": done.rows, "read_again": done.borrowers})
        return
    out = console()
    rows = ", ".join(f"{count:,} rows of {table}" for table, count in done.rows.items()) or "no table rows"
    out.print(f"Removed {snapshot}: {done.documents:,} documents, {rows}")
    for name, texts in sorted(done.borrowers.items()):
        out.print(f"{name} left {texts:,} texts to it and is read again")
    out.print("The inventory and the mixtures follow when `gem dev` runs.")
