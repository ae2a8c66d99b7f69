import json
import re

import pyarrow.csv as csv
import pytest

from gem_assets.audit import pack as packing
from gem_assets.audit.config import STATEMENTS, AuditConfig
from gem_assets.audit.facts import gather
from gem_assets.audit.index_page import FORMS, INDEX_NAME
from gem_assets.audit.pack import read_facts, write_pack
from gem_assets.lineage.walk import Fault, Lineage
from tests.audit.worlds import SHOWN, World


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_folder_is_whole_and_its_page_links_all_of_it(pack):
    names = {path.name for path in pack.iterdir()}
    assert names == {*FORMS, INDEX_NAME}
    page = (pack / INDEX_NAME).read_text()
    assert set(re.findall(r'href="([^"]+)"', page)) == set(FORMS)
    assert page.count("data:image/png;base64,") == 4
    assert "<script" not in page


def test_the_same_mixture_gives_the_same_bytes(tmp_path, pack):
    other = World(tmp_path / "elsewhere")
    folder = other.audit(tmp_path / "audit")
    write_pack(folder, other.lineage, other.recipe, AuditConfig(), other.shards)
    assert contents(folder) == contents(pack)


def test_figures_count_every_repetition(pack):
    facts = read_facts(pack)
    assert (facts.report.exposures, facts.report.tokens, facts.report.n_bytes) == (len(SHOWN), 460, 2300)
    assert facts.domains.bytes_with_address == 2300 - 2 * 400 - 350
    assert (facts.blocked, facts.takedown_requests) == (2, 1)
    assert [(s.snapshot, s.files, s.bytes, s.read, s.kept) for s in facts.snapshots] == [
        ("2026-01", 1, 1000, 9, 4), ("2026-02", 1, 1001, 9, 4),
    ]  # fmt: skip
    assert facts.not_stated == list(STATEMENTS)


def test_domains_csv_has_all_of_them(pack):
    table = csv.read_csv(pack / "domains.csv")
    assert table.column_names == ["domain", "documents", "exposures", "tokens", "bytes"]
    assert table.num_rows == read_facts(pack).domains.domains == 5


def test_the_eu_summary_names_the_largest_tenth_and_marks_what_a_person_must_state(pack):
    found = json.loads((pack / "eu_summary.json").read_text())
    assert found["general_information"]["size_band"] == "less than 1 billion tokens"
    assert found["sources"]["crawled"]["largest_domains"] == ["[2001:db8::1]"]
    assert found["sources"]["crawled"]["last_date"] == "2026-02"
    assert found["processing"]["documents_removed_on_request"] == 2
    assert found["a_person_must_state"] == list(STATEMENTS)
    text = (pack / "eu_summary.md").read_text()
    assert text.count("**[A PERSON MUST STATE:") == 9
    assert sum(line.endswith("| yes |") for line in text.splitlines()) == 2
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## 1. General information", "## 2. Sources", "## 3. Processing",
    ]  # fmt: skip


def test_what_was_stated_stands_in_every_form(tmp_path, world):
    config = AuditConfig(statements={"provider": " ACME\nLtd ", "biases": "news-heavy", "model": " "})
    folder = world.audit(tmp_path / "stated")
    facts = write_pack(folder, world.lineage, world.recipe, config, world.shards)
    assert "provider" not in facts.not_stated
    assert "model" in facts.not_stated
    assert "- Provider: ACME Ltd\n" in (folder / "eu_summary.md").read_text()
    assert json.loads((folder / "croissant.json").read_text())["creator"]["name"] == "ACME\nLtd"
    assert "- news-heavy\n" in (folder / "data_card.md").read_text()


def test_unknown_statements_are_refused():
    with pytest.raises(ValueError, match=r"unknown statements \['colour'\]"):
        AuditConfig(statements={"colour": "red"})


def test_words_of_the_data_are_no_markup(pack):
    card, page = (pack / "data_card.md").read_text(), (pack / INDEX_NAME).read_text()
    assert "Terms of the &#124; publisher &lt;b&gt;, 2026" in card
    assert "[x](http://e.vil)" not in card
    assert "Terms of the | publisher &lt;b&gt;, 2026" in page
    assert "News & <b>" not in page


def test_progress_names_every_form(tmp_path, world):
    heard = []
    folder = world.audit(tmp_path / "heard")
    write_pack(folder, world.lineage, world.recipe, AuditConfig(), progress=lambda *step: heard.append(step))
    assert heard[0][0] == 0
    assert heard[-1][0] == heard[-1][1]
    assert {name for _, _, name in heard} >= {"croissant.json", "spdx.json", "index.html"}
    assert read_facts(folder).crawl.last is None


def test_without_the_package_there_are_no_events(tmp_path, world, monkeypatch):
    monkeypatch.setattr(packing, "openlineage_available", lambda: False)
    folder = world.audit(tmp_path / "plain")
    write_pack(folder, world.lineage, world.recipe, AuditConfig(), world.shards)
    assert not (folder / "openlineage.jsonl").exists()
    assert "openlineage.jsonl" not in (folder / INDEX_NAME).read_text()
    assert "openlineage.jsonl" not in (folder / "croissant.json").read_text()


def test_a_lineage_with_holes_is_refused(pack, world):
    whole = world.lineage
    fault = Fault(kind="artifact_missing", where="raw_shards[2026-01]", message="it is not in the store")
    with pytest.raises(ValueError, match=r"not whole \(raw_shards\[2026-01\]: it is not in the store\)"):
        gather(pack, Lineage(whole.root, whole.nodes, whole.sources, (fault,)), world.recipe, AuditConfig())


def test_a_folder_without_figures_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"facts\.json does not hold the figures of an audit"):
        read_facts(tmp_path)
