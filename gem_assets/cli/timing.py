"""``gem status --timing``: where the time from the last landing to its mixtures went, from Dagster's history."""

import time

from gem_assets.cli.console import Terminal, plain_table
from gem_assets.orchestration.dagster_home import CONFIG_NAME
from gem_assets.orchestration.timing import DOING, Timing, time_spent
from gem_assets.settings import Settings

_MEANING = {
    "work": "some stage or check ran",
    "starting": "a process was started or ended, and no stage ran",
    "queued": "a run waited for its turn, and no process was started",
    "waiting": "nothing was asked for: the automation had not looked yet",
}


def collect_timing(settings: Settings) -> Timing | None:
    """Return where the time went; None when nothing has landed or nothing has run since."""
    if not (settings.dagster_home / CONFIG_NAME).is_file():
        return None
    from gem_assets.definitions import code_location
    from gem_assets.orchestration.history import step_owners
    from gem_assets.orchestration.instance import open_history
    from gem_assets.orchestration.run_records import last_landing, run_times

    with open_history(settings) as instance:
        landed = last_landing(instance)
        if landed is None:
            return None
        owners = dict(step_owners(code_location(settings.data_root).resolve_asset_graph()))
        return time_spent(landed, run_times(instance, landed, owners))


def print_timing(timing: Timing | None, out: Terminal) -> None:
    """Print it as two tables."""
    if timing is None:
        out.print("Nothing has run since the last landing.")
        return
    whole = timing.until - timing.since
    landed = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(timing.since))
    table = plain_table(f"{whole:,.1f} s from the landing of {landed} to the end of the last run")
    table.add_column("", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("what happened")
    for doing in DOING:
        seconds = timing.seconds[doing]
        table.add_row(doing, f"{seconds:,.1f}", f"{seconds / whole:.0%}" if whole else "–", _MEANING[doing])
    out.print(table)
    out.print()
    stages = plain_table(
        f"Work in {timing.runs} runs; the longest gap between two stages was {timing.longest_gap:.1f} s"
    )
    stages.add_column("asset", no_wrap=True)
    stages.add_column("seconds", justify="right", no_wrap=True)
    stages.add_column("made", justify="right", no_wrap=True)
    for stage in timing.stages:
        stages.add_row(stage.asset, f"{stage.seconds:,.1f}", f"{stage.made:,}")
    out.print(stages)
