"""``proxy_tokens``, ``cluster_counts`` and ``proxy_swarm``: what mixtures are judged by."""

from collections.abc import Mapping, Sequence
from typing import Any

from gem_assets.assets.common import GROUP_EVIDENCE, every_partition, page_link, picture, table
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.orchestration.purpose import expensive
from gem_assets.orchestration.stage import Making
from gem_assets.proxy.config import CODE_VERSION, TOKENS_CODE_VERSION
from gem_assets.proxy.counted import COUNTING, counting_of, counts_of
from gem_assets.stages import (
    CLUSTER_COUNTS,
    PAGE_HISTORY,
    PROXY_SWARM,
    PROXY_TOKENS,
    RAW_SHARDS,
    STUDENT_LABELS,
)
from gem_assets.storage.artifacts import Artifact
from gem_assets.storage.manifest import InputRef
from resources import StoreResource


@stage_asset(
    group=GROUP_EVIDENCE,
    kinds={"numpy", "huggingface"},
    code_version=TOKENS_CODE_VERSION,
    libraries=("tokenizers",),
    description='Expensive: made once per teacher. "Materialize all" makes it on a new data root and after a refit.\n\n'
    "What proxies read: a small tokenizer, one token stream per cluster, and fixed windows of held-out "
    "text (and of the validation texts in `proxy.targets`) that every mixture is judged by. They are kept as long as "
    "the clusters are, so that a new snapshot does not make all evidence stale. When a document is taken down, its "
    "tokens are removed and nothing else changes.",
    costly=expensive(first=True, refits=True),
    reads=[every_partition(RAW_SHARDS)],
)
def proxy_tokens(
    work: Work,
    teacher_clusters: InputRef,
    student_model: InputRef,
    page_history: InputRef,
    student_labels: list[InputRef],
) -> Making:
    from pathlib import Path

    from gem_assets.proxy.pool import PoolError
    from gem_assets.proxy.prepare import load_texts
    from gem_assets.storage.identity import digest
    from gem_assets.storage.store import MissingInputError
    from gem_assets.takedown.certificate import taken_down
    from gem_assets.takedown.holdings import TAKEN_DOWN, blocked_tokens
    from gem_assets.takedown.request import blocklist_input

    conf, store, labels = work.settings.proxy, work.store, student_labels
    before = store.artifacts.current(PROXY_TOKENS)
    try:
        texts = load_texts(Path(conf.targets)) if conf.targets is not None else {}
    except PoolError as error:
        # a plan lists what is missing, and continues
        raise MissingInputError(f"proxy.targets: {error}") from error
    config = {
        "tokenizer": conf.tokenizer,
        "pool": conf.pool,
        "context": conf.model.context,
        "targets": digest(texts) if texts else None,
    }
    held, blocked = blocked_tokens(taken_down(store.artifacts), before)
    # documents leave the tokens as they are; snapshots that came later wait for the next preparation
    lessened = before if held and is_made_from(before, config, conf.seed, [teacher_clusters, student_model]) else None
    if lessened is not None:
        known = {ref.key for ref in lessened.manifest.inputs}
        labels = [ref for ref in labels if ref.key in known]
    shards = [store.input(RAW_SHARDS, ref.partition) for ref in labels]
    stage = work.stage(
        config=config,
        inputs=[
            teacher_clusters,
            student_model,
            *labels,
            *shards,
            *(ref for label in labels for ref in superseded_input(store, page_history, label.partition)),
            *blocklist_input(blocked),
            *([InputRef(asset=PROXY_TOKENS, data_version=lessened.identity)] if lessened is not None else []),
        ],
        seed=conf.seed,
    )
    yield stage
    if stage.done is None:
        from gem_assets.corpus.recrawls import Selection
        from gem_assets.proxy.contents import without_documents
        from gem_assets.proxy.prepare import prepare_data

        k = int(store.artifact(teacher_clusters).manifest.counts["clusters"])
        with stage.write() as draft, store.scratch() as scratch:
            if lessened is not None:
                report = without_documents(lessened.path, held, draft.path)
            else:
                selection = Selection.read(store.artifact(page_history).path)
                report = prepare_data(
                    lambda columns: selection.used(store.table_scan(labels)(columns)),
                    store.shards(shards),
                    tuple(map(str, range(k))),
                    conf,
                    draft.path,
                    scratch,
                    targets=texts,
                    map_shards=work.engine.shard_map(PROXY_TOKENS),
                )
            draft.counts = {
                "tokens": sum(report.domain_tokens),
                "clusters": k,
                "targets": len(report.targets),
                "vocab": report.vocab,
            }
            draft.metrics = {
                "tokenizer": report.tokenizer,
                COUNTING: report.counting,
                "without_window": list(report.without_target),
                "bytes_per_token": report.bytes_per_token,
                "domain_tokens": list(report.domain_tokens),
                TAKEN_DOWN: blocked,
            }
    manifest = stage.artifact.manifest
    metrics: dict[str, Any] = dict(manifest.metrics)
    rows = [{"cluster": k, "tokens": n} for k, n in enumerate(metrics["domain_tokens"])]
    return stage.result(
        {
            **manifest.counts,
            "bytes_per_token": metrics["bytes_per_token"],
            "clusters_without_window": ", ".join(metrics["without_window"]) or "none",
            "documents_taken_down": len(metrics[TAKEN_DOWN]),
            "tokens_by_cluster": table(rows),
        }
    )


