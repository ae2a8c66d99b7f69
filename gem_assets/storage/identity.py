"""Identities: the sha256 of a result over everything that can change it.

A result is named by the canonical JSON of its stage, configuration, code version, input data versions,
library versions and seed. The same name means the same bytes, so a stage whose name is already committed
returns at once. Canonical means: keys sorted, no white space, floats in their shortest exact form
(``repr``), no NaN or infinity (pydantic would turn them to null in silence, and two different
configurations would share a name).

Fields that cannot change a result (a batch size, a number of workers) are declared on the config with
``Field(exclude=True)`` and stay out of the name.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence, Set
from datetime import date, datetime
from enum import Enum
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from platform import python_version_tuple
from typing import Any, Final, cast

from pydantic import BaseModel

#: Raised when the layout of the identity payload itself changes; part of every identity.
IDENTITY_FORMAT = 1


def canonical_json(obj: object, *, indent: int | None = None) -> str:
    """Return the one JSON text of ``obj``.

    Parameters
    ----------
    obj
        Nested mappings, sequences, sets, strings, numbers, booleans, None, pydantic models, enums, dates,
        paths and numpy scalars. Tuples and lists are the same; sets are sorted; integer keys become
        strings.
    indent
        Spaces per level for a text that people read; the content is the same.

    Raises
    ------
    ValueError
        On NaN or infinity, or when two keys of a mapping become the same string.
    TypeError
        On a value that has no canonical form (bytes, arrays, functions). Both name where it stands.
    """
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(
        plain(obj), sort_keys=True, ensure_ascii=True, allow_nan=False, separators=separators, indent=indent
    )


def digest(obj: object) -> str:
    """Return the sha256 (64 hex) of the canonical JSON of ``obj``."""
    return hashlib.sha256(canonical_json(obj).encode("ascii")).hexdigest()


def identity(
    *,
    stage: str,
    config: BaseModel | Mapping[str, Any],
    code_version: str,
    inputs: Mapping[str, str],
    libraries: Sequence[str] = (),
    seed: int | None = None,
) -> str:
    """Return the identity (64 hex) of one result of a stage.

    Parameters
    ----------
    stage
        Asset name, with the partition in brackets when there is one: ``raw_shards[CC-2026-05]``.
    config
        Everything a user may set. Fields with ``exclude=True`` do not count.
    code_version
        Raised by hand when the code of the stage gives other results.
    inputs
        Name of each input to its data version.
    libraries
        Distribution names whose version can change the result.
    """
    return identity_of(
        stage=stage,
        config=plain(config),
        code_version=code_version,
        inputs=dict(inputs),
        libraries=library_versions(libraries),
        seed=seed,
    )


def identity_of(
    *,
    stage: str,
    config: object,
    code_version: str,
    inputs: Mapping[str, str],
    libraries: Mapping[str, str],
    seed: int | None,
) -> str:
    """Return the identity from library versions that are already known.

    An auditor recomputes it from a manifest.
    """
    if not stage or not code_version:
        raise ValueError(f"an identity needs a stage and a code version, got {stage!r} and {code_version!r}")
    return digest(
        {
            "format": IDENTITY_FORMAT,
            "stage": stage,
            "config": config,
            "code_version": code_version,
            "inputs": dict(inputs),
            "libraries": dict(libraries),
            "seed": seed,
        }
    )


def library_versions(names: Sequence[str]) -> dict[str, str]:
    """Return the installed version of each distribution; ``absent`` where there is none.

    Absence is recorded and not refused because a stage with a fallback (faiss or not) gives other bytes
    without the library. ``python`` stands for the interpreter's major and minor version.
    """
    return {name: _version(name) for name in sorted(set(names))}


def file_digest(path: str | PurePath) -> str:
    """Return the sha256 (64 hex) of the bytes of a file."""
    with open(path, "rb") as handle:  # noqa: PTH123  (PurePath has no open)
        return hashlib.file_digest(handle, "sha256").hexdigest()


def plain(obj: object) -> Any:
    """Return ``obj`` as nested dict, list, str, int, float, bool and None; refuse anything else."""
    return _plain(obj, "$")


NOT_FINITE: Final = "not_finite"


def finite(obj: Any) -> Any:
    """Return measured figures in a form that JSON has: a number that is NaN or infinite is None.

    For metrics and answers; a configuration with such a number is refused instead (:func:`canonical_json`).

    ``obj`` is of nested mappings, lists and tuples. Where it is itself a mapping and holds such a number, the result
    has the key ``not_finite`` beside its own: the place of each (``axes.2``) and what stood there (``inf``, ``-inf`` or
    ``nan``).
    """
    found: dict[str, str] = {}
    told = _finite(obj, "", found)
    return {**told, NOT_FINITE: found} if found and isinstance(told, dict) else told


def _finite(obj: Any, where: str, found: dict[str, str]) -> Any:
    scalar = getattr(obj, "item", None)
    value = scalar() if callable(scalar) and getattr(obj, "ndim", None) == 0 else obj
    if isinstance(value, float) and not math.isfinite(value):
        found[where] = repr(float(value))
        return None
    under = f"{where}." if where else ""
    if isinstance(obj, Mapping):
        items = cast("Mapping[Any, Any]", obj).items()
        return {key: _finite(inner, f"{under}{key}", found) for key, inner in items}
    if isinstance(obj, list | tuple):
        return [_finite(inner, f"{under}{i}", found) for i, inner in enumerate(cast("Sequence[Any]", obj))]
    return obj


@lru_cache(maxsize=256)
def _version(name: str) -> str:
    if name == "python":
        return ".".join(python_version_tuple()[:2])
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _plain(obj: object, where: str) -> Any:
    match obj:
        case None | bool():
            return obj
        case Enum():
            return _plain(obj.value, where)
        case str():
            return str(obj)
        case int():
            return int(obj)
        case float():
            if not math.isfinite(obj):
                raise ValueError(f"{where} is {obj!r}: NaN and infinity have no canonical form; use None")
            return float(obj)
        case BaseModel():
            return _plain(obj.model_dump(mode="python"), where)
        case datetime() | date():
            return obj.isoformat()
        case PurePath():
            return obj.as_posix()
        case Mapping():
            return _plain_mapping(cast("Mapping[object, object]", obj), where)
        case Set():
            items = [_plain(item, f"{where}{{}}") for item in cast("Set[object]", obj)]
            return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
        case list() | tuple():
            return [_plain(item, f"{where}[{i}]") for i, item in enumerate(cast("Sequence[object]", obj))]
        case _:
            scalar = getattr(obj, "item", None)
            if callable(scalar) and getattr(obj, "ndim", None) == 0:
                return _plain(scalar(), where)
            raise TypeError(
                f"{where} is a {type(obj).__name__}, which has no canonical JSON form; "
                "turn it to str, list or a digest first"
            )


def _plain_mapping(mapping: Mapping[object, object], where: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in mapping.items():
        raw = key.value if isinstance(key, Enum) else key
        if isinstance(raw, bool) or not isinstance(raw, str | int):
            raise TypeError(f"{where} has a key of type {type(raw).__name__}; keys are str or int")
        name = str(raw)
        if name in out:
            raise ValueError(f"{where} has two keys that read {name!r}")
        out[name] = _plain(value, f"{where}.{name}")
    return out
