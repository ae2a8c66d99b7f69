"""The two ``gem`` commands that the explorer runs beside itself: the plan, and the recipe of a saved mixture.

Both belong to the half that imports Dagster, which takes seconds and memory that a page does not need otherwise.
"""

import asyncio
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from gem_assets.explorer.errors import UnknownError
from gem_assets.mixing.methods.saved import NAME
from gem_assets.stages import RECIPES, result_of

KEPT_S: Final = 20.0
"""How long a plan is shown before it is asked for again."""
_LIMIT_S: Final = 600.0
_RESULT: Final = result_of(RECIPES, NAME)


class Plans:
    """Answers what is stale; asked often, it runs ``gem plan`` once in a while.

    Parameters
    ----------
    data_root
        Of the plan.
    """

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root
        self._lock = threading.Lock()
        self._known: tuple[float, dict[str, Any]] | None = None

    def __call__(self) -> dict[str, Any]:
        """Return ``steps``: name, state, why, way out, and seconds where they are known.

        Raises
        ------
        UnknownError
            When the plan cannot be made; the message is that of the command.
        """
        with self._lock:
            now = time.monotonic()
            if self._known is None or now - self._known[0] > KEPT_S:
                command = _command("plan", self.data_root)
                done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_LIMIT_S)
                if done.returncode:
                    raise UnknownError(_last_line(done.stderr or done.stdout))
                self._known = (now, {"steps": [_step(task) for task in json.loads(done.stdout)["tasks"]]})
            return self._known[1]


async def make_saved(data_root: Path) -> dict[str, Any]:
    """Make the recipe of the saved mixture; returns whether that worked, and a sentence."""
    command = _command("run", data_root, "--until", _RESULT)
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, error = await process.communicate()
    if not process.returncode:
        return {"made": True, "message": f"Saved, and made the recipe {NAME}."}
    told = _last_line(error.decode("utf-8", "replace"))
    try:
        failed = [step["error"] for step in json.loads(out)["steps"] if step["error"]]
    except (ValueError, KeyError):
        failed = []
    why = failed[0] if failed else told
    return {"made": False, "message": f"Saved, but the recipe was not made: {why}. Try: gem run --until {_RESULT}"}


def _command(name: str, data_root: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "gem_assets.cli", name, "--data-root", str(data_root), "--json", *more]


def _step(task: dict[str, Any]) -> dict[str, Any]:
    partition = f", {task['partition']}" if task["partition"] else ""
    return {
        "name": task["asset"] + partition,
        "state": task["state"].replace("_", " "),
        "why": task["because"] or "; ".join(reason["text"] for reason in task["reasons"]),
        "way_out": task["way_out"],
        "seconds": task["seconds"],
    }


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "the command said nothing"
