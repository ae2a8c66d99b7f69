"""Taking documents out: the blocklist, requests, certificates and the purge.

``blocklist``, ``entries``  what must not be used, and how a document is matched against it
``request``                 a takedown request and what it makes stale
``holdings``                what held the documents of a request
``near``                    addresses that nearly match
``in_force``                what current results still show of a request
``certificate``             the account of a request
``purge``                   deleting the bytes; ``storage.purged`` keeps the record of it
"""
