"""One frozen settings tree for the whole platform.

Values come, strongest first, from arguments, from the environment (``GEM_TEACHER__K=48``), from
``<data root>/gem.toml`` and from the defaults that each stage declares beside its code. What a stage does is decided
by its own section alone, so that changing one section makes only that stage and what follows it stale.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariable

from gem_assets.audit.config import AuditConfig
from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.recrawls import RecrawlConfig
from gem_assets.drift.config import DriftConfig
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.mixing.config import MixingConfig
from gem_assets.ordering.config import OrderingConfig
from gem_assets.parallel.config import StageResources
from gem_assets.proxy.config import ProxyConfig
from gem_assets.secrets import is_secret, redact
from gem_assets.stages import SHARDED
from gem_assets.student.config import LabelConfig, StudentConfig
from gem_assets.taxonomy.config import TaxonomyConfig
from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.report_config import ClusterReportConfig

DATA_ROOT_VARIABLE = "GEM_DATA_ROOT"
DEFAULT_DATA_ROOT = "gem-data"
SETTINGS_FILE = "gem.toml"
ENGINE_PATTERN = "^(local|ray|inline)$"


_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_UNUSABLE = {
    r"\?": "which SQLAlchemy takes for the start of a URL's query",
    r"%[0-9A-Fa-f]{2}": "which SQLAlchemy takes for an escape in a URL",
    r"[\x00-\x1f\x7f-\x9f]": "a control character, which Lance refuses in a path",
    r"[\ud800-\udfff]+": "a byte that is not UTF-8, which Lance refuses in a path",
}
"""What may not stand in the path of a data root, and why: Dagster's databases and Lance read it as part of a URL."""

LONGEST_ROOT = 443
"""Bytes: SQLite takes 512 for the path of a database with its journal, and Dagster keeps one below the root a run."""

#: A folder with one of these is a data root.
MARKS = (SETTINGS_FILE, "landing", "artifacts")


class SettingsError(ValueError):
    """A setting has a value that the platform cannot work with; the message names it."""


