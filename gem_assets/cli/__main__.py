"""``python -m gem_assets.cli``: the same as ``gem``."""

from gem_assets.cli.app import main

main()
