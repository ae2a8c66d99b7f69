"""One round of naming: earlier names are kept, a language model names the rest, keywords name what is left."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gem_assets.taxonomy.llm_namer import ClusterBrief, ClusterName, Namer
from gem_assets.taxonomy.naming import plain_names, unique_name

DESCRIBED_BY = 8


@dataclass(frozen=True)
class Named:
    """A name, a sentence, and where they come from."""

    name: str
    description: str
    named_by: Literal["keywords", "model", "previous"]


def give_names(
    briefs: Sequence[ClusterBrief],
    known: Mapping[int, Named],
    namer: Namer | None,
    words: int,
    *,
    taken: Collection[str] = (),
) -> dict[int, Named]:
    """Name everything that a brief stands for; no two names are equal, nor equal to one of ``taken``.

    Parameters
    ----------
    known
        Names that stay, by the number of the brief.
    namer
        Asked for the others; where it has no name the keywords give one.
    taken
        Names that are spoken for outside this round.
    """
    named = dict(known)
    fresh = [b for b in briefs if b.cluster not in named]
    answers: list[ClusterName | None] = list(namer(fresh)) if namer is not None and fresh else [None] * len(fresh)
    for brief, answer in zip(fresh, answers, strict=True):
        if answer is not None:
            name = unique_name(answer.name, brief.cluster, [*taken, *(n.name for n in named.values())])
            named[brief.cluster] = Named(name, answer.description, "model")
    keywords = {b.cluster: b.keywords for b in fresh if b.cluster not in named}
    spoken_for = [*taken, *(n.name for n in named.values())]
    for k, name in plain_names(keywords, words, taken=spoken_for).items():
        named[k] = Named(name, _plain_description(keywords[k]), "keywords")
    return named


def _plain_description(keywords: Sequence[str]) -> str:
    return f"Texts about {', '.join(keywords[:DESCRIBED_BY])}." if keywords else "No text in the sample."
