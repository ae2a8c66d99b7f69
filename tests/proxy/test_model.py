import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from gem_assets.proxy import fused, plain
from gem_assets.proxy.config import HeadConfig, ModelConfig
from gem_assets.proxy.head import cross_entropy
from gem_assets.proxy.model import TinyDecoder, resolve_precision

SHAPE = ModelConfig(width=24, layers=2, heads=3, context=70)
VOCAB = 50


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def windows(n=3, seed=0, length=SHAPE.context + 1):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, VOCAB, (n, length)))


def textbook(model, flat, ids):
    """The same decoder from torch's own functions, on weights laid out as the model's."""
    c, w = model.config, {name: flat[part].view(shape) for name, (part, shape) in model.layout.items()}
    b, t = ids.shape
    cos, sin = (table[:t] for table in model.angles)

    def turn(x):
        first, second = x.chunk(2, -1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

    x = functional.embedding(ids, w["embedding"])
    for i in range(c.layers):
        n = functional.rms_norm(x, (c.width,), w[f"{i}.norm_attention"], plain.EPS)
        q, k, v = (n @ w[f"{i}.qkv"].t()).view(b, t, 3, c.heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
        x = x + y.transpose(1, 2).reshape(b, t, -1) @ w[f"{i}.out"].t()
        n = functional.rms_norm(x, (c.width,), w[f"{i}.norm_ffn"], plain.EPS)
        gate, up = (n @ w[f"{i}.in"].t()).chunk(2, -1)
        x = x + (functional.silu(gate) * up) @ w[f"{i}.down"].t()
    return functional.rms_norm(x, (c.width,), w["norm"], plain.EPS).view(b * t, -1)


def textbook_loss(model, flat, batch, head):
    part, shape = model.layout["embedding" if model.config.tied else "head"]
    embedding = flat[part].view(shape)
    logits = textbook(model, flat, batch[:, :-1]) @ embedding.t()
    if head.soft_cap:
        logits = head.soft_cap * torch.tanh(logits / head.soft_cap)
    loss = (
        functional.cross_entropy(logits, batch[:, 1:].reshape(-1)) + head.z_loss * logits.logsumexp(1).square().mean()
    )
    return loss + head.mu_loss * embedding.mean(0).square().sum()


def enlarge(*models):
    """Give fresh models weights that matter: at their initialisation blocks add nothing."""
    for model in models:
        for group, std in (("matrices", 0.15), ("embeddings", 0.3)):
            part = model.groups[group]
            noise = np.random.default_rng(0).normal(size=part.stop - part.start) * std
            model.flat[part] = torch.from_numpy(noise.astype(np.float32)).to(model.flat.dtype)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "head", [HeadConfig(), HeadConfig(z_loss=0.1, mu_loss=0.3), HeadConfig(soft_cap=0.5, z_loss=0.02)]
)
def test_loss_and_gradient_are_those_of_the_textbook_in_float64(tied, head):
    model = TinyDecoder(SHAPE.model_copy(update={"tied": tied}), VOCAB, dtype=torch.float64)
    enlarge(model)
    batch = windows()
    flat = model.flat.clone().requires_grad_()
    expected = textbook_loss(model, flat, batch, head)
    # what an earlier call left is overwritten
    model.flat_grad.fill_(7.0)
    loss, rows = model.loss_and_gradient(batch, head, chunk=64)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-13)
    assert rows.shape == (3, SHAPE.context)
    torch.testing.assert_close(model.flat_grad, torch.autograd.grad(expected, flat)[0], rtol=1e-9, atol=1e-13)
    alone, alone_rows = model.loss(batch, head)
    torch.testing.assert_close((alone, alone_rows), (loss, rows), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 2e-6), ("bf16", 3e-2)])
@pytest.mark.parametrize("context", [70, 64, 33])
def test_compiled_and_plain_agree(precision, tolerance, context):
    shape = SHAPE.model_copy(update={"context": context})
    exact = TinyDecoder(shape, VOCAB, dtype=torch.float64)
    fast = TinyDecoder(shape, VOCAB, precision=precision)
    enlarge(exact, fast)
    batch = windows(length=context + 1)
    head = HeadConfig(z_loss=0.01)
    (slow_loss, _), (fast_loss, _) = exact.loss_and_gradient(batch, head), fast.loss_and_gradient(batch, head)
    assert fast_loss.item() == pytest.approx(slow_loss.item(), rel=tolerance)
    reference, found = exact.flat_grad, fast.flat_grad.double()
    assert (found - reference).norm() < tolerance * reference.norm()
    assert functional.cosine_similarity(found, reference, dim=0) > 1 - tolerance


