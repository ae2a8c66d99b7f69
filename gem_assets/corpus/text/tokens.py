"""Count tokens: by an estimate that needs no vocabulary, or with any `tokenizers` file.

``estimate-1`` follows what byte-level BPE vocabularies of 50,000 to 200,000 entries do on the average: a run of
letters costs one token for every started 7 bytes of UTF-8, a run of digits one for every started 3, a run of other
signs one for every started 2, a run of blanks one where it is more than a single space, and a character of a script
without blanks between words one. Same text, same count, on every machine.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

from gem_assets.corpus.text import kernel
from gem_assets.corpus.text.described import TextReader

ESTIMATE: Final = "estimate"
ESTIMATE_NAME: Final = "estimate-1"

TokenCounter = Callable[[str], int]


class TokenizerError(ValueError):
    """The tokenizer named in the settings cannot be used."""


def estimate_tokens(text: str) -> int:
    """Return the estimated number of tokens, by the rule above."""
    return int(TextReader.of(text).count(kernel.TOKENS)[0])


@lru_cache(maxsize=4)
def token_counter(tokenizer: str) -> tuple[str, TokenCounter]:
    """Return the name under which counts are reported, and the function that counts.

    ``tokenizer`` is ``"estimate"``, or the path of a JSON file of the `tokenizers` library. Such a file is named with
    the start of its SHA-256, and special tokens are not counted.

    Raises TokenizerError when the file is absent, or is not a tokenizer.
    """
    if tokenizer == ESTIMATE:
        return ESTIMATE_NAME, estimate_tokens
    from tokenizers import Tokenizer

    path = Path(tokenizer).expanduser()
    try:
        data = path.read_bytes()
        loaded = Tokenizer.from_str(data.decode("utf-8"))
    except Exception as error:  # the library raises plain Exception on a bad file
        raise TokenizerError(
            f"corpus.tokenizer {tokenizer!r}: {type(error).__name__}; give the path of a tokenizers JSON file, or "
            f"{ESTIMATE!r}"
        ) from error
    loaded.no_truncation()
    loaded.no_padding()

    def count(text: str) -> int:
        return len(loaded.encode(text, add_special_tokens=False).ids)

    return _named(path, data), count


def tokenizer_name(path: Path) -> str:
    """Return the name under which counts by a tokenizer file are reported."""
    return _named(path, path.read_bytes())


def _named(path: Path, data: bytes) -> str:
    return f"{path.stem}@{hashlib.sha256(data).hexdigest()[:12]}"
