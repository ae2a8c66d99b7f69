"""The explorer: what the person who decides a mixture looks at. The views read results in force and change none.

``corpus_map`` lays the clusters out, ``documents`` and ``points`` hold what is on the map, ``overview`` answers the
home page, clusters and history, ``desk`` says what a mixture is predicted to cost, ``find`` looks documents up, and
``application`` serves all of it to the pages in ``static``.
"""
