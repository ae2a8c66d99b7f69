"""What a person asked to be made anew: a wish that holds until the result that was in force is another one.

``<data root>/asked.json`` maps an asset to the identity that was current when it was asked for. It is a state like any
other, so whoever reconciles next acts on it, the daemon or a command, and never both.
"""

import json
from pathlib import Path

from gem_assets.lineage.durable import file_lock, write_atomic

ASKED = "asked.json"


def ask(root: Path, asset: str, current: str) -> None:
    """Ask for another result than the one that is current."""
    path = root / ASKED
    with file_lock(path.with_suffix(".lock")):
        wishes = read_asked(root)
        if wishes.get(asset) != current:
            write_atomic(path, json.dumps({**wishes, asset: current}, sort_keys=True).encode())


def read_asked(root: Path) -> dict[str, str]:
    """Return the identity by asset; nothing when nothing was asked for, or the file cannot be read."""
    try:
        found = json.loads((root / ASKED).read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(asset): str(identity) for asset, identity in found.items()} if isinstance(found, dict) else {}
