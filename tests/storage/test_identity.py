import json
import math
import subprocess
import sys
from datetime import date
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from gem_assets.storage.identity import (
    NOT_FINITE,
    canonical_json,
    digest,
    file_digest,
    finite,
    identity,
    library_versions,
)

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = 8
    rate: float = 0.1
    batch_size: int = Field(default=32, exclude=True)


def name(**changes: object) -> str:
    given_: dict = {
        "stage": "teacher", "config": Config(), "code_version": "1", "inputs": {"embeddings": "abc"},
        "libraries": ("numpy",), "seed": 7,
    }  # fmt: skip
    return identity(**{**given_, **changes})


@given(trees)
def test_canonical_text_reads_back_to_the_same_value(tree):
    back = json.loads(canonical_json(tree))
    assert back == tree
    assert canonical_json(back) == canonical_json(tree)


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            scalars | st.floats(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        ),
    )
)
def test_any_figures_have_a_form_that_json_holds(figures):
    told = finite(figures)
    assert json.loads(canonical_json(told)) == told
    noted = told.pop(NOT_FINITE, {}) if NOT_FINITE not in figures else {}
    assert all(value in ("nan", "inf", "-inf") for value in noted.values())
    assert told.keys() == figures.keys()


def test_a_figure_that_is_not_finite_is_null_and_noted():
    told = finite({"ratio": np.float64("inf"), "axes": [1.0, (2.0, math.nan)], "k": np.int64(3)})
    assert told == {"ratio": None, "axes": [1.0, [2.0, None]], "k": 3, NOT_FINITE: {"ratio": "inf", "axes.1.1": "nan"}}
    assert finite(math.inf) is None


@given(st.dictionaries(st.text(), scalars, min_size=2))
def test_order_of_keys_does_not_matter(mapping):
    turned = dict(reversed(list(mapping.items())))
    assert canonical_json(mapping) == canonical_json(turned)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_two_floats_share_a_digest_only_when_they_are_the_same_bits(a, b):
    same = math.copysign(1, a) == math.copysign(1, b) and a == b
    assert (digest(a) == digest(b)) is same


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_nan_is_refused_and_located(bad):
    with pytest.raises(ValueError, match=r"\$\.config\.rates\[1\]"):
        canonical_json({"config": {"rates": [1.0, bad]}})


def test_model_with_nan_is_refused_although_pydantic_would_write_null():
    assert Config(rate=math.nan).model_dump_json() == '{"k":8,"rate":null}'
    with pytest.raises(ValueError, match=r"\$\.rate"):
        canonical_json(Config(rate=math.nan))


def test_keys_that_read_the_same_are_refused():
    with pytest.raises(ValueError, match="two keys"):
        canonical_json({1: "a", "1": "b"})


@pytest.mark.parametrize("bad", [b"bytes", np.zeros(3), object(), {(1, 2): 3}, {True: 1}])
def test_values_without_canonical_form_are_refused(bad):
    with pytest.raises(TypeError, match="\\$"):
        canonical_json(bad)


def test_common_python_values_are_taken():
    class Kind(Enum):
        A = "a"

    value = {"kind": Kind.A, "when": date(2026, 5, 1), "path": Path("x/y"), "n": np.int64(3), "s": {2, 1}}
    assert canonical_json(value) == '{"kind":"a","n":3,"path":"x/y","s":[1,2],"when":"2026-05-01"}'


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "student"},
        {"config": Config(k=9)},
        {"config": Config(rate=0.1 + 1e-16)},
        {"code_version": "2"},
        {"inputs": {"embeddings": "abd"}},
        {"inputs": {}},
        {"libraries": ("numpy", "scipy")},
        {"seed": 8},
        {"seed": None},
    ],
)
def test_everything_that_can_change_a_result_changes_its_name(change):
    assert name(**change) != name()


def test_excluded_field_does_not_count():
    assert name(config=Config(batch_size=64)) == name()


def test_name_is_the_same_in_another_process_with_another_hash_seed():
    code = (
        "from gem_assets.storage.identity import identity;"
        "print(identity(stage='s', config={'b': {3, 1, 2}, 'a': 0.1}, code_version='1', inputs={'x': 'y'}, seed=1))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(runs) == 1
    assert len(runs.pop().strip()) == 64


def test_absent_library_is_recorded():
    assert library_versions(["no-such-distribution"]) == {"no-such-distribution": "absent"}
    assert library_versions(["numpy", "python"]) == {
        "numpy": np.__version__,
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
    }


def test_file_digest_is_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert file_digest(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
