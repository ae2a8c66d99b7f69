"""The one partition definition: a landed crawl snapshot."""

import dagster as dg

snapshots = dg.DynamicPartitionsDefinition(name="snapshot")
