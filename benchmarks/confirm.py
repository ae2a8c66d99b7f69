"""Do learned mixtures hold? A swarm, its laws, and paired confirmation runs, on clusters and on floors.

``python -m benchmarks.confirm [--quick] [--only gem-12 ...] [--swarm-only] [--work FOLDER]``

Takes ``multidomain/webmix_dev`` apart: seven of its sources and ``labeled/ag_news_test`` are targets that nothing is
trained on; what is left is clustered by GEM (K = 12 and 24), by spherical k-means and at random (K = 12), and each
partition goes through the same pipeline: n-gram counts, a swarm of 32 to 36 mixtures (0.3M parameters, 49,152 tokens
per proxy) that holds uniform, proportional, UniMax and the stage-0 optimum, held-out rank correlation of the laws, a
mixture learned with the law chosen per target, and models of the next size (1M parameters, 147,456 tokens, three seeds)
trained on it, on proportional and on uniform. A target's windows in the confirmation are not those that the swarm was
judged by.

Finished models are kept in ``--work`` (by default a folder of the system's temporary one), so that a killed run goes on
where it was. The last line is one JSON object: per partition, arm and seed the target and in-domain loss, ``wins``
(seeds in which the learned mixture beats proportional and uniform) and ``seeds``.
"""

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.shared_data import shared_folder
from gem_assets.corpus.sampling import document_ranks
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder
from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.confirmation import confirm
from gem_assets.mixing.laws.mixture import learn_recipe
from gem_assets.mixing.laws.ngram import NAME as NGRAM
from gem_assets.mixing.laws.ngram import ngram_laws
from gem_assets.mixing.laws.registry import LAWS
from gem_assets.mixing.laws.selection import predict_held_out, spearman
from gem_assets.mixing.methods.lexical import lexical_optimum
from gem_assets.mixing.recipe_artifact import MixtureFrame
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.mixing.swarm.design import BASELINES, baseline_mixtures, draw_mixtures
from gem_assets.mixing.swarm.growth import grown_design
from gem_assets.mixing.swarm.runs import TrainedSwarm, trained_swarm
from gem_assets.proxy.config import ConfirmationConfig, PoolConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.counts import DomainCounts, count_documents
from gem_assets.proxy.lexical import LexicalProxy, mean_spearman
from gem_assets.proxy.noise import seed_noise
from gem_assets.proxy.pool import EvaluationSet, TokenPool, build_pool, target_windows
from gem_assets.proxy.swarm import SwarmSpec, run_swarm, swarm_jobs
from gem_assets.proxy.tokens import EncodedDocuments, ProxyTokenizer, spread_sample
from gem_assets.teacher.baselines import spherical_kmeans_labels
from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.teach import fit_teacher
from resources.engine import EngineResource

TARGETS = (
    "code_c",
    "encyclopedia",
    "math_word_problem",
    "business_textbook",
    "language_proposal",
    "political_speech",
    "qa_forum",
)
NEWS = "ag_news"
PARTITIONS = ("gem-12", "gem-24", "kmeans-12", "random-12")
LEARNED = (NGRAM, "log_exposure", "effective_exposure", "bimix", "log_linear")
SLOW = ("data_mixing_law", "lightgbm", "gp")
SPLITS = 12
SUPPLY = "supply.json"
TARGET_WINDOWS, DOMAIN_WINDOWS = 8, 4


@dataclass(frozen=True)
class Corpus:
    """Documents to train on, encoded, with vectors to cluster and texts of the targets in two disjoint halves."""

    tokenizer: ProxyTokenizer
    documents: EncodedDocuments
    ranks: NDArray[np.uint64]
    vectors: NDArray[np.float32]
    for_swarm: dict[str, list[str]]
    for_confirmation: dict[str, list[str]]


def settings(quick: bool) -> ProxyConfig:
    """The models: small enough for slow cores; what was used is part of the result."""
    proxies, larger = (16_384, 49_152) if quick else (49_152, 147_456)
    return ProxyConfig(
        pool=PoolConfig(windows=DOMAIN_WINDOWS),
        training=TrainingConfig(tokens=proxies, evaluate_at=(1.0,)),
        confirmation=ConfirmationConfig(
            training=TrainingConfig(tokens=larger, batch=4, lr=3e-3, cool_down=0.2, evaluate_at=(1.0,))
        ),
    )


