"""Ask an asset what it would make now, without making it.

An asset's function declares its stage before it makes anything, and is not resumed here. So what a plan says and what a
run does come from the same lines: settings, code version, pinned inputs.
"""

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import dagster as dg

from gem_assets.orchestration.plan import Reason
from gem_assets.orchestration.stage import Making, Stage
from gem_assets.settings import Settings, load_settings
from gem_assets.storage.store import MissingInputError, Store

logger = logging.getLogger(__name__)


class _AskedStore(Store):
    only_asks: ClassVar[bool] = True


@dataclass(frozen=True)
class Probe:
    """What an asset would make.

    Attributes
    ----------
    stage
        The stage that it declares, or as much of it as is known before reading; None when an input is missing.
    missing
        Which input is not there, in words; empty when all are.
    """

    stage: Stage | None
    missing: str = ""

    @property
    def why(self) -> Reason | None:
        """Why it has to be made again whatever its identity is."""
        return self.stage.why if self.stage is not None else None


def probe(asset: dg.AssetsDefinition, settings: Settings, partition: str | None = None) -> Probe:
    """Read the stage that an asset declares.

    The asset has one key, and its function is ``staged`` and takes ``context`` and resources of this project.
    """
    root = str(settings.data_root)
    given: dict[str, Any] = {
        "context": SimpleNamespace(partition_key=partition, log=logger),
        "settings": SimpleNamespace(load=lambda: load_settings(root), data_root=root),
        "store": _AskedStore(root),
        "engine": None,
    }
    making = declaration(asset.op.compute_fn.decorated_fn)  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue]
    declared = making(**{name: given[name] for name in inspect.signature(making).parameters})
    try:
        return Probe(next(declared))
    except (MissingInputError, dg.Failure) as error:
        return Probe(None, str(error.description if isinstance(error, dg.Failure) else error))
    finally:
        declared.close()


def declaration(function: Callable[..., Any]) -> Callable[..., Making]:
    """Return the function that declares the stage of an asset, from below what was put around it.

    Raises TypeError when it declares none.
    """
    found = inspect.unwrap(function)
    if not inspect.isgeneratorfunction(found):
        raise TypeError(f"{found.__qualname__} declares no stage: it has to yield one")
    return found
