"""QuaDMix: quality and domain in one sampling rule, its parameters searched (arXiv 2504.16511).

A document of domain ``m`` with quality scores ``s_1 … s_S`` has the merged score ``Σ_k α_km z(s_k)`` and the percentile
rank ``r`` in its domain, best first and weighted by tokens. It is sampled, in expectation,

    S(r) = (2 / (1 + exp(λ_m (r - ω_m))))^η_m + ε_m      for r ≤ ω_m,      ε_m otherwise

times; the integer part is copies, the fraction a probability. ``ω`` is the part of the domain that is kept, ``λ`` how
steeply the best are preferred within it, ``η`` how often they are repeated, ``ε`` what the rest still gets. Since ``S``
also decides how many tokens a domain gives, the parameters of all domains together are a mixture. They are searched by
small proxies and boosted trees, thousands of 1M models in the paper. Some dozens of proxies cannot tell that many
parameters apart: ``tied`` rules share ``α``, ``λ``, ``η`` and ``ε`` over the domains and keep ``ω`` of each,
``S + 3 + M`` numbers for ``(S + 4) · M``. That is a reduction of ours.

There is no public code. The form of ``S`` is from secondary descriptions, and how scores are normalised is not
published: ``z`` is the standard score over all documents here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.methods.base import TOKENS, TRAINED_CODE_VERSION, Method, proxy_settings
from gem_assets.mixing.quality.declaration import SCORES, make_searched, score_settings
from gem_assets.mixing.quality.selection import SelectionError
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.config import ScoreConfig
    from gem_assets.mixing.quality.documents import ScoredDocuments
    from gem_assets.mixing.quality.trial import SelectionTrainer
    from gem_assets.mixing.search.trees import SearchResult
    from gem_assets.settings import Settings

#: Bounds of the search: λ is log-uniform, the others uniform.
STEEPNESS = (1.0, 1000.0)
KEPT = (0.02, 1.0)
POWER = (0.0, 2.0)
REST = (0.0, 0.05)


@dataclass(frozen=True)
class QualityCorpus:
    """What the rule needs of every document.

    Attributes
    ----------
    scores : float64 array, shape (n, S)
        Quality scores, higher is better.
    domains : int64 array, shape (n,)
        Numbered from 0.
    """

    scores: Floats
    domains: NDArray[np.int64]
    tokens: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.scores.ndim != 2 or self.domains.shape != (n,) or self.tokens.shape != (n,) or n == 0:
            raise SelectionError("scores (n, S), domains (n,) and tokens (n,) must speak of the same documents")
        if not np.isfinite(self.scores).all():
            row = int(np.argmin(np.isfinite(self.scores).all(axis=1)))
            raise SelectionError(f"document {row} has a score that is not finite; leave it out")
        if np.any(self.tokens <= 0) or np.any(self.domains < 0):
            raise SelectionError("every document needs a domain and at least one token")

    @property
    def count(self) -> int:
        """Number of domains."""
        return int(self.domains.max()) + 1


@dataclass(frozen=True)
class QuaDMixParameters:
    """One sampling rule.

    Attributes
    ----------
    merge : float64 array, shape (S, M)
        ``α``: weight of each score in each domain; columns sum to 1.
    steepness, kept, power, rest : float64 array, shape (M,)
        ``λ``, ``ω``, ``η``, ``ε`` of each domain.
    """

    merge: Floats
    steepness: Floats
    kept: Floats
    power: Floats
    rest: Floats

    @classmethod
    def of(cls, vector: Floats, scores: int) -> "QuaDMixParameters":
        """Read a row ``((S + 4) · M,)``, the steepness as its logarithm; merge weights are scaled to sum 1."""
        count = len(vector) // (scores + 4)
        merge = np.maximum(vector[: scores * count].reshape(scores, count), 0.0)
        rest = vector[scores * count :].reshape(4, count)
        total = merge.sum(axis=0)
        even = np.full_like(merge, 1 / scores)
        merge = np.where(total > 0, merge / np.where(total > 0, total, 1.0), even)
        return cls(merge, np.exp(rest[0]), rest[1], rest[2], rest[3])


def sample_parameters(rng: np.random.Generator, n: int, scores: int, domains: int) -> Floats:
    """Draw ``n`` rules within the bounds of this module, as rows."""
    merge = np.swapaxes(rng.dirichlet(np.ones(scores), (n, domains)), 1, 2).reshape(n, -1)
    parts = [
        merge,
        rng.uniform(np.log(STEEPNESS[0]), np.log(STEEPNESS[1]), (n, domains)),
        rng.uniform(*KEPT, (n, domains)),
        rng.uniform(*POWER, (n, domains)),
        rng.uniform(*REST, (n, domains)),
    ]
    return np.concatenate(parts, axis=1)


def sample_tied_parameters(rng: np.random.Generator, n: int, scores: int, domains: int) -> Floats:
    """Draw ``n`` rules that differ between domains in the kept part alone, as rows ``(n, scores + 3 + domains)``."""
    return np.concatenate(
        [
            rng.dirichlet(np.ones(scores), n),
            rng.uniform(np.log(STEEPNESS[0]), np.log(STEEPNESS[1]), (n, 1)),
            rng.uniform(*POWER, (n, 1)),
            rng.uniform(*REST, (n, 1)),
            rng.uniform(*KEPT, (n, domains)),
        ],
        axis=1,
    )


def untie(row: Floats, scores: int) -> QuaDMixParameters:
    """Read a row of :func:`sample_tied_parameters`."""
    kept = row[scores + 3 :]
    steepness, power, rest = (np.full(len(kept), value) for value in row[scores : scores + 3])
    return QuaDMixParameters.of(
        np.concatenate([np.repeat(row[:scores], len(kept)), steepness, kept, power, rest]), scores
    )


def percentile_ranks(corpus: QualityCorpus, merge: Floats) -> Floats:
    """Rank of each document in its domain, ``(n,)`` in (0, 1): the part of the domain's tokens that is better.

    A document counts with half of its own tokens; of equal merged scores the earlier document is better.
    """
    z = corpus.scores - corpus.scores.mean(axis=0)
    deviation = z.std(axis=0)
    z /= np.where(deviation > 0, deviation, 1.0)
    merged = np.einsum("ns,sn->n", z, merge[:, corpus.domains])
    order = np.lexsort((np.arange(len(merged)), -merged, corpus.domains))
    tokens = corpus.tokens[order].astype(np.float64)
    totals = np.bincount(corpus.domains, corpus.tokens)
    before = np.cumsum(tokens) - tokens / 2
    starts = np.concatenate([[0.0], np.cumsum(totals)])[corpus.domains[order]]
    ranks = np.empty(len(merged))
    ranks[order] = (before - starts) / totals[corpus.domains[order]]
    return ranks


def sampling_values(corpus: QualityCorpus, parameters: QuaDMixParameters) -> Floats:
    """Expected copies of each document, ``S(r)``, ``(n,)``."""
    ranks, m = percentile_ranks(corpus, parameters.merge), corpus.domains
    # beyond 500 the exponential only repeats that the document is left out
    bend = np.clip(parameters.steepness[m] * (ranks - parameters.kept[m]), -500, 500)
    inside = (2 / (1 + np.exp(bend))) ** parameters.power[m]
    return np.where(ranks <= parameters.kept[m], inside, 0.0) + parameters.rest[m]


def token_shares(corpus: QualityCorpus, values: Floats) -> Floats:
    """Mixture over the domains that expected copies imply, ``(M,)``."""
    given = np.bincount(corpus.domains, corpus.tokens * values)
    if not given.sum() > 0:
        raise SelectionError("the rule keeps nothing; raise omega or epsilon")
    return given / given.sum()


def search_quadmix(
    corpus: QualityCorpus,
    evaluate: Callable[[Iterable[Floats]], Floats],
    *,
    tied: bool = False,
    runs: int = 256,
    candidates: int = 20_000,
    seed: int = 0,
) -> tuple[QuaDMixParameters, "SearchResult"]:
    """Search a sampling rule.

    Parameters
    ----------
    evaluate
        Losses of models each trained on the documents with one of the expected copies ``(n,)`` that it is given, in
        their order.
    tied
        Search rules that differ between domains in the kept part alone.
    """
    scores, count = corpus.scores.shape[1], corpus.count
    draw, read = (sample_tied_parameters, untie) if tied else (sample_parameters, QuaDMixParameters.of)
    from gem_assets.mixing.search.trees import search_parameters

    found = search_parameters(
        lambda rng, n: draw(rng, n, scores, count),
        lambda rows: evaluate(sampling_values(corpus, read(row, scores)) for row in rows),
        runs=runs,
        candidates=candidates,
        averaged=16,
        seed=seed,
    )
    return read(found.parameters, scores), found


def search_documents(
    documents: "ScoredDocuments", config: "ScoreConfig", trainer: "SelectionTrainer", seed: int
) -> tuple[Floats, "SearchResult", dict[str, list[dict[str, Any]]]]:
    """Search a rule over scored documents by the losses of proxies."""
    from gem_assets.mixing.quality.trial import selection_job

    active, domain = np.unique(documents.clusters, return_inverse=True)
    corpus = QualityCorpus(documents.scores, domain.astype(np.int64), documents.tokens)

    def evaluate(many: Iterable[Floats]) -> Floats:
        return trainer.losses([selection_job(f"quadmix-{i:03d}", v, documents, seed) for i, v in enumerate(many)])

    rule, search = search_quadmix(corpus, evaluate, tied=config.tied, runs=config.proxies, seed=seed)
    return sampling_values(corpus, rule), search, {"rule": _rule_rows(rule, active, documents.raters)}


def _rule_rows(rule: QuaDMixParameters, active: NDArray[np.int64], raters: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "cluster": int(k),
            "kept": float(rule.kept[m]),
            "steepness": float(rule.steepness[m]),
            "power": float(rule.power[m]),
            "rest": float(rule.rest[m]),
            **{name: float(weight) for name, weight in zip(raters, rule.merge[:, m], strict=True)},
        }
        for m, k in enumerate(active)
    ]


def _settings(settings: "Settings") -> dict[str, Any]:
    return {**proxy_settings(settings), "scores": score_settings(settings, {"on_fault", "proxies", "tied"})}


METHOD = Method(
    "quadmix",
    "lab",
    "QuaDMix: how much of each cluster is kept, best documents first, searched by `mixing.scores.proxies` proxies and "
    "boosted trees." + SCORES,
    partial(make_searched, "quadmix", search_documents),
    _settings,
    cost="the proxies: 32 by default, hundreds for rules that clusters do not share",
    use="quality and domain must be weighed together",
    source="arXiv 2504.16511",
    needs=(TOKENS,),
    trains=True,
    libraries=("torch", "lightgbm", "numpy", "resiliparse", "tokenizers"),
    code_version=TRAINED_CODE_VERSION,
)