def test_a_tied_head_is_the_input_embedding():
    model = TinyDecoder(SHAPE.model_copy(update={"tied": True}), VOCAB, dtype=torch.float64)
    untied = TinyDecoder(SHAPE, VOCAB, dtype=torch.float64)
    for decoder, name in ((model, "embedding"), (untied, "head")):
        part, shape = decoder.layout[name]
        decoder.output_embedding.fill_(3.0)
        assert decoder.flat[part].eq(3.0).all()
        assert decoder.output_embedding.shape == shape
    assert untied.flat.numel() == model.flat.numel() + VOCAB * SHAPE.width


def test_a_token_sees_nothing_that_comes_later():
    model = TinyDecoder(SHAPE, VOCAB, precision="bf16")
    enlarge(model)
    batch = windows(1)
    changed = batch.clone()
    changed[0, 41:] = (changed[0, 41:] + 1) % VOCAB
    a, b = model.hidden(batch[:, :-1]), model.hidden(changed[:, :-1])
    torch.testing.assert_close(a[:41], b[:41], rtol=0, atol=0)
    assert not torch.equal(a[41:], b[41:])


def test_a_fresh_model_predicts_nothing():
    loss, _ = TinyDecoder(ModelConfig(), 2048, precision="bf16").loss(windows(2, length=129) * 40)
    assert loss.item() == pytest.approx(math.log(2048), abs=0.15)


def test_equal_seeds_give_equal_weights_in_any_dtype():
    a, b = TinyDecoder(SHAPE, VOCAB, seed=3), TinyDecoder(SHAPE, VOCAB, seed=3, dtype=torch.float64)
    torch.testing.assert_close(a.flat, b.flat.float(), rtol=0, atol=0)
    assert not torch.equal(a.flat, TinyDecoder(SHAPE, VOCAB, seed=4).flat)


def test_sizes_are_those_that_were_measured():
    for width, layers, heads, millions in ((96, 3, 3, 0.332), (128, 5, 4, 0.98), (192, 7, 6, 3.1)):
        size = ModelConfig(width=width, layers=layers, heads=heads)
        assert size.non_embedding / 1e6 == pytest.approx(millions, rel=0.03)


def test_parameter_count_is_the_configs():
    model = TinyDecoder(SHAPE, VOCAB)
    assert model.flat.numel() == SHAPE.non_embedding + 2 * VOCAB * SHAPE.width
    assert sum(part.stop - part.start for part, _ in model.layout.values()) == model.flat.numel()


def test_precision_is_resolved():
    assert resolve_precision("fp32") == "fp32"
    assert resolve_precision("auto") in ("fp32", "bf16")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1, 5, 64, 200])
def test_compiled_passes_agree_with_plain_ones(dtype, size):
    torch.manual_seed(size)
    tolerance = {"rtol": 2e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1.5e-2, "atol": 2e-2}
    x, gain, residual = torch.randn(7, size) * 3, torch.rand(size) + 0.5, torch.randn(7, size)
    branch = torch.randn(7, size).to(dtype)
    for more in (None, branch):
        y, out = fused.rms_norm(x, more, gain, dtype)
        expected_y, expected = plain.rms_norm(x, more, gain, torch.float32)
        torch.testing.assert_close(y, expected_y, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(out.float(), expected, **tolerance)
    grad, d_gains = torch.randn(7, size).to(dtype), torch.full((2, size), 5.0)
    for beside in (None, residual):
        expected = plain.rms_norm_backward(grad, y, gain, beside, d_gains[1])
        own = None if beside is None else beside.clone()
        found = fused.rms_norm_backward(grad.clone(), y, gain, own, d_gains[0])
        torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)
        assert torch.equal(found[1], found[0].to(dtype))
        torch.testing.assert_close(d_gains[0], d_gains[1], rtol=1e-4, atol=1e-5)
    both = (torch.randn(5, 2 * size) * 4).to(dtype)
    grad = torch.randn(5, size).to(dtype)
    torch.testing.assert_close(fused.swiglu(both).float(), plain.swiglu(both.float()), **tolerance)
    torch.testing.assert_close(
        fused.swiglu_backward(grad, both).float(), plain.swiglu_backward(grad.float(), both.float()), **tolerance
    )
    scores = (torch.randn(3, size, size) * 4).to(dtype)
    p = plain.causal_softmax(scores.float(), 0.7)
    torch.testing.assert_close(fused.causal_softmax(scores.clone(), 0.7).float(), p, rtol=tolerance["rtol"], atol=1e-6)
    grad = torch.randn(3, size, size).to(dtype)
    torch.testing.assert_close(
        fused.causal_softmax_backward(p.to(dtype), grad.clone(), 0.7).float(),
        plain.causal_softmax_backward(p.to(dtype).float(), grad.float(), 0.7),
        **tolerance,
    )


