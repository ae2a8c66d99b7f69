"""Links of results and pages, as :mod:`~gem_assets.orchestration.page_server` serves them: without host and port."""

from pathlib import Path
from typing import Final
from urllib.parse import quote

LINKS: Final = "/pages"
"""Where links to pages begin. They are kept with a result, so they hold no host and no port."""
EXPLORER: Final = "/explore"
"""Where the explorer is; see :mod:`gem_assets.explorer.application`."""


def artifact_url(folder: Path, name: str) -> str:
    """Return the link to a file of a committed artifact.

    Parameters
    ----------
    folder
        ``…/artifacts/<asset>/<snapshot or all>/<identity>``.
    name
        File in it.
    """
    return "/".join([LINKS, "artifacts", *(quote(part) for part in (*folder.parts[-3:], name))])


def current_url(asset: str, name: str) -> str:
    """Return the link to a file of the result in force of an unpartitioned asset."""
    return "/".join([LINKS, "current", quote(asset.replace("/", ".")), quote(name)])


def summary_url(asset: str, name: str) -> str:
    """Return the link to the head of an asset's page; see :mod:`gem_assets.orchestration.summary`."""
    return "/".join([LINKS, "summary", quote(asset.replace("/", ".")), quote(name)])
