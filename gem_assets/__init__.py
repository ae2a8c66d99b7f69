"""gem-assets: crawl snapshots to a balanced, named taxonomy and audited training mixtures.

The way of the data, by package: ``corpus`` → ``embedding`` → ``teacher`` (GEM) → ``student`` → ``taxonomy`` →
``mixing`` → ``ordering`` → ``export``, with ``storage`` and ``lineage`` under all of them. ``assets``, ``checks`` and
``definitions`` put them on the Dagster graph; everything else is a plain library that never imports dagster.
"""

__version__ = "0.1.0"
