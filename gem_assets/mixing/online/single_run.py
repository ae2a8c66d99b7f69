"""Methods that train in their own way on the prepared tokens, as methods of the graph.

An online method is one run of a proxy under a hook; MixMin and merging train one proxy per cluster. Periods of the
online methods are set by the length of the run, since published ones are for 5,000 steps and more. Each yields one
answer and no prediction that could be cross-validated: the verdict says that, and a confirmation run is what tells. On
proxies of the default size DoReMi was seen to beat none of its starting points; these methods are for larger models.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gem_assets.mixing.caps import apply_caps
from gem_assets.mixing.laws.proposal import divergence
from gem_assets.mixing.method_data import MethodData, MethodResult
from gem_assets.mixing.methods.base import TOKENS, TRAINED_CODE_VERSION, Method, MethodWork, proxy_seed, proxy_settings
from gem_assets.mixing.online.hook import OnlineMethod
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.online.trainer import OnlineResult
    from gem_assets.mixing.recipe_artifact import MixtureFrame
    from gem_assets.proxy.config import ProxyConfig

TOY = " One run on one core, of toy size with the default settings; meant for larger models."
_SHOWN = 20

#: From data, natural shares ``(A,)`` and settings of the proxies to an online method.
Hook = Callable[[MethodData, Floats, "ProxyConfig"], OnlineMethod]
#: From data, natural shares and caps ``(A,)`` and settings of the proxies to what was found.
Run = Callable[[MethodData, Floats, Floats, "ProxyConfig"], MethodResult]


@dataclass(frozen=True)
class SingleRun:
    """Makes the recipe of a method from the prepared tokens.

    It has either a ``hook``, the online method, or a function that trains, ``run``.
    """

    strategy: str
    hook: Hook | None = None
    run: Run | None = None
    targets: bool = True

    def __call__(self, work: MethodWork) -> Recipe:
        """Train on the pinned tokens and write the recipe."""
        from gem_assets.mixing.swarm.growth import wanted_targets

        data = work.folder(TOKENS)
        return self.publish(
            data, wanted_targets(data), work.frame, work.settings.proxy, work.out, progress=work.steps
        )  # fmt: skip

    def publish(
        self,
        folder: Path,
        importance: Mapping[str, float],
        frame: "MixtureFrame",
        config: "ProxyConfig",
        out: Path,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Recipe:
        """Train on a folder of prepared tokens and windows, and write the recipe into ``out``.

        Parameters
        ----------
        importance
            Weight of the targets by name. Aioli and Skill-It always follow all of them, DoReMi none: its objective is
            the excess loss on the clusters themselves.
        frame
            Inventory and caps; the shares are capped here.

        Raises
        ------
        PoolError
            When clusters, windows and configuration do not fit each other.
        DivergedError
            When training diverges.
        """
        data = MethodData.load(folder, importance, config.model.context)
        natural = data.natural_shares(frame.supply)
        found = self._found(data, natural, frame.caps[data.active], config, progress)
        shares = np.zeros(len(frame.supply.clusters))
        # a cluster whose text has gone since the tokens were prepared cannot be given a share
        shares[data.active] = np.where(natural > 0, found.shares, 0.0)
        shares = apply_caps(shares, frame.caps)
        predicted, proportional, even = found.predicted
        wanted = [n for n, w in zip(data.evaluation.names, data.importance, strict=True) if w > 0]
        recipe = frame.recipe(
            self.strategy,
            shares,
            RecipeEvidence(
                method=self.strategy,
                target=", ".join(wanted) if self.targets else None,
                kl_to_prior=divergence(shares, frame.supply.token_shares),
                verdict=found.verdict,
                notes=found.notes,
                predicted_loss=predicted,
                predicted_loss_proportional=proportional,
                predicted_loss_uniform=even,
            ),
        )
        frame.write(recipe, out, found.tables)
        return recipe

    def _found(
        self,
        data: MethodData,
        natural: Floats,
        caps: Floats,
        config: "ProxyConfig",
        progress: Callable[[int, int], None] | None,
    ) -> MethodResult:
        if self.run is not None:
            return self.run(data, natural, caps, config)
        if self.hook is None:
            raise ValueError(f"the method {self.strategy} has neither a hook nor a function that trains")
        from gem_assets.mixing.online.trainer import train_online

        method = self.hook(data, natural, config)
        run = train_online(data.pool, data.evaluation, method, config, progress=progress)
        return MethodResult(run.mixture, _told(run), _cost_notes(run))


def single_run(
    name: str,
    summary: str,
    *,
    hook: Hook | None = None,
    run: Run | None = None,
    targets: bool = True,
    cost: str,
    use: str,
    source: str,
) -> Method:
    """Declare a method that is made by :class:`SingleRun`."""
    return Method(
        name,
        "lab",
        summary,
        SingleRun(name, hook, run, targets),
        proxy_settings,
        cost=cost,
        use=use,
        source=source,
        needs=(TOKENS,),
        trains=True,
        libraries=("torch", "scipy", "numpy"),
        seed=proxy_seed,
        code_version=TRAINED_CODE_VERSION,
    )


def _told(run: "OnlineResult") -> dict[str, list[dict[str, Any]]]:
    steps = np.unique(np.linspace(0, len(run.trajectory) - 1, _SHOWN).astype(int))
    rows = [
        {
            "step": int(i) + 1,
            "largest_share": float(run.trajectory[i].max()),
            "distance_to_answer": 0.5 * float(np.abs(run.trajectory[i] - run.mixture).sum()),
        }
        for i in steps
    ]
    return {"trajectory": rows, "costs": [asdict(run.costs)]}


def _cost_notes(run: "OnlineResult") -> tuple[str, ...]:
    costs = run.costs
    return (
        f"{run.tokens:,} tokens trained on; beside that {costs.branch_steps} steps taken back, {costs.gradients} "
        f"gradients of single clusters or targets, {costs.evaluations} evaluations, {costs.forwards} forward passes",
    )
