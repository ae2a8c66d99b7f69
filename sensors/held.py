"""The sensor that says on an asset's page, in words, what holds it back.

Dagster shows a failed run by its trace, and what is held without a run not at all. Each thing that is held gets an
observation: why, what waits for it, and the command that tries again. It is reported once, and again when that changes.
"""

import json

import dagster as dg

from gem_assets.orchestration.places import shown
from gem_assets.orchestration.reconcile import Item, holds_up
from gem_assets.storage.identity import digest
from resources.settings import SettingsResource
from sensors.conditions import reconciler_of


@dg.sensor(
    name="held",
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Says on an asset's page what holds it back, and the command that tries again.",
)
def held_sensor(context: dg.SensorEvaluationContext, settings: SettingsResource) -> dg.SensorResult | dg.SkipReason:
    """Compare what is held with what was reported before; report the difference."""
    repository = context.repository_def
    if repository is None:
        return dg.SkipReason("no code location")
    items = reconciler_of(settings.data_root, repository.asset_graph, context.instance).look().items
    waiting = holds_up(items)
    told: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
    now: dict[str, str] = {}
    events: list[dg.AssetObservation] = []
    for place, item in items.items():
        if item.state != "held" or item.behind in items:
            continue
        now[item.name] = digest([item.because, item.way_out, item.again_at, waiting.get(place, [])])[:16]
        if told.get(item.name) != now[item.name]:
            events.append(_observation(item, waiting.get(place, [])))
    if now == told:
        return dg.SkipReason(f"{len(now)} held, all of them reported" if now else "nothing is held")
    return dg.SensorResult(asset_events=events, cursor=json.dumps(now, sort_keys=True))


def _observation(item: Item, waiting: list[str]) -> dg.AssetObservation:
    metadata: dict[str, dg.MetadataValue] = {"held": dg.MetadataValue.text(item.because)}
    if waiting:
        metadata["holds_up"] = dg.MetadataValue.text(", ".join(waiting))
    if item.way_out:
        metadata["way_out"] = dg.MetadataValue.text(item.way_out)
    if item.again_at is not None:
        metadata["tried_again"] = dg.MetadataValue.timestamp(item.again_at)
    key, partition = shown(item.place)
    return dg.AssetObservation(
        key,
        partition=partition,
        description=f"{item.name} is held: {item.because}",
        metadata=metadata,
    )
