"""Every mixture method, found by looking through the modules of this package.

A module that defines ``METHOD`` or ``METHODS`` is on offer; nothing else has to be edited. Importing them loads nothing
heavy: a method imports what it computes with when it makes a recipe.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType

from gem_assets.mixing import methods as package
from gem_assets.mixing.methods.base import FAMILIES, Family, Method


class MethodError(ValueError):
    """Methods that contradict each other; the message names them."""


@cache
def methods() -> Mapping[str, Method]:
    """Return the methods by name: in the order of the families, then of their modules' names.

    Raises MethodError when two modules claim one name.
    """
    found: dict[str, Method] = {}
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        loaded = importlib.import_module(f"{package.__name__}.{module.name}")
        single = getattr(loaded, "METHOD", None)
        for method in (single,) if single is not None else getattr(loaded, "METHODS", ()):
            if method.name in found:
                raise MethodError(f"{module.name} and {found[method.name].module} both define the method {method.name}")
            found[method.name] = replace(method, module=module.name)
    ordered = sorted(found.values(), key=lambda method: FAMILIES.index(method.family))
    return MappingProxyType({method.name: method for method in ordered})


def strategies(family: Family | None = None) -> tuple[str, ...]:
    """Names of the methods, of one family or of all."""
    return tuple(name for name, method in methods().items() if family in (None, method.family))


def confirmable() -> tuple[str, ...]:
    """Names of the methods whose recipes a confirmation run can put to the test."""
    return tuple(name for name, method in methods().items() if method.confirmable)
