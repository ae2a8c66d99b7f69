"""What a drifted mean of the output embedding costs in bfloat16: ``python -m benchmarks.centring [--quick]``.

A common offset is added to all logits of a small untied decoder before they are rounded, as a drifted mean embedding
does, and the decoder is trained through it: width 64, two layers, 2,048 ids, 256 tokens per step, AdamW without decay
at 6e-3, 240 steps; the loss is the mean of the last 40 steps. Centring removes the offset exactly, float32 logits
do not feel it. The last line is one JSON object: losses per offset, mean over seeds.
"""

import argparse
import json
import os
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from benchmarks.proxy import VOCAB, zipf_documents
from gem_assets.proxy.config import HeadConfig, ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.head import cross_entropy
from gem_assets.proxy.model import TinyDecoder
from gem_assets.proxy.pool import TokenPool
from gem_assets.proxy.stream import MixtureStream
from gem_assets.proxy.train import ProxyTrainer, keep_memory

CONTEXT, BATCH = 64, 4


@dataclass(frozen=True)
class Arm:
    """One row of the table."""

    offset: float
    compute: torch.dtype = torch.bfloat16
    soft_cap: float | None = None
    centred: bool = False


ARMS = {
    "bf16, no offset": Arm(0.0),
    "bf16, 16.5": Arm(16.5),
    "bf16, 92.5": Arm(92.5),
    "bf16, 588": Arm(588.0),
    "bf16, 588, centred": Arm(588.0, centred=True),
    "fp32, no offset": Arm(0.0, torch.float32),
    "fp32, 588": Arm(588.0, torch.float32),
    "bf16, 588, soft cap 30": Arm(588.0, soft_cap=30.0),
}


def drifted_gradient(model: TinyDecoder, windows: torch.Tensor, arm: Arm) -> float:
    """Write the gradient of the loss through the drifted head to ``model.flat_grad`` and return the loss.

    The drift is a column of the (untied) head that is the same for all tokens, on a hidden unit that is always 1.
    """
    states, pullback = model.trunk(windows[:, :-1])
    e = model.output_embedding
    head = torch.cat([e, torch.full((len(e), 1), arm.offset)], 1)
    head = head - head.mean(0) if arm.centred else head
    states = torch.cat([states, torch.ones(len(states), 1)], 1)
    target = windows[:, 1:].reshape(-1)
    found = cross_entropy(states, head, target, compute=arm.compute, soft_cap=arm.soft_cap)
    pullback(found.d_hidden[:, :-1].to(model.compute).contiguous())
    d_head = found.d_embedding - found.d_embedding.mean(0) if arm.centred else found.d_embedding
    part, shape = model.layout["head"]
    model.flat_grad[part].view(shape).copy_(d_head[:, :-1])
    return found.loss.item()


def final_loss(arm: Arm, steps: int, seed: int) -> float:
    """Train through the drifted head and return the mean loss of the last sixth."""
    pool = TokenPool.of([zipf_documents(200_000, seed=7).tokens], VOCAB)
    config = ProxyConfig(
        model=ModelConfig(width=64, layers=2, heads=4, context=CONTEXT),
        training=TrainingConfig(tokens=steps * BATCH * CONTEXT, batch=BATCH, precision="fp32"),
        head=HeadConfig(mu_centring="off"),
    )
    trainer = ProxyTrainer(config, VOCAB, seed=seed, steps=steps)
    stream = MixtureStream(pool, np.ones(1), steps * BATCH, CONTEXT, seed)
    weights = torch.nn.Parameter(trainer.model.flat)
    weights.grad = trainer.model.flat_grad
    optimiser = torch.optim.AdamW([weights], lr=6e-3, betas=(0.9, 0.95), weight_decay=0.0)
    losses: list[float] = []
    for i in range(steps):
        windows = torch.from_numpy(stream.windows(BATCH * i, BATCH * (i + 1)))
        losses.append(drifted_gradient(trainer.model, windows, arm))
        torch.nn.utils.clip_grad_norm_([weights], 1.0)
        optimiser.step()
    return float(np.mean(losses[-steps // 6 :]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, 80 steps")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    keep_memory()
    steps, seeds = (80, 1) if quick else (240, 2)
    table: dict[str, float] = {}
    for name, arm in ARMS.items():
        found = [final_loss(arm, steps, seed) for seed in range(seeds)]
        table[name] = round(float(np.mean(found)), 4)
        print(f"{name:24s} " + " / ".join(f"{loss:.3f}" for loss in found), flush=True)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
