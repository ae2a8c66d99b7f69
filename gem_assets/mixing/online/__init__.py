"""Online methods: update rules that turn what a running proxy measures into the next mixture.

Each rule is arithmetic on K numbers and owns no model: a trainer calls it every few steps with losses, excess losses or
gradient products and samples the next batches from its ``weights``. On two cores they are for tests and toys; one
online run costs between two and thirteen proxies and yields a single trajectory, a swarm yields data that every law can
use.
"""
