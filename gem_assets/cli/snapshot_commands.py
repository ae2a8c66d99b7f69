"""``gem remove``: take a snapshot back out."""

from typing import Annotated

import typer

from gem_assets.cli.app import DataRoot, app
from gem_assets.cli.console import console, friendly


@app.command()
@friendly
def remove(
    snapshot: Annotated[str, typer.Argument(help="Name of a snapshot that is no longer in the landing folder.")],
    data_root: DataRoot = None,
    force: Annotated[
        bool, typer.Option("--force", help="Even if another snapshot loses texts that it left to this one.")
    ] = False,
) -> None:
    """Remove a snapshot: its documents leave shards, vectors, labels and every mixture made from now on."""
    from gem_assets.corpus.landing import validate_snapshot_name
    from gem_assets.run import open_instance
    from gem_assets.settings import load_existing
    from resources import StoreResource
    from resources.removal import remove_snapshot

    settings = load_existing(data_root)
    validate_snapshot_name(snapshot)
    with open_instance(settings) as instance:
        done = remove_snapshot(StoreResource(root=str(settings.data_root)), snapshot, instance=instance, force=force)
    out = console()
    rows = ", ".join(f"{count:,} rows of {table}" for table, count in done.rows.items()) or "no table rows"
    out.print(f"Removed {snapshot}: {done.documents:,} documents, {rows}", soft_wrap=True)
    for name, texts in sorted(done.borrowers.items()):
        out.print(f"{name} left {texts:,} texts to it and is read again", soft_wrap=True)
    out.print("The inventory and the mixtures follow when `gem dev` runs.")