@pytest.mark.parametrize("offset", [0.0, 90.0, -90.0])
def test_compiled_cross_entropy_survives_large_logits(offset):
    torch.manual_seed(0)
    logits, target = torch.randn(9, 300) * 20 + offset, torch.randint(0, 300, (9,))
    weights = torch.rand(9)
    expected = plain.cross_entropy(logits.double(), target, weights.double(), 0.001, None)
    found = fused.cross_entropy(logits.clone(), target, weights, 0.001, None)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-6)


def test_results_do_not_depend_on_where_the_heap_puts_arrays():
    torch.manual_seed(0)
    scores = torch.randn(4, 16, 16)
    expected, kept = fused.causal_softmax(scores.clone(), 0.3), []
    rng = np.random.default_rng(0)
    for _ in range(1500):
        assert torch.equal(fused.causal_softmax(scores.clone(), 0.3), expected)
        # holes of all sizes, so that the next arrays get other neighbours
        kept += [torch.empty(rng.integers(1, 20_000)), bytearray(rng.integers(1, 50_000))]
        if len(kept) > 200:
            kept = [kept[i] for i in rng.permutation(len(kept))[:100]]


def test_heads_are_split_and_merged():
    torch.manual_seed(0)
    angle = torch.rand(10, 6) * 6
    qkv = torch.randn(20, 3 * 2 * 12)
    parts = fused.split_heads(qkv, 2, 2, angle.cos(), angle.sin())
    for found, expected in zip(parts, plain.split_heads(qkv, 2, 2, angle.cos(), angle.sin()), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for module in (fused, plain):
        # a rotation's gradient is the rotation back
        merged = module.merge_heads(*parts, 2, angle.cos(), angle.sin())
        torch.testing.assert_close(merged, qkv, rtol=1e-5, atol=1e-6)


def test_chunks_do_not_change_the_head():
    torch.manual_seed(0)
    h, e = torch.randn(50, 8, dtype=torch.float64), torch.randn(30, 8, dtype=torch.float64)
    target = torch.randint(0, 30, (50,))
    whole = cross_entropy(h, e, target, z_loss=0.1, chunk=1000)
    for chunk in (7, 50):
        found = cross_entropy(h, e, target, z_loss=0.1, chunk=chunk)
        for part, expected in zip(found, whole, strict=True):
            torch.testing.assert_close(part, expected, rtol=1e-12, atol=1e-15)


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(ValueError, match="try 102"):
        ModelConfig(width=100, heads=3)


def test_rows_can_be_weighted():
    torch.manual_seed(0)
    e, target = torch.randn(30, 8, dtype=torch.float64), torch.randint(0, 30, (50,))
    weights = torch.rand(50, dtype=torch.float64)
    a = torch.randn(50, 8, dtype=torch.float64, requires_grad=True)
    found = cross_entropy(a.detach(), e, target, weights=weights)
    expected = (functional.cross_entropy(a @ e.t(), target, reduction="none") * weights).sum()
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-13)
    assert (found.rows @ weights).item() == pytest.approx(expected.item(), rel=1e-13)
    torch.testing.assert_close(found.d_hidden, torch.autograd.grad(expected, a)[0])


def test_a_loss_without_gradients_is_the_same():
    torch.manual_seed(0)
    h, e, target = torch.randn(50, 8), torch.randn(30, 8), torch.randint(0, 30, (50,))
    found, alone = cross_entropy(h, e, target), cross_entropy(h, e, target, gradient=False)
    assert torch.equal(found.loss, alone.loss)
    assert torch.equal(found.rows, alone.rows)
    assert alone.d_hidden.numel() == alone.d_embedding.numel() == 0
    into = torch.empty_like(e)
    assert cross_entropy(h, e, target, into=into).d_embedding is into
    assert torch.equal(into, found.d_embedding)
