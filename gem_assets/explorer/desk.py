"""The mixing desk: what a mixture is predicted to lose on each target, by the library's own law and its resampled fits.

With a swarm of the present clusters the law is the one that the strategy ``learned`` chooses, fitted as there, so a
recipe and the desk cannot disagree. Without one the n-gram model answers (:data:`~gem_assets.proxy.lexical.LABEL`), and
the interval is its range over pseudo token budgets, as in the recipe ``lexical``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from gem_assets.explorer.errors import NothingYetError, RequestError
from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.laws.base import Law, SmoothLaw
from gem_assets.mixing.laws.ngram import NAME as NGRAM
from gem_assets.mixing.laws.ngram import LexicalLaw, LexicalLosses, ngram_laws
from gem_assets.mixing.laws.proposal import divergence
from gem_assets.mixing.laws.selection import choose_laws
from gem_assets.mixing.methods.lexical import PSEUDO_BUDGETS
from gem_assets.mixing.methods.swarm_laws import LAW_STRATEGIES, LEARNED
from gem_assets.mixing.recipe_artifact import MixtureFrame
from gem_assets.mixing.swarm.runs import TrainedSwarm
from gem_assets.proxy.counted import counts_of
from gem_assets.stages import (
    DOMAIN_INVENTORY,
    GIS_TAXONOMY,
    PROXY_SWARM,
    PROXY_TOKENS,
    TEACHER_CLUSTERS,
)
from gem_assets.storage.artifacts import Artifact
from gem_assets.storage.store import MissingInputError, Store

if TYPE_CHECKING:
    from gem_assets.proxy.lexical import LexicalProxy
    from gem_assets.settings import Settings

Floats = NDArray[np.float64]

RESAMPLED: Final = 40
"""Fits of the same laws on runs drawn with replacement, from which intervals come."""
INTERVAL: Final = (5.0, 95.0)
"""Percentiles of the resampled fits."""
RANGE: Final = (0.0, 100.0)
"""The same for the n-gram model: the full range over its pseudo token budgets, which are not a sample."""
POINT: Final = 0.01
"""A percentage point of the token budget: the step of "what one point more does"."""


@dataclass(frozen=True)
class Target:
    """The law of one target, with its resampled fits."""

    name: str
    law: Law
    resampled: tuple[Law, ...]


@dataclass(frozen=True)
class Desk:
    """Predicts the losses of mixtures over the clusters of one taxonomy.

    Attributes
    ----------
    frame
        Inventory, names and caps.
    targets
        What mixtures are judged by.
    weights
        Importance of the targets, ``(J,)``, sum 1.
    law
        What answers, in words.
    runs
        Mixtures that proxies were trained on, ``(n, K)``; none where the n-gram model answers.
    interval
        Percentiles of the resampled fits that bound an interval.
    version
        Identities of everything that the answer depends on.
    swarm
        What the laws were fitted to; None where the n-gram model answers.
    """

    frame: MixtureFrame
    targets: tuple[Target, ...]
    weights: Floats
    law: str
    runs: Floats
    interval: tuple[float, float]
    version: str
    swarm: TrainedSwarm | None = None

    @classmethod
    def of(cls, store: Store, settings: "Settings") -> "Desk":
        """Fit the laws of a data root; takes seconds with a swarm.

        Raises
        ------
        NothingYetError
            When there is neither a swarm nor a prepared n-gram model of the clusters in force.
        """
        artifacts = store.artifacts
        inventory, taxonomy = artifacts.current(DOMAIN_INVENTORY), artifacts.current(GIS_TAXONOMY)
        if inventory is None or taxonomy is None:
            raise NothingYetError("no cluster has been counted yet; gem run makes the taxonomy and the inventory")
        frame = MixtureFrame.read(inventory, taxonomy, settings.mixing)
        tokens, swarm = artifacts.current(PROXY_TOKENS), artifacts.current(PROXY_SWARM)
        teacher = artifacts.current(TEACHER_CLUSTERS)
        named = [artifact.identity for artifact in (inventory, taxonomy, tokens, swarm) if artifact is not None]
        version = "-".join(identity[:12] for identity in named)
        lexical, importance = _lexical(store, tokens, teacher, settings)
        if swarm is not None and _same_teacher(swarm, teacher):
            return _of_swarm(frame, swarm, lexical, version, settings.mixing)
        if lexical is None:
            raise NothingYetError(
                "no swarm and no n-gram model of these clusters; gem run prepares the n-gram model, "
                "gem swarm run trains the swarm"
            )
        return _of_counts(frame, lexical, importance, version)

    @property
    def natural(self) -> Floats:
        """Token shares as the text comes, ``(K,)``."""
        return self.frame.supply.token_shares

    def predict(
        self, shares: Sequence[float], rivals: Mapping[str, Floats], budget: int | None = None
    ) -> dict[str, Any]:
        """Say what a mixture costs.

        Parameters
        ----------
        shares
            ``(K,)``, in the order of the clusters; scaled to sum 1.
        rivals
            Mixtures to compare with, by name.
        budget
            Tokens to train on, by which epochs are counted; None stands for that of the settings.

        Returns
        -------
        dict
            ``targets`` (loss, interval, and the paired difference from each rival with its interval, nats per token),
            ``mean`` (the same over the weighted targets), ``epochs`` and ``over_cap`` of each cluster, ``kl`` from the
            natural shares in nats, ``support``, ``reservation`` (that the proxies speak for another budget; None where
            they do not) and ``one_point_more`` (change of each target's loss when a cluster gains a point that the
            others give in proportion, ``(J, K)``).

        Raises
        ------
        RequestError
            When shares are not as many finite, non-negative numbers as there are clusters, one of them above 0.
        """
        mixture = self.checked(shares)
        points = np.array([mixture, *rivals.values()])
        central = np.array([target.law.predict(points) for target in self.targets])
        drawn = np.array([[fit.predict(points) for fit in target.resampled] for target in self.targets])
        names = list(rivals)
        rows = [self._row(self.label(t.name), central[j], drawn[j], names) for j, t in enumerate(self.targets)]
        mean = self._row("mean of the targets", self.weights @ central, np.tensordot(self.weights, drawn, 1), names)
        available = self.frame.supply.tokens
        epochs = np.divide(
            mixture * (budget or self.frame.budget), available, out=np.full(len(mixture), np.inf), where=available > 0
        )
        epochs[(available == 0) & (mixture == 0)] = 0.0
        over = epochs > self.frame.config.repetition_cap * (1 + 1e-9)
        return {
            "targets": rows,
            "mean": mean,
            "epochs": [float(e) if np.isfinite(e) else None for e in epochs],
            "over_cap": [int(k) for k in np.flatnonzero(over)],
            "kl": divergence(mixture, self.natural),
            "support": self.support(mixture),
            "reservation": self.swarm.other_budget(budget or self.frame.budget, self.frame.supply)
            if self.swarm is not None
            else None,
            "one_point_more": self.one_point_more(mixture).tolist(),
        }

    def label(self, target: str) -> str:
        """What a target is called: a number is the held-out text of that cluster."""
        name = self.frame.names.get(int(target)) if target.isdecimal() else None
        return f"{name} (held out)" if name is not None else target

    def checked(self, shares: Sequence[float]) -> Floats:
        """Return shares that sum to 1; see :meth:`predict` for what is refused."""
        k = len(self.natural)
        try:
            mixture = np.asarray(shares, np.float64)
        except (TypeError, ValueError):  # what a browser sends may be anything
            mixture = np.zeros(0)
        if mixture.shape != (k,) or not np.isfinite(mixture).all() or mixture.min() < 0 or not mixture.sum() > 0:
            raise RequestError(f"a mixture is {k} numbers of 0 or more, one per cluster, of which one is above 0")
        return mixture / mixture.sum()

    def one_point_more(self, mixture: Floats) -> Floats:
        """Change of each target's loss per cluster, nats ``(J, K)``; see :meth:`predict`."""
        k = len(mixture)
        rest = np.maximum(1.0 - mixture, 1e-12)
        step = np.minimum(POINT, 1.0 - mixture)
        if all(isinstance(target.law, SmoothLaw) for target in self.targets):
            slopes = np.array([target.law.gradient(mixture) for target in self.targets])  # type: ignore[attr-defined]
            others = (slopes @ mixture)[:, None] - slopes * mixture
            return (slopes - others / rest) * step
        moved = mixture[None] * (1.0 - step / rest)[:, None]
        moved[np.arange(k), np.arange(k)] = mixture + step
        points = np.vstack([mixture[None], moved])
        losses = np.array([target.law.predict(points) for target in self.targets])
        return losses[:, 1:] - losses[:, :1]

    def support(self, mixture: Floats) -> dict[str, Any] | None:
        """Say whether the swarm has tried anything like this mixture; None where no proxy was trained.

        The distance between mixtures is their total variation. A mixture lies inside what was tried where the nearest
        run is no further than nineteen of twenty runs are from their own nearest one.
        """
        if len(self.runs) < 2:
            return None
        between = 0.5 * np.abs(self.runs[:, None] - self.runs[None]).sum(axis=2)
        np.fill_diagonal(between, np.inf)
        usual = float(np.percentile(between.min(axis=1), 95))
        nearest = float(0.5 * np.abs(self.runs - mixture).sum(axis=1).min())
        return {"nearest": nearest, "usual": usual, "inside": nearest <= usual}

    def _row(self, name: str, central: Floats, drawn: Floats, rivals: Sequence[str]) -> dict[str, Any]:
        """One target: ``central`` ``(1 + R,)`` and ``drawn`` ``(B, 1 + R)``, the mixture first."""
        low, high = np.percentile(drawn[:, 0], self.interval)
        told: dict[str, Any] = {"name": name, "loss": float(central[0]), "interval": [float(low), float(high)]}
        told["against"] = {}
        for i, rival in enumerate(rivals, start=1):
            bounds = np.percentile(drawn[:, 0] - drawn[:, i], self.interval)
            told["against"][rival] = {
                "difference": float(central[0] - central[i]),
                "interval": [float(bounds[0]), float(bounds[1])],
            }
        return told


