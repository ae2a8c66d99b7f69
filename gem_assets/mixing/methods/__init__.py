"""Mixture methods that are neither a law on a swarm nor an online rule."""
