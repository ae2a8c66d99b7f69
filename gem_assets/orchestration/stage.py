"""One run of one stage: declared first, skipped when its result stands, committed with its manifest when it does not.

An asset's function yields its stage and, while that is not done, fills what ``write`` gives
(:mod:`gem_assets.assets.declared` has an example). What stands above ``yield`` is the declaration: ``gem plan`` and the
daemon read no further, a run continues from it.
"""

import contextlib
import functools
import inspect
import logging
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cached_property
from typing import Any

import dagster as dg
from pydantic import BaseModel

from gem_assets.orchestration.figures import is_verdict, named
from gem_assets.orchestration.plan import Reason, Wanted, wanted_of
from gem_assets.orchestration.progress import reporter, run_logger
from gem_assets.storage.artifacts import Artifact, Draft
from gem_assets.storage.identity import identity, library_versions
from gem_assets.storage.manifest import InputRef, LanceRef, input_versions, stage_name
from gem_assets.storage.store import Store

logger = logging.getLogger(__name__)


class Stage:
    """A stage with everything that can change its result.

    Parameters
    ----------
    config
        Every setting that counts; fields with ``exclude=True`` do not.
    inputs
        Pinned with ``store.input`` / ``store.inputs`` before anything was read.
    libraries
        Distributions whose version can change the result.
    version_prefix
        Goes before the identity in the data version (``<prefix>:<identity>``), for a stage whose freshness is judged
        by the version of its parent.

    ``why`` says why it has to be made again whatever its identity is, where all of that is known only after reading.
    """

    def __init__(
        self,
        store: Store,
        asset: str,
        *,
        partition: str | None = None,
        config: BaseModel | Mapping[str, Any],
        code_version: str,
        inputs: Sequence[InputRef] = (),
        libraries: Sequence[str] = (),
        seed: int | None = None,
        version_prefix: str | None = None,
    ) -> None:
        self.store = store
        self.asset, self.partition = asset, partition
        self.config, self.code_version = config, code_version
        self.inputs, self.libraries, self.seed = tuple(inputs), tuple(libraries), seed
        self.version_prefix = version_prefix
        self.why: Reason | None = None
        self.fresh = False
        self._artifact: Artifact | None = None
        self._lost_rows = False

    @cached_property
    def identity(self) -> str:
        """Name of the result, 64 hex."""
        return identity(
            stage=self.name,
            config=self.config,
            code_version=self.code_version,
            inputs=input_versions(self.inputs),
            libraries=self.libraries,
            seed=self.seed,
        )

    @property
    def wanted(self) -> Wanted:
        """What the result is made from, to be compared with a manifest."""
        libraries, inputs = library_versions(self.libraries), input_versions(self.inputs)
        return wanted_of(self.config, self.code_version, self.seed, libraries, inputs)

    @property
    def name(self) -> str:
        """``asset`` or ``asset[partition]``."""
        return stage_name(self.asset, self.partition)

    @property
    def done(self) -> Artifact | None:
        """The committed result of this identity, made current if it was not; None when there is work to do.

        A result whose rows are no longer in its table (the table stepped back from a torn version) does not count.
        """
        if self._artifact is None:
            store = self.store.artifacts
            found = store.get(self.asset, self.identity, self.partition)
            self._lost_rows = found is not None and not self.tables_stand(found)
            if found is None or self._lost_rows:
                return None
            current = store.current(self.asset, self.partition)
            if current is None or current.identity != found.identity:
                # only then: taking the writer's lock touches a file, and a run without news touches none
                store.make_current(found)
            self._artifact = found
        return self._artifact

    @property
    def artifact(self) -> Artifact:
        """The committed result; after ``done`` or ``write``."""
        if self._artifact is None:
            raise RuntimeError(f"{self.name} has no committed result yet; use stage.write() first")
        return self._artifact

    @contextlib.contextmanager
    def write(self) -> Generator[Draft]:
        """Give a draft whose manifest fields are set already; commit it when the block ends."""
        artifacts = self.store.artifacts
        with artifacts.write(self.asset, self.identity, self.partition, replace=self._lost_rows) as draft:
            draft.config = self.config
            draft.code_version = self.code_version
            draft.libraries = library_versions(self.libraries)
            draft.seed = self.seed
            draft.inputs = self.inputs
            draft.data_version = f"{self.version_prefix}:{self.identity}" if self.version_prefix else None
            yield draft
            self._pin_inputs()
        self._artifact = draft.artifact
        self.fresh = True

    def keep(self, artifact: Artifact) -> None:
        """Leave the result at an earlier one, which :meth:`result` then reports."""
        self._artifact = artifact

    @contextlib.contextmanager
    def keeping(self, what: str) -> Generator[None]:
        """Say what of the work is kept when the run is stopped inside the block, by Terminate or Ctrl-C.

        ``what`` is a clause, such as ``every finished proxy is kept``.
        """
        try:
            yield
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            said = "%s was stopped: %s. The earlier result stays in force; run it again to continue."
            run_logger().warning(said, self.name, what)
            raise

    def result(self, metadata: Mapping[str, Any] | None = None) -> dg.MaterializeResult:
        """Return what the asset reports: the verdict, pictures and links to pages, then figures, then identities.

        Dagster shows metadata in the order in which it was given.
        """
        manifest = self.artifact.manifest
        shown = named({name: _shown(value) for name, value in dict(metadata or {}).items()})
        seen_first = {name: value for name, value in shown.items() if is_verdict(name)}
        seen_first |= {
            name: value
            for name, value in shown.items()
            if isinstance(value, (dg.MarkdownMetadataValue, dg.UrlMetadataValue))
        }
        tables = {f"lance/{ref.table}": ref.version for ref in manifest.lance}
        rows = {"dagster/row_count": manifest.lance[0].rows} if len(manifest.lance) == 1 else {}
        return dg.MaterializeResult(
            metadata={
                **seen_first,
                **rows,
                **{name: value for name, value in shown.items() if name not in seen_first},
                **tables,
                "identity": manifest.identity,
                "manifest": dg.MetadataValue.path(str(self.artifact.path / "manifest.json")),
                "computed": self.fresh,
            },
            data_version=dg.DataVersion(manifest.data_version),
        )

    def progress(self, context: Any = None) -> Callable[..., None]:
        """Return a callback for library code that logs to the run, at most every two seconds."""
        return reporter(self.name, getattr(context, "log", None))

    def _pin_inputs(self) -> None:
        """Tag every table version that was read, so that cleaning up a table never takes it away."""
        versions: dict[str, set[int]] = {}
        for ref in self.inputs:
            if ref.lance_table is not None and ref.lance_version is not None:
                versions.setdefault(ref.lance_table, set()).add(ref.lance_version)
        for table, read in sorted(versions.items()):
            self.store.tables.pin(table, read)

    def tables_stand(self, artifact: Artifact) -> bool:
        """Tell whether the rows that a result committed are still in their tables."""
        for ref in artifact.manifest.lance:
            if not self._stands(ref):
                logger.warning("%s: table %s version %d no longer holds its %d rows; it is made again",
                               self.name, ref.table, ref.version, ref.rows)  # fmt: skip
                return False
        return True

    def _stands(self, ref: LanceRef) -> bool:
        try:
            return self.store.tables.count(ref.table, version=ref.version, snapshot=self.partition) == ref.rows
        except (ValueError, OSError):
            return False


Making = Generator[Stage, None, dg.MaterializeResult]
"""An asset's function: it yields the stage that it declares, and when it is resumed makes it and returns the report."""


def staged(compute: Callable[..., Making]) -> Callable[..., dg.MaterializeResult]:
    """Make an asset's function out of one that declares a stage: a call runs it to its end."""

    @functools.wraps(compute)
    def made(*args: Any, **given: Any) -> dg.MaterializeResult:
        making = compute(*args, **given)
        next(making)
        return finish(making)

    made.__annotations__ = {**compute.__annotations__, "return": dg.MaterializeResult}
    made.__signature__ = inspect.signature(compute).replace(return_annotation=dg.MaterializeResult)  # type: ignore[attr-defined]
    return made


def finish(making: Making) -> dg.MaterializeResult:
    """Make the stage that was declared, and return what its asset reports."""
    try:
        next(making)
    except StopIteration as end:
        return end.value
    raise RuntimeError("an asset declares one stage")


def _shown(value: Any) -> Any:
    """Cut a figure to four significant digits, as the tables of the pages do; the artifact keeps the rest."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # as a number it is no JSON, and the interface could not show the page
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}")
