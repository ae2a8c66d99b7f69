"""A mixture as a Croissant 1.1 dataset with the RAI vocabulary and W3C PROV-O provenance (JSON-LD).

The distribution is what the audit and the training order wrote, each file with its SHA-256; two record sets describe
the audited documents and the order, so that a Croissant loader reads them. Provenance follows the manifests: the data
set was derived from the landed snapshots by one activity per stage, and fields that a model or a detector wrote name
it.

Sources: Croissant format specification 1.1 (2026-01) and Croissant RAI 1.0 (2024-03), MLCommons; PROV-O, W3C.
"""

from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.audit.crawl import first_day
from gem_assets.audit.facts import Account
from gem_assets.audit.origins import NO_LANGUAGE
from gem_assets.lineage.audit import DOCUMENTS_NAME
from gem_assets.ordering.training_order import ORDER_SCHEMA
from gem_assets.report.tables import percent
from gem_assets.storage.identity import file_digest
from gem_assets.storage.manifest import Manifest

CROISSANT_NAME = "croissant.json"
CONFORMS_TO: Final = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
ENCODINGS: Final = {
    ".parquet": "application/x-parquet",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".html": "text/html",
}
DESCRIPTIONS: Final = {
    "doc_id": "Id of the document: digest of source, locator and normalised content.",
    "content_digest": "Digest of the normalised text.",
    "text_digest": "SHA-256 of the text in UTF-8, as training reads it.",
    "multiplicity": "How often training is shown the document.",
    "n_tokens": "Tokens of one showing, counted with the tokenizer of the recipe.",
    "n_bytes": "Bytes of the text, UTF-8.",
    "lang": "Language, found by a detector.",
    "source": "Where the record says it comes from.",
    "url": "Web address that the record was fetched from.",
    "license": "Licence as stated by the source; not verified.",
    "position": "Place in the training order, from 0.",
    "cluster": "Cluster of the document, given by the student labeller.",
    "epoch": "Which showing of the document this is, from 0.",
    "score": "Signal by which the order is made.",
}


def croissant(account: Account, files: list[str]) -> dict[str, Any]:
    """Return the JSON-LD document.

    ``files`` are the names of the files of the pack to describe, all in ``account.folder``.
    """
    facts, config = account.facts, account.config
    report, crawl = facts.report, facts.crawl
    parts = [_pack_file(account, name) for name in sorted(files)]
    orders, order_set = _order_files(account)
    frame = [first_day(date) for date in (crawl.first, crawl.last) if date is not None]
    document: dict[str, Any] = {
        "@context": _context(),
        "@type": "sc:Dataset",
        "@id": f"urn:gem:mixture:{report.merkle_root}",
        "name": f"mixture-{facts.strategy}-{report.merkle_root[:12]}",
        "description": f"Training mixture '{facts.strategy}': {report.documents:,} documents shown "
        f"{report.exposures:,} times, {report.tokens:,} tokens of {facts.tokenizer}. Texts stay where they are; this "
        "describes which documents training reads, how often and in which order.",
        "conformsTo": CONFORMS_TO,
        "version": f"1.0.0+{report.merkle_root[:12]}",
        "datePublished": crawl.day,
        "url": f"urn:gem:mixture:{report.merkle_root}",
        "license": [f"{g.value} ({percent(g.token_share)} of tokens)" for g in report.composition["license"]],
        "inLanguage": [g.value for g in report.composition["lang"] if g.value not in NO_LANGUAGE],
        "keywords": ["language model pre-training", "data mixture", facts.strategy],
        "citeAs": f"@misc{{gem_{report.merkle_root[:12]}, title={{Training mixture {facts.strategy}}}, "
        f"note={{Merkle root {report.merkle_root}}}}}",
        "creator": {"@type": "sc:Organization", "name": config.text("provider")},
        "isLiveDataset": False,
        "usageInfo": config.text("intended_use"),
        "distribution": [*parts, *orders],
        "recordSet": [_documents_set(account), *([order_set] if order_set is not None else [])],
        "rai:dataCollection": config.text("acquisition"),
        "rai:dataCollectionType": ["Web scraping", "Secondary data analysis"],
        "rai:dataCollectionRawData": "; ".join(
            f"{s.snapshot}: {s.files:,} files, {s.bytes:,} bytes, {s.read:,} records" for s in facts.snapshots
        ),
        "rai:dataCollectionMissingData": "; ".join(
            f"{s.snapshot}: {s.quarantined:,} of {s.read:,} records could not be read" for s in facts.snapshots
        ),
        # the second spelling is the one that mlcroissant reads
        **{f"rai:{term}": frame for term in ("dataCollectionTimeframe", "dataCollectionTimeFrame") if frame},
        "rai:dataPreprocessingProtocol": preprocessing(account),
        "rai:dataManipulationProtocol": manipulation(account),
        "rai:machineAnnotationTools": [f"cluster labels: {facts.labeller}", "language: detector of raw_shards"],
        "rai:dataBiases": [*observed(account), config.text("biases")],
        "rai:dataLimitations": [crawl.why, *limits(account)],
        "rai:dataUseCases": [config.text("intended_use")],
        "rai:personalSensitiveInformation": [config.text("personal_data")],
        "rai:dataReleaseMaintenancePlan": config.text("maintenance"),
        "prov:wasDerivedFrom": [{"@id": _source_id(key)} for key in account.lineage.sources],
        "prov:wasGeneratedBy": [_activity(account, key) for key in account.lineage.nodes],
        "prov:wasAttributedTo": {"@type": "prov:Agent", "prov:label": config.text("provider")},
    }
    return document


