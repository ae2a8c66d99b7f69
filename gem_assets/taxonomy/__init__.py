"""Taxonomy: makes clusters readable for people.

``gis`` ranks the documents of each cluster, ``keywords`` finds its words, ``naming`` and the optional
``llm_namer`` give it a name, and ``taxonomy`` freezes all of it as one versioned artifact.
"""
