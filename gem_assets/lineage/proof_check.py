"""Check the proof that a document is, or is not, in a mixture: python verify.py PROOF.json ROOT.

ROOT is the Merkle root of the mixture from a source that you trust (64 hex digits; a signed audit names it). Needs
Python and nothing else. Every node is bound to the first and the last document id below it and every join is checked
to be in order, so a root that was built dishonestly cannot prove one document both present and absent either.
"""

import hashlib
import json
import re
import sys
from typing import Any


def _text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(4, "big") + raw


def leaf_hash(doc_id: str, content_digest: str, text_digest: str, multiplicity: int) -> bytes:
    """Hash of a leaf; every string has its length before it, so no two leaves share an encoding."""
    if not 1 <= multiplicity < 2**32:
        raise ValueError(f"document {doc_id} has multiplicity {multiplicity}, which is not between 1 and 2^32 - 1")
    parts = b"\x00" + _text(doc_id) + _text(content_digest) + _text(text_digest)
    return hashlib.sha256(parts + multiplicity.to_bytes(8, "big")).digest()


def join(left: tuple[str, str, bytes], right: tuple[str, str, bytes]) -> tuple[str, str, bytes]:
    """Join two neighbours (first id, last id, hash); ids have to ascend from one to the other."""
    if not left[1] < right[0]:
        raise ValueError(f"{right[0]} does not come after {left[1]}")
    parts = b"".join(_text(first) + _text(last) + node for first, last, node in (left, right))
    return left[0], right[1], hashlib.sha256(b"\x01" + parts).digest()


def bind(size: int, top: tuple[str, str, bytes] | None) -> str:
    """Root (hex) of a tree of ``size`` leaves below ``top``; ``top`` is None for the empty tree."""
    first, last, node = top or ("", "", b"")
    parts = size.to_bytes(8, "big") + _text(first) + _text(last) + node
    return hashlib.sha256(b"\x02gem-assets/merkle/2" + parts).hexdigest()


def present(proof: dict[str, Any], root: str) -> bool:
    """Tell whether the leaf of ``proof`` stands at its index of the tree of ``root``."""
    try:
        doc_id, at, last = proof["doc_id"], proof["index"], proof["size"] - 1
        here = (doc_id, doc_id, leaf_hash(doc_id, proof["content_digest"], proof["text_digest"], proof["multiplicity"]))
        siblings = [(one["first"], one["last"], bytes.fromhex(one["hash"])) for one in proof["path"]]
        if not 0 <= at <= last or any(len(node) != 32 or first > end for first, end, node in siblings):
            return False
        while last > 0:
            if at % 2:
                here = join(siblings.pop(0), here)
            elif at < last:
                here = join(here, siblings.pop(0))
            at, last = at // 2, last // 2
        return not siblings and bind(proof["size"], here) == root
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError):
        return False


def absent(proof: dict[str, Any], root: str) -> bool:
    """Tell whether the tree of ``root`` has no leaf of the proof's document: its neighbours stand side by side."""
    try:
        left, right, size, doc_id = proof["left"], proof["right"], proof["size"], proof["doc_id"]
        if size == 0:
            return left is None and right is None and bind(0, None) == root
        for side in (left, right):
            if side is not None and not (side["size"] == size and present(side, root)):
                return False
        after = left is None or left["doc_id"] < doc_id
        before = right is None or doc_id < right["doc_id"]
        at = -1 if left is None else left["index"]
        return after and before and (size if right is None else right["index"]) == at + 1
    except (KeyError, TypeError, ValueError):
        return False


def _main(path: str, root: str) -> str:
    """Return what a proof shows; leaves with a message where it shows nothing."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - stands alone
            told = json.load(file)
        doc_id, check = told["doc_id"], absent if "left" in told else present
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        sys.exit(f"{path} is not a proof: {type(error).__name__}: {error}")
    # in capitals it is another id, and is absent beside the document itself
    if not isinstance(doc_id, str) or not re.fullmatch("[0-9a-f]{32}", doc_id):
        sys.exit(f"the proof is of {doc_id!r}, which is not a document id: 32 digits of 0-9 and a-f")
    if not check(told, root):
        sys.exit("the proof does not hold")
    return f"{doc_id} is proven {check.__name__}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(_main(sys.argv[1], sys.argv[2]))
