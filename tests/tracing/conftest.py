"""Traces are tried on the data root that lineage is tried on."""

from tests.lineage.conftest import world

__all__ = ["world"]