def preprocessing(account: Account) -> list[str]:
    """Return what was done to the texts before mixing, from the manifests."""
    facts = account.facts
    steps = ["text extracted, Unicode normalised; records that cannot be read are listed with file, offset and reason"]
    steps.append("exact duplicates removed inside and across snapshots, with every place kept on record")
    if facts.near_duplicates_removed:
        steps.append("near duplicates removed inside a snapshot (MinHash)")
    if facts.quality_filters:
        steps.append(f"documents refused by: {', '.join(facts.quality_filters)}")
    removed = sum(s.duplicates + s.filtered for s in facts.snapshots)
    read = sum(s.read for s in facts.snapshots)
    steps.append(f"{removed:,} of {read:,} records removed as duplicates or by filters")
    return steps


def manipulation(account: Account) -> str:
    """Return how documents were weighted and ordered."""
    facts = account.facts
    return (
        f"Documents are labelled with {len(account.recipe.entries)} clusters of taxonomy "
        f"{facts.taxonomy_version[:12]} and drawn so that each cluster has the token share of recipe "
        f"{facts.recipe_identity[:12]}; a document is shown up to {facts.report.most_repeated} times. "
        "Shares in this description count every repetition."
    )


def observed(account: Account) -> list[str]:
    """Return what the figures themselves say about balance."""
    found: list[str] = []
    for name, word in (("lang", "language"), ("source", "source")):
        groups = account.facts.report.composition[name]
        if groups:
            found.append(
                f"largest {word}: {groups[0].value}, {percent(groups[0].token_share)} of the tokens as trained"
            )
    largest = account.facts.domains.largest
    if largest:
        found.append(f"largest domain: {largest[0].domain}, {percent(largest[0].share)} of the bytes as trained")
    return found


def limits(account: Account) -> list[str]:
    """Return what the data do not say."""
    facts = account.facts
    unknown = {
        name: next((g.token_share for g in facts.report.composition[name] if g.value == "unknown"), 0.0)
        for name in ("license", "lang")
    }
    without = 1 - facts.domains.bytes_with_address / max(facts.report.n_bytes, 1)
    found = ["licences are those that the sources state; none was verified"]
    if unknown["license"] > 0:
        found.append(f"no licence is stated for {percent(unknown['license'])} of the tokens")
    if unknown["lang"] > 0:
        found.append(f"no language is known for {percent(unknown['lang'])} of the tokens")
    for name, word in (("license", "licences"), ("lang", "languages"), ("source", "sources")):
        if facts.unlisted(name) > 0:
            found.append(
                f"{word} of {percent(facts.unlisted(name))} of the tokens are too many to list; see {DOCUMENTS_NAME}"
            )
    if without > 0:
        found.append(f"{percent(without)} of the bytes have no web address")
    if facts.crawl.dated_share < 1:
        found.append(f"{percent(1 - facts.crawl.dated_share)} of the tokens have no date")
    return found


