import numpy as np
import pytest
import torch

from benchmarks.centring import Arm, drifted_gradient
from gem_assets.proxy.centring import (
    centre,
    logit_statistics,
    mu_penalty,
    mu_penalty_gradient,
)
from gem_assets.proxy.config import HeadConfig, ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.head import cross_entropy
from gem_assets.proxy.stream import MixtureStream
from gem_assets.proxy.train import ProxyTrainer
from tests.proxy.worlds import markov_world


@pytest.fixture(scope="module")
def reference(golden_folder):
    return dict(np.load(golden_folder / "ordering" / "oec_reference.npz"))


@pytest.mark.parametrize(
    ("case", "z", "mu"), [("base", 0, 0), ("z1e4", 1e-4, 0), ("z1e1", 0.1, 0), ("mu1e4", 0, 1e-4), ("mu1e1", 0, 0.1)]
)
def test_losses_and_gradients_of_the_reference(reference, case, z, mu):
    e = torch.tensor(reference["W"])
    h = torch.tensor(reference["h"]).view(-1, 16)
    target = torch.tensor(reference["targets"]).view(-1)
    found = cross_entropy(h, e, target, z_loss=z, chunk=7)
    losses = [found.rows.mean().item(), found.loss.item(), (found.loss + mu * mu_penalty(e)).item()]
    np.testing.assert_allclose(losses, reference[f"{case}/losses"], rtol=0, atol=1e-14)
    gradient = found.d_embedding + mu_penalty_gradient(e, mu)
    np.testing.assert_allclose(gradient, reference[f"{case}/dW"], rtol=0, atol=1e-15)


def test_the_reference_is_centred_to_the_last_bits(reference):
    e = torch.tensor(reference["W"])
    h = torch.tensor(reference["h"]).view(-1, 16)
    statistics = logit_statistics(h, e)
    logits = reference["logits"]
    assert statistics.mean == pytest.approx(logits.mean(), abs=1e-14)
    assert statistics.max_abs == pytest.approx(np.abs(logits).max(), abs=1e-14)
    assert statistics.mu_norm == pytest.approx(np.linalg.norm(reference["mu"]), abs=1e-14)
    centre(e)
    np.testing.assert_allclose(e, reference["W_centered"], rtol=0, atol=1e-15)
    assert abs(logit_statistics(h, e).mean) < 1e-15


def test_the_references_trajectories_are_one_up_to_the_gauge(reference):
    np.testing.assert_allclose(reference["traj_center/loss"], reference["traj_base/loss"], rtol=0, atol=1e-14)
    e = torch.tensor(reference["traj_base/W"])
    centre(e)
    np.testing.assert_allclose(e, reference["traj_center/W"], rtol=0, atol=1e-15)


@pytest.mark.parametrize(("path", "z", "mu"), [("base", 0, 0), ("mu", 0, 0.1), ("z", 0.1, 0), ("center", 0, 0)])
def test_the_first_step_of_each_trajectory(reference, path, z, mu):
    # the reference's trunk is not in the file, so its clipping factor is not known; Adam's first step depends on it by
    # epsilon alone
    e = torch.nn.Parameter(torch.tensor(reference["W"]))
    optimiser = torch.optim.AdamW([e], lr=1e-2, betas=(0.9, 0.95), weight_decay=0.0)
    h, target = torch.tensor(reference["h"]).view(-1, 16), torch.tensor(reference["targets"]).view(-1)
    found = cross_entropy(h, e.data, target, z_loss=z)
    total = found.loss + mu * mu_penalty(e.data)
    np.testing.assert_allclose(
        [found.rows.mean().item(), total.item()], reference[f"traj_{path}/loss"][0], rtol=0, atol=1e-14
    )
    e.grad = found.d_embedding + mu_penalty_gradient(e.data, mu)
    optimiser.step()
    if path == "center":
        centre(e.data)
    assert logit_statistics(h, e.data).mu_norm == pytest.approx(reference[f"traj_{path}/mu_norm"][0], abs=1e-6)


def trajectory(centring, steps=60, tied=False, dtype=torch.float64, **head):
    pool, _ = markov_world()
    config = ProxyConfig(
        model=ModelConfig(width=16, layers=1, heads=2, context=16, tied=tied),
        training=TrainingConfig(tokens=steps * 32, lr=1e-2, precision="fp32"),
        head=HeadConfig(mu_centring=centring, **head),
    )
    stream = MixtureStream(pool, np.full(3, 1 / 3), steps * 2, 16, seed=0)
    trainer = ProxyTrainer(config, pool.vocab, steps=steps, dtype=dtype)
    # start off centre, so that there is something to centre
    trainer.model.output_embedding.add_(0.3)
    losses = [trainer.step(torch.from_numpy(stream.windows(2 * i, 2 * i + 2))) for i in range(steps)]
    e = trainer.model.output_embedding.clone()
    return np.array(losses), e, trainer


def test_centring_an_untied_head_changes_the_gauge_and_nothing_else():
    (free, e, _), (centred, e_centred, _) = trajectory("off"), trajectory("on")
    assert free[-1] < free[0] - 0.5
    np.testing.assert_allclose(centred, free, rtol=0, atol=1e-12)
    assert e.mean(0).norm() > 0.1
    assert e_centred.mean(0).norm() < 1e-15
    centre(e)
    np.testing.assert_allclose(e, e_centred, rtol=0, atol=1e-12)


