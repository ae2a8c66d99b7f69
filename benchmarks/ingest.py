"""Cost of reading landed files to candidate rows: ``python -m benchmarks.ingest [--quick] [--baseline TREE] [--peer]``.

One worker reads WET, parquet and HTML of ../shared (or GEM_SHARED): CPU seconds of one core, the least of several
rounds, each tree in a process of its own. ``wet_over_read`` is the CPU of the whole over that of our reader alone,
``html_over_resiliparse`` the CPU of a crawl of HTML, helper process included, over that of resiliparse's extraction of
the same pages. ``oracle_mismatches`` counts texts of which the compiled pass says another thing than plain Python
(tests/corpus/text/oracle.py). ``--baseline`` measures another checkout in the same run, alternating, and compares the
rows; ``--peer`` runs datatrove's Gopher and MinHash blocks over the same texts (``--peer-python`` names an interpreter
that has datatrove, else an environment is made).

``html_over_two_extractions`` has below the line what our rules need at least: each page parsed once, and extracted with
and without main content. ``--large`` measures nothing but single texts of 12.5 and 100 MB, of one line, of combining
marks, cut inside a sequence: CPU seconds of cleaning and of describing each, and how many times those of the small one
those of the large one are (8 is linear). The last line is one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

WET = "crawl/derived-dev.warc.wet.gz"
PARQUET = "multidomain/webmix_dev.parquet"
HTML = "crawl/aut-IAH-blackbook.warc.gz"
_HERE = Path(__file__).resolve().parents[1]
_ROOM_FOR_PEER = 400
LARGE = (12_500_000, 100_000_000)

_PEER = """
import json, sys, time
from datatrove.data import Document
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
texts = json.load(sys.stdin)
blocks = [GopherRepetitionFilter(), GopherQualityFilter()]
hasher = MinhashDedupSignature(sys.argv[1], config=MinhashConfig())
def one(text):
    for block in blocks:
        block.filter(Document(text=text, id="0"))
    hasher.get_signature(hasher.get_shingles(text))
one(texts[0])
started = time.process_time()
for text in texts:
    one(text)
