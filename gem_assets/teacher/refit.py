"""The previous teacher: where a refit starts, and how cluster ids persist.

Every cluster has a *domain id* that is given once and never again to another. The first teacher's ids are its indices;
a refit passes them on through its crosswalk, and births get new ones. ``domains.json`` beside a teacher holds the id
of each of its components and the next one that is free.

A teacher of the same space and K is refitted with the old one as its anchor. Where the space was fitted again, or K
changed, the fit starts afresh and the two are matched by the seed documents that both have labelled.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.crosswalk import Crosswalk, aligned, crosswalk, crosswalk_of_labels, places, rearranged
from gem_assets.teacher.gem import GemTeacher

DOMAINS_NAME = "domains.json"


@dataclass(frozen=True)
class Domains:
    """Domain id of each component, and the first id that was never given."""

    ids: tuple[int, ...]
    next_id: int

    @classmethod
    def first(cls, k: int) -> "Domains":
        """Ids of a teacher that continues none."""
        return cls(tuple(range(k)), k)

    def write(self, folder: Path) -> None:
        """Write ``domains.json``."""
        text = json.dumps({"ids": self.ids, "next_id": self.next_id}, sort_keys=True)
        (folder / DOMAINS_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, k: int) -> "Domains":
        """Read them; a teacher without the file was never refitted."""
        path = folder / DOMAINS_NAME
        if not path.is_file():
            return cls.first(k)
        record = json.loads(path.read_text(encoding="utf-8"))
        return cls(tuple(record["ids"]), record["next_id"])


@dataclass(frozen=True)
class PreviousTeacher:
    """What a refit needs of the teacher before it.

    Attributes
    ----------
    teacher, domains
        The fitted teacher, and the domain ids of its components.
    sample
        Columns ``doc_id`` and ``label`` of its seed documents.
    same_space
        Whether its vectors and the new ones come from one embedding space.
    """

    teacher: GemTeacher
    domains: Domains
    sample: pa.Table
    same_space: bool

    @classmethod
    def load(cls, artifact: Path, model_folder: str, sample_name: str, *, same_space: bool) -> "PreviousTeacher":
        """Read from a teacher's artifact."""
        teacher = GemTeacher.load(artifact / model_folder)
        sample = pq.read_table(artifact / sample_name, columns=["doc_id", "label"])
        return cls(teacher, Domains.read(artifact, teacher.theta.k), sample, same_space)

    def anchor(self, config: TeacherConfig, d: int) -> GemTeacher | None:
        """Return the teacher that a fit may start from, or None when it has to start afresh."""
        fits = self.same_space and (self.teacher.theta.k, self.teacher.theta.d) == (config.k, d)
        return self.teacher if fits and config.refit == "anchored" else None

    def continued(
        self, new: GemTeacher, vectors: NDArray[np.float32], doc_ids: pa.ChunkedArray
    ) -> tuple[GemTeacher, Crosswalk]:
        """Put the clusters of a new teacher in the places of those they continue, and say where the documents went.

        Parameters
        ----------
        new
            Fitted on ``vectors``, shape (n, d).
        doc_ids
            Ids of the rows of ``vectors``.

        Raises
        ------
        ValueError
            If the spaces differ and no seed document is shared.
        """
        domains = self.domains
        if self.same_space:
            walk = crosswalk(self.teacher, new, vectors, ids=domains.ids, next_id=domains.next_id)
        else:
            now = pa.table({"doc_id": doc_ids, "new": pa.array(new.labels_, pa.int16())})
            shared = self.sample.join(now, "doc_id", join_type="inner")
            old, fresh = (shared.column(name).to_numpy().astype(np.int64) for name in ("label", "new"))
            shape = (self.teacher.theta.k, new.theta.k)
            walk = crosswalk_of_labels(old, fresh, shape, ids=domains.ids, next_id=domains.next_id)
        return aligned(new, walk), rearranged(walk, places(walk))


def passed_on(previous: PreviousTeacher, walk: Crosswalk) -> Domains:
    """Domain ids after a refit; ids of clusters that died are never given again."""
    ids = tuple(int(i) for i in walk.ids)
    return Domains(ids, max(previous.domains.next_id, max(ids) + 1))
