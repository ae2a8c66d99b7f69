"""``gem tokenizer-mixture``: which of the clusters a tokenizer was trained on."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from gem_assets.cli.app import MIXTURES, AsJson, DataRoot, app
from gem_assets.cli.console import console, friendly, plain_table, print_json
from gem_assets.stages import DOMAIN_INVENTORY, GIS_TAXONOMY, PROXY_TOKENS


@app.command("tokenizer-mixture", rich_help_panel=MIXTURES)
@friendly
def tokenizer_mixture(
    tokenizer: Annotated[Path, typer.Argument(help="tokenizer.json of a byte-level BPE.", exists=True, dir_okay=False)],
    data_root: DataRoot = None,
    merges: Annotated[int, typer.Option("--merges", help="How many of the first merges to explain.", min=20)] = 400,
    sample: Annotated[int, typer.Option("--sample", help="Bytes of text per cluster.", min=10_000)] = 1_000_000,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the answer as JSON.", dir_okay=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Infer from a tokenizer's merges which shares of the clusters it was trained on (Hayase et al. 2024)."""
    from gem_assets.mixing.inventory import read_supply
    from gem_assets.mixing.tokenizer.inference import infer_tokenizer_mixture
    from gem_assets.settings import load_existing
    from gem_assets.storage.identity import file_digest
    from gem_assets.storage.store import Store
    from gem_assets.taxonomy.publish import TAXONOMY_NAME
    from gem_assets.taxonomy.taxonomy import Taxonomy

    store = Store(root=str(load_existing(data_root).data_root))
    tokens, named, held = (store.artifact(store.input(name)) for name in (PROXY_TOKENS, GIS_TAXONOMY, DOMAIN_INVENTORY))
    taxonomy = Taxonomy.read(named.path / TAXONOMY_NAME)
    supply = read_supply(held.path, len(taxonomy.clusters))
    found = infer_tokenizer_mixture(tokens.path, tokenizer, merges=merges, sample_bytes=sample)
    natural = supply.n_bytes / max(int(supply.n_bytes.sum()), 1)
    rows: list[dict[str, Any]] = [
        {
            "cluster": int(k),
            "name": taxonomy.names[int(k)],
            "share_of_bytes": float(found.shares[i]),
            "from_halves": found.halves[:, i].tolist(),
            "natural_share": float(natural[k]),
            "sample_bytes": int(found.sample_bytes[i]),
        }
        for i, k in enumerate(found.clusters)
    ]
    answer = {
        "tokenizer": str(tokenizer),
        "sha256": file_digest(tokenizer),
        "taxonomy": taxonomy.version,
        "prepared_tokens": tokens.identity,
        "merges": found.steps,
        "unexplained_a_step": found.violation,
        "clusters": rows,
    }
    text = json.dumps(answer, indent=2) + "\n"
    if out is not None:
        out.write_text(text, encoding="utf-8")
    if as_json:
        print_json(answer)
        return
    table = plain_table(f"{tokenizer.name}: share of the bytes it was trained on, from {found.steps} merges")
    table.add_column("cluster", ratio=1)
    for column in ("share", "from halves of the text", "natural"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in sorted(rows, key=lambda row: -row["share_of_bytes"]):
        low, high = sorted(row["from_halves"])
        table.add_row(
            row["name"], f"{row['share_of_bytes']:.1%}", f"{low:.1%} … {high:.1%}", f"{row['natural_share']:.1%}"
        )
    console().print(table)
    console().print(
        f"Unexplained: {found.violation:.2g} pairs a byte and merge. It is the mixture of these clusters that fits "
        "best, whatever the tokenizer was trained on."
    )
