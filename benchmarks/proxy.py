"""Speed of the proxies: a trainer step against the plain loop anyone would write, and the count model.

``python -m benchmarks.proxy [--quick]`` prints what it measures and, as its last line, one JSON object:

tokens_per_cpu_s
    Training tokens per CPU-second of one thread: 0.3M decoder, 2 x 256 tokens per step, 2,048 ids, default settings.
over_plain_loop
    That over the same decoder as a float32 ``nn.Module`` with ``F.cross_entropy`` and 8 x 256 tokens per step. The two
    are interleaved in one process, step by step; the ratio is that of the median times.

Further keys give the larger size, the trainer in float32, and the count model at K = 24.
"""

import argparse
import json
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gem_assets.proxy.config import CountConfig, ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.counts import count_documents
from gem_assets.proxy.lexical import LexicalProxy
from gem_assets.proxy.model import resolve_precision
from gem_assets.proxy.ops import rotary
from gem_assets.proxy.pool import EvaluationSet
from gem_assets.proxy.tokens import END, EncodedDocuments
from gem_assets.proxy.train import ProxyTrainer, keep_memory

VOCAB = 2048
PLAIN_BATCH = 8


class PlainBlock(nn.Module):
    """A decoder block as anyone would write it."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.heads = c.heads
        self.norm_attention, self.norm_ffn = nn.RMSNorm(c.width), nn.RMSNorm(c.width)
        self.qkv = nn.Linear(c.width, 3 * c.width, bias=False)
        self.out = nn.Linear(c.width, c.width, bias=False)
        self.gate = nn.Linear(c.width, c.ffn, bias=False)
        self.up = nn.Linear(c.width, c.ffn, bias=False)
        self.down = nn.Linear(c.ffn, c.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # noqa: D102
        b, t, d = x.shape

        def turn(z: Tensor) -> Tensor:
            first, second = z.chunk(2, -1)
            return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

        q, k, v = self.qkv(self.norm_attention(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, d))
        n = self.norm_ffn(x)
        return x + self.down(functional.silu(self.gate(n)) * self.up(n))


class PlainDecoder(nn.Module):
    """The decoder of the trainer, from PyTorch's own modules."""

    def __init__(self, c: ModelConfig, vocab: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, c.width)
        self.blocks = nn.ModuleList(PlainBlock(c) for _ in range(c.layers))
        self.norm = nn.RMSNorm(c.width)
        self.head = nn.Linear(c.width, vocab, bias=False)
        if c.tied:
            self.head.weight = self.embedding.weight
        self.cos, self.sin = rotary(c.context, c.width // c.heads, c.rope_base, torch.float32)

    def forward(self, ids: Tensor) -> Tensor:  # noqa: D102
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.head(self.norm(x))


def plain_step(config: ModelConfig) -> Callable[[], int]:
    model = PlainDecoder(config, VOCAB)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    windows = torch.randint(0, VOCAB, (64, PLAIN_BATCH, config.context + 1))
    at = iter(range(10**9))

    def step() -> int:
        batch = windows[next(at) % len(windows)]
        loss = functional.cross_entropy(model(batch[:, :-1]).reshape(-1, VOCAB), batch[:, 1:].reshape(-1))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        return PLAIN_BATCH * config.context

    return step


def trainer_step(config: ProxyConfig) -> Callable[[], int]:
    trainer = ProxyTrainer(config, VOCAB, steps=10**6)
    batch, context = config.training.batch, config.model.context
    windows = torch.randint(0, VOCAB, (64, batch, context + 1))

    def step() -> int:
        trainer.step(windows[trainer.step_number % len(windows)])
        return batch * context

    return step


def interleaved(steps: dict[str, Callable[[], int]], seconds: float) -> dict[str, float]:
    """Tokens a CPU-second of each, from the median time of a step; each gets the same CPU time, a bit at a time."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    tokens = {name: step() for name, step in steps.items()}
    for step in steps.values():
        step()
    spent = dict.fromkeys(steps, 0.0)
    while min(spent.values()) < seconds:
        name = min(spent, key=lambda key: spent[key])
        start = time.process_time()
        steps[name]()
        times[name].append(time.process_time() - start)
        spent[name] += times[name][-1]
    return {name: tokens[name] / float(np.median(found)) for name, found in times.items()}


def zipf_documents(n: int, seed: int = 0) -> EncodedDocuments:
    """Documents of about 500 tokens with a Zipf vocabulary and some order: a stand-in when no corpus is given."""
    rng = np.random.default_rng(seed)
    weight = 1 / np.arange(1, VOCAB)
    ids = rng.choice(np.arange(1, VOCAB), n, p=weight / weight.sum())
    # every other token follows from the one before, so that bigrams repeat as they do in text
    ids[1::2] = (ids[:-1:2][: len(ids[1::2])] * 7 + ids[1::2] % 3) % (VOCAB - 1) + 1
    ends = np.arange(499, n, 500)
    ids[ends] = END
    ids[-1] = END
    return EncodedDocuments(ids.astype(np.uint16), np.unique(np.concatenate([[0], ends + 1, [n]])))


def count_model(tokens: int, domains: int, order: int) -> dict[str, float]:
    documents = zipf_documents(tokens)
    labels = np.arange(len(documents)) % domains
    windows = zipf_documents(20 * 8 * 257, seed=1).tokens.reshape(160, 257)
    names = tuple(f"target-{i}" for i in range(20))
    evaluation = EvaluationSet(names, windows, np.repeat(np.arange(20), 8), np.ones(20, int), np.zeros(20, bool))
    start = time.process_time()
    counts = count_documents(documents, labels, vocab=VOCAB, domains=domains, order=order)
    counted = time.process_time()
    proxy = LexicalProxy.of(counts, evaluation, CountConfig(order=order), 2e4)
    ready = time.process_time()
    mixtures = np.random.default_rng(0).dirichlet(np.ones(domains), 64)
    proxy.losses(mixtures)
    evaluated = time.process_time()
    proxy.losses_and_jacobian(mixtures[0])
    return {
        "count_s": counted - start,
        "tables_s": ready - counted,
        "mixture_ms": (evaluated - ready) / 64 * 1e3,
        "jacobian_ms": (time.process_time() - evaluated) * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the time")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_memory()
    seconds, tokens = (2.0, 4_000_000) if quick else (8.0, 20_000_000)

    small, large = (
        ProxyConfig(),
        ProxyConfig(model=ModelConfig(width=128, layers=5, heads=4), training=TrainingConfig(batch=4)),
    )
    fp32 = small.model_copy(update={"training": small.training.model_copy(update={"precision": "fp32"})})
    rates = interleaved(
        {
            "plain 0.3M": plain_step(small.model),
            "trainer 0.3M": trainer_step(small),
            "trainer 0.3M fp32": trainer_step(fp32),
        },
        seconds,
    )
    rates |= interleaved({"plain 1M": plain_step(large.model), "trainer 1M": trainer_step(large)}, seconds)
    precision = resolve_precision("auto")
    for name, rate in rates.items():
        print(f"{name:20s} {rate:10,.0f} tokens a CPU-second")
    counting = count_model(tokens, domains=24, order=2)
    print(f"count model, K = 24, {tokens:,} tokens, bigrams: " + ", ".join(f"{k} {v:.2f}" for k, v in counting.items()))
    print(
        json.dumps(
            {
                "tokens_per_cpu_s": round(rates["trainer 0.3M"]),
                "over_plain_loop": round(rates["trainer 0.3M"] / rates["plain 0.3M"], 3),
                "over_plain_loop_fp32": round(rates["trainer 0.3M fp32"] / rates["plain 0.3M"], 3),
                "tokens_per_cpu_s_1m": round(rates["trainer 1M"]),
                "over_plain_loop_1m": round(rates["trainer 1M"] / rates["plain 1M"], 3),
                "precision": precision,
                "count_tokens": tokens,
                "count_s": round(counting["count_s"] + counting["tables_s"], 3),
                "count_mixture_ms": round(counting["mixture_ms"], 3),
            }
        )
    )


if __name__ == "__main__":
    main()
