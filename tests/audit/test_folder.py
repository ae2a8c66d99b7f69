import pytest

from gem_assets.audit.config import CODE_VERSION, AuditConfig
from gem_assets.audit.folder import AuditError, audit_of, copy_audit, is_fresh
from gem_assets.audit.pack import write_pack
from gem_assets.lineage.mixtures import find_mixture
from tests.audit.worlds import World

IDENTITY = "e" * 64


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("copied"))
    with made.store.write("mixture_audit/balanced", IDENTITY) as draft:
        made.audit(draft.path)
        write_pack(draft.path, made.lineage, made.recipe, AuditConfig(), made.shards)
        draft.inputs, draft.config, draft.code_version = [made.order], AuditConfig().model_dump(), CODE_VERSION
    return made


@pytest.fixture
def audit(world):
    found = audit_of(world.store, find_mixture(world.store, "balanced"))
    assert found is not None
    return found


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_the_audit_of_a_mixture_is_found(audit):
    assert audit.identity == IDENTITY


def test_other_statements_make_an_audit_stale(audit):
    assert is_fresh(audit, AuditConfig())
    assert not is_fresh(audit, AuditConfig(statements={"provider": "ACME"}))


def test_an_audit_of_another_order_is_not_taken(tmp_path):
    other = World(tmp_path)
    with other.store.write("mixture_audit/balanced", IDENTITY) as draft:
        (draft.path / "facts.json").write_text("{}")
    assert audit_of(other.store, find_mixture(other.store, "balanced")) is None


def test_a_copy_has_every_file_and_replaces_an_earlier_one(audit, tmp_path):
    heard = []
    out = tmp_path / "deep" / "copy"
    files = copy_audit(audit, out, lambda done, total: heard.append((done, total)))
    assert names(out) == names(audit.path)
    assert all(path.read_bytes() == (audit.path / path.name).read_bytes() for path in files)
    assert heard[-1] == (len(files), len(files))
    (out / "index.html").write_text("old")
    copy_audit(audit, out)
    assert (out / "index.html").read_text() != "old"
    assert names(tmp_path / "deep") == {"copy"}


def test_what_is_no_audit_is_not_touched(audit, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(AuditError, match="exists and is not an audit"):
        copy_audit(audit, tmp_path)
    with pytest.raises(AuditError, match="exists and is not an audit"):
        copy_audit(audit, tmp_path / "thesis.tex")
    assert names(tmp_path) == {"thesis.tex"}


def test_a_changed_file_is_named_and_nothing_appears(audit, tmp_path, monkeypatch):
    import dataclasses

    files = audit.manifest.outputs
    lying = audit.manifest.model_copy(update={"outputs": (files[0].model_copy(update={"sha256": "0" * 64}),)})
    with pytest.raises(AuditError, match=f"{files[0].path} is not what its manifest says"):
        copy_audit(dataclasses.replace(audit, manifest=lying), tmp_path / "out")
    assert names(tmp_path) == set()
