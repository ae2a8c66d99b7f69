"""Where results live: identities, manifests, artifacts, durable files, Lance tables and the external sort.

``identity``   the SHA-256 that names a result by everything that can change it
``manifest``   the JSON file beside each artifact
``artifacts``  the store of artifacts: atomic, durable, on a folder or on object storage
``backend``    the two kinds of storage below it
``durable``    files that survive a power cut, locks, modes
``chain``      append-only JSON lines, each with the digest of the line before
``rows``       order-free digest of the rows of a table
``lance``      the tables, with ``lance_files``, ``lance_source`` and ``lance_commit``
``spill``      sorting and grouping more rows than fit in memory
``scratch``    folders that a run deletes
"""
