"""``gem takedown``, ``gem certificate`` and ``gem purge``: answer a rights holder's request."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gem_assets.cli.app import EVIDENCE, AsJson, DataRoot, app
from gem_assets.cli.console import Terminal, console, error_console, friendly, print_json, run_steps
from gem_assets.stages import (
    AUDITS,
    CONFIRMATIONS,
    CORPUS_MAP,
    EMBEDDING_SPACE,
    ORDERS,
    POLICIES,
    PROXY_SWARM,
    RECIPE_REPORT,
    RECIPES,
    STUDENT_MODEL,
    TEACHER_CLUSTERS,
    strategy_of,
)

if TYPE_CHECKING:
    from gem_assets.settings import Settings
    from gem_assets.takedown.certificate import Asked, Certificate

#: What a takedown makes again; what is fitted, and what is made by hand and holds no text, stays.
_FOLLOWING = {*POLICIES, RECIPES} - {
    *(EMBEDDING_SPACE, TEACHER_CLUSTERS, STUDENT_MODEL, CORPUS_MAP, PROXY_SWARM, RECIPE_REPORT, CONFIRMATIONS),
}


@app.command(rich_help_panel=EVIDENCE)
@friendly
def takedown(
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WHAT]...",
            help="An address, a domain, prefix:<address>, source:<name>, doc_id:<32 hex> or content:<32 hex>.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="File with more entries, one per line; # starts a comment.", dir_okay=False),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Kept with the request, such as a ticket number.")] = "",
    apply: Annotated[
        bool,
        typer.Option(
            "--apply", help="Make the stale results again now, in this process, instead of leaving them to the daemon."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the request would affect; write nothing.")
    ] = False,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Take documents down: out of shards, tables and future orders, with an account of every mixture that held them.

    The exit code is 1 if anything asked for was not found, or with --apply is still in force.
    """
    from gem_assets.settings import load_existing
    from gem_assets.storage.store import Store
    from gem_assets.takedown.blocklist import Blocklist
    from gem_assets.takedown.certificate import issue, request_takedown
    from gem_assets.takedown.entries import parse_entry, read_entries

    settings = load_existing(data_root)
    entries = [*map(parse_entry, items or []), *(read_entries(file) if file is not None else [])]
    if not entries:
        raise typer.BadParameter("name what to take down, or give a list with --file")
    store = Store(root=str(settings.data_root))
    made = request_takedown(store.artifacts, store.tables, entries, reason=reason, dry_run=dry_run)
    if made is None:
        error_console().print("All of it is on the blocklist already.")
    if apply and not dry_run:
        _apply(settings, quiet=as_json)
    shown = [made] if made is not None else []
    if made is None or (apply and not dry_run):
        wanted = {entry.id for entry in entries}
        shown = [
            issue(store.artifacts, store.tables, one, write=not dry_run)
            for one in Blocklist(settings.data_root).requests()
            if (one.id == made.request if made is not None else wanted & {entry.id for entry in one.all_entries})
        ]
    if as_json:
        found = [one.model_dump(mode="json") for one in shown]
        print_json(found[0] if len(found) == 1 else found)
    else:
        for one in shown:
            _show(one, settings)
    if any(_not_found(one) or (apply and not dry_run and one.state == "pending") for one in shown):
        raise typer.Exit(1)


