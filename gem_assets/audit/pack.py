"""Write the whole audit of a mixture into one folder.

The folder is complete in itself: it can be copied, sent and read years later. Everything in it follows from the
documents, the manifests and the provider's statements, so the same mixture gives the same bytes.
"""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.csv as csv
from pydantic import ValidationError

from gem_assets.audit.config import AuditConfig, openlineage_available
from gem_assets.audit.croissant import CROISSANT_NAME, croissant
from gem_assets.audit.data_card import CARD_NAME, data_card
from gem_assets.audit.eu_summary import EU_JSON_NAME, EU_NAME, eu_markdown, eu_summary
from gem_assets.audit.facts import FACTS_NAME, Account, AuditFacts, Shards, gather
from gem_assets.audit.index_page import INDEX_NAME, index_page
from gem_assets.audit.openlineage import OPENLINEAGE_NAME, openlineage
from gem_assets.audit.spdx import SPDX_NAME, spdx
from gem_assets.lineage import proof_check
from gem_assets.lineage.audit import AUDIT_NAME, DOCUMENTS_NAME, LINEAGE_NAME
from gem_assets.lineage.walk import Lineage
from gem_assets.mixing.recipe import Recipe
from gem_assets.report.markdown_page import markdown_page
from gem_assets.tracing.pages import lineage_page
from gem_assets.types import Progress

CHECKER_NAME = "verify.py"
"""Checks what ``gem prove`` writes, with Python alone."""
DOMAINS_NAME = "domains.csv"
LINEAGE_PAGE_NAME = "lineage.html"
CARD_PAGE_NAME, EU_PAGE_NAME = "data_card.html", "eu_summary.html"


def write_pack(
    folder: Path,
    lineage: Lineage,
    recipe: Recipe,
    config: AuditConfig,
    shards: Shards | None = None,
    progress: Progress | None = None,
) -> AuditFacts:
    """Write every form beside ``documents.parquet``, ``audit.json`` and ``lineage.json`` of an audit.

    OpenLineage events are left out where ``openlineage-python`` is not installed.

    Raises ValueError when the lineage has holes.

    Parameters
    ----------
    shards
        Parquet shards by snapshot, for the dates of the documents and for what is used of each.
    progress
        Called with (forms written, forms in all, what comes next).
    """
    forms = list(_forms())
    tell = progress or _silent
    tell(0, len(forms) + 1, "counting")
    account = gather(folder, lineage, recipe, config, shards)
    for number, (name, make) in enumerate(forms, 1):
        tell(number, len(forms) + 1, name)
        made = make(account)
        text = made if isinstance(made, str) else json.dumps(made, indent=1, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
    tell(len(forms) + 1, len(forms) + 1, "done")
    return account.facts


def read_facts(folder: Path) -> AuditFacts:
    """Read the figures of a pack.

    Raises ValueError when the folder is none, or of another version; the message names it.
    """
    path = folder / FACTS_NAME
    try:
        return AuditFacts.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ValueError(f"{path} does not hold the figures of an audit: {error}; materialize it again") from error


def _forms() -> Iterator[tuple[str, Callable[[Account], str | dict[str, Any]]]]:
    """Yield name and writer, those that describe the others last."""
    yield FACTS_NAME, lambda account: account.facts.model_dump(mode="json")
    yield DOMAINS_NAME, _domains
    yield EU_JSON_NAME, eu_summary
    yield EU_NAME, eu_markdown
    yield CARD_NAME, data_card
    yield EU_PAGE_NAME, lambda account: _as_page("Summary of training content", eu_markdown(account), account)
    yield CARD_PAGE_NAME, lambda account: _as_page("Data card", data_card(account), account)
    yield LINEAGE_PAGE_NAME, lambda account: lineage_page(account.lineage, None, account.facts.unused)
    yield SPDX_NAME, spdx
    if openlineage_available():
        yield OPENLINEAGE_NAME, openlineage
    described = [DOCUMENTS_NAME, AUDIT_NAME, LINEAGE_NAME, FACTS_NAME, DOMAINS_NAME, EU_JSON_NAME, EU_NAME, CARD_NAME,
                 SPDX_NAME, *([OPENLINEAGE_NAME] if openlineage_available() else [])]  # fmt: skip
    yield CROISSANT_NAME, lambda account: croissant(account, described)
    yield CHECKER_NAME, lambda _: Path(proof_check.__file__).read_text(encoding="utf-8")
    shown = [*described, CROISSANT_NAME, LINEAGE_PAGE_NAME, CARD_PAGE_NAME, EU_PAGE_NAME, CHECKER_NAME]
    yield INDEX_NAME, lambda account: index_page(account, shown)


def _as_page(title: str, text: str, account: Account) -> str:
    return markdown_page(f"{title}: {account.facts.strategy}", text, f"Training order {account.facts.order_identity}")


def _domains(account: Account) -> str:
    buffer = BytesIO()
    csv.write_csv(account.domains, buffer)
    return buffer.getvalue().decode("utf-8")


def _silent(done: int, total: int, step: str) -> None:
    del done, total, step
