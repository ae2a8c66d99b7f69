"""Where a document came from, which mixtures show it, and what changed between two mixtures.

``trace``   the look-up of a document, a page or a domain
``answer``  what it returns
``diff``    the shares and the documents in which two mixtures differ
``index``   the sorted files that both read
"""
