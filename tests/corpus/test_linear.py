"""What a text costs grows with its length, whatever it is made of."""

import json
import os
import subprocess
import sys
import time

import pytest

from gem_assets.corpus.dedup.minhash import permutations
from gem_assets.corpus.text.charsets import decode_bytes
from gem_assets.corpus.text.cleaning import clean_text, content_digest
from gem_assets.corpus.text.described import TextReader, buffers_of
from gem_assets.corpus.text.formulas import plain_formulas
from gem_assets.corpus.text.html import nesting_depth
from gem_assets.corpus.text.tidy import clean_texts
from gem_assets.corpus.text.tokens import estimate_tokens

SEEDS = {
    "marks": "\u0301\u0327",
    "marks of one class": "\u0301",
    "letters with many marks": "z" + "\u0301\u0316\u0334" * 20,
    "jamo": "\u1100\u1161\u11a8",
    "joiners": "\U0001f468\u200d",
    "blanks": " ",
    "lines": "\n",
    "next lines": "\x85",
    "one word": "x",
    "digits": "1",
    "controls": "\x92",
    "bytes of UTF-8": "\xe2\x80",
    "HZ": "~{",
    "UTF-7": "+A",
    "escapes": "\x1b$B\x1b(",
    "tags": "<",
    "comments": "<!--",
    "meta": "<meta charset",
    "declarations": '<?xml encoding="',
    "quotes": '<a href="',
    "depth": "<div></b>",
    "formatting": "<b><i></b>",
    "formulas": "<math>",
    "ruby": "<ruby>a<rt>",
    "images": '<img alt="x" class="tex">',
    "lists": "<ol start=2><li>x</ol>",
}


def _decode(text: str) -> object:
    data = text.encode()
    return [
        decode_bytes(raw, label, is_html=True)
        for raw in (data, data + b"\xff\xfe\xe9")
        for label in (None, "hz", "utf-7")
    ]


READER = TextReader(5, permutations(16, 1))

STAGES = {
    "clean": clean_text,
    "digest": content_digest,
    "clean in batches": lambda text: clean_texts(buffers_of([text.encode()])),
    "describe": lambda text: READER.describe(buffers_of([text.encode()])),
    "tokens": estimate_tokens,
    "decode": _decode,
    "depth": nesting_depth,
    "formulas": plain_formulas,
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", SEEDS)
def test_eight_times_the_text_costs_no_more_than_a_quarter_of_its_square(stage, kind):
    seed = SEEDS[kind]
    small, large = seed * (5_000 // len(seed)), seed * (40_000 // len(seed))
    STAGES[stage](small)
    short, long = _seconds(stage, small), _seconds(stage, large)
    # linear is 8, quadratic 64; what takes no time at all is not measured, and what looks dear is measured again
    for _ in range(4):
        if long < 16 * short + 0.1:
            break
        long = min(long, _seconds(stage, large))
    assert long < 16 * short + 0.1


def _seconds(stage: str, text: str) -> float:
    started = time.process_time()
    STAGES[stage](text)
    return time.process_time() - started


# as Python, because lines that are executed can be counted, whatever else the machine does
_COUNT = """
import json, sys
import numpy as np
from gem_assets.corpus.dedup.minhash import permutations
from gem_assets.corpus.text.described import TextReader, buffers_of
from gem_assets.corpus.text.tidy import clean_texts

np.seterr(over="ignore")
reader = TextReader(5, permutations(2, 1))
stages = {
    "clean": lambda text: clean_texts(buffers_of([text])),
    "describe": lambda text: reader.describe(buffers_of([text])),
}
texts = {
    "one line": b"the ferry leaves at seven ",
    "one word": b"x",
    "marks": "\\u0301".encode(),
    "a mark behind each letter": "q\\u0301".encode(),
    "cut in a sequence": "\\u4e2d\\u6587".encode(),
    "lines": b"ab\\n",
}

def steps(function, text):
    count = 0
    def traced(frame, event, _):
        nonlocal count
        count += event == "line"
        return traced
    sys.settrace(traced)
    try:
        function(text)
    finally:
        sys.settrace(None)
    return count

found = {}
for kind, seed in texts.items():
    for stage, function in stages.items():
        function(seed)
        sizes = [seed * (n // len(seed)) for n in (600, 2400)]
        found[f"{stage}: {kind}"] = [steps(function, text[:-1] if kind.startswith("cut") else text) for text in sizes]
print(json.dumps(found))
"""


def test_four_times_the_text_takes_four_times_the_steps():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", _COUNT], env=environment, capture_output=True, text=True, check=True)
    counts = json.loads(done.stdout)
    assert len(counts) == 12
    for what, (small, large) in counts.items():
        assert small > 600, what
        assert large < 4.4 * small, what