def read_corpus(config: ProxyConfig) -> Corpus:
    shared = shared_folder() / "corpora"
    table = pq.read_table(shared / "multidomain" / "webmix_dev.parquet", columns=["doc_id", "text", "label"])
    labels, texts = np.array(table["label"].to_pylist()), table["text"].to_pylist()
    inside = ~np.isin(labels, TARGETS)
    rows = np.flatnonzero(inside)
    kept = [texts[i] for i in rows]
    by_source = [[texts[i] for i in rows if labels[i] == name] for name in sorted(set(labels[inside].tolist()))]
    tokenizer = ProxyTokenizer.train(spread_sample(by_source, config.tokenizer), config.tokenizer)
    wanted = {name: [texts[i] for i in np.flatnonzero(labels == name)] for name in TARGETS}
    wanted[NEWS] = pq.read_table(shared / "labeled" / "ag_news_test.parquet", columns=["text"])["text"].to_pylist()
    ids = [hashlib.sha256(str(table["doc_id"][int(i)]).encode()).hexdigest()[:32] for i in rows]
    column = pa.array(kept, pa.large_string())
    return Corpus(
        tokenizer=tokenizer,
        documents=tokenizer.encode(kept),
        ranks=document_ranks(pa.array(ids), config.seed),
        vectors=fit_embedder(column, EmbeddingConfig()).transform(column),
        for_swarm={name: found[0::2] for name, found in wanted.items()},
        for_confirmation={name: found[1::2] for name, found in wanted.items()},
    )


def partition(corpus: Corpus, name: str) -> tuple[NDArray[np.int64], int]:
    """Labels of one way to take the documents apart, and the number of its parts."""
    kind, count = name.rsplit("-", 1)
    k = int(count)
    if kind == "gem":
        return np.asarray(fit_teacher(corpus.vectors, TeacherConfig(k=k, seed=0)).labels_, np.int64), k
    if kind == "kmeans":
        return np.asarray(spherical_kmeans_labels(corpus.vectors, k, seed=0), np.int64), k
    return np.random.default_rng(0).integers(0, k, len(corpus.documents)), k


def prepare(name: str, config: ProxyConfig, folder: Path, corpus: Callable[[], Corpus]) -> None:
    """Write streams, windows, counts and token counts of one partition; what is there already stays."""
    if (folder / SUPPLY).is_file():
        return
    found = corpus()
    labels, k = partition(found, name)
    context, tokenizer = config.model.context, found.tokenizer
    names = tuple(map(str, range(k)))
    split = build_pool(found.documents, labels, found.ranks, tokenizer, names, config.pool, context=context)
    for purpose, texts in (("swarm", found.for_swarm), ("confirmation", found.for_confirmation)):
        parts = [split.evaluation] if split.evaluation is not None else []
        parts += [
            target_windows(target, tokenizer.encode(given), tokenizer, context=context, windows=TARGET_WINDOWS)
            for target, given in sorted(texts.items())
        ]
        (folder / purpose).mkdir(parents=True, exist_ok=True)
        split.pool.save(folder / purpose)
        EvaluationSet.concatenate(parts).save(folder / purpose)
    trained_on = np.ones(len(labels), bool)
    trained_on[split.held_out] = False
    own = np.where(trained_on, labels, -1)
    count_documents(found.documents, own, vocab=tokenizer.vocab, domains=k, tokenizer=tokenizer.digest).save(folder)
    documents = np.bincount(labels[trained_on], minlength=k)
    (folder / SUPPLY).write_text(json.dumps({"documents": documents.tolist()}), encoding="utf-8")


