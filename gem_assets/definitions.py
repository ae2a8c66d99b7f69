"""The code location: everything that Dagster shows and runs."""

import traceback
import warnings
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

# partitioned checks and the user code sensor are used on purpose; dagster is pinned and tests cover both
for _category in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=_category)

from gem_assets.assets import ALL_ASSETS  # noqa: E402
from gem_assets.assets.pictures import with_picture  # noqa: E402
from gem_assets.checks import ALL_CHECKS  # noqa: E402
from gem_assets.orchestration.jobs import JOBS  # noqa: E402
from gem_assets.secrets import clean_environment, hide_in_logs, redact  # noqa: E402
from gem_assets.settings import resolve_data_root  # noqa: E402
from resources import EngineResource, SettingsResource, StoreResource  # noqa: E402
from sensors import automation, drift_sensor, held_sensor, landing_sensor, takedown_sensor, with_policy  # noqa: E402


def code_location(data_root: str | Path | None = None) -> dg.Definitions:
    """Return the definitions bound to one data root (the argument, ``GEM_DATA_ROOT`` or ``./gem-data``)."""
    root = str(resolve_data_root(data_root))
    return dg.Definitions(
        assets=ALL_ASSETS,
        asset_checks=ALL_CHECKS,
        jobs=JOBS,
        sensors=[landing_sensor, drift_sensor, takedown_sensor, held_sensor, automation],
        resources={
            "settings": _fixed(SettingsResource(data_root=root)),
            "store": _fixed(StoreResource(root=root)),
            "engine": _fixed(EngineResource(data_root=root)),
            # no asset hands a value on, and Dagster's own default would pickle it into a folder that a run may name
            "io_manager": dg.IOManagerDefinition(lambda _: dg.InMemoryIOManager(), config_schema={}),
        },
        executor=dg.in_process_executor,
    ).map_asset_specs(func=lambda spec: with_policy(with_picture(spec), root))


def _fixed(resource: dg.ConfigurableResource[Any]) -> dg.ResourceDefinition:
    """Give a resource that takes no run config: whoever may launch a run must not choose where it reads and writes."""
    return dg.ResourceDefinition(lambda _: resource, config_schema={}, description=type(resource).__doc__)


def _hide_in_stored_errors() -> None:
    """Take secrets out of the errors that Dagster stores and shows; it has no hook, so one function is replaced."""
    usual = SerializableErrorInfo.from_traceback
    if getattr(usual, "hides_secrets", False):
        return

    def hiding(tb: traceback.TracebackException) -> SerializableErrorInfo:
        info = usual(tb)  # the errors behind it have come this way too
        stack = [redact(line) for line in info.stack]
        return SerializableErrorInfo(redact(info.message), stack, info.cls_name, info.cause, info.context)

    hiding.hides_secrets = True  # pyright: ignore[reportFunctionMemberAccess]
    SerializableErrorInfo.from_traceback = hiding


clean_environment()
hide_in_logs()
_hide_in_stored_errors()
defs = code_location()
