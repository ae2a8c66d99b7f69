"""The critical ratio as a recipe: a mixture for a model that was trained on the natural shares before.

A proxy is trained, further runs continue from it with several parts of domain text, and the largest part that leaves
the general loss where it was is the mixture (``continual.ratio_law``). It does not say what to train a new model on, so
no confirmation run, which starts from nothing, puts it to the test.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.caps import apply_caps
from gem_assets.mixing.config import ContinualConfig
from gem_assets.mixing.laws.proposal import divergence
from gem_assets.mixing.methods.base import TOKENS, TRAINED_CODE_VERSION, Method, MethodWork, proxy_seed, proxy_settings
from gem_assets.mixing.online.simplex import as_weights
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.continual.ratio_law import CriticalRatio
    from gem_assets.mixing.method_data import MethodData
    from gem_assets.mixing.recipe_artifact import MixtureFrame
    from gem_assets.proxy.config import ProxyConfig
    from gem_assets.settings import Settings


CRITICAL_RATIO = "critical_ratio"
Report = Callable[[str], None]


class ContinualError(ValueError):
    """Settings of continual pre-training that nothing can be made from; the message names the setting."""


@dataclass(frozen=True)
class RatioRuns:
    """Losses of runs that continued on a part of domain text; one entry per run and check, ``(n,)``.

    Attributes
    ----------
    ratios, tokens
        Part of domain text, and tokens of the further run so far.
    general, domain
        Losses, nats per token.
    """

    ratios: Floats
    tokens: Floats
    general: Floats
    domain: Floats
    start: tuple[float, float]


def critical_ratio_recipe(
    folder: Path, frame: "MixtureFrame", config: "ProxyConfig", out: Path, *, report: Report | None = None
) -> Recipe:
    """Train the runs that the settings ask for on a prepared folder and write the recipe into ``out``.

    Raises
    ------
    ContinualError
        When the settings do not say what the domain is, or one of its clusters has no text.
    PoolError
        When fewer than two clusters have text, or tokens and inventory do not fit.
    """
    from gem_assets.mixing.method_data import MethodData

    clusters, continual = frame.supply.clusters, frame.config.continual
    domain = domain_mask(clusters, continual.clusters)
    data = MethodData.load(folder, None, config.model.context)
    if data.evaluation.in_domain.any():
        data = data.only(np.flatnonzero(data.evaluation.in_domain))
    natural = data.natural_shares(frame.supply)
    within = domain[data.active]
    empty = sorted({int(c) for c in clusters[domain]} - {int(k) for k in data.active[(natural > 0) & within]})
    if empty:
        raise ContinualError(
            f"clusters {', '.join(map(str, empty))} of mixing.continual.clusters hold less text than a window of "
            f"{config.model.context} tokens; leave them out"
        )
    runs = run_ratios(data, within, natural, config, continual, report=report)
    return publish_ratio_recipe(runs, domain, frame, out, base_tokens=config.training.tokens)


def domain_mask(clusters: NDArray[np.int64], named: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tell which clusters are the domain, ``(K,)``.

    Raises ContinualError when none is named, one that there is not, or all of them.
    """
    setting = "mixing.continual.clusters"
    if not named:
        raise ContinualError(
            f"{setting} names no cluster, so nothing is the domain; name some in gem.toml, e.g. [mixing.continual] "
            f"clusters = [{int(clusters[0])}] (the page of gis_taxonomy shows what each holds)"
        )
    strange = sorted(set(named) - {int(c) for c in clusters})
    if strange:
        raise ContinualError(
            f"{setting} names {', '.join(map(str, strange))}; the clusters are {clusters[0]} to {clusters[-1]}"
        )
    mask = np.isin(clusters, named)
    if mask.all():
        raise ContinualError(f"{setting} names all clusters; leave out those whose text the model must not forget")
    return mask


def run_ratios(
    data: "MethodData",
    domain: NDArray[np.bool_],
    natural: Floats,
    config: "ProxyConfig",
    continual: ContinualConfig,
    *,
    report: Report | None = None,
) -> RatioRuns:
    """Train a proxy on the natural shares and continue from it with every ratio.

    ``domain`` and ``natural`` are of the active clusters, ``(A,)``.

    Raises ValueError when general or domain text has no held-out window.
    """
    from gem_assets.mixing.continual.continuation import Continuation, group_losses

    sides = [np.where(side, natural, 0.0) for side in (~domain, domain)]
    weights = [group_losses(data, data.active[s > 0], s[s > 0]) for s in sides]
    general, own = (as_weights(side) for side in sides)
    count = len(continual.ratios)
    model = Continuation(data, natural, config, part=continual.part, checks=continual.checks, report=report)
    rows: list[tuple[float, float, float, float]] = []
    start = (0.0, 0.0)
    for number, ratio in enumerate(continual.ratios, start=1):
        losses = model.restart()
        start = (float(losses @ weights[0]), float(losses @ weights[1]))
        for check in range(1, continual.checks + 1):
            losses = model.advance((1 - ratio) * general + ratio * own)
            rows.append((ratio, float(check * model.tokens), float(losses @ weights[0]), float(losses @ weights[1])))
        if report is not None:
            report(f"ratio {number} of {count}")
    return RatioRuns(*(np.array(column) for column in zip(*rows, strict=True)), start=start)


