"""A pack that is checked by somebody who has only the pack, and attacks on it with every local digest made to fit."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from gem_assets.audit.config import AuditConfig
from gem_assets.audit.facts import FACTS_NAME
from gem_assets.audit.folder import copy_audit
from gem_assets.audit.pack import write_pack
from gem_assets.audit.signature import SIGNATURE_NAME, SignatureError, read_public_key, sign_pack, verify_pack
from gem_assets.cli import app
from gem_assets.lineage.audit import AUDIT_NAME, DOCUMENTS_NAME, LINEAGE_NAME, account
from gem_assets.storage.identity import file_digest
from gem_assets.storage.manifest import MANIFEST_NAME, read_manifest, write_manifest
from tests.audit.worlds import World


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = World(tmp_path_factory.mktemp("signed") / "root")
    order = made.order
    manifest = made.store.get("training_order/balanced", str(order.identity))
    assert manifest is not None
    from gem_assets.storage.identity import identity
    from gem_assets.storage.manifest import input_versions

    name = identity(
        stage="mixture_audit/balanced", config={}, code_version="1", inputs=input_versions([manifest.ref()])
    )
    with made.store.write("mixture_audit/balanced", name) as draft:
        draft.inputs = [manifest.ref()]
        made.audit(draft.path)
        write_pack(draft.path, made.lineage, made.recipe, AuditConfig(), made.shards)
    assert draft.artifact is not None
    out = tmp_path_factory.mktemp("pack") / "pack"
    copy_audit(draft.artifact, out)
    return out


@pytest.fixture
def pack(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "pack")
    return tmp_path / "pack"


def reseal(pack: Path) -> None:
    """Write a manifest that fits what lies in the pack now."""
    manifest = read_manifest(pack)
    outputs = tuple(
        ref.model_copy(update={"sha256": file_digest(pack / ref.path), "bytes": (pack / ref.path).stat().st_size})
        for ref in manifest.outputs
    )
    write_manifest(manifest.model_copy(update={"outputs": outputs}), pack)


def edit(path: Path, change) -> None:
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def drop_a_document(pack: Path) -> None:
    """The dishonest builder's best: a document less, and every figure that follows from it."""
    table = pq.read_table(pack / DOCUMENTS_NAME)
    pq.write_table(table.slice(1), pack / DOCUMENTS_NAME)


def fit_figures(pack: Path) -> None:
    found = account(pack / DOCUMENTS_NAME).model_dump()
    (pack / AUDIT_NAME).write_text(json.dumps(found))
    edit(pack / FACTS_NAME, lambda told: told.update(report=found))


def test_a_pack_is_sound_with_and_without_a_signature(pack: Path, tmp_path: Path):
    plain = verify_pack(pack)
    assert (plain.faults, plain.public_key) == ((), None)
    assert plain.merkle_root == json.loads((pack / AUDIT_NAME).read_text())["merkle_root"]
    key = tmp_path / "key.pem"
    public = sign_pack(pack, key)
    assert (key.stat().st_mode & 0o777, sign_pack(pack, key)) == (0o600, public)
    assert read_public_key(str(key)) == public == read_public_key(public.upper())
    for trusted in (None, public):
        found = verify_pack(pack, trusted)
        assert (found.faults, found.public_key, found.merkle_root) == ((), public, plain.merkle_root)


def test_another_key_or_none_is_not_the_trusted_one(pack: Path, tmp_path: Path):
    public, other = sign_pack(pack, tmp_path / "a.pem"), "11" * 32
    assert verify_pack(pack, other).faults == (f"it is signed with key {public}, not with {other}",)
    (pack / SIGNATURE_NAME).unlink()
    assert verify_pack(pack, public).faults == ("it is not signed, so nothing says who made it",)


FIGURES = {
    "root": lambda p: edit(p / AUDIT_NAME, lambda t: t.update(merkle_root="0" * 64)),
    "composition": lambda p: edit(p / AUDIT_NAME, lambda t: t["composition"]["lang"][0].update(token_share=0.1)),
    "totals": lambda p: edit(p / FACTS_NAME, lambda t: t["report"].update(tokens=1)),
    "domains": lambda p: edit(p / FACTS_NAME, lambda t: t["domains"].update(domains=1)),
    "documents": drop_a_document,
    "multiplicity": lambda p: pq.write_table(
        (t := pq.read_table(p / DOCUMENTS_NAME)).set_column(
            t.schema.get_field_index("multiplicity"), "multiplicity", [[9] * t.num_rows]
        ),
        p / DOCUMENTS_NAME,
    ),
}
OTHERS = {
    "lineage": lambda p: edit(p / LINEAGE_NAME, lambda t: t.update(root="x")),
    "card": lambda p: (p / "data_card.md").write_text("# Nothing to see"),
    "page": lambda p: (p / "index.html").write_text("<p>fine</p>"),
    "summary": lambda p: edit(p / "eu_summary.json", lambda t: t.clear()),
    "checker": lambda p: (p / "verify.py").write_text("print('is proven present')"),
    "whole": lambda p: (drop_a_document(p), fit_figures(p)),
}


