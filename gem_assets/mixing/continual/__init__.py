"""Continual pre-training: what a model that was trained before can go on with."""
