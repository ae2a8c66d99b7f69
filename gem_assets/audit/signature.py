"""Sign an audit pack with Ed25519, and check a pack with nothing but the pack.

``signature.json`` names the Merkle root and the SHA-256 of every other file of the pack, the public key, and the
signature over all of that in canonical JSON. A pack without one can be checked for consistency only: whoever holds it
could have rebuilt all of it. The pack cannot say which key to trust; the provider publishes that elsewhere.

``verify_pack`` also recomputes: root, totals and composition from ``documents.parquet``, and everything in
``facts.json`` that follows from them. Needs neither the data root nor a network.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from gem_assets.audit.domains import count_domains, shares_of
from gem_assets.audit.facts import FACTS_NAME, SHOWN_DOMAINS, AuditFacts
from gem_assets.frozen import Frozen
from gem_assets.lineage.audit import AUDIT_NAME, DOCUMENTS_NAME, LINEAGE_NAME, AuditReport, account
from gem_assets.lineage.walk import check_files
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.durable import write_atomic
from gem_assets.storage.identity import canonical_json, file_digest
from gem_assets.storage.manifest import MANIFEST_NAME, Manifest, ManifestError, read_manifest
from gem_assets.storage.purged import Purges

SIGNATURE_NAME = "signature.json"
_DOMAIN = b"gem-assets/audit-signature/1\n"


class SignatureError(ValueError):
    """A key that cannot be used; the message names the file and the way out."""


class Statement(Frozen):
    """What is signed.

    ``files`` maps the path in the pack to the SHA-256 of every file but the signature.
    """

    merkle_root: str
    files: dict[str, str]

    def to_bytes(self) -> bytes:
        """Return the bytes that are signed."""
        return _DOMAIN + canonical_json(self).encode()


class Signature(Frozen):
    """The content of ``signature.json``; key and signature in hex (32 and 64 bytes)."""

    algorithm: str
    public_key: str
    statement: Statement
    signature: str


@dataclass(frozen=True)
class Verdict:
    """What is known of a pack.

    Attributes
    ----------
    faults
        What does not hold, one sentence each; empty for a pack that is what it says.
    public_key
        Of the signature, hex; None for a pack without one.
    merkle_root
        As recomputed from the documents; None where they cannot be read.
    """

    faults: tuple[str, ...]
    public_key: str | None
    merkle_root: str | None


def sign_pack(folder: Path, key: Path) -> str:
    """Sign every file of a pack and return the public key, hex.

    ``key`` is an Ed25519 private key, PEM; it is made with mode 0600 where there is none.

    Raises SignatureError when the file holds no Ed25519 key, or one behind a passphrase.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not key.exists():
        _new_key(key)
    try:
        loaded = load_pem_private_key(key.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise SignatureError(f"{key} is not a private key in PEM without a passphrase: {error}") from error
    if not isinstance(loaded, Ed25519PrivateKey):
        raise SignatureError(f"{key} is not an Ed25519 key; openssl genpkey -algorithm ed25519 -out {key} makes one")
    report = AuditReport.model_validate_json((folder / AUDIT_NAME).read_bytes())
    statement = Statement(merkle_root=report.merkle_root, files=_digests(folder))
    public = loaded.public_key().public_bytes_raw().hex()
    signature = Signature(
        algorithm="ed25519", public_key=public, statement=statement, signature=loaded.sign(statement.to_bytes()).hex()
    )
    write_atomic(folder / SIGNATURE_NAME, (signature.model_dump_json(indent=1) + "\n").encode())
    return public


def read_public_key(text: str) -> str:
    """Return a public key in hex, from hex or from the path of a PEM file (public, or private).

    Raises SignatureError when it is neither.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    if len(text) == 64 and set(text.lower()) <= set("0123456789abcdef"):
        return text.lower()
    try:
        data = Path(text).read_bytes()
        private = b"PRIVATE KEY" in data
        loaded = load_pem_private_key(data, password=None).public_key() if private else load_pem_public_key(data)
    except (OSError, ValueError, TypeError) as error:
        raise SignatureError(f"{text} is neither 64 hex digits nor a PEM file of an Ed25519 key: {error}") from error
    if isinstance(loaded, Ed25519PrivateKey) or not isinstance(loaded, Ed25519PublicKey):
        raise SignatureError(f"{text} is not an Ed25519 key")
    return loaded.public_bytes_raw().hex()


def verify_pack(folder: Path, trusted: str | None = None) -> Verdict:
    """Check a pack against its signature, its manifest and its own documents.

    ``trusted`` is the public key (hex) that has to have signed it; None takes any signature, and a pack without one.
    """
    faults: list[str] = []
    signature = _read_signature(folder, faults)
    if signature is not None:
        faults.extend(_signature_faults(folder, signature, trusted))
    elif trusted is not None and not faults:
        faults.append("it is not signed, so nothing says who made it")
    faults.extend(_manifest_faults(folder))
    root = None
    try:
        found = account(folder / DOCUMENTS_NAME)
        root = found.merkle_root
        faults.extend(_account_faults(folder, found))
        if signature is not None and signature.statement.merkle_root != root:
            faults.append(
                f"the signature is over Merkle root {signature.statement.merkle_root}, the documents give {root}"
            )
    except Exception as error:  # a pack from a stranger: whatever it does to a parquet reader is a fault of the pack
        faults.append(f"its documents cannot be accounted for: {type(error).__name__}: {error}")
    return Verdict(tuple(faults), signature.public_key if signature is not None else None, root)


def root_faults(folder: Path, store: ArtifactStore) -> list[str]:
    """Compare a pack with the data root that it was made from: every manifest as the pack names it.

    An artifact that was edited with all digests of the data root made to fit is still not the one that was signed.
    """
    told = json.loads((folder / LINEAGE_NAME).read_bytes())["artifacts"].values()
    signed = [Manifest.model_validate(one) for one in told] + [read_manifest(folder / MANIFEST_NAME)]
    purges = Purges(store.root)
    faults: list[str] = []
    for manifest in signed:
        asset, identity, partition = manifest.asset, manifest.identity, manifest.partition
        found, torn = store.examine(asset, identity, partition)
        if found is None and purges.of_result(asset, identity, partition) is None:
            faults.append(f"{manifest.key} {identity[:12]} is not in {store.root}: {'; '.join(torn) or 'gone'}")
        elif found is not None and found.manifest != manifest:
            faults.append(f"{manifest.key} {identity[:12]} in {store.root} is not the one that the pack names")
        elif found is not None:
            faults.extend(str(fault) for fault in check_files(found, manifest.key))
    return faults


def _new_key(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(made)


def _digests(folder: Path) -> dict[str, str]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / SIGNATURE_NAME)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}


def _read_signature(folder: Path, faults: list[str]) -> Signature | None:
    path = folder / SIGNATURE_NAME
    if not path.exists():
        return None
    try:
        return Signature.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        faults.append(f"{SIGNATURE_NAME} cannot be read: {error}")
        return None


def _signature_faults(folder: Path, signature: Signature, trusted: str | None) -> Iterator[str]:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if trusted is not None and signature.public_key != trusted:
        yield f"it is signed with key {signature.public_key}, not with {trusted}"
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.public_key))
        key.verify(bytes.fromhex(signature.signature), signature.statement.to_bytes())
    except (InvalidSignature, ValueError):
        yield f"the signature of key {signature.public_key} does not hold"
    found, signed = _digests(folder), signature.statement.files
    for name in sorted(found.keys() | signed.keys()):
        if name not in found:
            yield f"{name} was signed and is gone"
        elif name not in signed:
            yield f"{name} was added after it was signed"
        elif found[name] != signed[name]:
            yield f"{name} was changed after it was signed"


def _manifest_faults(folder: Path) -> Iterator[str]:
    try:
        manifest = read_manifest(folder / MANIFEST_NAME)
    except (OSError, ManifestError) as error:
        yield f"its manifest cannot be read: {error}"
        return
    if manifest.recomputed_identity() != manifest.identity:
        yield f"what its manifest holds gives identity {manifest.recomputed_identity()}, not {manifest.identity}"
    for ref in manifest.outputs:
        path = folder / ref.path
        if not path.is_file():
            yield f"{ref.path} is gone"
        elif file_digest(path) != ref.sha256:
            yield f"{ref.path} is not what its manifest says"


def _account_faults(folder: Path, found: AuditReport) -> Iterator[str]:
    """Compare what the documents give with what the pack states."""
    stated = AuditReport.model_validate_json((folder / AUDIT_NAME).read_bytes())
    facts = AuditFacts.model_validate_json((folder / FACTS_NAME).read_bytes())
    for name, report in ((AUDIT_NAME, stated), (FACTS_NAME, facts.report)):
        for field in AuditReport.model_fields:
            if getattr(report, field) != getattr(found, field):
                yield f"{name} states {field} otherwise than the documents give it"
    domains = count_domains(folder / DOCUMENTS_NAME)
    largest = shares_of(domains, found.n_bytes, SHOWN_DOMAINS)
    if (facts.domains.domains, facts.domains.largest) != (domains.num_rows, largest):
        yield f"{FACTS_NAME} states domains otherwise than the documents give them"
