"""Recipes that train no proxy: the optimum of the n-gram model, and the entropy rule of BiMix.

Both rest on counts alone and say so: a recipe of the n-gram model is a *lexical proxy* (``proxy.lexical``), a statement
about vocabulary and short phrases at the scale of tiny models. Whether it holds is for a swarm and a confirmation run.

The entropy rule (Ge et al. 2024, arXiv 2405.14908; taken from a summary of the paper, no code was published) gives
cluster ``i`` the share ``r_i ∝ exp(H_i)``, ``H_i = H(next | current) = H(bigrams) - H(unigrams)``, the conditional
entropy that the paper found to be the best of its four entropy proxies. Entropies of counts are biased low where there
is little text; the bias is the same for all clusters that have as much.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.caps import apply_caps, share_caps
from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.laws.ngram import LexicalLaw, LexicalLosses
from gem_assets.mixing.laws.proposal import KL_WEIGHT, Proposal, divergence, propose_convex
from gem_assets.mixing.recipe import RecipeEvidence
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.mixing.swarm.design import LEXICAL, baseline_mixtures
from gem_assets.proxy.counts import DomainCounts
from gem_assets.proxy.lexical import LABEL, TAUS, LexicalProxy

Floats = NDArray[np.float64]

_ITERATIONS = 300


def target_weights(targets: tuple[str, ...], importance: Mapping[str, float]) -> Floats:
    """Return the weight of each target, ``(J,)``, 0 for those not named.

    Raises
    ------
    ValueError
        When a named target does not exist.
    """
    unknown = [name for name in importance if name not in targets]
    if unknown:
        raise ValueError(f"no target {unknown[0]!r}; there are {', '.join(targets)}")
    return np.array([importance.get(name, 0.0) for name in targets], np.float64)


def lexical_optimum(
    proxy: LexicalProxy,
    supply: ClusterSupply,
    config: MixingConfig,
    importance: Mapping[str, float],
    *,
    kl_weight: float = KL_WEIGHT,
) -> Proposal:
    """Minimise the weighted n-gram loss plus λ times the divergence from the natural shares, within the caps."""
    budget = config.token_budget if config.token_budget is not None else supply.total_tokens
    law = LexicalLaw(LexicalLosses(proxy), target_weights(proxy.targets, importance))
    return propose_convex(
        [law],
        supply.token_shares,
        share_caps(supply.tokens, budget, config.repetition_cap),
        kl_weight=kl_weight,
        tolerance=1e-5,
        max_iterations=_ITERATIONS,
    )


def lexical_evidence(
    proxy: LexicalProxy,
    proposal: Proposal,
    supply: ClusterSupply,
    config: MixingConfig,
    importance: Mapping[str, float],
) -> RecipeEvidence:
    """Say what the n-gram model predicts for its optimum and for the baselines.

    There are no runs to cross-validate on, so the interval is the range over the pseudo token budgets that are tried
    anywhere, and no correlation is claimed.
    """
    weights = target_weights(proxy.targets, importance)
    rivals = baseline_mixtures(supply, config)
    points = np.array([proposal.shares, rivals["proportional"], rivals["uniform"]])
    found = proxy.losses(points) @ weights / weights.sum()
    by_tau = np.array([proxy.with_tau(tau).losses(points) @ weights / weights.sum() for tau in TAUS])
    gains = by_tau[:, :1] - by_tau[:, 1:]
    better = bool((gains < 0).all())
    return RecipeEvidence(
        method=f"{LEXICAL} ({LABEL})",
        n_runs=0,
        target=", ".join(importance),
        law=f"{LABEL}: interpolated {len(proxy.orders)}-gram counts, tau {proxy.tau:g}",
        predicted_loss=float(found[0]),
        predicted_interval=(float(by_tau[:, 0].min()), float(by_tau[:, 0].max())),
        predicted_loss_proportional=float(found[1]),
        predicted_loss_uniform=float(found[2]),
        predicted_gain_interval=(float(gains[:, 0].min()), float(gains[:, 0].max())),
        kl_to_prior=divergence(proposal.shares, supply.token_shares),
        verdict=f"{LABEL}: better than proportional and uniform at every tau; no proxy was trained"
        if better
        else f"{LABEL}: not better than both baselines at every tau",
        notes=tuple(
            f"gain over {name} ({LABEL}): {column.min():.4f} … {column.max():.4f} nats over tau"
            for name, column in zip(("proportional", "uniform"), gains.T, strict=True)
        ),
    )


def conditional_entropy(counts: DomainCounts) -> Floats:
    """Return ``H(next | current)`` of each domain in nats, ``(K,)``; 0 for a domain without tokens.

    Raises
    ------
    ValueError
        When the counts hold no bigrams.
    """
    if counts.order < 2:
        raise ValueError(f"conditional entropy needs bigrams, the counts reach order {counts.order}; count order 2")
    joint, single = (_entropy(counts, order) for order in (2, 1))
    return np.maximum(joint - single, 0.0)


def entropy_shares(counts: DomainCounts) -> Floats:
    """Shares in proportion to ``exp`` of the conditional entropy, ``(K,)``; 0 for a domain without tokens."""
    entropy = conditional_entropy(counts)
    weight = np.where(counts.tokens > 0, np.exp(entropy - entropy.max()), 0.0)
    return weight / weight.sum()


def entropy_mixture(counts: DomainCounts, supply: ClusterSupply, config: MixingConfig) -> tuple[Floats, RecipeEvidence]:
    """Return the entropy rule's shares within the caps, and what is known of them: not much."""
    budget = config.token_budget if config.token_budget is not None else supply.total_tokens
    wished = np.where(supply.tokens > 0, entropy_shares(counts), 0.0)
    shares = apply_caps(wished, share_caps(supply.tokens, budget, config.repetition_cap))
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


def _entropy(counts: DomainCounts, order: int) -> Floats:
    base = np.uint64(counts.vocab**order)
    domain = (counts.keys[order - 1] // base).astype(np.int64)
    number = counts.counts[order - 1].astype(np.float64)
    total = np.bincount(domain, weights=number, minlength=counts.domains)
    share = number / total[domain]
    sums = np.bincount(domain, weights=share * np.log(share), minlength=counts.domains)
    return -np.asarray(sums, np.float64)
