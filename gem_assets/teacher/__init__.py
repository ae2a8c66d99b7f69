"""The GEM teacher: balanced clusters of document vectors on the unit sphere, with a certificate.

``vmf`` holds the numerics of the density, ``esteps`` the three E-steps, ``mstep`` the M-step, ``engines`` how scores
are held (dense in float64, or sparse), ``ascent`` the loop, ``start`` the initialisation, ``gem`` the estimator,
``teach`` the stage. ``baselines``, ``metrics`` and ``crosswalk`` stand beside them.
"""
