"""Data ordering: from scores to the sequence in which a mixture's documents are trained on.

``operators`` holds the published orderings as pure functions, ``draw`` chooses each cluster's documents and
repetitions, ``interleave`` merges clusters so that every window keeps the recipe's shares, ``training_order``
writes the result, ``diagnostics`` measures it.
"""
