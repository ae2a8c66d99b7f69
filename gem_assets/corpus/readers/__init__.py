"""Readers, one module per format: one landed file in; records and quarantine rows out.

``registry`` picks the reader by what a file holds (``sniff``); ``streams``, ``raw``, ``codecs`` and ``tape`` hand it
bytes; ``records`` holds what comes out.
"""
