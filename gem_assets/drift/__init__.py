"""Drift: how far new snapshots have moved from what the teacher was fitted on."""
