"""A mixture as an SPDX 3.0.1 bill of materials in the dataset profile (JSON-LD).

One ``DatasetPackage`` for the mixture, one for each landed snapshot that it descends from, a file element for each
landed file with its SHA-256. Licences are declared as the sources state them: as an SPDX identifier where the text is
one, else as a ``LicenseRef`` with the text beside it; an annotation gives each one's share of the tokens as trained.
Nothing is concluded: that is for a person.

Source: SPDX specification 3.0.1, profiles Core, Software, SimpleLicensing and Dataset.
"""

import hashlib
from typing import Any, Final

from gem_assets.audit.croissant import limits, manipulation, observed, preprocessing
from gem_assets.audit.facts import Account
from gem_assets.lineage.audit import DOCUMENTS_NAME
from gem_assets.stages import LANDING
from gem_assets.storage.identity import file_digest
from gem_assets.storage.manifest import InputRef

SPDX_NAME = "spdx.json"
CONTEXT: Final = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
NO_LICENSE: Final = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"
MOST_FILES: Final = 1000
IDENTIFIERS: Final = frozenset(
    {
        "0BSD", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause",
        "BSL-1.0", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-4.0",
        "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-2.0", "CC-BY-SA-2.5", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-PDDC",
        "CC0-1.0", "EPL-2.0", "EUPL-1.2", "GFDL-1.3-or-later", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only",
        "GPL-3.0-or-later", "ISC", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later", "MIT",
        "MPL-2.0", "ODbL-1.0", "ODC-By-1.0", "OGL-UK-3.0", "PDDL-1.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
    }
)  # fmt: skip
"""Identifiers of the SPDX licence list that texts are licensed under; any other text becomes a ``LicenseRef``."""


def spdx(account: Account) -> dict[str, Any]:
    """Return the JSON-LD document."""
    facts, config = account.facts, account.config
    report = facts.report
    base = f"urn:gem:spdx:{report.merkle_root}"
    maker, tool, mixture = f"{base}:provider", f"{base}:tool", f"{base}:mixture"
    info: dict[str, Any] = {"type": "CreationInfo", "@id": "_:creation", "specVersion": "3.0.1"}
    info |= {"created": facts.crawl.instant, "createdBy": [maker], "createdUsing": [tool], "comment": facts.crawl.why}

    def element(kind: str, key: str, **properties: Any) -> dict[str, Any]:
        return {"type": kind, "spdxId": key, "creationInfo": "_:creation", **properties}

    def relation(kind: str, source: str, targets: list[str], **properties: Any) -> dict[str, Any]:
        key = f"{base}:relation:{_short(kind, source, *targets)}"
        return element("Relationship", key, **{"from": source, "to": targets, "relationshipType": kind, **properties})

    graph: list[dict[str, Any]] = [
        info,
        element("Agent", maker, name=config.text("provider")),
        element("Tool", tool, name="gem-assets"),
        element(
            "dataset_DatasetPackage",
            mixture,
            name=facts.title,
            summary=manipulation(account),
            software_packageVersion=report.merkle_root[:16],
            software_downloadLocation=f"urn:gem:mixture:{report.merkle_root}",
            software_primaryPurpose="data",
            originatedBy=[maker],
            builtTime=facts.crawl.instant,
            releaseTime=facts.crawl.instant,
            verifiedUsing=[_hash(file_digest(account.folder / DOCUMENTS_NAME))],
            dataset_datasetType=["text"],
            dataset_datasetSize=report.n_bytes,
            dataset_dataCollectionProcess=config.text("acquisition"),
            dataset_dataPreprocessing=preprocessing(account),
            dataset_datasetNoise="; ".join(limits(account)),
            dataset_datasetUpdateMechanism=config.text("maintenance"),
            dataset_intendedUse=config.text("intended_use"),
            dataset_knownBias=[*observed(account), config.text("biases")],
            dataset_hasSensitivePersonalInformation="noAssertion",
            comment=f"verifiedUsing is the digest of {DOCUMENTS_NAME}; the Merkle root over its rows is "
            f"{report.merkle_root}. Size counts every repetition.",
        ),
    ]
    licences, expression = _licences(account, base, element)
    graph += licences
    graph.append(relation("hasDeclaredLicense", mixture, [expression]))
    graph.append(relation("hasConcludedLicense", mixture, [NO_LICENSE]))
    sources: list[str] = []
    for ref in account.lineage.sources.values():
        if ref.asset == LANDING:
            found, key = _snapshot(ref, account, base, maker, element)
            sources.append(key)
            graph += found
            files = [item["spdxId"] for item in found if item["type"] == "software_File"]
            if files:
                graph.append(relation("contains", key, files, completeness=_completeness(ref)))
            graph.append(relation("hasDeclaredLicense", key, [NO_LICENSE]))
            graph.append(relation("hasConcludedLicense", key, [NO_LICENSE]))
    if sources:
        graph.append(relation("descendantOf", mixture, sorted(sources), completeness="complete"))
    members = [item["spdxId"] for item in graph if "spdxId" in item]
    graph.append(
        element(
            "SpdxDocument",
            f"{base}:document",
            name=f"Bill of materials of {facts.title}",
            rootElement=[mixture],
            element=members,
            profileConformance=["core", "software", "simpleLicensing", "dataset"],
        )
    )
    return {"@context": CONTEXT, "@graph": graph}