class Settings(BaseSettings):
    """Everything a user may set; immutable once loaded."""

    model_config = SettingsConfigDict(
        env_prefix="GEM_", env_nested_delimiter="__", frozen=True, extra="ignore", validate_default=True
    )

    data_root: Path = Field(description="Folder that holds the landing area, tables, artifacts and history.")
    workers: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="Processes for shard work; 0 means as many as this machine or container can carry.",
    )
    engine: str = Field(
        default="local",
        pattern=ENGINE_PATTERN,
        description="Where shard work runs: in processes of this machine, on Ray, or in the run's own process "
        "(inline), where shards have no time limit.",
    )
    shard_timeout_s: float = Field(
        default=3600.0, gt=0, description="Seconds after which a shard counts as hung and is named in an error."
    )
    worker_memory_mb: int = Field(
        default=0,
        ge=0,
        description="MiB that the process of a shard may use, not counting mapped files; 0 means what this machine or "
        "container can spare. A landed file that needs more even when read alone is quarantined as reader_died.",
    )
    resources: dict[str, StageResources] = Field(
        default={},
        description="What one shard of an asset asks of the machines: `[resources.embeddings]` with `cpus` and `gpus` "
        "(fractions are for Ray) and `memory_mb`. By default one core.",
    )
    corpus: CorpusConfig = CorpusConfig()
    recrawls: RecrawlConfig = RecrawlConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    teacher: TeacherConfig = TeacherConfig()
    cluster_report: ClusterReportConfig = ClusterReportConfig()
    student: StudentConfig = StudentConfig()
    labels: LabelConfig = LabelConfig()
    taxonomy: TaxonomyConfig = TaxonomyConfig()
    drift: DriftConfig = DriftConfig()
    mixing: MixingConfig = MixingConfig()
    ordering: OrderingConfig = OrderingConfig()
    proxy: ProxyConfig = ProxyConfig()
    audit: AuditConfig = AuditConfig()

    @field_validator("data_root")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("resources")
    @classmethod
    def _of_an_asset(cls, value: dict[str, StageResources]) -> dict[str, StageResources]:
        if unknown := sorted(value.keys() - set(SHARDED)):
            raise ValueError(f"{', '.join(unknown)}: no asset with shards; those are {', '.join(SHARDED)}")
        return value

    @property
    def landing(self) -> Path:
        """Folder into which snapshots are landed, one sub-folder each."""
        return self.data_root / "landing"

    @property
    def dagster_home(self) -> Path:
        """Absolute DAGSTER_HOME: run history, schedules and the instance's configuration."""
        return self.data_root / "dagster"

    def landing_cache(self, snapshot: str) -> Path:
        """File that remembers the digests of a snapshot's landed files, so that they are not read on every look."""
        return self.data_root / "cache" / "landing" / f"{snapshot}.json"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over ``gem.toml``, whose values arrive as ``init_settings``."""
        return env_settings, init_settings


def resolve_data_root(data_root: str | Path | None = None) -> Path:
    """Return the absolute data root: the argument, else ``GEM_DATA_ROOT``, else ``./gem-data``.

    Raises SettingsError when it is a URL, not a folder, or a path that the databases below it cannot open.
    """
    chosen = data_root or os.environ.get(DATA_ROOT_VARIABLE) or DEFAULT_DATA_ROOT
    if _URL.match(str(chosen)):
        raise SettingsError(f"the data root {str(chosen)!r} is a URL, and a data root is a folder of this machine")
    root = Path(chosen).expanduser().absolute()
    elsewhere = f"choose another with --data-root or {DATA_ROOT_VARIABLE}"
    for pattern, what in _UNUSABLE.items():
        found = re.search(pattern, str(root))
        if found is not None:
            raise SettingsError(
                f"the data root {str(root)!r} holds {found[0]!r}, {what}; rename the folder, or {elsewhere}"
            )
    length = max(len(os.fsencode(path)) for path in (root, os.path.realpath(root)))
    if length > LONGEST_ROOT:
        raise SettingsError(
            f"the path of the data root has {length} bytes, and SQLite opens the databases below it up to "
            f"{LONGEST_ROOT}; {elsewhere}. It is {root}"
        )
    if os.path.lexists(root) and not root.is_dir():
        what = "a link, and leads to no folder" if root.is_symlink() else "a file"
        raise SettingsError(
            f"{root} (by {_named_by(data_root)}) is not a data root: it is {what}. Name another with "
            f"--data-root or {DATA_ROOT_VARIABLE}"
        )
    return root


def _named_by(data_root: str | Path | None) -> str:
    return "--data-root" if data_root else DATA_ROOT_VARIABLE if os.environ.get(DATA_ROOT_VARIABLE) else "default"


def load_existing(data_root: str | Path | None = None) -> Settings:
    """Read the settings of a data root that has to be there: a command that only looks, or takes away, makes none.

    Raises SettingsError when the folder is missing or is not a data root, and as :func:`load_settings` does.
    """
    root = resolve_data_root(data_root)
    if not any((root / mark).exists() for mark in MARKS):
        lacks = f"it holds none of {', '.join(MARKS)}" if root.is_dir() else "there is no such folder"
        raise SettingsError(
            f"{root} (by {_named_by(data_root)}) is not a data root: {lacks}. Name one with --data-root or "
            f"{DATA_ROOT_VARIABLE}, or make one with gem land or gem demo"
        )
    return load_settings(root)


def load_settings(data_root: str | Path | None = None) -> Settings:
    """Read the settings of one data root.

    See :func:`resolve_data_root` for the default of ``data_root``.

    Raises SettingsError when ``gem.toml`` cannot be parsed, or a value there or in the environment is out of range. The
    message names the section, the key, the value and what is allowed.
    """
    root = resolve_data_root(data_root)
    path = root / SETTINGS_FILE
    values: dict[str, Any] = {}
    if path.is_file():
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is not valid TOML: {error}. Fix the file or remove it.") from error
        unknown = sorted(set(values) - set(Settings.model_fields))
        if unknown:
            known = ", ".join(sorted(set(Settings.model_fields) - {"data_root"}))
            raise SettingsError(f"{path} has unknown keys {unknown}; known top-level keys: {known}.")
    try:
        arguments: dict[str, Any] = {**values, "data_root": root}
        return Settings(**arguments).model_copy(update={"data_root": root})
    except UnreadableVariable as error:
        found = re.search(r'field "(\w+)"', str(error))
        named = f"GEM_{found[1].upper()}" if found is not None else "a GEM_<SECTION> environment variable"
        # without the cause: its text quotes the value
        raise SettingsError(
            f"{named} does not hold a JSON object. Write a whole section as JSON, or one value as {named}__<KEY>."
        ) from None
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc']))}{_shown(item)}: {item['msg']}" for item in error.errors()
        )
        # without the cause: its text quotes every value
        raise SettingsError(
            redact(f"Invalid settings ({problems}). Change {path} or the GEM_<SECTION>__<KEY> environment variable.")
        ) from None


def _shown(item: Any) -> str:
    """Quote a value, unless nobody knows what it is for or it can be told that it is a secret."""
    names = [str(part) for part in item["loc"]]
    if item["type"] == "extra_forbidden" or any(map(is_secret, names)) or "@" in str(item["input"]):
        return ""
    return f" = {item['input']!r}"
