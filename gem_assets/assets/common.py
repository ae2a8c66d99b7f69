"""What all assets share: owners, the fan-in dependency, and small metadata helpers."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

OWNERS = ["team:data"]
GROUP_CORPUS, GROUP_CLUSTERS, GROUP_LABELS, GROUP_MIXTURES = "corpus", "clusters", "labels", "mixtures"
GROUP_PROXIES = "proxies"


def every_snapshot(asset: str) -> dg.AssetDep:
    """Depend on all snapshots of an asset that exist, however many that is."""
    return dg.AssetDep(asset, partition_mapping=dg.AllPartitionMapping())


def refresh(policy: str) -> dict[str, str]:
    """Tag that names the automation policy; ``sensors/conditions.py`` gives it its meaning."""
    return {"gem/refresh": policy}


def picture(folder: Path, name: str, alt: str) -> dg.MetadataValue:
    """Show a PNG of an artifact inline on the asset's page."""
    from gem_assets.report.plots import markdown_image

    return dg.MetadataValue.md(markdown_image((folder / name).read_bytes(), alt))


def page_link(folder: Path, name: str) -> dg.MetadataValue:
    """Link a file of an artifact, ``<root>/artifacts/<asset>/<snapshot>/<identity>``, as ``gem dev`` shows it."""
    from gem_assets.orchestration.page_server import LINKS, artifact_url

    return dg.MetadataValue.url(artifact_url(LINKS, folder, name))


def audit_links(strategy: str) -> dict[str, dg.MetadataValue]:
    """Link the order and the audit in force of a mixture from another artifact of the same data root.

    A recipe is made before either. So the links lead to what is in force when they are followed, and beside them stands
    the command that makes what is not there yet.
    """
    from gem_assets.orchestration.page_server import LINKS, current_url

    asset = f"mixture_audit/{strategy}"
    forms = {"audit": "index.html", "data_card": "data_card.html", "eu_summary": "eu_summary.html"}
    return {
        "order": dg.MetadataValue.asset(dg.AssetKey(["training_order", strategy])),
        **{name: dg.MetadataValue.url(current_url(LINKS, asset, file)) for name, file in forms.items()},
        "order_and_audit_made_by": dg.MetadataValue.text(f"gem audit {strategy}"),
    }


def table(rows: Sequence[Mapping[str, Any]] | Any, columns: Sequence[str] | None = None) -> dg.MetadataValue:
    """Show rows as a table, columns in the order given (or as they come); values are reduced to what a cell shows.

    Numbers keep four significant digits, or all of their whole part; the artifact keeps the rest.
    """

    def cell(value: Any) -> str | int | float | bool:
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)  # as a number it is no JSON, and the interface could not show the page
        if isinstance(value, float):
            return float(f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}")
        if isinstance(value, Mapping):
            return ", ".join(f"{name} {cell(count)}" for name, count in value.items())
        if isinstance(value, list | tuple):
            return "; ".join(str(cell(item)) for item in value)
        return value if isinstance(value, str | int | float | bool) else "" if value is None else str(value)

    if not rows:
        return dg.MetadataValue.text("none")
    shown = list(columns or rows[0])
    return dg.MetadataValue.table([dg.TableRecord({name: cell(row[name]) for name in shown}) for row in rows])
