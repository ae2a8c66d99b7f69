"""Ask an asset what it would make now, without making it.

The asset's own code runs up to the point at which it looks for its result; there the question is answered. So what a
plan says and what a run does come from the same lines: settings, code version, pinned inputs.
"""

import contextlib
import inspect
import logging
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NoReturn

import dagster as dg

from gem_assets.orchestration.plan import Reason
from gem_assets.orchestration.stage import Stage
from gem_assets.settings import Settings, load_settings
from gem_assets.storage.store import MissingInputError, Store

logger = logging.getLogger(__name__)


class _Asked(Exception):  # noqa: N818  it is not an error: it carries the answer out of the asset
    def __init__(self, stage: Stage | None, why: Reason | None = None) -> None:
        super().__init__("asked")
        self.stage, self.why = stage, why


class ProbeStore(Store):
    """A store that ends the run of an asset where it would begin to compute, and writes nothing."""

    only_asks: ClassVar[bool] = True

    def looked_up(self, stage: object) -> None:
        """Carry the stage out."""
        raise _Asked(stage if isinstance(stage, Stage) else None)

    def must_read(self, stage: object, why: object) -> None:
        """Carry out what is known before reading, and why it has to be read."""
        raise _Asked(stage if isinstance(stage, Stage) else None, why if isinstance(why, Reason) else None)

    @contextlib.contextmanager
    def scratch(self) -> Generator[Path]:
        """Refuse: an asset that asks for scratch space before its result is known has to read everything again."""
        raise _Asked(None)
        yield Path()


class _ProbeEngine:
    """Shard work of an asset that is only asked: an asset that begins with it has to do everything again."""

    def map(self, *_: object, **__: object) -> NoReturn:
        raise _Asked(None)

    shard_map = map


@dataclass(frozen=True)
class Probe:
    """What an asset would make.

    Attributes
    ----------
    stage
        The stage that it looks for, or as much of it as is known before reading; None when an input is missing.
    missing
        Which input is not there, in words; empty when all are.
    why
        Why it has to be read again whatever its identity is.
    """

    stage: Stage | None
    missing: str = ""
    why: Reason | None = None


def probe(asset: dg.AssetsDefinition, settings: Settings, partition: str | None = None) -> Probe:
    """Run an asset's function up to the question whether its result stands.

    Parameters
    ----------
    asset
        An asset with one key whose function takes ``context`` and resources of this project.
    settings
        Of the data root.
    partition
        Snapshot, for a partitioned asset.
    """
    root = str(settings.data_root)
    given: dict[str, Any] = {
        "context": SimpleNamespace(partition_key=partition, log=logger),
        "settings": SimpleNamespace(load=lambda: load_settings(root), data_root=root),
        "store": ProbeStore(root=root),
        "engine": _ProbeEngine(),
    }
    function: Any = inspect.unwrap(asset.op.compute_fn.decorated_fn)  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue]
    wanted = inspect.signature(function).parameters
    try:
        function(**{name: given[name] for name in wanted})
    except _Asked as asked:
        return Probe(asked.stage, why=asked.why)
    except (MissingInputError, dg.Failure) as error:
        return Probe(None, str(error.description if isinstance(error, dg.Failure) else error))
    raise TypeError(f"{asset.key.to_user_string()} never looked for its result; it has to use a Stage")
