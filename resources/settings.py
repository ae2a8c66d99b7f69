"""The settings tree as a Dagster resource."""

import dagster as dg

from gem_assets.settings import Settings, load_settings


class SettingsResource(dg.ConfigurableResource):
    """Hands the settings of one data root to assets, checks and sensors."""

    data_root: str

    def load(self) -> Settings:
        """Read the settings afresh, so that an edited ``gem.toml`` counts from the next run on."""
        return load_settings(self.data_root)
