"""Where the real corpora and golden tables lie: ``../shared`` beside the checkout, or ``GEM_SHARED``."""

import os
from pathlib import Path


def shared_folder() -> Path:
    """Return the folder; ends the program with a hint when it is absent."""
    found = Path(os.environ.get("GEM_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not (found / "corpora").is_dir():
        raise SystemExit(f"no corpora at {found}: set GEM_SHARED to the folder that holds corpora/ and golden/")
    return found
