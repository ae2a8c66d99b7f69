"""Cost of an iteration against rows and clusters: ``python -m benchmarks.teacher_scaling [--quick] [--out PICTURE]``.

The sparse path on a synthetic mixture in 384 dimensions, from directions that five iterations of k-means on a sample
gave; processor seconds of an iteration, the first two left out because they make the lists from nothing. The last line
is one JSON object:

- ``points``: rows, clusters, processor seconds per iteration, the same over the two dense products of its shape;
- ``exponent_rows``, ``exponent_clusters``: slopes of the logarithm of the time, 1 for cost in proportion.

``--full`` adds 1,000,000 rows and K = 1000, which takes 6 GB of memory and half an hour.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.teacher import gemm_floor
from benchmarks.teacher_data import synthetic_vectors
from gem_assets.report import style
from gem_assets.teacher.ascent import Ascent, Iteration, Plan
from gem_assets.teacher.config import BALANCE_RATIO
from gem_assets.teacher.esteps import uniform
from gem_assets.teacher.mstep import Theta
from gem_assets.teacher.rows import worker_pool
from gem_assets.teacher.sparse import SparseEngine
from gem_assets.teacher.start import scaled_rule
from gem_assets.teacher.vmf import fit_kappa

DIMENSION = 384
ROWS, CLUSTERS = (20_000, 40_000, 80_000), (60, 120, 240)
LEFT_OUT = 2


def seed(x: NDArray[np.float32], k: int) -> Theta:
    means = faiss.Kmeans(x.shape[1], k, niter=5, seed=0, spherical=True, max_points_per_centroid=60)
    means.train(x[: 60 * k])
    mu = np.asarray(means.centroids, dtype=np.float64)
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    nearest = float((x[:2000].astype(np.float64) @ mu.T).max(axis=1).mean())
    return Theta(mu, np.full(k, float(fit_kappa(nearest, x.shape[1]))), np.zeros(k))


def seconds_per_iteration(x: NDArray[np.float32], k: int, iterations: int) -> float:
    theta = seed(x, k)
    marks: list[float] = []

    def note(line: Iteration) -> None:  # noqa: ARG001
        marks.append(time.process_time())

    plan = Plan(scaled_rule(BALANCE_RATIO), 1.0, 1e4, max_iter=iterations, tol=1e-12, gap_tol=1e-8, relaxation=1.8)
    with worker_pool(0) as pool:
        Ascent(SparseEngine(x, uniform(k), pool), plan, "scaling", note).run(theta)
    return float(np.diff(marks)[LEFT_OUT:].mean())


def cost_curves(points: Sequence[tuple[int, int, float]]) -> bytes:
    """Seconds an iteration against rows times clusters on two logarithmic axes, with the line of cost in proportion.

    Parameters
    ----------
    points
        Rows, clusters, seconds.
    """
    figure = style.new_figure(
        4.4, "Cost of an iteration", "each number of rows its own line; dashed: in proportion to rows × clusters"
    )
    axes = figure.subplots()
    sizes = sorted({n for n, _, _ in points})
    for color, n in zip(style.cluster_colors(len(sizes)), sizes, strict=True):
        mine = sorted((n * k, s) for m, k, s in points if m == n)
        axes.plot([w for w, _ in mine], [s for _, s in mine], color=color, marker="o", markersize=4, label=f"N = {n:,}")
    work = np.array(sorted(n * k for n, k, _ in points), np.float64)
    if len(work):
        rate = float(np.median([s / (n * k) for n, k, s in points]))
        axes.plot(work, rate * work, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xscale("log")
    axes.set_yscale("log")
    style.clean_axes(axes)
    style.label_axes(axes, "rows × clusters", "processor seconds")
    axes.legend(frameon=False, loc="upper left", prop={"family": style.FONT, "size": 9}, labelcolor=style.INK)
    return style.render(figure)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="up to 20,000 rows and K = 48")
    parser.add_argument("--full", action="store_true", help="up to 1,000,000 rows and K = 1000")
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--out", type=Path, help="file for the picture")
    given = parser.parse_args(arguments)
    rows, clusters = ((10_000, 20_000), (24, 48)) if given.quick else (ROWS, CLUSTERS)
    if given.full:
        rows, clusters = (*rows, 300_000, 1_000_000), (*clusters, 1_000)
    x = synthetic_vectors(max(rows), DIMENSION)
    points: list[tuple[int, int, float]] = []
    floors: list[float] = []
    for n in rows:
        for k in clusters:
            points.append((n, k, seconds_per_iteration(x[:n], k, given.iterations)))
            floors.append(gemm_floor(x[:n], k, repeats=2).cpu)
            print(f"N = {n:9,d}  K = {k:5d}  {points[-1][2]:8.3f} s  {points[-1][2] / floors[-1]:.2f} of the products")
    logs = np.log(np.array(points))
    design = np.column_stack([logs[:, :2], np.ones(len(points))])
    slopes = np.linalg.lstsq(design, logs[:, 2], rcond=None)[0]
    if given.out is not None:
        given.out.write_bytes(cost_curves(points))
    found = [
        {"rows": n, "k": k, "cpu_s": s, "over_floor": s / floor}
        for (n, k, s), floor in zip(points, floors, strict=True)
    ]
    print(json.dumps({"points": found, "exponent_rows": float(slopes[0]), "exponent_clusters": float(slopes[1])}))


if __name__ == "__main__":
    main(sys.argv[1:])
