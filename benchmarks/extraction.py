"""How much of a page's text is found: ``python -m benchmarks.extraction [--trafilatura PYTHON]``.

The pages of ``tests/corpus/judging.py`` with the lines that a person would copy; words found against words judged, one
mean over pages. Beside ours stand resiliparse alone, with and without main content, and trafilatura where an
interpreter is named that has it (``python -m venv /tmp/t && /tmp/t/bin/pip install trafilatura``). The last line is one
JSON object; milliseconds are processor time per page.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from statistics import fmean

from resiliparse.extract.html2text import extract_plain_text

from benchmarks.shared_data import shared_folder
from gem_assets.corpus.text.html import html_to_text
from tests.corpus.judging import JudgedPage, judged_pages, precision_recall

_TRAFILATURA = """
import json, sys, time, trafilatura
pages = json.load(sys.stdin)
started = time.process_time()
texts = [trafilatura.extract(page, favor_recall=len(sys.argv) > 1, include_comments=True) or "" for page in pages]
json.dump([texts, time.process_time() - started], sys.stdout)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trafilatura", metavar="PYTHON", help="an interpreter that has trafilatura")
    args = parser.parse_args()
    pages = list(judged_pages(shared_folder() / "corpora" / "crawl"))
    rows = {
        "ours": timed(html_to_text, pages),
        "resiliparse_main": timed(lambda html: extract_plain_text(html, main_content=True, alt_texts=False), pages),
        "resiliparse_all": timed(lambda html: extract_plain_text(html, main_content=False, alt_texts=False), pages),
    }
    if args.trafilatura:
        for name, options in (("trafilatura", []), ("trafilatura_recall", ["recall"])):
            command = [args.trafilatura, "-c", _TRAFILATURA, *options]
            done = subprocess.run(
                command, input=json.dumps([page.html for page in pages]), capture_output=True, text=True, check=True
            )
            texts, seconds = json.loads(done.stdout)
            rows[name] = scores(texts, seconds, pages)
    for name, row in rows.items():
        print(f"{name:20}" + "".join(f"{key} {value:7.3f}  " for key, value in row.items()))
    print(json.dumps({"pages": len(pages), **rows}))


def timed(extract: Callable[[str], str], pages: list[JudgedPage]) -> dict[str, float]:
    """Return the scores of an extractor and its time per page."""
    started = time.process_time()
    texts = [extract(page.html) for page in pages]
    return scores(texts, time.process_time() - started, pages)


def scores(texts: list[str], seconds: float, pages: list[JudgedPage]) -> dict[str, float]:
    """Return means over pages: precision, recall, F1, the lowest recall, and milliseconds."""
    pairs = [precision_recall(text, page.text) for text, page in zip(texts, pages, strict=True)]
    return {
        "precision": round(fmean(p for p, _ in pairs), 3),
        "recall": round(fmean(r for _, r in pairs), 3),
        "f1": round(fmean(2 * p * r / (p + r) if p + r else 0.0 for p, r in pairs), 3),
        "lowest_recall": round(min(r for _, r in pairs), 3),
        "ms": round(1000 * seconds / len(pages), 2),
    }


if __name__ == "__main__":
    main()
