import pytest
import torch

from gem_assets.proxy.optimiser import FlatAdamW, Group


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 2e-5)])
@pytest.mark.parametrize("clip", [0.1, 1e9])
def test_it_is_adamw_with_clipping_and_an_average(dtype, tolerance, clip):
    torch.manual_seed(0)
    flat = torch.randn(300, dtype=dtype)
    grad = torch.zeros_like(flat)
    groups = [Group(slice(0, 100), 1.0, 0.1), Group(slice(100, 170), 1.0, 0.0), Group(slice(170, 300), 4.0, 0.0)]
    mine = FlatAdamW(flat, grad, groups, (0.9, 0.95))
    parts = [torch.nn.Parameter(flat[group.part].clone()) for group in groups]
    theirs = torch.optim.AdamW(
        [{"params": [p], "lr": 0.01 * g.scale, "weight_decay": g.decay} for p, g in zip(parts, groups, strict=True)],
        betas=(0.9, 0.95),
    )
    average = flat.clone()
    for step in range(1, 12):
        fresh = torch.randn(300, dtype=dtype) * step
        grad.copy_(fresh)
        for part, group in zip(parts, groups, strict=True):
            part.grad = fresh[group.part].clone()
        expected_norm = torch.nn.utils.clip_grad_norm_(parts, clip)
        theirs.step()
        norm = mine.step(0.01, clip, 0.3)
        expected = torch.cat([p.detach() for p in parts])
        average += 0.3 * (expected - average)
        assert norm == pytest.approx(expected_norm.item(), rel=1e-5)
        torch.testing.assert_close(flat, expected, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(mine.average, average, rtol=tolerance, atol=tolerance)
        assert torch.equal(grad, fresh)
