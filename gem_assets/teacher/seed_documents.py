"""The seed documents as the taxonomy and the student need them: texts, vectors, and the teacher's view of each.

Joins the teacher's artifact (labels, densities, vectors) with the texts of the shards. A seed document whose text is
gone by now (a replaced or removed snapshot) is left out, and counted.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gem_assets.corpus.sampling import select_documents
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.seed_fit import load_seed, seed_responsibilities

TEXT_COLUMNS = ["text", "url", "source", "lang", "n_bytes"]


@dataclass(frozen=True)
class SeedDocuments:
    """n seed documents in the order of their ids.

    Attributes
    ----------
    table
        doc_id, snapshot, label, log_responsibility, log_density, text, url, source, lang, n_bytes.
    vectors
        Unit rows, float32 ``(n, d)``, same order.
    missing
        Seed documents whose text is no longer in any shard.
    """

    teacher: GemTeacher
    table: pa.Table
    vectors: NDArray[np.float32]
    missing: int

    def responsibilities(self) -> csr_array:
        """The teacher's responsibilities, sparse ``(n, K)``."""
        return seed_responsibilities(self.teacher, self.vectors)


def seed_documents(
    teacher_artifact: Path, shards: Mapping[str, Sequence[Path]], *, exclude: Sequence[str] = ()
) -> SeedDocuments:
    """Join the teacher's seed table with the texts of the shards, without the documents to ``exclude``.

    Raises
    ------
    ValueError
        When no seed document is left in the shards.
    """
    teacher, seed, vectors = load_seed(teacher_artifact)
    unwanted = pc.is_in(seed.column("doc_id"), value_set=pa.array(exclude, pa.string()))
    texts = select_documents(shards, seed.column("doc_id").filter(pc.invert(unwanted)), TEXT_COLUMNS)
    kept = np.asarray(
        pc.is_in(seed.column("doc_id"), value_set=texts.column("doc_id").combine_chunks()).to_numpy(), dtype=bool
    )
    if not kept.any():
        raise ValueError(f"none of the {len(kept)} seed documents of {teacher_artifact} is in the shards any more")
    seed = seed.filter(pa.array(kept))
    table = seed
    for name in TEXT_COLUMNS:
        table = table.append_column(name, texts.column(name))
    return SeedDocuments(teacher, table, np.ascontiguousarray(vectors[kept]), int((~kept).sum()))
