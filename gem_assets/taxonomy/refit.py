"""What a refit did to the clusters, for the taxonomy: which continue, appear, dissolve, split or merge.

Clusters are named by their domain ids, which outlive refits, and by name, so that the record can be read without the
taxonomy before it.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from gem_assets.frozen import Frozen

# a taxonomy is read in places that must not wait for torch
if TYPE_CHECKING:
    from gem_assets.teacher.crosswalk import Crosswalk


class Moved(Frozen):
    """One cluster and the clusters that it was split into, or merged from; all by domain id."""

    domain: int
    parts: tuple[int, ...]


class RefitRecord(Frozen):
    """The step from the taxonomy before to this one.

    Attributes
    ----------
    previous
        Version of the taxonomy before; None when the last teacher was never named.
    kept
        Share of the seed documents whose new cluster continues their old one.
    died_names
        Names of the clusters that died, by domain id, where they had one.
    """

    previous: str | None
    kept: Annotated[float, Field(ge=0, le=1.0001)]
    continued: tuple[int, ...]
    births: tuple[int, ...]
    deaths: tuple[int, ...]
    died_names: dict[int, str]
    splits: tuple[Moved, ...]
    merges: tuple[Moved, ...]


def refit_record(
    walk: "Crosswalk", old_ids: tuple[int, ...], previous: str | None, names: dict[int, str]
) -> RefitRecord:
    """Say what a crosswalk did, in domain ids.

    ``previous`` is the version of the taxonomy before, and ``names`` its names by domain id.
    """
    new_ids = [int(i) for i in walk.ids]
    deaths = tuple(old_ids[i] for i in walk.deaths)
    return RefitRecord(
        previous=previous,
        kept=walk.kept,
        continued=tuple(sorted(old_ids[int(i)] for i in walk.source if i >= 0)),
        births=tuple(new_ids[j] for j in walk.births),
        deaths=deaths,
        died_names={d: names[d] for d in deaths if d in names},
        splits=tuple(Moved(domain=old_ids[i], parts=tuple(new_ids[j] for j in parts)) for i, parts in walk.splits),
        merges=tuple(Moved(domain=new_ids[j], parts=tuple(old_ids[i] for i in parts)) for j, parts in walk.merges),
    )