def _lexical(
    store: Store, tokens: Artifact | None, teacher: Artifact | None, settings: "Settings"
) -> tuple["LexicalProxy | None", dict[str, float]]:
    from gem_assets.mixing.swarm.growth import lexical_proxy, merge_counts, wanted_targets

    if tokens is None or not _same_teacher(tokens, teacher):
        return None, {}
    try:
        counted = [store.artifact(ref).path for ref in counts_of(store, tokens.ref())]
    except MissingInputError:
        return None, {}
    return lexical_proxy(merge_counts(counted), tokens.path, settings.proxy), wanted_targets(tokens.path)


def _same_teacher(artifact: Artifact, teacher: Artifact | None) -> bool:
    made_of = [ref.identity for ref in artifact.manifest.inputs if ref.asset == TEACHER_CLUSTERS]
    return not made_of or (teacher is not None and made_of == [teacher.identity])


def _of_swarm(
    frame: MixtureFrame, artifact: Artifact, lexical: "LexicalProxy | None", version: str, config: MixingConfig
) -> Desk:
    from gem_assets.mixing.swarm.growth import read_trained

    swarm = read_trained(artifact.path)
    table = swarm.table
    columns = [table.domains.index(str(int(c))) for c in frame.supply.clusters]
    mixtures = table.mixtures[:, columns]
    losses = {name: table.loss_of(name) for name in swarm.wanted}
    chosen = choose_laws(
        mixtures,
        losses,
        candidates=[law for law in LAW_STRATEGIES[LEARNED].candidates if law != NGRAM or lexical is not None],
        extra={NGRAM: ngram_laws(lexical, list(losses))} if lexical is not None else None,
        seed=config.seed,
    )
    rng = np.random.default_rng([config.seed, 2])
    draws = [np.sort(rng.integers(0, len(mixtures), len(mixtures))) for _ in range(RESAMPLED)]
    targets = tuple(
        Target(
            found.target,
            found.law,
            tuple(found.entry.make(config.seed).fit(mixtures[d], losses[found.target][d]) for d in draws),
        )
        for found in chosen
    )
    weights = np.array(list(swarm.wanted.values()))
    told = ", ".join(f"{found.target}: {found.name}" for found in chosen)
    return Desk(
        frame, targets, weights / weights.sum(), f"{len(mixtures)} proxies ({told})", mixtures, INTERVAL, version, swarm
    )


def _of_counts(frame: MixtureFrame, lexical: "LexicalProxy", importance: Mapping[str, float], version: str) -> Desk:
    from gem_assets.proxy.lexical import LABEL

    tables = [LexicalLosses(lexical), *(LexicalLosses(lexical.with_tau(tau)) for tau in PSEUDO_BUDGETS)]
    targets: list[Target] = []
    for name in importance:
        weights = np.array([float(target == name) for target in lexical.targets])
        first, *others = (LexicalLaw(table, weights) for table in tables)
        targets.append(Target(name, first, tuple(others)))
    shares = np.array(list(importance.values()))
    law = f"{LABEL}: interpolated {len(lexical.orders)}-gram counts; no proxy was trained"
    return Desk(frame, tuple(targets), shares / shares.sum(), law, np.zeros((0, len(frame.names))), RANGE, version)