def test_centring_is_no_change_of_gauge_for_a_tied_head():
    assert np.abs(trajectory("on", tied=True)[0] - trajectory("off", tied=True)[0]).max() > 1e-3


@pytest.mark.parametrize("head", [{"soft_cap": 2.0}, {"z_loss": 0.1}])
def test_centring_is_no_change_of_gauge_under_cap_or_z_loss(head):
    assert np.abs(trajectory("on", **head)[0] - trajectory("off", **head)[0]).max() > 1e-3


def test_automatic_centring_is_for_untied_heads():
    config = ProxyConfig()
    assert not config.model.tied
    assert config.centred
    tied = config.model_copy(update={"model": ModelConfig(tied=True)})
    assert not tied.centred
    assert tied.model_copy(update={"head": HeadConfig(mu_centring="on")}).centred
    assert not config.model_copy(update={"head": HeadConfig(mu_centring="off")}).centred
    assert trajectory("auto", steps=2)[2].model.output_embedding.mean(0).norm() < 1e-15


def test_mu_loss_and_z_loss_hold_back_what_they_penalise():
    def end(**head):
        _, e, trainer = trajectory("off", **head)
        windows = torch.from_numpy(markov_world()[1].windows.astype(np.int64))
        lse = (trainer.model.hidden(windows[:, :-1]) @ e.t()).logsumexp(1)
        return e.mean(0).norm().item(), lse.square().mean().item(), trainer.losses(windows.numpy()).mean()

    base, mu, z, cap = end(), end(mu_loss=10.0), end(z_loss=0.1), end(soft_cap=1.0)
    assert mu[0] < 0.5 * base[0]
    assert z[1] < 0.1 * base[1]
    assert cap[2] > base[2]


def dose_response(offset, *, steps=80, **arm):
    """Loss at the end of training a small decoder whose logits carry a common offset, as under a drifted mean."""
    arm = Arm(offset, **arm)
    pool, _ = markov_world(domains=2, tokens=8_000, vocab=200, context=32)
    config = ProxyConfig(
        model=ModelConfig(width=32, layers=1, heads=2, context=32),
        training=TrainingConfig(tokens=steps * 128, batch=4, lr=6e-3, embedding_lr=1.0, precision="fp32"),
        head=HeadConfig(mu_centring="off"),
    )
    trainer = ProxyTrainer(config, pool.vocab, steps=steps)
    stream = MixtureStream(pool, np.full(2, 0.5), steps * 4, 32, seed=0)
    weights = torch.nn.Parameter(trainer.model.flat)
    weights.grad = trainer.model.flat_grad
    optimiser = torch.optim.AdamW([weights], lr=6e-3, betas=(0.9, 0.95), weight_decay=0.0)
    losses = []
    for i in range(steps):
        windows = torch.from_numpy(stream.windows(4 * i, 4 * i + 4))
        losses.append(drifted_gradient(trainer.model, windows, arm))
        torch.nn.utils.clip_grad_norm_([weights], 1.0)
        optimiser.step()
    return float(np.mean(losses[-20:]))


def test_a_drifted_mean_costs_loss_in_bfloat16_by_its_size():
    base = dose_response(0.0)
    fp32 = dose_response(0.0, compute=torch.float32)
    assert base < np.log(200) - 1.0
    assert fp32 == pytest.approx(base, abs=0.02)
    assert dose_response(16.5) == pytest.approx(base, abs=0.02)
    moderate, large = dose_response(92.5), dose_response(588.0)
    assert base + 0.002 < moderate < base + 0.1
    assert large > base + 0.3
    # the offset does nothing in float32, and centring takes it away
    assert dose_response(588.0, compute=torch.float32) == pytest.approx(fp32, abs=0.02)
    assert dose_response(588.0, centred=True) == pytest.approx(base, abs=0.03)


def test_a_cap_does_not_cure_logits_that_have_drifted():
    capped = dose_response(588.0, soft_cap=30.0, steps=60)
    assert capped == pytest.approx(np.log(200), abs=0.02)
    assert dose_response(0.0, soft_cap=30.0, steps=60) < capped - 0.3


def test_centring_can_raise_a_logit_across_mu():
    rows = torch.tensor([[10.0, 1.0]] * 4 + [[10.0, -1.0]])
    # centring tightens logits along mu only: the largest logit of an h across mu grows
    h = torch.tensor([[0.0, 1.0]])
    before = logit_statistics(h, rows).max_abs
    centre(rows)
    assert before == pytest.approx(1.0)
    assert logit_statistics(h, rows).max_abs == pytest.approx(1.6)


def test_spacing_is_that_of_bfloat16():
    for value in (0.7, 1.0, 11.6, 588.0):
        e = torch.tensor([[value], [0.0]])
        found = logit_statistics(torch.ones(1, 1), e)
        here = torch.tensor(value).bfloat16()
        following = (here.view(torch.int16) + 1).view(torch.bfloat16)
        assert found.spacing == pytest.approx(float(following) - float(here))
