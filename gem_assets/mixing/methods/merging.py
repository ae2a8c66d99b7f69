"""Modular merging: the mixture at which the average of one model per domain loses least on the targets.

The models and their average are in ``domain_models``.
"""

from gem_assets.mixing.online.declaration import single_run

METHOD = single_run(
    "merging",
    "Modular merging: one proxy per cluster from a shared start, and the mixture at which the average of their "
    "parameters loses least on the targets, under a divergence from the natural shares. Merged models rank mixtures "
    "for several targets at once poorly (correlation .41 on a toy).",
    cost="half a proxy per cluster, and a dozen steps of descent through their average",
    use="targets are to be compared; for many at once confirm it",
    source="Na et al. 2024",
)
