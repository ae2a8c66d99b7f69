"""``training_order`` and ``mixture_audit``, one partition per strategy: what a trainer reads, and the account of it."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from gem_assets.assets.common import (
    GROUP_TRAINING,
    every_partition,
    page_link,
    picture,
    table,
)
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.assets.partitions import of_strategies
from gem_assets.audit.config import CODE_VERSION as AUDIT_CODE_VERSION
from gem_assets.mixing.methods.registry import strategies
from gem_assets.orchestration.stage import Making
from gem_assets.ordering.config import CODE_VERSION
from gem_assets.stages import (
    DOMAIN_INVENTORY,
    ORDERS,
    RAW_SHARDS,
    RECIPES,
    STUDENT_LABELS,
    STUDENT_MODEL,
    result_of,
    strategy_of,
)
from gem_assets.storage.manifest import InputRef
from resources import StoreResource

if TYPE_CHECKING:
    from gem_assets.export.records import ExportRecord


@stage_asset(
    partitions=of_strategies(strategies()),
    group=GROUP_TRAINING,
    kinds={"parquet", "duckdb"},
    code_version=CODE_VERSION,
    pool=ORDERS,
    libraries=("duckdb", "numpy"),
    description="The documents of a mixture in training order: drawn with whole and fractional "
    "repetitions so that token shares hold in every window, along the curve that `ordering.curve` names "
    "(random, curriculum, folding, zigzag, segment, STR, SAW). `balanced` is kept current; the others are "
    "made on request.",
    reads=[STUDENT_MODEL],
)
def training_order(work: Work, recipes: InputRef, page_history: InputRef, student_labels: list[InputRef]) -> Making:
    from gem_assets.ordering.scores import label_columns, pin_scores, score_files
    from gem_assets.student.schema import LABEL_SCHEMA

    store, root, conf = work.store, work.settings.data_root, work.settings.ordering
    columns, scores = label_columns(conf, LABEL_SCHEMA.names), score_files(conf, root)
    labels = known_labels(store, recipes, student_labels)
    inputs = [recipes, page_history, *labels, *pin_scores(scores, root)]
    stage = work.stage(config=conf, inputs=inputs, seed=conf.draw_seed)
    yield stage
    if stage.done is None:
        from gem_assets.corpus.recrawls import Selection
        from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
        from gem_assets.ordering.publish import publish_order

        with stage.write() as draft:
            published = publish_order(
                Selection.read(store.artifact(page_history).path).used(store.table_scan(labels)(columns)),
                Recipe.read(store.artifact(recipes).path / RECIPE_NAME),
                conf,
                draft.path,
                scores,
            )
            report = published.report
            draft.counts = {"rows": report.rows, "tokens": report.tokens}
            draft.metrics = {
                "share_error": report.share_error,
                "window_share_error": report.window_share_error,
                "left_out": dict(report.left_out),
                "clusters": report.as_dict()["clusters"],
                "guidelines": published.guidelines,
            }

    from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
    from gem_assets.ordering.publish import CURVE_NAME, SHARES_NAME

    manifest, folder = stage.artifact.manifest, stage.artifact.path
    chosen = Recipe.read(store.artifact(recipes).path / RECIPE_NAME)
    return stage.result(
        {
            "dagster/row_count": manifest.counts["rows"],
            **manifest.counts,
            "counted_with": chosen.tokenizer,
            **_bias_on_record(store, recipes.asset, {one.cluster: one.name for one in chosen.entries}),
            "curve": conf.curve.strategy,
            "score": conf.score,
            "share_error": manifest.metrics["share_error"],
            "window_share_error": manifest.metrics["window_share_error"],
            "left_out": manifest.metrics["left_out"],
            "clusters": table(manifest.metrics["clusters"], CLUSTER_COLUMNS),
            "guidelines": table(manifest.metrics["guidelines"], GUIDELINE_COLUMNS),
            "curve_picture": picture(folder, CURVE_NAME, "Rank of the score along the run"),
            "shares_picture": picture(folder, SHARES_NAME, "Token shares along the run"),
            "files": dg.MetadataValue.path(str(folder)),
        }
    )


def known_labels(store: StoreResource, recipe: InputRef, labels: list[InputRef]) -> list[InputRef]:
    """Return the labels if the recipe was made knowing them.

    Raises MissingInputError when a snapshot, its documents, or the model that labelled them, came after the recipe: its
    shares say nothing of those. An order that shows what was taken down is made again from what is left of the
    snapshots that its recipe knows.
    """
    from gem_assets.storage.store import MissingInputError
    from gem_assets.takedown.certificate import shows_blocked

    inventory = store.artifact(store.ancestor(recipe, DOMAIN_INVENTORY)).manifest
    counted = {ref.partition: ref for ref in inventory.inputs if ref.asset == STUDENT_LABELS}
    known = [ref for ref in labels if (one := counted.get(ref.partition)) and one.lance_table == ref.lance_table]
    strange = [ref for ref in labels if ref not in known or ref.data_version != counted[ref.partition].data_version]
    if not strange:
        return labels
    strategy = strategy_of(recipe.asset, RECIPES) or ""
    if known and "://" not in store.root and shows_blocked(store.root, result_of(ORDERS, strategy)):
        return known
    names = ", ".join(ref.key for ref in strange)
    raise MissingInputError(
        f"{recipe.asset} does not know {names}: the labels are newer than the recipe. Make it again first: "
        f"gem run --until {recipe.asset}"
    )


def share_bias(record: "ExportRecord", names: Mapping[int, str]) -> dict[str, Any]:
    """Return what the page of an order shows of an export that counted it with another tokenizer."""
    bias = sorted(record.share_bias.items(), key=lambda one: -abs(one[1]))
    rows = [
        {"cluster": names.get(number, f"Cluster {number}"), "share is off by": f"{part:+.1%}"} for number, part in bias
    ]
    tokenizer = Path(record.tokenizer or "").name
    found = (
        f"order {str(record.order)[:12]} by {tokenizer}, as the {record.trainer} export of {record.at:%Y-%m-%d} found"
    )
    return {"share_bias": table(rows), "share_bias_of": found}


def _bias_on_record(store: StoreResource, mixture: str, names: Mapping[int, str]) -> dict[str, Any]:
    from gem_assets.export.records import latest_bias

    record = None
    if "://" not in store.root:
        with contextlib.suppress(ValueError):  # a torn record is for gem doctor to name, and stops no order
            record = latest_bias(Path(store.root), mixture)
    return share_bias(record, names) if record is not None else {}


@stage_asset(
    partitions=of_strategies(strategies()),
    group=GROUP_TRAINING,
    kinds={"json", "parquet"},
    code_version=AUDIT_CODE_VERSION,
    libraries=("duckdb", "publicsuffixlist"),
    description="The account of a training order: every document with how often it is shown, the Merkle "
    "root over them, shares by language, source and licence as trained, the lineage down to the landed files, and "
    "the audit pack: a page, data card, EU summary, Croissant, SPDX and OpenLineage.",
    reads=[every_partition(STUDENT_LABELS)],
)
def mixture_audit(work: Work, training_order: InputRef) -> Making:
    from gem_assets.audit.config import openlineage_available
    from gem_assets.lineage.walk import walk

    conf, store = work.settings.audit, work.store
    made = store.artifact(training_order)
    stage = work.stage(config={**conf.model_dump(), "openlineage": openlineage_available()})
    yield stage
    lineage = walk(store.artifacts, training_order.asset, identity=training_order.identity)
    if stage.done is None:
        import pyarrow as pa

        from gem_assets.audit.pack import write_pack
        from gem_assets.lineage.audit import COLUMNS, publish_audit
        from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
        from gem_assets.student.schema import LABEL_SCHEMA

        labels = [ref for ref in made.manifest.inputs if ref.asset == STUDENT_LABELS]
        recipe = next(ref for ref in made.manifest.inputs if strategy_of(ref.asset, RECIPES))
        shards = [r for ref in labels for r in store.artifact(ref).manifest.inputs if r.asset == RAW_SHARDS]
        schema = pa.schema([LABEL_SCHEMA.field(name) for name in COLUMNS])
        documents = pa.RecordBatchReader.from_batches(
            schema, (batch.select(COLUMNS).cast(schema) for batch in store.table_scan(labels)(COLUMNS))
        )
        with stage.write() as draft:
            held = store.shards(shards)
            texts = [path for paths in held.values() for path in paths]
            report = publish_audit(
                sorted(made.path.glob("*.parquet")), documents, lineage.to_dict(), draft.path, shards=texts
            )
            chosen = Recipe.read(store.artifact(recipe).path / RECIPE_NAME)
            write_pack(draft.path, lineage, chosen, conf, held)
            draft.counts = {"documents": report.documents, "exposures": report.exposures, "tokens": report.tokens}
            draft.metrics = report.model_dump(mode="json")

    from gem_assets.audit.pack import read_facts

    facts, folder = read_facts(stage.artifact.path), stage.artifact.path
    return stage.result(
        {
            "dagster/row_count": facts.report.documents,
            **stage.artifact.manifest.counts,
            "page": page_link(folder, "index.html"),
            **{name: page_link(folder, file) for name, file in FORMS.items() if (folder / file).is_file()},
            "merkle_root": facts.report.merkle_root,
            "most_repeated": facts.report.most_repeated,
            "dates": f"{facts.crawl.first} to {facts.crawl.last}" if facts.crawl.first else "no dates",
            "a_person_must_state": ", ".join(facts.not_stated) or "all is stated",
            "top_domains": table([d.model_dump() for d in facts.domains.largest[:MOST_ROWS]], DOMAIN_COLUMNS),
            **{
                f"by_{name}": table([group.model_dump() for group in groups[:MOST_ROWS]], GROUP_COLUMNS)
                for name, groups in facts.report.composition.items()
            },
            "clusters": table([cluster.model_dump() for cluster in facts.clusters]),
            "lineage": dg.MetadataValue.md(f"```\n{lineage.text()}\n```"),
            "files": dg.MetadataValue.path(str(folder)),
        }
    )


FORMS = {
    "data_card": "data_card.html",
    "eu_summary": "eu_summary.html",
    "croissant": "croissant.json",
    "spdx": "spdx.json",
    "openlineage": "openlineage.jsonl",
    "lineage_page": "lineage.html",
    "domains": "domains.csv",
}
MOST_ROWS = 15
DOMAIN_COLUMNS = ["domain", "share", "bytes", "documents", "exposures"]
GROUP_COLUMNS = ["value", "token_share", "tokens", "documents"]
# the figures before the words, which fill the width of the page
GUIDELINE_COLUMNS = ["inside clusters", "over all documents", "figure"]
CLUSTER_COLUMNS = ["cluster", "share", "tokens", "target_tokens", "documents", "exposures", "epochs", "most_repeats"]
