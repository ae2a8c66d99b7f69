"""Readers: one landed file in, records out, and damage as quarantine rows. One module a format.

``registry`` picks the reader by what a file holds (``sniff``); ``streams``, ``raw``, ``codecs`` and ``tape`` hand it
bytes; ``records`` holds what comes out.
"""
