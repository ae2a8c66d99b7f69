import pytest

from gem_assets.audit import plots as audit_plots
from gem_assets.audit.plots import composition_bars, lineage_diagram, tokens_over_time

PNG = b"\x89PNG\r\n\x1a\n"
MANY = [(f"value {i} $x$ 中", 0.2 / (i + 1)) for i in range(30)] + [("unknown", 0.4)]


@pytest.mark.parametrize(
    "panels",
    [
        {},
        {"languages": []},
        {"languages": [("en", 1.0)]},
        {"languages": [("en", 0.7), ("de", 0.3)], "licences": MANY, "domains": [("a.org", 0.01), ("unknown", 0.99)]},
    ],
)
def test_composition_is_drawn_whatever_there_is(panels):
    png = composition_bars(panels)
    assert png.startswith(PNG)
    assert composition_bars(panels) == png


def test_every_bar_is_as_long_as_its_share(monkeypatch):
    monkeypatch.setattr(audit_plots.style, "render", lambda figure: figure)
    shares = [("unknown", 0.71), ("CC0-1.0", 0.09), ("MIT", 0.05), ("others", 0.15)]
    [axes] = audit_plots.composition_bars({"licences": shares}).axes
    drawn = dict(
        zip(
            [label.get_text() for label in axes.get_yticklabels()],
            [bar.get_width() for bar in axes.patches],
            strict=True,
        )
    )
    assert drawn == dict(shares)


def test_the_rest_is_one_bar_so_the_height_is_bounded():
    few, many = composition_bars({"x": MANY[:8]}), composition_bars({"x": MANY})
    # width and height stand at the same place in every PNG
    assert few[16:24] == many[16:24]


@pytest.mark.parametrize("months", [[("2026-01", 5)], [(f"20{y:02}-0{m}", y * m) for y in range(30) for m in (1, 5)]])
def test_tokens_over_time(months):
    assert tokens_over_time(months).startswith(PNG)


def test_lineage_is_the_same_picture_for_the_same_graph():
    inputs = {
        "raw_shards": ["landing", "raw_shards"],
        "labels": ["raw_shards", "model"],
        "model": ["raw_shards"],
        "training_order/balanced": ["labels", "recipes/balanced"],
        "recipes/balanced": ["labels"],
    }
    png = lineage_diagram(inputs, {"raw_shards": 12})
    assert png.startswith(PNG)
    assert lineage_diagram(dict(reversed(inputs.items())), {"raw_shards": 12}) == png
    assert lineage_diagram(inputs, {"raw_shards": 3}) != png
