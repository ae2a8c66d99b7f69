"""What was made from what: identities, manifests, artifacts, Merkle roots, the walk back to raw.

``identity``   the sha256 that names a result by everything that can change it
``manifest``   the JSON that lies beside each artifact
``artifacts``  the store of artifacts: atomic, durable, on a folder or on object storage
``backend``    the two kinds of storage below it
``rows``       order-free digest of the rows of a table
``merkle``     root, membership and absence proofs over the documents of a mixture
``walk``       from an artifact through its inputs down to the landing files, re-hashing on the way
"""
