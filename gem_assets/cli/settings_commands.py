"""``gem settings``: the values in force, and where each comes from."""

from pathlib import Path
from typing import Annotated

import typer

from gem_assets.cli.app import LOOK, AsJson, DataRoot, app
from gem_assets.cli.console import console, friendly, plain_table, print_json


@app.command("settings", rich_help_panel=LOOK)
@friendly
def show_settings(
    data_root: DataRoot = None,
    changed: Annotated[
        bool,
        typer.Option("--changed", help="Show only settings that come from gem.toml, the environment or an argument."),
    ] = False,
    reference: Annotated[
        bool,
        typer.Option("--reference", help="Print docs/settings.md: every setting with its type, default and meaning."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show every setting, its effective value, and where it comes from: the default, gem.toml or the environment."""
    from gem_assets.settings import load_settings
    from gem_assets.settings_reference import DEFAULT, effective_settings, value_text
    from gem_assets.settings_reference import reference as full_reference

    out = console()
    if reference:
        out.print_lines(full_reference().rstrip("\n"))
        return
    found = effective_settings(load_settings(data_root), root_given=isinstance(data_root, Path))
    shown = [one for one in found if not changed or one.source != DEFAULT]
    if as_json:
        print_json([{"key": one.key, "value": one.value, "source": one.source} for one in shown])
        return
    table = plain_table("")
    table.add_column("setting")
    table.add_column("value", overflow="fold")
    table.add_column("from")
    for one in shown:
        table.add_row(one.key, value_text(one.value), one.source)
    out.print(table)
    if changed and not shown:
        out.print("Every setting has its default.")
