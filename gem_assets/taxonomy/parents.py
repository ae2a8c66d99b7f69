"""Build the parents of a taxonomy: group the clusters, find words for each group, name it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gem_assets.taxonomy.config import TaxonomyConfig
from gem_assets.taxonomy.hierarchy import (
    Hierarchy,
    Parent,
    agglomerate,
    continued_parents,
    cut,
    default_parents,
)
from gem_assets.taxonomy.keywords import cluster_keywords
from gem_assets.taxonomy.llm_namer import ClusterBrief, Namer
from gem_assets.taxonomy.naming import slugs
from gem_assets.taxonomy.naming_round import Named, give_names


@dataclass(frozen=True)
class Leaf:
    """A cluster as its parent needs it: what it is called, its texts, and the sum of its unit vectors."""

    domain: int
    name: str
    description: str
    texts: Sequence[str]
    resultant: NDArray[np.float64]


def build_hierarchy(
    leaves: Sequence[Leaf], config: TaxonomyConfig, namer: Namer | None = None, previous: Hierarchy | None = None
) -> Hierarchy | None:
    """Group and name the clusters; None where ``config.parents`` is 0 or there are too few clusters.

    Parameters
    ----------
    namer
        Asked for parents that ``previous`` does not name.
    previous
        Parents of the taxonomy before; ids and names carry over (see :func:`hierarchy.continued_parents`).
    """
    k = len(leaves)
    wanted = default_parents(k) if config.parents is None else min(config.parents, k)
    if wanted == 0:
        return None
    resultants = np.array([leaf.resultant for leaf in leaves])
    merges = agglomerate(resultants)
    groups = cut(merges, wanted)
    counts = np.array([len(leaf.texts) for leaf in leaves], np.float64)
    documents = max(1.0, float(counts.sum()))
    before = continued_parents(groups, counts / documents, [leaf.domain for leaf in leaves], previous)
    ids, next_id = _ids(before, previous)
    # a parent's keywords are those that set it apart from the other parents, so they are counted again
    weighted = cluster_keywords(
        {i: _in_turns([leaves[c].texts for c in group]) for i, group in zip(ids, groups, strict=True)}, config
    )
    keywords = {i: tuple(term for term, _ in weighted[i]) for i in ids}
    briefs = [
        ClusterBrief(i, keywords[i], (), tuple(_topic(leaves[c]) for c in group))
        for i, group in zip(ids, groups, strict=True)
    ]
    known = {old.id: Named(old.name, old.description, "previous") for old in before if old is not None}
    named = give_names(briefs, known, namer, config.name_words, taken=[leaf.name for leaf in leaves])
    slug = slugs({i: named[i].name for i in ids})
    parents = [
        Parent(
            id=i,
            slug=slug[i],
            name=named[i].name,
            named_by=named[i].named_by,
            description=named[i].description,
            clusters=group,
            domains=tuple(leaves[c].domain for c in group),
            share=float(counts[list(group)].sum()) / documents,
            # over documents: an empty cluster stands in the tree as one, and in no mean
            coherence=float(np.linalg.norm(resultants[[c for c in group if counts[c]]].sum(axis=0)))
            / max(1.0, float(counts[list(group)].sum())),
            keywords=keywords[i],
        )
        for i, group in zip(ids, groups, strict=True)
    ]
    return Hierarchy(parents=tuple(sorted(parents, key=lambda p: p.id)), merges=merges, next_id=next_id)


def _ids(before: Sequence[Parent | None], previous: Hierarchy | None) -> tuple[list[int], int]:
    fresh = previous.next_id if previous is not None else 0
    ids: list[int] = []
    for old in before:
        ids.append(fresh if old is None else old.id)
        fresh += int(old is None)
    return ids, fresh


def _in_turns(texts: Sequence[Sequence[str]]) -> list[str]:
    """Texts of several clusters, each spread evenly over the whole: of a large parent only the first are read."""
    places = [
        (position / len(own), cluster, position) for cluster, own in enumerate(texts) for position in range(len(own))
    ]
    return [texts[cluster][position] for _, cluster, position in sorted(places)]


def _topic(leaf: Leaf) -> str:
    return f"{leaf.name}: {leaf.description}" if leaf.description else leaf.name
