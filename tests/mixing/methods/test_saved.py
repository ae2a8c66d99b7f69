"""The mixture that a person saved."""

import numpy as np
import pytest

from gem_assets.mixing.methods.base import MissingSettingError
from gem_assets.mixing.methods.saved import FILE, SavedMixture


def test_what_was_saved_reads_back_and_is_the_same_twice(tmp_path):
    saved = SavedMixture(shares={3: 0.25, 0: 0.75}, note="less of 3", author="A. Person")
    path = saved.write(tmp_path)
    first = path.read_bytes()
    assert SavedMixture.read(tmp_path) == saved
    saved.write(tmp_path)
    assert path.read_bytes() == first


def test_nothing_saved_says_how_to_save(tmp_path):
    with pytest.raises(MissingSettingError, match="gem explore"):
        SavedMixture.read(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"shares": {}}', '{"shares": {"0": -1}}', '{"shares": {"0": NaN}}', '{"shares": {"a": 1}}', "{"]
)
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "mixtures").mkdir()
    (tmp_path / FILE).write_text(text)
    with pytest.raises(MissingSettingError, match=r"by_hand\.json holds no mixture"):
        SavedMixture.read(tmp_path)


def test_shares_go_to_the_clusters_of_their_domains():
    saved = SavedMixture(shares={7: 1.0, 2: 3.0})
    assert np.allclose(saved.over({0: 2, 1: 5, 2: 7}), [0.75, 0.0, 0.25])


def test_a_domain_that_a_refit_ended_is_named():
    with pytest.raises(ValueError, match="domain 7"):
        SavedMixture(shares={7: 1.0, 2: 3.0}).over({0: 2, 1: 5})
    assert SavedMixture(shares={7: 0.0, 2: 3.0}).over({0: 2, 1: 5}).tolist() == [1.0, 0.0]


def test_a_mixture_of_zeros_is_refused():
    with pytest.raises(ValueError, match="every share"):
        SavedMixture(shares={0: 0.0}).over({0: 0})