def run_partition(
    name: str,
    config: ProxyConfig,
    folder: Path,
    corpus: Callable[[], Corpus],
    *,
    mixtures: int,
    arms: Sequence[str],
    engine: EngineResource,
    swarm_only: bool = False,
) -> dict[str, object]:
    """The whole pipeline for one partition, the same for clusters and for floors; returns what is reported."""
    prepare(name, config, folder, corpus)
    evaluation = EvaluationSet.load(folder / "swarm")
    started = time.process_time()
    counts = DomainCounts.load(folder)
    k = counts.domains
    names = tuple(map(str, range(k)))
    lexical = LexicalProxy.of(counts, evaluation, config.counts, config.tau)
    documents = np.array(json.loads((folder / SUPPLY).read_text(encoding="utf-8"))["documents"], np.int64)
    tokens = counts.tokens
    supply = ClusterSupply(np.arange(k), documents, tokens, tokens)
    mixing = MixingConfig()
    targets = [t for t, inside in zip(evaluation.names, evaluation.in_domain, strict=True) if not inside]
    importance = dict.fromkeys(targets, 1.0)
    optimum = lexical_optimum(lexical, supply, mixing, importance)
    stage0_s = time.process_time() - started
    drawn = draw_mixtures("regmix", supply.token_shares, mixtures - len(BASELINES) - 1)
    design = grown_design(drawn, supply, mixing, optimum.shares, TokenPool.load(folder / "swarm"))
    spec = SwarmSpec(config, folder / "swarm", name, names)
    rows = run_swarm(
        swarm_jobs(design.labels, design.mixtures, config),
        spec,
        folder / "rows",
        map_shards=engine.map,
        progress=said(name, "proxies"),
    )
    swarm = trained_swarm(rows)
    extra = {NGRAM: ngram_laws(lexical, swarm.table.targets)}
    learned = learn_recipe(
        "learned",
        swarm.table,
        MixtureFrame(supply, {}, name, counts.tokenizer, mixing),
        targets=importance,
        candidates=LEARNED,
        extra=extra,
        splits=SPLITS,
    )
    noise = seed_noise(rows)
    inside = np.isin(swarm.table.targets, swarm.in_domain)
    evidence = learned.recipe.evidence
    assert evidence is not None
    zero, one = lexical.losses(swarm.table.mixtures), swarm.table.losses
    report: dict[str, object] = {
        "domains": k,
        "largest_over_smallest": round(float(tokens.max() / max(tokens.min(), 1)), 2),
        "proxies": len(rows),
        "proxy_cpu_s": round(float(rows.seconds.mean()), 2),
        "stage0_cpu_s": round(stage0_s, 2),
        "stage0_against_stage1": {
            "targets": round(100 * mean_spearman(zero[:, ~inside], one[:, ~inside]), 1),
            "in_domain": round(100 * mean_spearman(zero[:, inside], one[:, inside]), 1),
            "mean_of_targets": round(
                100 * mean_spearman(zero[:, ~inside].mean(1, keepdims=True), one[:, ~inside].mean(1, keepdims=True)), 1
            ),
        },
        "seed_noise_over_spread": {
            "targets": round(float(noise.ratio[~inside].mean()), 3),
            "in_domain": round(float(noise.ratio[inside].mean()), 3),
            "mean": round(noise.mean_within / noise.mean_between, 3),
        },
        "spread_between_mixtures": round(float(noise.between[~inside].mean()), 4),
        "laws": sorted({f.name for f in learned.targets}),
        "cv_spearman": round(evidence.cv_spearman or 0.0, 3),
        "kl_to_prior": round(evidence.kl_to_prior or 0.0, 3),
        "predicted_gain_over_proportional": round(
            (evidence.predicted_loss or 0.0) - (evidence.predicted_loss_proportional or 0.0), 4
        ),
        "proxies_say": evidence.verdict,
    }
    print(f"{name}, swarm: {json.dumps(report)}", flush=True)
    if swarm_only:
        report["held_out_spearman"] = held_out(swarm, extra, every_law=name == PARTITIONS[0])
        return report
    baselines = baseline_mixtures(supply, mixing)
    every = {"learned": learned.recipe.shares, "lexical": optimum.shares, **baselines}
    confirmation = confirm(
        {arm: every[arm] for arm in arms},
        range(config.confirmation.seeds),
        SwarmSpec(config.at_next_size(), folder / "confirmation", name, names),
        folder / "rows",
        importance,
        map_shards=engine.map,
        progress=said(name, "models"),
    )
    report |= {
        "arms": {
            arm: {
                "target": confirmation.target[a].round(4).tolist(),
                "in_domain": confirmation.in_domain[a].round(4).tolist(),
                "against_proportional": confirmation.difference(arm, "proportional").round(4).tolist(),
                "wins": confirmation.wins(arm),
            }
            for a, arm in enumerate(confirmation.arms)
        },
        "wins": confirmation.wins("learned"),
        "seeds": len(confirmation.seeds),
        "verdict": confirmation.verdict("learned"),
    }
    print(f"{name}, confirmation: {report['verdict']}", flush=True)
    report["held_out_spearman"] = held_out(swarm, extra, every_law=name == PARTITIONS[0])
    return report


