"""Mixing: which share of the training tokens each cluster gets, and how we know.

``supply`` counts what there is, ``heuristics`` and the learned methods propose token shares, ``caps`` keeps
them inside what the text can bear, and ``recipe`` is the one frozen form in which a mixture leaves this
package. The unit is the token share everywhere; exporters convert.
"""
