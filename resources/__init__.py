"""What an asset is handed: the store, the engine, the settings, and the helper that keeps assets thin.

``StoreResource`` artifacts, Lance tables, landing folder; ``EngineResource`` where shard work runs;
``SettingsResource`` the settings of a data root; ``Stage`` one run of one stage; ``InputRef`` a pinned input.
Tables themselves are in ``gem_assets.storage.lance``, which is imported only when one is used.
"""

from gem_assets.orchestration.stage import Stage
from gem_assets.parallel.pool import ShardError, ShardTimeoutError, WorkerKilledError
from gem_assets.storage.manifest import InputRef
from resources.engine import EngineResource
from resources.settings import SettingsResource
from resources.store import MissingInputError, StoreResource

__all__ = [
    "EngineResource",
    "InputRef",
    "MissingInputError",
    "SettingsResource",
    "ShardError",
    "ShardTimeoutError",
    "Stage",
    "StoreResource",
    "WorkerKilledError",
]