@stage_asset(
    group=GROUP_EVIDENCE,
    kinds={"numpy", "parquet"},
    code_version=CODE_VERSION,
    libraries=("tokenizers",),
    description="N-gram counts of every cluster in one snapshot: exact, sparse and additive, so that a new snapshot is "
    "counted alone. They are all that the lexical proxy (stage 0) needs. Versions of a page that `recrawls.use` leaves "
    "out are not counted; a snapshot is counted again when the setting leaves out others of its own.",
)
def cluster_counts(
    work: Work, raw_shards: InputRef, student_labels: InputRef, proxy_tokens: InputRef, page_history: InputRef
) -> Making:
    snapshot, store = work.partition, work.store
    order = max(2, work.settings.proxy.counts.order)
    prepared = store.artifact(proxy_tokens)
    stage = work.stage(
        config={"order": order, "table": student_labels.lance_table},
        # of the tokens a count takes the tokenizer and which documents are held out, and these outlive a takedown
        inputs=[
            InputRef(asset=PROXY_TOKENS, data_version=counting_of(prepared)),
            raw_shards,
            student_labels,
            *superseded_input(store, page_history, snapshot),
        ],
    )
    yield stage
    if stage.done is None:
        from gem_assets.corpus.recrawls import Selection
        from gem_assets.proxy.prepare import count_snapshot

        selection = Selection.read(store.artifact(page_history).path, snapshot)
        with stage.write() as draft, store.scratch() as scratch:
            counts = count_snapshot(
                lambda columns: selection.used(store.table_scan([student_labels])(columns)),
                store.shards([raw_shards])[snapshot],
                int(prepared.manifest.counts["clusters"]),
                prepared.path,
                draft.path,
                scratch,
                order=order,
                map_shards=work.engine.shard_map(CLUSTER_COUNTS),
            )
            draft.counts = {"tokens": int(counts.tokens.sum()), "ngrams": sum(len(keys) for keys in counts.keys)}
            draft.metrics = {"order": order, "tokens_by_cluster": counts.tokens.tolist()}
    manifest = stage.artifact.manifest
    metrics: dict[str, Any] = dict(manifest.metrics)
    rows = [{"cluster": k, "tokens": n} for k, n in enumerate(metrics["tokens_by_cluster"])]
    return stage.result({**manifest.counts, "ngram_order": order, "tokens_by_cluster": table(rows)})


