"""Searches that train one run after the other: processes over mixtures and model sizes, and boosted trees."""
