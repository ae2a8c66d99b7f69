"""Check of ``gis_taxonomy``: names that a person can tell apart."""

import dagster as dg

from gem_assets.checks.validation import validate_frame
from gem_assets.stages import GIS_TAXONOMY
from resources import StoreResource


@dg.asset_check(
    asset=GIS_TAXONOMY,
    blocking=True,
    description="Every cluster has a unique name, keywords and at least one exemplar.",
)
def names_are_usable(store: StoreResource) -> dg.AssetCheckResult:
    import great_expectations.expectations as gxe
    import pandas as pd

    from gem_assets.taxonomy.publish import TAXONOMY_NAME
    from gem_assets.taxonomy.taxonomy import Taxonomy

    taxonomy = Taxonomy.read(store.artifact(store.input(GIS_TAXONOMY)).path / TAXONOMY_NAME)
    frame = pd.DataFrame(
        {
            "name": [c.name for c in taxonomy.clusters],
            "keywords": [len(c.keywords) for c in taxonomy.clusters],
            "exemplars": [len(c.exemplars) for c in taxonomy.clusters],
            "documents": [c.documents for c in taxonomy.clusters],
        }
    )
    return validate_frame(
        frame,
        [
            gxe.ExpectTableRowCountToBeBetween(min_value=2, description="There are fewer than two clusters"),
            gxe.ExpectColumnValuesToBeUnique(column="name", description="Two clusters have one name"),
            gxe.ExpectColumnValueLengthsToBeBetween(
                column="name", min_value=1, max_value=120, description="A name is empty or longer than 120 characters"
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="keywords", min_value=1, severity="warning", description="A cluster has no keyword"
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="exemplars", min_value=1, severity="warning", description="A cluster has no exemplar"
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="documents", min_value=1, severity="warning", description="A cluster has no document"
            ),
        ],
        GIS_TAXONOMY,
    )
