import json

import numpy as np
import pytest

from gem_assets.mixing.methods.skillit import SkillIt, graph_from_losses


def test_published_graph(golden_folder):
    case = json.loads((golden_folder / "unit_fixtures.json").read_text())["skillit"]
    graphs = json.loads((golden_folder / "skillit" / "ni_graphs.json").read_text())
    state = SkillIt(np.array(graphs["spanish_qg_normalized"]), eta=case["eta"])
    assert np.abs(state.weights - case["init_weights"]).max() < 1e-6
    assert np.abs(state.update(np.array(case["losses"])) - case["weights_after"]).max() < 1e-6


def test_only_the_last_evaluations_count():
    graph = np.random.default_rng(0).random((3, 4))
    long, short = SkillIt(graph, window=2), SkillIt(graph, window=2)
    long.update(np.array([9.0, 9, 9, 9]))
    for losses in (np.array([1.0, 2, 3, 4]), np.array([2.0, 1, 0.5, 3])):
        long.update(losses)
        short.update(losses)
    assert np.allclose(long.weights, short.weights)


def test_graph_from_measurements():
    graph = graph_from_losses(np.array([4.0, 2.0]), np.array([[3.0, 2.2], [4.0, 1.0]]))
    assert graph == pytest.approx(np.array([[0.25, 0.0], [0.0, 0.5]]))
    with pytest.raises(ValueError, match="skill 1 before training is 0"):
        graph_from_losses(np.array([1.0, 0.0]), np.ones((1, 2)))


def test_wrong_number_of_losses_is_refused():
    with pytest.raises(ValueError, match="expected 2 finite losses"):
        SkillIt(np.ones((3, 2))).update(np.ones(3))
    with pytest.raises(ValueError, match="window"):
        SkillIt(np.ones((2, 2)), window=0)
