"""What Dagster hands an asset: the store, the engine and the settings of one data root."""

from resources.engine import EngineResource
from resources.settings import SettingsResource
from resources.store import StoreResource

__all__ = ["EngineResource", "SettingsResource", "StoreResource"]