@pytest.mark.parametrize("attack", FIGURES.values(), ids=FIGURES.keys())
def test_a_figure_that_the_documents_do_not_give_is_found_without_a_signature(pack: Path, attack):
    attack(pack)
    reseal(pack)
    assert any("otherwise than the documents" in fault for fault in verify_pack(pack).faults)


@pytest.mark.parametrize("attack", [*FIGURES.values(), *OTHERS.values()], ids=[*FIGURES, *OTHERS])
@pytest.mark.parametrize("signed_anew", [False, True])
def test_whatever_is_resealed_breaks_the_signature(pack: Path, tmp_path: Path, attack, signed_anew: bool):
    public = sign_pack(pack, tmp_path / "provider.pem")
    attack(pack)
    reseal(pack)
    if signed_anew:
        sign_pack(pack, tmp_path / "attacker.pem") if (pack / AUDIT_NAME).is_file() else None
    found = verify_pack(pack, public)
    assert any("signed" in fault or "signature" in fault for fault in found.faults)


@pytest.mark.parametrize("attack", OTHERS.values(), ids=OTHERS.keys())
def test_without_a_signature_a_pack_made_anew_cannot_be_told_from_an_honest_one(pack: Path, attack):
    attack(pack)
    if attack is OTHERS["whole"]:
        edit(pack / FACTS_NAME, lambda told: told.update(domains=_domains(pack, told["domains"])))
    reseal(pack)
    found = verify_pack(pack)
    assert (found.faults, found.public_key) == ((), None)


def _domains(pack: Path, told: dict) -> dict:
    from gem_assets.audit.domains import count_domains, shares_of

    domains, report = count_domains(pack / DOCUMENTS_NAME), account(pack / DOCUMENTS_NAME)
    largest = [one.model_dump() for one in shares_of(domains, report.n_bytes, 50)]
    return {**told, "domains": domains.num_rows, "largest": largest}


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: (p / SIGNATURE_NAME).write_text("{"),
        lambda p: edit(p / SIGNATURE_NAME, lambda t: t.update(signature="zz")),
        lambda p: edit(p / SIGNATURE_NAME, lambda t: t.update(public_key="00")),
        lambda p: edit(p / SIGNATURE_NAME, lambda t: t["statement"]["files"].pop("index.html")),
        lambda p: (p / "extra.txt").write_text("added"),
        lambda p: (p / "index.html").unlink(),
        lambda p: (p / DOCUMENTS_NAME).write_bytes(b"PAR1"),
        lambda p: (p / MANIFEST_NAME).write_bytes(b""),
        lambda p: (p / FACTS_NAME).write_text("[]"),
    ],
)
def test_a_damaged_pack_is_a_fault_and_no_crash(pack: Path, tmp_path: Path, damage):
    public = sign_pack(pack, tmp_path / "k.pem")
    damage(pack)
    assert verify_pack(pack, public).faults


def test_what_is_no_key_is_refused(pack: Path, tmp_path: Path):
    (tmp_path / "no.pem").write_text("hello")
    with pytest.raises(SignatureError, match=r"no.pem is not a private key"):
        sign_pack(pack, tmp_path / "no.pem")
    with pytest.raises(SignatureError, match="neither 64 hex digits nor a PEM file"):
        read_public_key("abc")


def test_the_command_says_who_signed(pack: Path, tmp_path: Path):
    runner = CliRunner()
    done = runner.invoke(app, ["verify", str(pack)])
    assert (done.exit_code, "not signed" in done.stdout) == (0, True)
    public = sign_pack(pack, tmp_path / "k.pem")
    done = runner.invoke(app, ["verify", str(pack), "--key", str(tmp_path / "k.pem")])
    assert (done.exit_code, "the key that you trust" in done.stdout) == (0, True), done.stdout
    drop_a_document(pack)
    done = runner.invoke(app, ["verify", str(pack), "--key", public, "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["faults"]
