"""Every page shows what data says and never obeys it: all names, addresses and texts hold markup and quotes."""

import dataclasses
import json
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pyarrow as pa
import pytest
from pydantic import BaseModel

from gem_assets.audit.config import AuditConfig
from gem_assets.audit.facts import Account, AuditFacts
from gem_assets.audit.index_page import index_page
from gem_assets.lineage.audit import Composition
from gem_assets.lineage.walk import Fault, Lineage, Node
from gem_assets.mixing.comparison import Comparison, Decision
from gem_assets.mixing.pages import comparison_page, swarm_page
from gem_assets.mixing.recipe import Recipe
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.mixing.swarm.table import SwarmTable
from gem_assets.report.markdown_page import markdown_page
from gem_assets.report.plots import cluster_shares
from gem_assets.report.tables import markdown_table
from gem_assets.storage.artifacts import Artifact
from gem_assets.storage.manifest import InputRef, Manifest
from gem_assets.taxonomy.page import taxonomy_page
from gem_assets.taxonomy.taxonomy import Taxonomy
from gem_assets.teacher.cluster_page import cluster_page
from gem_assets.teacher.compare import TEACHER, ClusterReport
from gem_assets.tracing.answer import Trace, TracedDomain
from gem_assets.tracing.diff import MixtureDiff
from gem_assets.tracing.pages import diff_page, lineage_page, trace_page
from tests.report.test_pages import EVIL, SHOWN, check_is_inert

URL = 'https://x/"onmouseover="alert(1)<script>'
PNG = cluster_shares(np.array([1.0]), np.array([1.0]))


def hostile(kind: Any, **known: Any) -> Any:
    """Return a value of a type, of which every text is hostile and every sequence has one element."""
    origin, parts = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        made = {name: hostile(field.annotation) for name, field in kind.model_fields.items()}
        made |= {"url": URL} if "url" in made else {}
        return kind.model_construct(**made | known)
    if dataclasses.is_dataclass(kind):
        return kind(**{name: hostile(part) for name, part in get_type_hints(kind).items()})
    if origin is Annotated:
        return hostile(parts[0])
    if origin in (Union, types.UnionType):
        return hostile(parts[0])
    if origin is Literal:
        return parts[0]
    if origin is dict:
        return {hostile(parts[0]): hostile(parts[1])}
    if origin in (list, tuple):
        return origin([hostile(parts[0])])
    return {str: EVIL, bool: False, int: 0, float: 0.25}.get(kind)


def recipe(strategy: str) -> Recipe:
    one = np.array([0])
    supply = ClusterSupply(clusters=one, tokens=one + 5, docs=one + 2, n_bytes=one + 9)
    return Recipe.create(
        strategy, [1.0], supply, names={0: EVIL}, taxonomy_version=EVIL, tokenizer=EVIL, repetition_cap=4.0
    )


def lineage() -> Lineage:
    node = Node(EVIL, Artifact(Path(), hostile(Manifest), EVIL), (EVIL,))
    return Lineage(EVIL, {EVIL: node}, {EVIL: hostile(InputRef)})


def audit(tmp_path: Any) -> str:
    groups = {name: [hostile(Composition)] for name in ("license", "lang", "source")}
    facts = hostile(AuditFacts)
    facts.report.composition.clear()
    facts.report.composition.update(groups)
    domains = pa.table({"domain": [EVIL], "bytes": [1]})
    return index_page(Account(facts, lineage(), recipe(EVIL), AuditConfig(), domains, tmp_path), [])


def recipes(_: Any) -> str:
    texts = dict.fromkeys(("recipe", "law", "verdict"), EVIL)
    numbers = dict.fromkeys(("cv_spearman", "predicted_loss", "predicted_gain", "measured_gain", "in_domain_gain"), 0.1)
    row = {**texts, **numbers, "recommended": True, "kl_to_prior": 0.1, "most_epochs": 1.0, "seeds": 2}
    row |= {"over_proportional": 1, "over_uniform": 2, "wins": 1}
    row |= {"predicted_gain_interval": (0.0, 0.2), "measured_gain_interval": None}
    return comparison_page(Comparison((row,), Decision(EVIL, EVIL)), [recipe(EVIL)])


def swarm(tmp_path: Any) -> str:
    table = SwarmTable((EVIL,), ("0",), ("t",), np.ones((1, 1)), np.ones((1, 1)))
    table.write(tmp_path / "swarm.parquet")
    row = {"mixture": EVIL, "target_loss": 1.0, "stage0_loss": 2.0}
    report = {"labels": [EVIL], "figures": {"proxies": EVIL}, "mixtures": [row]}
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "shares.png").write_bytes(PNG)
    return swarm_page(tmp_path, {0: EVIL})


def clusters(_: Any) -> str:
    report = hostile(ClusterReport)
    report.clusterings[0].__dict__["name"] = TEACHER
    return cluster_page(report, {EVIL: PNG}, EVIL)


PAGES = {
    "audit": audit,
    "clusters": clusters,
    "diff": lambda _: diff_page(hostile(MixtureDiff)),
    "form": lambda _: markdown_page(EVIL, f"{EVIL}\n\n{markdown_table([{EVIL: EVIL}])}", EVIL),
    "lineage": lambda _: lineage_page(lineage(), [hostile(Fault)]),
    "recipes": recipes,
    "swarm": swarm,
    "taxonomy": lambda _: taxonomy_page(hostile(Taxonomy), PNG, PNG),
    "trace of a document": lambda _: trace_page(hostile(Trace, domain=None)),
    "trace of a domain": lambda _: trace_page(hostile(Trace, documents=(), domain=hostile(TracedDomain))),
    "trace of nothing": lambda _: trace_page(hostile(Trace, documents=(), domain=None)),
}


@pytest.mark.parametrize("name", PAGES)
def test_markup_in_data_is_shown_and_not_obeyed(name, tmp_path):
    text = PAGES[name](tmp_path)
    reader = check_is_inert(text)
    assert "<script" not in text
    assert reader.text.count(SHOWN) >= 3
    assert PAGES[name](tmp_path) == text
