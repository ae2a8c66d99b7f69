from gem_assets.report.markdown_page import markdown_page
from gem_assets.report.tables import markdown_table
from tests.report.test_pages import EVIL, SHOWN, check_is_inert


def test_a_form_is_a_page_with_headings_lists_and_tables():
    reader = check_is_inert(markdown_page("Card", "# Data card\n\n- one\n\n" + markdown_table([{"a": "b|c", "n": 3}])))
    assert {"h1", "li", "table", "td"} <= set(reader.tags)
    assert "b|c" in reader.text


def test_nothing_in_a_form_acts():
    text = f"{EVIL}\n\n![x](http://e.vil/x.png) [y](javascript:alert(1)) [z](https://e.example/)\n\n" + markdown_table(
        [{"name": EVIL}]
    )
    reader = check_is_inert(markdown_page("Card", text, EVIL))
    assert reader.tags.count("img") == 0
    assert [value for tag, name, value in reader.attributes if name == "href"] == [
        "http://e.vil/x.png",
        "https://e.example/",
    ]
    assert SHOWN in reader.text


def test_it_has_a_style_for_paper():
    assert "@media print" in markdown_page("Card", "")
