"""What was made from what, and the account of a mixture.

``walk``         from an artifact through its inputs down to the landing files
``mixtures``     a mixture by name, with the labels, documents and orders that belong to it
``audit``        the documents of an order, with what they add up to
``merkle``       root, membership and absence proofs over the documents of a mixture
``proof_check``  the checker of proofs, which needs nothing but Python
"""