def publish_ratio_recipe(
    runs: RatioRuns, domain: NDArray[np.bool_], frame: "MixtureFrame", out: Path, *, base_tokens: int = 0
) -> Recipe:
    """Fit the critical ratio to runs and write the mixture of that ratio into ``out``.

    The ratio is that of the longest runs, at most the largest that was tried, and at most what the caps of the domain's
    clusters allow. Within the domain and outside of it clusters keep their natural proportions, up to the caps.

    Parameters
    ----------
    domain
        Which of the inventory's clusters are the domain, ``(K,)``.
    base_tokens
        That the proxy was trained on before, to be told.

    Raises
    ------
    RatioError
        When there are fewer than three ratios.
    InfeasibleMixtureError
        When the caps do not let general text fill its part.
    """
    from gem_assets.mixing.continual.ratio_law import CriticalRatio

    allowed = frame.config.continual.allowed_rise
    found = CriticalRatio(allowed).fit(runs.tokens, runs.ratios, runs.general, runs.start[0])
    natural, caps = frame.supply.token_shares, frame.caps
    own = float(natural[domain].sum())
    safe, tried = float(found.ratios_[-1]), float(runs.ratios.max())
    ratio = min(safe, tried)
    held = min(ratio, float(np.minimum(caps[domain & (natural > 0)], 1.0).sum()))
    shares = np.zeros(len(natural))
    for side, part in ((domain, held), (~domain, 1 - held)):
        if part > 0:
            shares += part * apply_caps(np.where(side, natural, 0.0), caps / part)
    notes = [
        f"domain {', '.join(str(int(c)) for c in frame.supply.clusters[domain])}, natural share {own:.3f}",
        f"a proxy of {base_tokens:,} tokens on natural shares, then {int(runs.tokens.max()):,} on each of "
        f"{len(np.unique(runs.ratios))} ratios",
        f"general loss {runs.start[0]:.4f} before; it may rise by {allowed:g} nats",
    ]
    if safe > tried:
        notes.append(f"no ratio that was tried is too large; held at {tried:g}, the largest of them")
    if held < ratio:
        notes.append(f"{ratio:.3f} would be safe; the repetition caps hold the domain at {held:.3f}")
    evidence = RecipeEvidence(
        method=CRITICAL_RATIO,
        n_runs=len(np.unique(runs.ratios)),
        target="general text and the domain",
        law="general loss αR^s + β at each token count",
        kl_to_prior=divergence(shares, natural),
        verdict=_ratio_verdict(ratio, own),
        notes=tuple(notes),
    )
    recipe = frame.recipe(CRITICAL_RATIO, shares / shares.sum(), evidence)
    frame.write(recipe, out, {"laws": _law_rows(found), "runs": _run_rows(runs)})
    return recipe


def _ratio_verdict(ratio: float, natural: float) -> str:
    if ratio <= 0:
        return (
            "no part of domain text is safe: the general loss rises even without; allow a rise "
            "(mixing.continual.allowed_rise) or train longer before"
        )
    told = f"up to {ratio:.3f} of domain text leaves the general loss where it was at this size"
    if ratio < natural:
        return f"{told}, less than its natural share of {natural:.3f}"
    return f"{told}; for a model that goes on from the natural shares, at its own size to be measured again"


def _law_rows(found: "CriticalRatio") -> list[dict[str, float]]:
    return [
        {
            "tokens": float(tokens),
            "alpha": law.scale,
            "s": law.exponent,
            "beta": law.floor,
            "error_nats": law.residual,
            "critical_ratio": float(ratio),
        }
        for tokens, law, ratio in zip(found.tokens_, found.laws_, found.ratios_, strict=True)
    ]


def _run_rows(runs: RatioRuns) -> list[dict[str, float | None]]:
    columns = (runs.ratios, runs.tokens, runs.general, runs.domain)
    names = ("ratio", "tokens", "general_loss", "domain_loss")
    start: dict[str, float | None] = dict(zip(names, (None, 0.0, *runs.start), strict=True))
    return [start, *(dict(zip(names, map(float, row), strict=True)) for row in zip(*columns, strict=True))]


def make(work: MethodWork) -> Recipe:
    """Measure the ratio on the pinned tokens."""
    return critical_ratio_recipe(work.folder(TOKENS), work.frame, work.settings.proxy, work.out, report=work.report)


def _settings(settings: "Settings") -> dict[str, Any]:
    continual = settings.mixing.continual.model_dump(exclude={"trajectories"})
    return {**proxy_settings(settings), "continual": continual}


METHOD = Method(
    CRITICAL_RATIO,
    "lab",
    "Critical mixture ratio: how much text of some clusters (`mixing.continual.clusters`, the domain) a model that was "
    "trained on the natural shares can be trained on further before it gets worse on the others. Trains a proxy, and "
    "from it a run for each ratio; their general losses follow a power law in the ratio. About four proxies on one "
    "core.",
    make,
    _settings,
    cost="about four proxies",
    use="a trained model is to be trained further on one domain",
    source="arXiv 2407.17467",
    needs=(TOKENS,),
    trains=True,
    unconfirmed="is for a model that was trained before, and a confirmation starts from nothing",
    libraries=("torch", "scipy", "numpy"),
    seed=proxy_seed,
    code_version=TRAINED_CODE_VERSION,
)
