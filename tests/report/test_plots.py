import base64
import io
import struct
import warnings
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from gem_assets.report import plots

K = 6
NAMES = ["Law · court", "Code · $x_1$", "糖尿病", "A | very | long name that goes on and on and on", "", "Genes"]


def data():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K - 1, 400)  # the last cluster is empty
    centres = np.eye(K, 12)
    vectors = (centres[labels] + 0.2 * rng.normal(size=(400, 12))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, labels


def trace(n=20):
    return [SimpleNamespace(stage="climb", objective=600 + i, moved=0.5**i, claimed=i > 8) for i in range(n)]


def starts():
    return [
        SimpleNamespace(stage=f"start {s}", objective=500 + s + i, moved=0.1, claimed=False)
        for s in range(3)
        for i in range(5)
    ]


def calibration():
    return pa.table(
        {
            "lower": [0.0, 0.5],
            "upper": [0.5, 1.0],
            "n_documents": [0, 40],
            "mean_confidence": [None, 0.9],
            "agreement": [None, 0.8],
        }
    )


PICTURES = {
    "shares": lambda: plots.cluster_shares(np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3])),
    "objective": lambda: plots.objective_curve(trace()),
    "objective_after_starts": lambda: plots.objective_curve([*starts(), *trace()]),
    "agreement": lambda: plots.agreement_matrix(np.diag([5, 4, 3, 2, 1, 0]), NAMES),
    "agreement_large": lambda: plots.agreement_matrix(np.eye(64)),
    "mixtures": lambda: plots.mixture_bars({"a": np.full(K, 1 / K), "b": np.eye(K)[0]}, NAMES),
    "mixture": lambda: plots.mixture_bars({"a": np.full(K, 1 / K)}, NAMES),
    "map": lambda: plots.cluster_map(*data(), NAMES),
    "reliability": lambda: plots.reliability(calibration()),
    "reliability_with_margins": lambda: plots.reliability(
        calibration(), calibration().rename_columns(["lower", "upper", "n_documents", "mean_margin", "lead"])
    ),
    "snapshots": lambda: plots.shares_over_snapshots(["2024-01", "2024-02"], np.full((2, K), 1 / K), NAMES),
    # edges
    "no_trace": lambda: plots.objective_curve([]),
    "flat_trace": lambda: plots.objective_curve(
        [SimpleNamespace(stage="climb", objective=1.0, moved=0.0, claimed=True)] * 3
    ),
    "infinite_trace": lambda: plots.objective_curve(
        [SimpleNamespace(stage="climb", objective=v, moved=0.1, claimed=True) for v in (-np.inf, 1.0, 2.0)]
    ),
    "empty_map": lambda: plots.cluster_map(np.zeros((0, 4), np.float32), np.zeros(0, int), NAMES),
    "map_of_one": lambda: plots.cluster_map(np.eye(1, 4, dtype=np.float32), np.zeros(1, int), NAMES[:1]),
    "map_of_two_clusters": lambda: plots.cluster_map(np.eye(2, 4, dtype=np.float32), np.arange(2), NAMES[:2]),
    "empty_cluster": lambda: plots.cluster_shares(np.array([1.0, 0.0]), np.array([0.5, 0.5])),
    "one_snapshot": lambda: plots.shares_over_snapshots(["2024"], np.full((1, K), 1 / K), NAMES),
    "many_snapshots": lambda: plots.shares_over_snapshots([f"s{i}" for i in range(40)], np.full((40, K), 1 / K), NAMES),
    "no_documents": lambda: plots.agreement_matrix(np.zeros((3, 3), int)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_png_of_the_house_width_and_the_same_every_time(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = PICTURES[name](), PICTURES[name]()
    assert first == second
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", first[16:24])
    assert width == 1296
    assert 300 < height < 2500
    for chunk in (b"tEXt", b"tIME", b"iTXt"):
        assert b"Software" not in first
        assert b"Date" not in first or chunk not in first


def test_other_data_gives_another_picture():
    assert plots.cluster_shares(np.array([0.5, 0.5]), np.array([0.5, 0.5])) != PICTURES["shares"]()


def test_markdown_image_holds_the_picture_in_a_third_of_the_bytes_and_a_safe_text():
    png = PICTURES["shares"]()
    text = plots.markdown_image(png, "a](http://x) [b\nc")
    assert text.startswith("![a)(http://x) (b c](data:image/png;base64,")
    shown = base64.b64decode(text.split("base64,")[1].rstrip(")"))
    assert len(shown) < len(png) / 2
    drawn, kept = (np.asarray(Image.open(io.BytesIO(one)).convert("RGB"), np.int16) for one in (png, shown))
    assert drawn.shape == kept.shape
    assert np.abs(drawn - kept).mean() < 2


def test_effective_number():
    assert plots.effective_number(np.full(7, 1 / 7)) == pytest.approx(7)
    assert plots.effective_number(np.array([1.0, 0.0])) == pytest.approx(1)


def test_no_global_figure_is_left_behind():
    import matplotlib.pyplot as plt

    PICTURES["shares"]()
    assert plt.get_fignums() == []
