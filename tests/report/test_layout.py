import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.report.layout import landmark_map, spread_labels


def test_landmarks_keep_near_clusters_near():
    rng = np.random.default_rng(0)
    centres = np.array([[1, 0, 0.0], [0.95, 0.3, 0], [0, 0, 1]])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    labels = np.repeat(np.arange(3), 50)
    vectors = centres[labels] + 0.05 * rng.normal(size=(150, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    plane = landmark_map(vectors, labels, 3)
    middle = np.array([plane[labels == k].mean(axis=0) for k in range(3)])
    near = np.linalg.norm(middle[0] - middle[1])
    assert near < 0.6 * min(np.linalg.norm(middle[0] - middle[2]), np.linalg.norm(middle[1] - middle[2]))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
@settings(deadline=None)
def test_spread_labels_do_not_overlap(anchors):
    boxes = np.tile([[0.3, 0.05]], (len(anchors), 1))
    places = spread_labels(np.array(anchors), boxes, sweeps=2000)
    for i in range(len(places)):
        for j in range(i):
            gap = np.abs(places[i] - places[j])
            assert np.any(gap >= boxes[0] * (1 - 1e-3))
