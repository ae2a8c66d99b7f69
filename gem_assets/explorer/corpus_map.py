"""The map of the corpus: where each cluster stands, and where a document of any snapshot is placed between them.

Writes ``map.safetensors``: a :class:`~gem_assets.report.layout.LandmarkMap` fitted on the teacher's seed documents. A
new snapshot's documents are placed by it, so none of the old ones moves. After a refit the new map is turned onto the
old one, by the clusters that continue.
"""

from dataclasses import fields
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from gem_assets.report.layout import LandmarkMap

CODE_VERSION = "1"
MAP_NAME = "map.safetensors"
_DOMAINS = "domains"


def publish_map(teacher: Path, out: Path, before: Path | None = None) -> LandmarkMap:
    """Fit the map of a teacher and write it into ``out``.

    Parameters
    ----------
    teacher
        Artifact of ``teacher_clusters``.
    before
        Folder of the map before a refit.
    """
    from gem_assets.teacher.refit import Domains  # with torch, which a plan does not wait for
    from gem_assets.teacher.seed_fit import load_seed

    model, seed, vectors = load_seed(teacher)
    fitted = LandmarkMap.fit(vectors, seed.column("label").to_numpy(), model.config.k)
    domains = Domains.read(teacher, model.config.k).ids
    if before is not None:
        earlier, former = read_map(before)
        there = {domain: k for k, domain in enumerate(former)}
        fitted = fitted.turned_onto(earlier, [(k, there[d]) for k, d in enumerate(domains) if d in there])
    arrays = {field.name: np.ascontiguousarray(getattr(fitted, field.name)) for field in fields(fitted)}
    (out / MAP_NAME).write_bytes(save({**arrays, _DOMAINS: np.array(domains, np.int64)}))
    return fitted


def read_map(folder: Path) -> tuple[LandmarkMap, tuple[int, ...]]:
    """Read a map back, with the domain id of each cluster."""
    stored = load_file(folder / MAP_NAME)
    domains = tuple(int(d) for d in stored[_DOMAINS])
    return LandmarkMap(**{field.name: stored[field.name] for field in fields(LandmarkMap)}), domains