@stage_asset(
    group=GROUP_EVIDENCE,
    kinds={"pytorch", "parquet"},
    code_version=CODE_VERSION,
    pool=PROXY_SWARM,
    libraries=("torch", "numpy"),
    description="Expensive, and only made when asked for: trains hundreds of tiny models.\n\n"
    "Mixtures and the losses that tiny transformers reach on them, as a growing table: keyed by mixture, "
    "proxy configuration, clusters and seed, so a rerun trains only what is missing and a kill loses at most one proxy "
    "per core. Uniform, proportional, UniMax and the stage-0 optimum are always among the mixtures.",
    costly=expensive(),
    reads=[every_partition(CLUSTER_COUNTS)],
)
def proxy_swarm(
    work: Work, proxy_tokens: InputRef, domain_inventory: InputRef, teacher_clusters: InputRef, gis_taxonomy: InputRef
) -> Making:
    from gem_assets.mixing.inventory import read_supply
    from gem_assets.mixing.pages import SWARM_PAGE
    from gem_assets.mixing.swarm.groups import GroupError, cluster_groups
    from gem_assets.mixing.swarm.growth import drawn_mixtures, matched_repetition
    from gem_assets.storage.store import MissingInputError
    from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy

    conf, mixing, store = work.settings.proxy, work.settings.mixing, work.store
    check_same_labels(store, proxy_tokens, domain_inventory)
    counted = counts_of(store, proxy_tokens)
    data, folder = store.artifact(proxy_tokens), store.cache(PROXY_SWARM)
    k = int(data.manifest.counts["clusters"])
    supply = read_supply(store.artifact(domain_inventory).path, k)
    taxonomy = Taxonomy.read(store.artifact(gis_taxonomy).path / TAXONOMY_NAME)
    try:
        groups = cluster_groups(taxonomy, conf.groups) if conf.sampler == "hierarchical" else None
    except GroupError as error:
        # a plan lists what is missing, and continues
        raise MissingInputError(str(error)) from error
    drawn, drawing = drawn_mixtures(folder, str(teacher_clusters.identity), supply, conf, groups)
    repetition = matched_repetition(folder, str(teacher_clusters.identity), supply, conf, mixing)
    stage = work.stage(
        config={
            "proxy": conf.of_the_swarm(),
            "mixing": mixing,
            "drawn": drawing,
            "repetition": repetition.stored() if repetition is not None else None,
        },
        inputs=[proxy_tokens, domain_inventory, teacher_clusters, *counted],
        seed=conf.seed,
    )
    yield stage
    if stage.done is None:
        from gem_assets.mixing.methods.lexical import lexical_optimum
        from gem_assets.mixing.pages import swarm_page
        from gem_assets.mixing.swarm.growth import (
            grown_design,
            lexical_proxy,
            merge_counts,
            publish_swarm,
            swarm_spec,
            train_design,
            wanted_targets,
        )

        lexical = lexical_proxy(merge_counts([store.artifact(ref).path for ref in counted]), data.path, conf)
        optimum = lexical_optimum(lexical, supply, mixing, wanted_targets(data.path))
        spec = swarm_spec(conf, data.path, str(teacher_clusters.identity), k, repetition)
        design = grown_design(drawn, supply, mixing, optimum.shares, spec.pool())
        report = stage.progress(work.context)
        with stage.keeping("every finished proxy is kept"):
            rows = train_design(
                design,
                spec,
                folder,
                map_shards=work.engine.shard_map(PROXY_SWARM),
                progress=lambda done, total, left: report(
                    f"{done} of {total} proxies" + ("" if left is None else f", about {left:.0f} s left")
                ),
            )
        with stage.write() as draft:
            names = taxonomy.names
            swarm, figures = publish_swarm(rows, lexical, names, draft.path, repetition)
            (draft.path / SWARM_PAGE).write_text(swarm_page(draft.path, names), encoding="utf-8")
            draft.counts = {"proxies": len(rows), "mixtures": len(swarm.labels), "failed": len(rows.failed)}
            draft.metrics = {name: value for name, value in figures.items() if name not in draft.counts}

    from gem_assets.mixing.swarm.growth import PICTURE, describe_swarm

    folder = stage.artifact.path
    found = describe_swarm(folder)
    return stage.result(
        {
            **found.figures,
            "mixtures_by_loss": table(found.mixtures),
            "shares_against_loss": picture(folder, PICTURE, "Loss of every proxy against the share of a cluster"),
            "page": page_link(folder, SWARM_PAGE),
        }
    )


def check_same_labels(store: StoreResource, tokens: InputRef, inventory: InputRef) -> None:
    """Refuse tokens and an inventory that were made from the labels of different models.

    Raises MissingInputError when they were; a cluster's number would mean one thing in the evidence and another in the
    recipe.
    """
    from gem_assets.storage.store import MissingInputError

    tables = [
        {ref.lance_table for ref in store.artifact(made).manifest.inputs if ref.asset == STUDENT_LABELS}
        for made in (tokens, inventory)
    ]
    if tables[0] != tables[1]:
        raise MissingInputError(
            "proxy_tokens and domain_inventory were made from the labels of different models; materialize proxy_tokens "
            "and cluster_counts again"
        )


def is_made_from(tokens: Artifact | None, config: Mapping[str, Any], seed: int, fitted: Sequence[InputRef]) -> bool:
    """Tell whether prepared tokens are of these settings and of these fitted results."""
    from gem_assets.storage.identity import plain

    if tokens is None:
        return False
    made = tokens.manifest
    return (
        made.code_version == TOKENS_CODE_VERSION
        and made.config == plain(config)
        and made.seed == seed
        and {ref.identity for ref in fitted} <= {ref.identity for ref in made.inputs}
    )


def superseded_input(store: StoreResource, pages: InputRef, snapshot: str | None) -> list[InputRef]:
    """Return what an identity takes of the page history: the documents of one snapshot that mixtures leave out.

    Nothing when there is none, so that a history that grows changes only the snapshots that it concerns.
    """
    from gem_assets.corpus.recrawls import Selection

    left_out = Selection.read(store.artifact(pages).path, snapshot)
    rows = len(left_out.superseded)
    found = InputRef(asset=PAGE_HISTORY, partition=snapshot, data_version=left_out.version, rows=rows)
    return [found] if rows else []
