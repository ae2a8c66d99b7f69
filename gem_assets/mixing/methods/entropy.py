"""BiMix's entropy rule: shares from the bigram entropy of the clusters, without training and without a target.

The rule (Ge et al. 2024, arXiv 2405.14908; taken from a summary of the paper, no code was published) gives cluster
``i`` the share ``r_i ∝ exp(H_i)``, ``H_i = H(next | current) = H(bigrams) - H(unigrams)``, the conditional entropy that
the paper found to be the best of its four entropy proxies. Entropies of counts are biased low where there is little
text; the bias is the same for all clusters that have as much.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gem_assets.mixing.caps import apply_caps, caps_of
from gem_assets.mixing.config import COUNTED_CODE_VERSIONS, MixingConfig
from gem_assets.mixing.laws.proposal import divergence
from gem_assets.mixing.methods.base import TOKENS, Method, MethodWork
from gem_assets.mixing.methods.lexical import count_settings, without_seed
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.recipe_artifact import MixtureFrame
    from gem_assets.proxy.counts import DomainCounts


ENTROPY = "entropy"


def conditional_entropy(counts: "DomainCounts") -> Floats:
    """Return ``H(next | current)`` of each domain in nats, ``(K,)``; 0 for a domain without tokens.

    Raises ValueError when the counts hold no bigrams.
    """
    if counts.order < 2:
        raise ValueError(f"conditional entropy needs bigrams, the counts reach order {counts.order}; count order 2")
    joint, single = (_entropy(counts, order) for order in (2, 1))
    return np.maximum(joint - single, 0.0)


def entropy_shares(counts: "DomainCounts") -> Floats:
    """Shares in proportion to ``exp`` of the conditional entropy, ``(K,)``; 0 for a domain without tokens."""
    entropy = conditional_entropy(counts)
    weight = np.where(counts.tokens > 0, np.exp(entropy - entropy.max()), 0.0)
    return weight / weight.sum()


def entropy_mixture(
    counts: "DomainCounts", supply: ClusterSupply, config: MixingConfig
) -> tuple[Floats, RecipeEvidence]:
    """Return the entropy rule's shares within the caps, and what is known of them: not much."""
    from gem_assets.proxy.lexical import LABEL

    wished = np.where(supply.tokens > 0, entropy_shares(counts), 0.0)
    shares = apply_caps(wished, caps_of(supply, config))
    entropy = conditional_entropy(counts)
    evidence = RecipeEvidence(
        method=f"entropy ({LABEL})",
        n_runs=0,
        law="r ∝ exp(H(next | current)) of the clusters' bigrams",
        kl_to_prior=divergence(shares, supply.token_shares),
        verdict=f"{LABEL}: a rule without a prediction, so no correlation applies",
        notes=(f"conditional entropies from {entropy.min():.3f} to {entropy.max():.3f} nats",),
    )
    return shares, evidence


def _entropy(counts: "DomainCounts", order: int) -> Floats:
    base = np.uint64(counts.vocab**order)
    domain = (counts.keys[order - 1] // base).astype(np.int64)
    number = counts.counts[order - 1].astype(np.float64)
    total = np.bincount(domain, weights=number, minlength=counts.domains)
    share = number / total[domain]
    sums = np.bincount(domain, weights=share * np.log(share), minlength=counts.domains)
    return -np.asarray(sums, np.float64)


def publish_entropy_recipe(counts: "DomainCounts", frame: "MixtureFrame", out: Path) -> Recipe:
    """Write the entropy rule's mixture into ``out``."""
    shares, evidence = entropy_mixture(counts, frame.supply, frame.config)
    recipe = frame.recipe(ENTROPY, shares, evidence)
    frame.write(recipe, out, {})
    return recipe


def make(work: MethodWork) -> Recipe:
    """Write the entropy rule's mixture."""
    return publish_entropy_recipe(work.counts(), work.frame, work.out)


METHOD = Method(
    ENTROPY,
    "counts",
    "BiMix's entropy rule, a lexical proxy: shares in proportion to the exponential of each cluster's conditional "
    "bigram entropy. Nothing is trained, nothing predicted.",
    make,
    count_settings,
    cost="seconds",
    use="there is no target text at all",
    source="Ge et al. 2024",
    needs=(TOKENS,),
    counts=True,
    libraries=("scipy", "numpy"),
    seed=without_seed,
    code_version=COUNTED_CODE_VERSIONS[ENTROPY],
    policy="fan_in",
)
