"""The mixture that a person moved by hand and saved: shares from a file, with who saved it and why.

``gem explore`` writes the file; it may be written with an editor, too. Shares are kept by domain id, so they outlive a
refit as far as the domains do. Nothing stands behind such a mixture until a confirmation run has put it to the test.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
from pydantic import Field, ValidationError

from gem_assets.frozen import Frozen
from gem_assets.mixing.config import CODE_VERSION
from gem_assets.mixing.laws.proposal import divergence
from gem_assets.mixing.methods.base import TAXONOMY, Method, MethodWork, MissingSettingError
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.storage.durable import make_dirs, write_atomic

if TYPE_CHECKING:
    from gem_assets.settings import Settings

NAME: Final = "by_hand"
FILE: Final = "mixtures/by_hand.json"
"""Below the data root."""


class SavedMixture(Frozen):
    """A mixture as a person saved it.

    Attributes
    ----------
    shares
        Token share by domain id; domains that are not named get none. Scaled to sum 1.
    token_budget
        Tokens that it is for; None stands for the budget of the settings.
    note, author
        Why it was made, and by whom; both go into the evidence.
    """

    shares: Annotated[dict[int, Annotated[float, Field(ge=0, allow_inf_nan=False)]], Field(min_length=1)]
    token_budget: Annotated[int | None, Field(gt=0)] = None
    note: Annotated[str, Field(max_length=2000)] = ""
    author: Annotated[str, Field(max_length=200)] = ""

    @classmethod
    def read(cls, data_root: Path) -> "SavedMixture":
        """Read the mixture that was saved last.

        Raises MissingSettingError when none was saved, or the file does not hold one; names it.
        """
        path = data_root / FILE
        if not path.is_file():
            raise MissingSettingError(f"no mixture was made by hand: save one in gem explore, which writes {path}")
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise MissingSettingError(f"{path} holds no mixture: {where or 'the file'}: {first['msg']}") from error

    def write(self, data_root: Path) -> Path:
        """Write it in the place of the one that was saved before; the recipes made of that one stay."""
        path = data_root / FILE
        make_dirs(path.parent)
        text = json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True)
        write_atomic(path, f"{text}\n".encode())
        return path

    def over(self, domains: Mapping[int, int]) -> np.ndarray:
        """Return the shares ``(K,)``, in the order of the clusters.

        ``domains`` maps a cluster id to its domain id.

        Raises ValueError when a domain is not in the taxonomy any more, or all shares are 0.
        """
        unknown = sorted(domain for domain, share in self.shares.items() if share and domain not in domains.values())
        if unknown:
            raise ValueError(
                f"the mixture made by hand gives a share to domain {unknown[0]}, which the taxonomy does not have; "
                "save it again in gem explore"
            )
        shares = np.array([self.shares.get(domains[k], 0.0) for k in sorted(domains)])
        if not shares.sum() > 0:
            raise ValueError("every share of the mixture made by hand is 0; save it again in gem explore")
        return shares / shares.sum()


def make(work: MethodWork) -> Recipe:
    """Freeze the saved shares; a cluster beyond its cap is refused and named."""
    from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy

    saved = SavedMixture.read(work.settings.data_root)
    clusters = Taxonomy.read(work.folder(TAXONOMY) / TAXONOMY_NAME).clusters
    frame = work.frame.for_budget(saved.token_budget)
    shares = saved.over({cluster.id: cluster.domain for cluster in clusters})
    said = f": {saved.note}" if saved.note else ""
    evidence = RecipeEvidence(
        method=f"by hand{f', {saved.author}' if saved.author else ''}",
        kl_to_prior=divergence(shares, frame.supply.token_shares),
        verdict=f"made by hand; no method stands behind it, so confirm it before use{said}",
    )
    recipe = frame.recipe(NAME, shares, evidence)
    frame.write(recipe, work.out, {})
    return recipe


def _settings(settings: "Settings") -> dict[str, Any]:
    return {"mixing": settings.mixing, "saved": SavedMixture.read(settings.data_root)}


METHOD = Method(
    NAME,
    "rules",
    "The mixture that a person made in gem explore and saved; marked as made by hand, whatever it is used for.",
    make,
    _settings,
    cost="nothing",
    use="somebody knows better, and is ready to confirm it",
    code_version=CODE_VERSION,
)
