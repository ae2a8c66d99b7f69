"""Published orderings against reference output, and the properties they share."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gem_assets.ordering import operators
from gem_assets.ordering.config import CurveConfig, Strategy
from gem_assets.ordering.shuffle import python_shuffle

# the reference's parameter names
NAMES = {
    "window_size": "window",
    "folding_layer": "layers",
    "zigzag_layer": "layers",
    "num_sections": "sections",
    "x_pct": "front_percent",
    "y_pct": "back_percent",
}
STRATEGIES: dict[str, Strategy] = {
    "shuffle": "random",
    "sorting": "curriculum",
    "folding": "folding",
    "zigzag": "zigzag",
    "segment": "segment",
    "stair": "stair",
    "saw": "saw",
}
# the configuration files that the reference ships
SHIPPED: dict[str, dict[str, Any]] = {
    "shuffle": {"seed": 10},
    "sorting": {},
    "folding": {"layers": 5},
    "zigzag": {"layers": 5},
    "segment": {},
    "stair": {"sections": 2, "layers": 3, "folding_ratio": 0.225},
    "saw": {"sections": 3, "layers": 2, "folding_ratio": 0.075},
}


def curve_of(method: str, params: dict[str, Any]) -> CurveConfig:
    """The configuration of one reference case."""
    fields = {NAMES.get(k, k): v for k, v in params.items() if k not in ("use_gumbel", "temperature")}
    if method == "sorting" and params.get("use_gumbel"):
        fields["temperature"] = params["temperature"]
    return CurveConfig(strategy=STRATEGIES[method], **fields)


@pytest.fixture(scope="module")
def golden(golden_folder: Path) -> dict[str, Any]:
    """Reference orders."""
    return json.loads((golden_folder / "ordering" / "ordering_head.json").read_text())


def test_every_reference_case_is_reproduced(golden: dict[str, Any]) -> None:
    wrong = [
        case["name"]
        for case in golden["cases"]
        if operators.order(golden["inputs"][case["input"]], curve_of(case["method"], case["params"])).tolist()
        != case["order"]
    ]
    assert len(golden["cases"]) == 782
    assert wrong == []


@pytest.mark.parametrize("method", sorted(SHIPPED))
def test_shipped_configurations_are_reproduced(golden_folder: Path, method: str) -> None:
    reference = json.loads((golden_folder / "ordering" / "cli_defaults_fwe200.json").read_text())
    config = CurveConfig(strategy=STRATEGIES[method], **SHIPPED[method])
    assert operators.order(reference["scores"], config).tolist() == reference["orders"][method]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CurveConfig(strategy="folding", layers=3), [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]),
        (CurveConfig(strategy="zigzag", layers=3), [0, 3, 6, 9, 10, 7, 4, 1, 2, 5, 8, 11]),
        (
            CurveConfig(strategy="stair", sections=2, layers=3, folding_ratio=0.225),
            [0, 1, 2, 3, 6, 4, 7, 5, 8, 9, 10, 11],
        ),
        (
            CurveConfig(strategy="saw", sections=2, layers=3, folding_ratio=0.225),
            [0, 1, 2, 3, 6, 7, 4, 5, 8, 9, 10, 11],
        ),
        (
            CurveConfig(strategy="saw", sections=2, layers=2, folding_ratio=0.225),
            [0, 1, 2, 3, 5, 7, 8, 6, 4, 9, 10, 11],
        ),
    ],
)
def test_orders_worked_out_by_hand(config: CurveConfig, expected: list[int]) -> None:
    assert operators.order(np.arange(12.0), config).tolist() == expected


curves = st.builds(
    CurveConfig,
    strategy=st.sampled_from(sorted(set(STRATEGIES.values()))),
    ascending=st.booleans(),
    seed=st.integers(0, 2**31),
    window=st.integers(0, 40),
    temperature=st.sampled_from([0.0, 0.5, 30.0]),
    layers=st.integers(1, 12),
    sections=st.integers(1, 9),
    folding_ratio=st.floats(0, 1),
    front_percent=st.floats(0, 100),
    back_percent=st.floats(0, 100),
    front_is_high=st.booleans(),
    back_is_high=st.booleans(),
)


@settings(deadline=None)
@given(st.lists(st.integers(-3, 3) | st.floats(-1e9, 1e9), max_size=120), curves)
def test_every_order_is_a_permutation(scores: list[float], config: CurveConfig) -> None:
    got = operators.order(scores, config)
    assert sorted(got.tolist()) == list(range(len(scores)))
    assert got.tolist() == operators.order(scores, config).tolist()


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=60), st.booleans())
def test_ties_keep_their_input_order(scores: list[int], ascending: bool) -> None:
    got = operators.order(scores, CurveConfig(strategy="curriculum", ascending=ascending)).tolist()
    assert got == sorted(range(len(scores)), key=lambda i: scores[i], reverse=not ascending)


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 2**40), st.integers(0, 3))
def test_shuffle_is_the_standard_librarys(n: int, seed: int, warm: int) -> None:
    expected_rng, rng = random.Random(seed), random.Random(seed)
    for generator in (expected_rng, rng):
        for _ in range(warm):
            generator.random()
    expected = list(range(n))
    expected_rng.shuffle(expected)
    assert python_shuffle(np.arange(n), rng).tolist() == expected
    assert rng.getstate() == expected_rng.getstate()


def test_shuffle_longer_than_one_block_of_draws() -> None:
    expected = list(range(100_003))
    random.Random(7).shuffle(expected)
    assert python_shuffle(np.arange(100_003), 7).tolist() == expected


def test_odd_layers_keep_a_saw_continuous_and_even_layers_do_not() -> None:
    scores = np.linspace(0, 1, 500)

    def largest_step(layers: int) -> float:
        config = CurveConfig(strategy="saw", sections=3, layers=layers, folding_ratio=0.075)
        return float(np.abs(np.diff(scores[operators.order(scores, config)])).max())

    assert largest_step(3) < 0.01
    assert largest_step(2) == pytest.approx(0.150, abs=0.005)


@pytest.mark.parametrize("scores", [[1.0, float("nan")], [float("inf")]])
def test_scores_that_cannot_be_ranked_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="not finite"):
        operators.order(scores, CurveConfig())


def test_scores_of_two_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="one-dimensional"):
        operators.order(np.zeros((2, 2)), CurveConfig())


@pytest.mark.parametrize("field", [{"layers": 0}, {"sections": 0}, {"folding_ratio": -0.1}, {"window": -1}])
def test_parameters_out_of_range_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CurveConfig(**field)