print(json.dumps(time.process_time() - started))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="one round instead of three")
    parser.add_argument("--baseline", metavar="TREE", help="another checkout to measure beside this one")
    parser.add_argument("--peer", action="store_true", help="run datatrove over the same texts")
    parser.add_argument("--peer-python", metavar="PYTHON", help="an interpreter that has datatrove")
    parser.add_argument("--large", action="store_true", help="measure texts of 100 MB, and nothing else")
    parser.add_argument("--child", nargs=2, metavar=("CORPORA", "OUT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(Path(args.child[0]), Path(args.child[1]))))
        return
    if args.large:
        print(json.dumps(large_texts()))
        return
    from benchmarks.shared_data import shared_folder

    corpora = shared_folder() / "corpora"
    trees = {"": _HERE} | ({"before_": Path(args.baseline).resolve()} if args.baseline else {})
    with tempfile.TemporaryDirectory() as scratch:
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in trees}
        outs = {name: Path(scratch) / f"out-{name}" for name in trees}
        # the first round compiles
        for number in range(2 if args.quick else 4):
            for name, tree in trees.items():
                found = run_child(tree, corpora, outs[name])
                if number:
                    rounds[name].append(found)
        best = {name: least(found) for name, found in rounds.items()}
        result: dict[str, Any] = {}
        for name in trees:
            result |= {name + key: value for key, value in figures(best[name]).items()}
        texts = wet_texts(outs[""])
        result["oracle_mismatches"] = oracle_mismatches(texts[:: 20 if args.quick else 4])
        if args.baseline:
            result["times_docs_s"] = round(result["wet_docs_s_core"] / result["before_wet_docs_s_core"], 2)
            result["times_parquet"] = round(result["parquet_mb_s_core"] / result["before_parquet_mb_s_core"], 2)
            result["rows_unlike_baseline"] = unlike(outs[""], outs["before_"])
        if args.peer:
            rate = peer_rate(texts[: _ROOM_FOR_PEER // (4 if args.quick else 1)], args.peer_python, Path(scratch))
            result["docs_over_datatrove"] = round(result["wet_docs_s_core"] / rate, 1)
    for key, value in result.items():
        print(f"{key:30} {value}")
    print(json.dumps(result))


def run_child(tree: Path, corpora: Path, out: Path) -> dict[str, Any]:
    """Measure one checkout in a new process."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, __file__, "--child", str(corpora), str(out)]
    done = subprocess.run(command, env=environment, cwd=tree, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(corpora: Path, out: Path) -> dict[str, Any]:
    """Return CPU seconds, documents and bytes of text of each file, and the peak of memory behind the WET file."""
    import resource
    import time

    import numpy as np
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    from gem_assets.corpus.config import CorpusConfig
    from gem_assets.corpus.fragments import FileJob, extract_file
    from gem_assets.corpus.readers import web
    from gem_assets.corpus.readers.registry import read_file
    from gem_assets.corpus.text import contained

    def cpu() -> float:
        return time.process_time()

    def extracted(name: str, index: int) -> float:
        started = cpu()
        extract_file(FileJob(index, str(corpora / name), Path(name).name, None), scratch=str(out), config=config)
        return cpu() - started

    config = CorpusConfig()
    out.mkdir(exist_ok=True)
    # imports, tables and whatever is loaded once
    extracted("crawl/whirlwind.warc.wet.gz", 9)
    found: dict[str, Any] = {"wet_s": extracted(WET, 0)}
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = cpu()
    documents = [item for item in read_file(corpora / WET, "x", config) if hasattr(item, "text")]
    found["read_s"] = cpu() - started
    found["wet_docs"] = len(documents)
    found["wet_bytes"] = sum(len(document.text.encode()) for document in documents)
    documents.clear()
    found["parquet_s"] = extracted(PARQUET, 1)
    # some checkouts read a document at a time, and some columns
    found["parquet_bytes"] = sum(
        int(np.sum(item.n_bytes))
        for item in read_file(corpora / PARQUET, "x", config)
        if hasattr(item, "text") or hasattr(item, "texts")
    )
    # every page, as extraction is given it
    pages: list[str] = []
    whole = contained.page_text
    web.page_text = lambda html: (pages.append(html), whole(html))[1]
    extracted(HTML, 2)
    web.page_text = whole
    helper = contained._HELPERS[0]._process.pid
    before = process_seconds(helper)
    found["html_s"] = extracted(HTML, 2)
    found["html_s"] += process_seconds(helper) - before
    started = cpu()
    for page in pages:
        extract_plain_text(page, main_content=True, alt_texts=False)
    found |= {"resiliparse_s": cpu() - started, "pages": len(pages)}
    started = cpu()
    for page in pages:
        tree = HTMLTree.parse(page)
        extract_plain_text(tree, main_content=True, alt_texts=False)
        extract_plain_text(tree, main_content=False, alt_texts=False)
    found["extractions_s"] = cpu() - started
    return found


def large_texts() -> dict[str, Any]:
    """Return the CPU seconds of each stage over each kind of text at two sizes, and how many times they grow."""
    import time

    from gem_assets.corpus.dedup.minhash import permutations
    from gem_assets.corpus.text.described import TextReader, buffers_of
    from gem_assets.corpus.text.tidy import clean_texts

    reader = TextReader(5, permutations(128, 1))
    stages: dict[str, Callable[[bytes], object]] = {
        "clean": lambda text: clean_texts(buffers_of([text])),
        "describe": lambda text: reader.describe(buffers_of([text])),
    }
    kinds = {
        "one_line": b"the ferry leaves at seven ",
        "one_word": b"x",
        "marks": "\u0301\u0327".encode(),
        "lines": b"ab\n",
        "cut": "\u4e2d".encode(),
    }
    found: dict[str, Any] = {}
    for stage, function in stages.items():
        function(b"a b c")
        for kind, seed in kinds.items():
            costs: list[float] = []
            for size in LARGE:
                text = seed * (size // len(seed))
                started = time.process_time()
                function(text[:-1] if kind == "cut" else text)
                costs.append(time.process_time() - started)
            found[f"{stage}_{kind}_s"] = [round(cost, 3) for cost in costs]
            found[f"{stage}_{kind}_times"] = round(costs[1] / costs[0], 1)
            print(f"{stage:10} {kind:10} {costs[0]:6.2f} {costs[1]:6.2f}", flush=True)
    found["times_at_most"] = max(value for key, value in found.items() if key.endswith("_times"))
    return found


def process_seconds(pid: int) -> float:
    """Return the CPU seconds that another process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def least(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the least of every figure."""
    return {key: min(found[key] for found in rounds) for key in rounds[0]}


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """Return the published figures of one checkout."""
    return {
        "wet_mb_s_core": round(found["wet_bytes"] / found["wet_s"] / 1e6, 2),
        "wet_docs_s_core": round(found["wet_docs"] / found["wet_s"], 1),
        "wet_over_read": round(found["wet_s"] / found["read_s"], 2),
        "parquet_mb_s_core": round(found["parquet_bytes"] / found["parquet_s"] / 1e6, 2),
        "html_over_resiliparse": round(found["html_s"] / found["resiliparse_s"], 2),
        "html_over_two_extractions": round(found["html_s"] / found["extractions_s"], 2),
        "peak_mb": round(found["peak_mb"]),
    }


def wet_texts(out: Path) -> list[str]:
    """Return the texts of the WET file's rows."""
    from gem_assets.corpus.fragments import fragment_path, read_fragment

    return [t for batch in read_fragment(fragment_path(out, 0, "documents")) for t in batch.column("text").to_pylist()]


def oracle_mismatches(texts: list[str]) -> int:
    """Return how many texts the compiled pass describes otherwise than plain Python does."""
    from tests.corpus.text.test_kernel import described, said

    return sum(one != said(text) for text, one in zip(texts, described(texts), strict=True))


def unlike(one: Path, other: Path) -> int:
    """Return how many candidate rows and signatures differ between two checkouts."""
    from gem_assets.corpus.fragments import fragment_path, read_fragment

    different = 0
    for index in range(3):
        rows = [
            [row for batch in read_fragment(fragment_path(out, index, "documents")) for row in batch.to_pylist()]
            for out in (one, other)
        ]
        different += abs(len(rows[0]) - len(rows[1])) + sum(a != b for a, b in zip(*rows, strict=False))
        signatures = [fragment_path(out, index, "signatures").read_bytes() for out in (one, other)]
        different += signatures[0] != signatures[1]
    return different


def peer_rate(texts: list[str], python: str | None, scratch: Path) -> float:
    """Return documents per CPU second of datatrove's blocks."""
    if python is None:
        environment = scratch / "peer"
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        python = str(environment / "bin" / "python")
        packages = ["datatrove[processing]>=0.10", "spacy"]
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    command = [python, "-c", _PEER, str(scratch / "peer-out")]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True)
    return len(texts) / json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
