"""What decides and starts runs, and the servers a person looks at. The half of the package that may import Dagster.

``plan``, ``reconcile``    what is stale and what runs next; neither imports Dagster
``reconciler``             the same, asked of the graph and of Dagster's records
``stage``, ``progress``    one run of one stage, and its progress lines
``instance``               the Dagster instance of a data root
``dev_server``             ``gem dev``: web server, daemon, pages
"""
