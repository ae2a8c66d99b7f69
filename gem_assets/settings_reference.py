"""Every setting with its value, its source and what it may be: for ``gem settings`` and ``docs/settings.md``."""

import inspect
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from gem_assets.secrets import redact
from gem_assets.settings import DATA_ROOT_VARIABLE, SETTINGS_FILE, Settings

REFERENCE_COMMAND = "gem settings --reference > docs/settings.md"
NOT_SET = "not set"

DEFAULT, ENVIRONMENT, ARGUMENT = "default", "environment", "--data-root"

_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


@dataclass(frozen=True)
class Setting:
    """One effective setting.

    Attributes
    ----------
    key
        Dotted, as in ``teacher.k``.
    value
        As JSON holds it; without secrets.
    source
        ``default``, ``gem.toml``, ``environment``, or for the data root ``--data-root``.
    """

    key: str
    value: Any
    source: str


def effective_settings(settings: Settings, *, root_given: bool = False) -> list[Setting]:
    """List every setting of a data root with the value in force and its source.

    ``root_given`` tells whether the data root was named by an argument.
    """
    path = settings.data_root / SETTINGS_FILE
    written = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    exported = EnvSettingsSource(Settings)()
    root_source = ARGUMENT if root_given else ENVIRONMENT if os.environ.get(DATA_ROOT_VARIABLE) else DEFAULT
    found = [Setting("data_root", str(settings.data_root), root_source)]
    for keys, value in _leaves(settings):
        if keys != ("data_root",):
            in_environment, in_file = _holds(exported, keys), _holds(written, keys)
            source = ENVIRONMENT if in_environment else SETTINGS_FILE if in_file else DEFAULT
            if in_environment and in_file and isinstance(value, dict):
                source = f"{SETTINGS_FILE}, {ENVIRONMENT}"
            found.append(Setting(".".join(keys), _redacted(value), source))
    return found


def value_text(value: Any) -> str:
    """Write a value as a user would type it into ``gem.toml``; an unset one in words."""
    if value is None:
        return NOT_SET
    return json.dumps(value, ensure_ascii=False)


def reference() -> str:
    """Return ``docs/settings.md``: every setting by section, with its type, default and description."""
    lines = [
        "# Settings",
        "",
        f"Generated from the settings classes by `{REFERENCE_COMMAND}`; a test checks that it is current.",
        "",
        "Write a setting into `gem.toml` in the data root, under its section, or export it as an environment variable: "
        "`teacher.k` is `GEM_TEACHER__K`. The environment wins. `gem settings` prints the values in force and where "
        "each comes from. A setting that is *not set* by default is left out of `gem.toml`.",
        "",
        "Secrets are never settings. They come from the environment alone: `GEM_NAMER_API_KEY`, `DAGSTER_PG_URL`, "
        "`AWS_*`, `HF_TOKEN`, `OPENLINEAGE_API_KEY`. The data root itself is chosen by `--data-root` or "
        f"`{DATA_ROOT_VARIABLE}`.",
    ]
    lines += _section((), Settings, None, "Settings of the whole platform, above the first section of `gem.toml`.")
    return "\n".join(lines) + "\n"


def _section(keys: tuple[str, ...], model: type[BaseModel], default: BaseModel | None, what: str) -> Iterator[str]:
    """Yield the table of one section, then the sections inside it."""
    inner = {name: found for name, field in model.model_fields.items() if (found := _model_of(field)) is not None}
    yield from ("", f"{'#' * min(2 + max(len(keys) - 1, 0), 4)} {_title(keys)}", "", what, "")
    yield from ("| key | type | default | what it does |", "|---|---|---|---|")
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    definitions: dict[str, Any] = model.model_json_schema().get("$defs", {})
    for name, field in model.model_fields.items():
        if name in inner or (not keys and name == "data_root"):
            continue
        shown = _default_text(field, name, default)
        cells = (f"`{name}`", _type_text(properties[name], definitions), shown, _sentence(field.description))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    for name, found in inner.items():
        field = model.model_fields[name]
        held = getattr(default, name) if default is not None else field.get_default(call_default_factory=True)
        text = _sentence(field.description or _first_paragraph(found))
        if not isinstance(held, BaseModel):
            held, text = None, f"{text} Not set by default: the section is absent."
        yield from _section((*keys, name), found, held, text)


def _title(keys: tuple[str, ...]) -> str:
    return f"`[{'.'.join(keys)}]`" if keys else "Top level"


def _leaves(model: BaseModel, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    dumped = model.model_dump(mode="json")
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, (*keys, name))
        else:
            # a field that no identity holds is left out of a dump
            yield (*keys, name), dumped.get(name, value)


def _holds(values: Any, keys: tuple[str, ...]) -> bool:
    for key in keys:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]  # pyright: ignore[reportUnknownVariableType]
    return True


def _redacted(value: Any) -> Any:
    return json.loads(redact(json.dumps(value, ensure_ascii=False, default=list)))


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((one for one in options if inspect.isclass(one) and issubclass(one, BaseModel)), None)


def _default_text(field: FieldInfo, name: str, default: BaseModel | None) -> str:
    if default is None and field.is_required():
        return "required"
    value = getattr(default, name) if default is not None else field.get_default(call_default_factory=True)
    if value is None:
        return "*not set*"
    plain = json.loads(json.dumps(value, default=list))
    return f"`{value_text(plain)}`"


def _type_text(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Name a JSON schema's type with its choices or bounds."""
    if "$ref" in schema:
        return _type_text(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        options = [one for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(_type_text(one, definitions) for one in options)
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    kind = str(schema.get("type", "any"))
    if kind == "array":
        items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        return f"list of {_type_text(items, definitions)}"
    if kind == "object":
        values = schema.get("additionalProperties", {})
        return f"table of {_type_text(values, definitions)}" if isinstance(values, dict) else "table"
    name = {"integer": "integer", "number": "number", "boolean": "true or false", "string": "text"}.get(kind, kind)
    bounds = ", ".join(f"{sign} {schema[key]:,}" for key, sign in _BOUNDS.items() if key in schema)
    return f"{name} {bounds}".strip()


def _first_paragraph(model: type[BaseModel]) -> str:
    return " ".join((inspect.getdoc(model) or "").partition("\n\n")[0].split())


def _sentence(text: str | None) -> str:
    """Give a description a capital and a full stop; one that begins with a value (``cca: ...``) keeps its case."""
    plain = " ".join((text or "").split())
    head = plain if ":" in plain.split(" ", 1)[0] else plain[:1].upper() + plain[1:]
    return head if head.endswith(".") or not head else head + "."