def _snapshot(ref: InputRef, account: Account, base: str, maker: str, element: Any) -> tuple[list[dict[str, Any]], str]:
    key = f"{base}:landing:{ref.partition}"
    listed = ref.files[:MOST_FILES]
    more = f"; {len(listed):,} of {len(ref.files):,} files are listed" if len(listed) < len(ref.files) else ""
    package = element(
        "dataset_DatasetPackage",
        key,
        name=f"landed snapshot {ref.partition}",
        software_packageVersion=ref.data_version[:64],
        software_downloadLocation=f"urn:gem:landing:{ref.partition}:{ref.data_version}",
        software_primaryPurpose="data",
        originatedBy=[maker],
        builtTime=account.facts.crawl.instant,
        releaseTime=account.facts.crawl.instant,
        dataset_datasetType=["text"],
        dataset_datasetSize=sum(file.bytes for file in ref.files),
        dataset_dataCollectionProcess=account.config.text("acquisition"),
        comment=f"{len(ref.files):,} files as landed; the version is the digest of their content{more}",
    )
    files = [
        element(
            "software_File",
            f"{key}:{_short(file.path)}",
            name=file.path,
            software_fileKind="file",
            software_primaryPurpose="data",
            verifiedUsing=[_hash(file.sha256)],
        )
        for file in listed
    ]
    return [package, *files], key


def _licences(account: Account, base: str, element: Any) -> tuple[list[dict[str, Any]], str]:
    """Return the licence elements and the id of the expression that declares all of them."""
    found: list[dict[str, Any]] = []
    parts: list[str] = []
    custom: list[dict[str, Any]] = []
    for group in account.facts.report.composition["license"]:
        name = group.value if group.value in IDENTIFIERS else f"LicenseRef-{_short(group.value)}"
        parts.append(name)
        text = "No licence is stated for these documents." if group.value == "unknown" else group.value
        if name.startswith("LicenseRef-"):
            key = f"{base}:licence:{name}"
            found.append(
                element("simplelicensing_SimpleLicensingText", key, name=name, simplelicensing_licenseText=text)
            )
            custom.append({"type": "DictionaryEntry", "key": name, "value": key})
        found.append(
            element(
                "Annotation",
                f"{base}:share:{_short(group.value)}",
                annotationType="other",
                subject=f"{base}:mixture",
                contentType="text/plain",
                statement=f"{name}: {group.documents} documents, {group.tokens} tokens as trained, "
                f"token share {group.token_share:.6f}",
            )
        )
    if account.facts.unlisted("license") > 0:
        name, key = "LicenseRef-unlisted", f"{base}:licence:unlisted"
        text = f"Further licences, too many to list here; {DOCUMENTS_NAME} has that of every document."
        parts.append(name)
        found.append(element("simplelicensing_SimpleLicensingText", key, name=name, simplelicensing_licenseText=text))
        custom.append({"type": "DictionaryEntry", "key": name, "value": key})
    expression = f"{base}:licences"
    declared = element(
        "simplelicensing_LicenseExpression", expression, simplelicensing_licenseExpression=" AND ".join(parts)
    )
    if custom:
        declared["simplelicensing_customIdToUri"] = custom
    return [*found, declared], expression


def _completeness(ref: InputRef) -> str:
    return "complete" if len(ref.files) <= MOST_FILES else "incomplete"


def _hash(sha256: str) -> dict[str, Any]:
    return {"type": "Hash", "algorithm": "sha256", "hashValue": sha256}


def _short(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
