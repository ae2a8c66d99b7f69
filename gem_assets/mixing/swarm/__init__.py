"""The swarm: which mixtures are trained as proxies, how the table of their losses grows, and how it is read."""
