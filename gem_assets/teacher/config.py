"""Settings of the teacher stage.

``lam`` is the one choice that matters: how hard the fit is pushed towards equal cluster sizes. It acts on the
per-document objective, so it is measured in nats and has to be read against kappa, the concentration of the clusters:

========== =====================================================================================================
``"auto"``  ``0.23 * mean(kappa) * K``. A cluster holding twice its share is handicapped by ``0.23 * kappa`` nats
            whatever K is, which is the published setting carried over to other K (5.52 times kappa at K = 24).
            Doubled, up to five times, while the largest cluster is more than ``max_over_min`` times the smallest.
``"paper"`` ``5.5 * mean(kappa)``, the ratio of the published figures (5000 against kappa near 900), for any K. The
            same as ``"auto"`` at K = 24; weaker above: the shares drift apart as K grows.
``"least"`` The smallest lambda whose hard labels reach an effective number of clusters of ``target_n_eff * K``,
            found by bisection on a subsample and checked on the whole.
a number    Taken as it is.
========== =====================================================================================================
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

CODE_VERSION = "2"

#: Handicap, in units of kappa, of a cluster that holds twice its share.
BALANCE_RATIO = 0.23
#: lambda / kappa of the published setting (5000 / 900).
PAPER_RATIO = 5.5

LamRule = Literal["auto", "paper", "least"]
EStepName = Literal["dual", "proximal", "mirror"]
PathName = Literal["auto", "dense", "sparse"]


class TeacherConfig(BaseModel):
    """What decides a fit; two fits with equal settings and equal rows are equal to the byte."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: Annotated[int, Field(ge=2, le=32_767, description="Number of clusters.")] = 24
    lam: Annotated[
        LamRule | Annotated[float, Field(ge=0)],
        Field(
            description="Weight of the balance, in nats: 'auto' (0.23 * mean kappa * K), 'paper' (5.5 * mean kappa), "
            "'least' (the smallest that reaches target_n_eff), or a number."
        ),
    ] = "auto"
    target_n_eff: Annotated[float, Field(gt=0, lt=1, description="Share of K that the rule 'least' has to reach.")] = (
        0.95
    )
    target: Annotated[
        tuple[float, ...] | None,
        Field(description="Target shares, one per cluster, that sum to 1. Not set: equal shares."),
    ] = None
    max_over_min: Annotated[
        float,
        Field(ge=1, description="Largest over smallest cluster that the rule 'auto' has to keep to."),
    ] = 5.0
    e_step: Annotated[
        EStepName,
        Field(description="'dual' (Newton, exact), 'proximal' (closed-form MM) or 'mirror' (separable surrogate)."),
    ] = "dual"
    path: Annotated[
        PathName,
        Field(description="'dense' keeps all K scores per row in float64; 'sparse' keeps only those that matter."),
    ] = "auto"
    device: Annotated[
        str | None,
        Field(description="Torch device of the fit, such as 'cuda'; not set: the CPU. Needs e_step 'dual'."),
    ] = None
    kappa_min: Annotated[float, Field(gt=0, description="Least concentration of a cluster.")] = 1.0
    kappa_max: Annotated[
        float, Field(gt=0, description="Largest concentration; without it duplicates drive F to infinity.")
    ] = 10_000.0
    max_iter: Annotated[int, Field(ge=1, description="Most iterations after the start.")] = 200
    tol: Annotated[float, Field(gt=0, description="Stop when F gains less than this many nats per document.")] = 1e-5
    churn_tol: Annotated[
        float, Field(ge=0, lt=1, description="Sparse path: stop when a smaller share of labels changes.")
    ] = 0.002
    gap_tol: Annotated[
        float, Field(gt=0, description="Duality gap, in nats per document, that the final E-step has to certify.")
    ] = 1e-8
    relaxation: Annotated[
        float, Field(ge=1, lt=2, description="Over-relaxation of kappa * mu, guarded by F; 1 is the plain M-step.")
    ] = 1.8
    n_init: Annotated[int, Field(ge=1, le=64, description="Short fits of which the best is continued.")] = 6
    init_rows: Annotated[int, Field(ge=256, description="Rows of the subsample for the short fits.")] = 4096
    anneal_iter: Annotated[int, Field(ge=1, description="Iterations over which kappa is annealed.")] = 40
    anneal_start: Annotated[float, Field(gt=0, le=1, description="First factor on kappa.")] = 0.1
    seed: Annotated[int, Field(ge=0, description="Seed of every draw.")] = 0
    seed_documents: Annotated[int, Field(ge=1_000, description="Documents sampled from the corpus for the fit.")] = (
        100_000
    )
    refit: Annotated[
        Literal["anchored", "cold"],
        Field(description="Refit only: start from the last teacher, or afresh and match the clusters afterwards."),
    ] = "anchored"
    anchor: Annotated[
        float,
        Field(ge=0, description="Refit only: weight of the previous teacher as pseudo-documents, relative to n."),
    ] = 1.0
    drop_nats: Annotated[
        float, Field(ge=10, le=60, description="Responsibilities this far below the largest are dropped.")
    ] = 20.0
    threads: Annotated[
        int, Field(ge=0, description="Worker threads; 0 means one per core. Does not change the result.")
    ] = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kappa_min >= self.kappa_max:
            raise ValueError(f"kappa_min {self.kappa_min} has to be below kappa_max {self.kappa_max}")
        if self.device is not None and self.e_step != "dual":
            raise ValueError(f"device {self.device!r} works with the e_step 'dual' only, not {self.e_step!r}")
        if self.target is not None:
            if len(self.target) != self.k:
                raise ValueError(f"target holds {len(self.target)} shares for k = {self.k}")
            if min(self.target) < 0 or abs(sum(self.target) - 1) > 1e-6:
                raise ValueError(f"target shares have to be at least 0 and sum to 1, they sum to {sum(self.target)}")
        return self
