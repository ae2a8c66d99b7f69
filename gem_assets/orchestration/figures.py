"""Names of a result's figures on the page of its asset, with their units.

Keys that programs read (``identity``, ``manifest``, ``computed``, ``lance/…``) keep their names and come last.
"""

from collections.abc import Mapping
from typing import Any, Final

NAMES: Final[Mapping[str, str]] = {
    "a_person_must_state": "A person must state",
    "agreement": "Agreement with the teacher (share of documents)",
    "agreement_matrix": "Picture: agreement by cluster",
    "agreement_on_top_gis": "Agreement on the exemplars (share of documents)",
    "bars": "Picture: shares beside proportional",
    "bytes": "Bytes of text",
    "bytes_per_token": "Bytes per token",
    "calibration_error": "Calibration error (mean over documents)",
    "comparison": "Picture: comparison of clusterings",
    "confident_agreement": "Agreement where the student is sure (share of documents)",
    "counted_with": "Tokens counted with",
    "croissant": "Page: Croissant",
    "curve_picture": "Picture: score along the run",
    "d": "Dimensions",
    "data_card": "Page: data card",
    "domains": "Page: domains (CSV)",
    "duplicates": "Duplicates left out (records)",
    "effective_clusters": "Effective number of clusters",
    "escalated_share": "Escalated to the teacher (share of documents)",
    "eu_summary": "Page: EU summary",
    "explorer": "In the explorer",
    "exposures": "Exposures (documents as shown in training)",
    "filtered": "Filtered out (records)",
    "gains": "Picture: loss against proportional",
    "gap": "Duality gap of the last step",
    "kappa_max": "Concentration κ, largest",
    "kappa_mean": "Concentration κ, mean",
    "kappa_min": "Concentration κ, smallest",
    "kept": "Kept (documents)",
    "kl_to_proportional": "Distance from proportional (nats)",
    "lam": "Weight of the balance λ",
    "law": "Picture: held-out predictions of the law",
    "left_as_it_is": "Left as it is",
    "lineage_page": "Page: lineage",
    "low_margin_share": "Unsure labels (share of documents)",
    "map": "Picture: map of the clusters",
    "margin_error": "Margin error (mean over documents)",
    "max_over_min": "Largest cluster over smallest",
    "mean_confidence": "Mean confidence",
    "mean_cosine": "Mean cosine of two documents",
    "mean_cosine_after": "Mean cosine of two documents, after",
    "mean_cosine_before": "Mean cosine of two documents, before",
    "merkle_root": "Merkle root",
    "monotone": "Objective never fell",
    "most_epochs": "Most epochs of a cluster",
    "most_repeated": "Most exposures of one document",
    "n_documents": "Documents compared",
    "n_eff": "Effective number of clusters (N_eff)",
    "n_eff_over_k": "Balance (N_eff / K; 1 is even)",
    "ngrams": "Distinct n-grams",
    "objective_curve": "Picture: objective by iteration",
    "ngram_order": "Length of the n-grams (tokens)",
    "openlineage": "Page: OpenLineage",
    "order": "Training order",
    "over_snapshots": "Picture: over the snapshots",
    "page": "Page",
    "quarantined": "Quarantined (records)",
    "read": "Read (records)",
    "reliability": "Picture: reliability",
    "share_drift": "Shares moved from the teacher's (total variation)",
    "share_error": "Largest error of a share",
    "shares": "Picture: shares",
    "shares_against_loss": "Picture: shares against loss",
    "shares_picture": "Picture: shares along the run",
    "spdx": "Page: SPDX",
    "spectrum": "Picture: spectrum",
    "targets": "Targets of validation",
    "token_budget": "Budget (tokens)",
    "tree": "Picture: tree of the clusters",
    "use": "Versions of a page in use",
    "vocab": "Tokenizer's vocabulary (tokens)",
    "window_share_error": "Largest error of a share in a window",
}
"""Names that cannot be made from the words of the key."""
VERDICT: Final = (
    "left_as_it_is",
    "verdict",
    "confirmed",
    "recommended",
    "reason",
    "level",
    "n_eff_over_k",
    "monotone",
    "converged",
)
"""Keys of the conclusion of a result, which stands first."""
MACHINE: Final = frozenset({"identity", "manifest", "computed", "files", "table", "table_version", "recipe_identity"})
"""Ids and paths: they keep their names and come last."""


def is_verdict(shown: str) -> bool:
    """Tell whether a name on the page is that of a conclusion."""
    return shown in {name_of(name) for name in VERDICT}


def named(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a result under their names on the page, ids last; those without a value are left out.

    Raises ValueError when two figures would have one name.
    """
    given = [name for name, value in figures.items() if value is not None]
    told = {name_of(name): figures[name] for name in sorted(given, key=MACHINE.__contains__)}
    if len(told) < len(given):
        raise ValueError(f"two of these figures have one name on the page: {', '.join(given)}")
    return told


def name_of(name: str) -> str:
    """Return the name of one figure, such as ``Documents without vector`` for ``documents_without_vector``."""
    if name in MACHINE or "/" in name:
        return name
    return NAMES.get(name) or name[:1].upper() + name[1:].replace("_", " ")
