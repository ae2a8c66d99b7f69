"""Teacher: certificate, balance, and cost against the dense products and against faiss.

``python -m benchmarks.teacher [--quick]`` prints one JSON object as its last line:

- ``monotone``, ``gap``: whether F rose over every claimed iteration; duality gap of the last E-step, nats per document;
- ``n_eff_over_k``, ``max_over_min``: of the hard labels; the fit is asked for sizes within 2.5;
- ``iter_over_gemm_floor``: mean iteration on all rows over the two dense products of its shape in float32;
- ``fit_over_faiss25``: the whole fit, start to certificate, over 25 iterations of faiss spherical k-means on all rows.

Times are processor seconds of the whole process, which other load on the machine moves little; ``*_wall`` are the same
ratios in wall time. Floor and faiss run before and after the fit, the better of each counts. 200,000 rows, d = 384,
K = 240; ``--quick`` takes 50,000 rows and K = 64.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.teacher_data import benchmark_vectors
from gem_assets.parallel.machine import usable_cores
from gem_assets.teacher.ascent import Iteration
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.metrics import balance, cosine_coherence

SIZE_BOUND = 2.5
FAISS_ITERATIONS = 25


@dataclass(frozen=True)
class Seconds:
    """Processor and wall seconds of one run."""

    cpu: float
    wall: float

    def better(self, other: "Seconds") -> "Seconds":
        """The lesser of each."""
        return Seconds(min(self.cpu, other.cpu), min(self.wall, other.wall))


def timed(run: Callable[[], object]) -> Seconds:
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return Seconds(time.process_time() - cpu, time.perf_counter() - wall)


def gemm_floor(x: NDArray[np.float32], k: int, repeats: int = 5) -> Seconds:
    """Best time of ``X M^T`` and ``G^T X`` in float32 on all cores."""
    rows = torch.from_numpy(x)
    weights, gamma = torch.randn(k, x.shape[1]), torch.rand(len(x), k)
    best = Seconds(np.inf, np.inf)
    for _ in range(repeats):
        scores = timed(lambda: rows @ weights.T)
        sums = timed(lambda: gamma.T @ rows)
        best = best.better(Seconds(scores.cpu + sums.cpu, scores.wall + sums.wall))
    return best


class Stopwatch:
    """Time between the lines of a fit's record, by stage."""

    def __init__(self) -> None:
        self._last = (time.process_time(), time.perf_counter())
        self.spent: dict[str, list[Seconds]] = {}

    def __call__(self, line: Iteration) -> None:
        """Book the time since the line before."""
        now = (time.process_time(), time.perf_counter())
        stage = line.stage.split()[0]
        self.spent.setdefault(stage, []).append(Seconds(now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now


def run(n: int, d: int, k: int, seed: int, device: str | None) -> dict[str, object]:
    x, origin = benchmark_vectors(n, d)
    # kernels are compiled (or read from disk) before the clock starts
    GemTeacher(8, path="sparse", n_init=1, max_iter=2, device=device).fit(x[:4000])
    warm = faiss.Kmeans(d, 8, niter=1, spherical=True)
    warm.train(x[:2000])

    def run_faiss() -> None:
        model = faiss.Kmeans(d, k, niter=FAISS_ITERATIONS, seed=seed, spherical=True, max_points_per_centroid=len(x))
        model.train(x)
        centroids.append(model.index.search(x, 1)[1][:, 0])

    centroids: list[NDArray[np.int64]] = []
    floor, kmeans = gemm_floor(x, k), timed(run_faiss)
    watch = Stopwatch()
    teacher = GemTeacher(k, seed=seed, max_over_min=SIZE_BOUND, device=device)
    fit = timed(lambda: teacher.fit(x, progress=watch))
    floor, kmeans = floor.better(gemm_floor(x, k)), kmeans.better(timed(run_faiss))

    sizes, other = balance(teacher.labels_, k), balance(centroids[0], k)
    slack = 1e-7 * abs(teacher.objective_[-1])
    # the first two lines of the climb hold the set-up of the engine and wide first lists
    climb = watch.spent["climb"]
    cpu = float(np.mean([s.cpu for s in climb]))
    wall = float(np.mean([s.wall for s in climb]))
    return {
        "monotone": bool(np.all(np.diff(teacher.objective_) >= -slack)),
        "gap": teacher.gap_,
        "n_eff_over_k": sizes.n_eff_over_k,
        "max_over_min": sizes.max_over_min,
        "iter_over_gemm_floor": cpu / floor.cpu,
        "fit_over_faiss25": fit.cpu / kmeans.cpu,
        "iter_over_gemm_floor_wall": wall / floor.wall,
        "fit_over_faiss25_wall": fit.wall / kmeans.wall,
        "fit_cpu_s": fit.cpu,
        "faiss25_cpu_s": kmeans.cpu,
        "floor_cpu_s": floor.cpu,
        "stages_cpu_s": {stage: sum(s.cpu for s in spent) for stage, spent in watch.spent.items()},
        "iterations": teacher.n_iter_,
        "objective": teacher.objective_[-1],
        "lam_over_kappa_k": teacher.lam_ / float(teacher.kappa_.mean()) / k,
        "coherence": cosine_coherence(x, teacher.labels_, k),
        "faiss_n_eff_over_k": other.n_eff_over_k,
        "faiss_max_over_min": other.max_over_min,
        "faiss_coherence": cosine_coherence(x, centroids[0], k),
        "rows": len(x),
        "d": d,
        "k": k,
        "cores": usable_cores(),
        "device": device or "cpu",
        "vectors": origin,
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="50,000 rows, K = 64")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--clusters", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="torch device of the fit")
    given = parser.parse_args(arguments)
    rows = given.rows or (50_000 if given.quick else 200_000)
    clusters = given.clusters or (64 if given.quick else 240)
    print(json.dumps(run(rows, given.dimension, clusters, given.seed, given.device)))


if __name__ == "__main__":
    main(sys.argv[1:])
