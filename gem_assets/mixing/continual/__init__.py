"""Continual pre-training: what a trained model can be trained on further."""
