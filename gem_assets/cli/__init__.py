"""The ``gem`` command: each subcommand calls the library once and prints the result."""

# pyright: reportUnusedImport=false
from gem_assets.cli import (
    audit_commands,  # noqa: F401  registers its commands
    doctor_commands,  # noqa: F401  registers its commands
    explore_commands,  # noqa: F401  registers its commands
    export_commands,  # noqa: F401  registers its commands
    lineage_commands,  # noqa: F401  registers its commands
    mixture_commands,  # noqa: F401  registers its commands
    plan_commands,  # noqa: F401  registers its commands
    run_commands,  # noqa: F401  registers its commands
    settings_commands,  # noqa: F401  registers its commands
    snapshot_commands,  # noqa: F401  registers its commands
    takedown_commands,  # noqa: F401  registers its commands
    tokenizer_commands,  # noqa: F401  registers its commands
)
from gem_assets.cli.app import app, main

__all__ = ["app", "main"]