def _context() -> dict[str, Any]:
    terms = "citeAs column extract field fileProperty fileObject fileSet format includes isArray isLiveDataset jsonPath"
    more = (
        "key md5 parentField path recordSet references regex repeated replace samplingRate separator source subField "
        "transform equivalentProperty containedIn arrayShape"
    )
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "prov": "http://www.w3.org/ns/prov#",
        "sc": "https://schema.org/",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "name": {"@container": "@language"},
        "description": {"@container": "@language"},
        **{term: f"cr:{term}" for term in f"{terms} {more}".split()},
    }


def _pack_file(account: Account, name: str) -> dict[str, Any]:
    path = account.folder / name
    found = _file(name, name, name, path.stat().st_size, file_digest(path))
    found["prov:wasDerivedFrom"] = {"@id": f"urn:gem:{account.order.key}:{account.order.identity}"}
    return found


def _order_files(account: Account) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Describe the order's own files, which stay in its artifact, and the rows in them."""
    order = account.order
    base = f"artifact://{order.asset}/{order.identity}"
    parts = [file for file in order.outputs if file.path.endswith(".parquet")]
    found = [_file(f"order/{f.path}", f.path, f"{base}/{f.path}", f.bytes, f.sha256) for f in parts]
    for file in found:
        file["prov:wasGeneratedBy"] = {"@id": _activity_id(order)}
    if not found:
        return [], None
    fields = [_field("order", found[0]["@id"], field.name, _data_type(field.type)) for field in ORDER_SCHEMA]
    return found, {
        "@type": "cr:RecordSet",
        "@id": "order",
        "name": "order",
        "description": "What training reads, in order; the first of the order's files, the others continue it.",
        "field": fields,
    }


def _documents_set(account: Account) -> dict[str, Any]:
    schema = pq.read_schema(account.folder / DOCUMENTS_NAME)
    fields = [_field("documents", DOCUMENTS_NAME, field.name, _data_type(field.type)) for field in schema]
    return {
        "@type": "cr:RecordSet",
        "@id": "documents",
        "name": "documents",
        "description": "Every document of the mixture with how often it is shown.",
        "key": {"@id": "documents/doc_id"},
        "field": fields,
    }


def _data_type(kind: pa.DataType) -> str:
    return "sc:Integer" if pa.types.is_integer(kind) else "sc:Float" if pa.types.is_floating(kind) else "sc:Text"


def _field(record_set: str, file: str, name: str, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{record_set}/{name}",
        "name": name,
        "description": DESCRIPTIONS.get(name, name),
        "dataType": kind,
        "source": {"fileObject": {"@id": file}, "extract": {"column": name}},
    }
    maker = {"cluster": "student labeller", "lang": "language detector"}.get(name)
    if maker is not None:
        found["prov:wasAttributedTo"] = {"@type": "prov:SoftwareAgent", "prov:label": maker}
    return found


def _file(key: str, name: str, url: str, size: int, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": key,
        "name": name,
        "contentUrl": url,
        "contentSize": f"{size} B",
        "encodingFormat": ENCODINGS.get("." + name.rsplit(".", 1)[-1], "application/octet-stream"),
        "sha256": sha256,
    }


def _activity(account: Account, key: str) -> dict[str, Any]:
    node = account.lineage.nodes[key]
    manifest, made = node.manifest, account.lineage.nodes
    used = [
        f"urn:gem:{made[k].manifest.key}:{made[k].manifest.identity}" if k in made else _source_id(k)
        for k in node.inputs
    ]
    return {
        "@type": "prov:Activity",
        "@id": _activity_id(manifest),
        "prov:label": f"{manifest.key}, code version {manifest.code_version}",
        "prov:used": [{"@id": name} for name in used],
        "prov:generated": {"@id": f"urn:gem:{manifest.key}:{manifest.identity}"},
    }


def _activity_id(manifest: Manifest) -> str:
    return f"urn:gem:run:{manifest.key}:{manifest.identity}"


def _source_id(key: str) -> str:
    return f"urn:gem:source:{key}"
