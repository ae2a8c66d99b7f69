"""From the text of a record to clean text, its language, words, signals and token estimate.

``charsets`` and ``seven_bit`` decode; ``html``, ``main_content`` and ``formulas`` extract (``contained`` in a process
of its own); ``cleaning`` cleans and names a text; ``language``, ``words``, ``quality`` and ``tokens`` describe it.
"""

from gem_assets.corpus.text.cleaning import clean_text, content_digest

__all__ = ["clean_text", "content_digest"]