@app.command(rich_help_panel=EVIDENCE)
@friendly
def certificate(
    request: Annotated[str | None, typer.Argument(help="Id of a request; all of them by default.")] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Search everything in force again and write the certificates.

    The exit code is 1 while something is still there, or if something asked for was never found.
    """
    from gem_assets.settings import load_existing
    from gem_assets.storage.store import Store
    from gem_assets.takedown.certificate import certify

    settings = load_existing(data_root)
    store = Store(root=str(settings.data_root))
    found = certify(store.artifacts, store.tables, request)
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
    elif not found:
        console().print("There are no takedown requests.")
    else:
        for one in found:
            _show(one, settings)
    if any(one.state == "pending" or _not_found(one) for one in found):
        raise typer.Exit(1)


@app.command(rich_help_panel=EVIDENCE)
@friendly
def purge(
    request: Annotated[str | None, typer.Argument(help="Id of a request; all of them by default.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also delete what is tagged or belongs to published mixtures.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go; delete nothing.")] = False,
    exports_only: Annotated[
        bool, typer.Option("--exports", help="Delete only exports in the data root; needs no --force.")
    ] = False,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Delete exports, older table versions and results that still hold documents that were taken down."""
    from dataclasses import asdict

    from gem_assets.settings import load_existing
    from gem_assets.storage.store import Store
    from gem_assets.takedown.blocklist import BlocklistError
    from gem_assets.takedown.certificate import checked_requests
    from gem_assets.takedown.purge import purge as purge_versions

    settings = load_existing(data_root)
    store = Store(root=str(settings.data_root))
    known = checked_requests(store.artifacts)
    chosen = [one for one in known if request in (None, one.id)]
    if request is not None and not chosen:
        raise BlocklistError(
            f"there is no request {request}; the list holds: {', '.join(o.id for o in known) or 'none'}"
        )
    done = purge_versions(store, chosen, force=force, dry_run=dry_run, exports_only=exports_only)
    if as_json:
        print_json(asdict(done))
        return
    out = console()
    verb = "Would delete" if dry_run else "Deleted"
    for what in (*done.exports, *done.versions, *done.results):
        out.print(f"{verb} {what}")
    if done.moved:
        out.print(f"{done.moved} results that stay are read at the newest version of their table")
    if done.exports and not dry_run:
        out.print("gem export writes an export again, without what was taken down")
    if not (done.versions or done.results or done.exports):
        out.print("No older version or export holds anything that was taken down.")


def _apply(settings: "Settings", *, quiet: bool) -> None:
    """Bring up to date what the daemon would, and the orders that exist; fitted things stay as they are."""
    from gem_assets.definitions import code_location
    from gem_assets.run import asset_names, materialize_everything
    from gem_assets.storage.artifacts import ArtifactStore
    from gem_assets.storage.manifest import stage_name

    # a result of an earlier version may be of an asset that is no more
    known = asset_names(code_location(settings.data_root))
    held = ArtifactStore(settings.data_root).assets()
    made = [name for name in held if name in known and name.split("/")[0] in _FOLLOWING]
    log = settings.dagster_home / "logs" / "takedown.log"
    with run_steps(log, quiet=quiet) as report:
        summary = materialize_everything(
            settings,
            report,
            only=made,
            also=made,
            keep_fitted=True,
        )
    for step in summary.failed:
        error_console().print(f"{stage_name(step.asset, step.snapshot)} failed: {step.error}. The full log is in {log}")


def _show(one: "Certificate", settings: "Settings") -> None:
    out = console()
    out.print(f"Request {one.request} of {one.requested_at:%Y-%m-%d %H:%M} UTC: {one.state}")
    for asked in one.asked:
        _show_asked(asked, out)
    out.print(f"  documents      {one.documents}, duplicates included, in {len(one.places)} places")
    _show_lists(one, out)
    from gem_assets.takedown.certificate import certificate_path

    path = certificate_path(settings.data_root, one.request)
    if path.is_file():
        out.print(f"  certificate    {path}")
    if _not_found(one) and path.is_file():
        out.print("  Entries that found nothing stay on the list, and are kept out of later snapshots")
    # what only exports keep pending is waited for in vain
    if any(held.in_force for held in one.held_by) or any(checked.rows for checked in one.checked):
        out.print("  `gem dev` makes the stale results again by itself; `gem takedown --apply` does it now")


def _show_asked(asked: "Asked", out: Terminal) -> None:
    """Print one line for what was asked for, and one for each thing that it does not name and may have meant."""
    from gem_assets.printable import printable

    found = f"documents {asked.documents}, duplicates {asked.duplicates}, mixtures {len(asked.mixtures)}"
    if not asked.documents:
        found = "nothing was found"
        if asked.kept_out_of:
            found += f", and it has been kept out of {', '.join(asked.kept_out_of)} since"
    out.print(f"  asked for      {printable(asked.entry)}: {found}")
    for near in asked.near:
        out.print(f"    not taken down {near.what}: {near.differs}; places {near.documents}")


def _not_found(one: "Certificate") -> bool:
    return one.state != "complete" and any(not asked.documents and not asked.kept_out_of for asked in one.asked)


def _show_lists(one: "Certificate", out: Terminal) -> None:
    for held in one.held_by:
        tokens = f", {held.tokens:,.0f} tokens" if held.tokens is not None else ""
        word = "expected" if held.tokens is not None else "counted"
        out.print(
            f"  held by        {held.asset} {held.identity[:12]}: {held.documents} documents, "
            f"{held.exposures:.2f} exposures {word}{tokens}"
        )
    for checked in one.checked:
        if checked.rows:
            out.print(f"  still in force {checked.where}: {checked.rows} rows")
    for held in one.exports:
        shown = f"{held.found} documents" if held.found else held.state
        way_out = "; see `gem purge --exports`" if held.inside and held.state == "holds" else ""
        out.print(
            f"  export         {held.path} ({held.trainer}, {held.at:%Y-%m-%d}, sha256 {held.digest[:12]}): "
            f"{shown}{way_out}"
        )
    evidence = [old for old in one.still_on_disk if strategy_of(old.where, ORDERS, AUDITS)]
    texts = len(one.still_on_disk) - len(evidence)
    if texts:
        out.print(f"  on the disk    {texts} older versions still hold them; see `gem purge`")
    if evidence:
        out.print(f"  evidence       {len(evidence)} older orders and audits name them; they hold no text and stay")
    if one.landed_files:
        out.print(f"  landed files   {', '.join(one.landed_files[:3])} hold the raw records; they are yours")
    for what in one.beyond_reach:
        out.print(f"  beyond reach   {what}")