def held_out(swarm: TrainedSwarm, extra: dict[str, dict[str, object]], *, every_law: bool) -> dict[str, object]:
    """Mean over targets of the rank correlation x 100 of five-fold held-out predictions, by law.

    The laws that are slow to fit are judged on the targets alone, and on clusters of GEM alone.
    """
    found: dict[str, object] = {}
    for law in (*LEARNED, *(SLOW if every_law else ())):
        groups = {"targets": swarm.other} | ({} if law in SLOW else {"in_domain": swarm.in_domain})
        found[law] = {
            group: round(
                float(np.mean([100 * np.nan_to_num(correlation(swarm, law, target, extra)) for target in members])), 1
            )
            for group, members in groups.items()
        }
    return found


def correlation(swarm: TrainedSwarm, law: str, target: str, extra: dict[str, dict[str, object]]) -> float:
    losses = swarm.table.loss_of(target)
    return spearman(predict_held_out(extra.get(law, {}).get(target) or LAWS[law], swarm.table.mixtures, losses), losses)


def said(name: str, what: str):
    last = [0.0]

    def progress(done: int, total: int, left: float | None) -> None:
        if time.monotonic() - last[0] > 30 or done == total:
            last[0] = time.monotonic()
            print(f"{name}: {done} of {total} {what}" + (f", {left:.0f} s left" if left else ""), flush=True)

    return progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one partition and its floor, shorter models, 12 proxies")
    parser.add_argument("--only", nargs="*", default=None, choices=PARTITIONS)
    parser.add_argument("--swarm-only", action="store_true", help="no confirmation runs")
    parser.add_argument("--work", type=Path, default=None, help="folder that keeps finished models")
    asked = parser.parse_args()
    config = settings(asked.quick)
    chosen = asked.only or (("gem-12", "random-12") if asked.quick else PARTITIONS)
    work = asked.work or Path(tempfile.gettempdir()) / f"gem-confirm-{'quick' if asked.quick else 'full'}"
    corpus = cache(partial(read_corpus, config))
    engine = EngineResource(kind="local", workers=len(os.sched_getaffinity(0)), shard_timeout_s=3600)
    results: dict[str, dict[str, object]] = {}
    for name in chosen:
        first_one = name == PARTITIONS[0]
        results[name] = run_partition(
            name,
            config,
            work / name,
            corpus,
            mixtures=14 if asked.quick else 36 if first_one else 32,
            arms=("learned", *(("lexical",) if first_one else ()), "proportional", "uniform"),
            engine=engine,
            swarm_only=asked.swarm_only,
        )
        print(f"{name}: {json.dumps(results[name])}", flush=True)
    first = results[chosen[0]]
    print(
        json.dumps(
            {
                "proxy": f"{config.model.non_embedding} parameters x {config.training.tokens} tokens",
                "model": f"{config.confirmation.model.non_embedding} parameters x "
                f"{config.confirmation.training.tokens} tokens",
                "partition": chosen[0],
                "wins": first.get("wins"),
                "seeds": first.get("seeds"),
                "partitions": results,
            }
        )
    )


if __name__ == "__main__":
    main()
