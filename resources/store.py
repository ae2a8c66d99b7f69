"""The store of one data root as a Dagster resource."""

import dagster as dg

from gem_assets.storage.store import Store


class StoreResource(dg.ConfigurableResource, Store):
    """Hands the files and tables of one data root to assets, checks and sensors."""

    root: str
