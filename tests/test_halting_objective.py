"""Losses of halting tokens by hand, and a wished cost that becomes a weight."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from frugalvit.errors import ConfigError
from frugalvit.methods.avit.model import Halted, target_distribution
from frugalvit.methods.avit.objective import (
    AIM,
    HaltingClassification,
    WarmUp,
    divergence,
    ponder_weight,
)
from frugalvit.methods.avit.reachable import check_halting
from frugalvit.models.flops import vit_flops

ARCHITECTURE = {
    "image_size": 8, "patch_size": 4, "num_layers": 3, "num_heads": 2, "hidden_dim": 8,
    "mlp_dim": 8,
}  # fmt: skip
HALTING = {
    "alpha_ponder": 0.01, "alpha_distribution": 0.1, "expected_depth": 2.0, "depth_std": 1.0,
    "target_gflops": None,
}  # fmt: skip
NO_TEACHER = {"weight": 0.0, "temperature": 2.0}
LABELS = torch.tensor([0, 2])
IMAGES = torch.zeros(2, 3, 8, 8)


def outputs() -> Halted:
    return Halted(
        logits=torch.tensor([[2.0, 0.0, 1.0], [0.5, 0.5, 0.0]], requires_grad=True),
        ponder=torch.tensor([2.5, 3.5]),
        halting=torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]]),
        depths=torch.tensor([[3, 1, 1, 2, 3], [2, 2, 2, 1, 1]]),
    )


def objective(halting=HALTING, distillation=NO_TEACHER, teacher=None, **how):
    weight = halting["alpha_ponder"]
    return HaltingClassification(ARCHITECTURE, 3, halting, weight, distillation, teacher, **how)


def test_loss_is_task_ponder_and_divergence_of_the_batchs_mean():
    out = outputs()
    losses = objective().losses(out, LABELS, IMAGES)
    task = F.cross_entropy(out.logits, LABELS)
    mean = torch.tensor([0.3, 0.35, 0.35])  # over both images
    target = target_distribution(3, 2.0, 1.0)
    kl = (mean * (mean / target).log()).sum()
    torch.testing.assert_close(losses["ponder"], torch.tensor(3.0))
    torch.testing.assert_close(losses["distribution"], kl)
    torch.testing.assert_close(losses["loss"], task + 0.01 * 3.0 + 0.1 * kl)
    torch.testing.assert_close(losses["task"], task.detach())


def test_divergence_runs_from_the_halting_distribution_to_the_target():
    halting, target = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.5, 0.25])
    forward = 0.5 * math.log(2) + 0.25 * math.log(0.5)
    assert divergence(halting, target).item() == pytest.approx(forward)
    assert divergence(target, target).item() == pytest.approx(0, abs=1e-7)
    assert divergence(torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.5, 0.4, 0.1])).item() == (
        pytest.approx(math.log(10))
    )


def test_its_gradient_is_finite_and_pushes_towards_the_target():
    halting = torch.tensor([0.0, 0.1, 0.9], requires_grad=True)
    divergence(halting, target_distribution(3, 2.0, 1.0)).backward()
    assert halting.grad.isfinite().all()
    assert (halting.grad != 0).all()
    assert halting.grad[1] < halting.grad[2]  # more halting at block 2 lowers it most


def test_cost_counts_live_tokens_alone():
    counts = objective().counts(outputs(), LABELS)
    first = vit_flops(ARCHITECTURE, 3, [5, 3, 2])
    second = vit_flops(ARCHITECTURE, 3, [5, 3, 0])
    assert counts["gflops"].item() == pytest.approx(first + second)
    assert counts["accuracy"].item() == 1


def test_a_teacher_takes_its_share_and_gets_no_gradient():
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3))
    out = outputs()
    how = {"weight": 0.25, "temperature": 2.0}
    losses = objective(distillation=how, teacher=teacher).losses(out, LABELS, IMAGES)
    answers = (teacher(IMAGES) / 2).softmax(dim=1)
    divergences = (answers * (answers.log() - (out.logits / 2).log_softmax(dim=1))).sum(dim=1)
    expected = divergences.mean() * 4
    torch.testing.assert_close(losses["distillation"], expected.detach())
    plain = objective().losses(outputs(), LABELS, IMAGES)
    mixed = 0.75 * plain["task"] + 0.25 * expected
    torch.testing.assert_close(losses["loss"] - mixed, (plain["loss"] - plain["task"]).detach())
    losses["loss"].backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert out.logits.grad.abs().sum() > 0


def test_without_a_target_the_weight_stays():
    history = [{"alpha_ponder": 0.01, "valid_gflops": 9.0}]
    assert ponder_weight(HALTING, history) == 0.01


def test_a_target_raises_the_weight_while_it_is_missed_and_lowers_it_below():
    halting = HALTING | {"target_gflops": 1.0}
    warm_up = {"epoch": 1, "valid_loss": 1.0}  # a head phase has neither cost nor weight
    assert ponder_weight(halting, [warm_up]) == 0.01
    dear = ponder_weight(halting, [warm_up, {"alpha_ponder": 0.02, "valid_gflops": 1.05}])
    cheap = ponder_weight(halting, [{"alpha_ponder": 0.02, "valid_gflops": 0.95}])
    far = ponder_weight(halting, [{"alpha_ponder": 0.02, "valid_gflops": 50.0}])
    assert cheap < 0.02 < dear < far
    assert far == pytest.approx(0.02 * 4)
    met = ponder_weight(halting, [{"alpha_ponder": 0.02, "valid_gflops": AIM}])
    assert met == pytest.approx(0.02)


def test_an_epoch_that_meets_the_target_beats_a_more_accurate_one_that_does_not():
    met = {"accuracy": 0.8, "loss": 1.0, "gflops": 0.9}
    missed = {"accuracy": 0.9, "loss": 0.5, "gflops": 1.1}
    with_target = objective(HALTING | {"target_gflops": 1.0})
    assert with_target.score(met) > with_target.score(missed)
    nearly = missed | {"gflops": 1.015}
    assert with_target.score(nearly) > with_target.score(met)
    # Without one the loss, in which cost is weighed already, decides.
    assert objective().score(missed) > objective().score(met)
    assert WarmUp().score({"accuracy": 1.0, "loss": 0.0}) < with_target.score(missed)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"target_gflops": 1.0}, "halting.target_gflops: 1, but an image costs"),
        ({"target_gflops": 1e-9}, "write a number between them"),
        ({"expected_depth": 4.0}, "halting.expected_depth: 4, but the base has 3 blocks"),
    ],
)
def test_what_no_training_reaches_is_refused(changes, told):
    with pytest.raises(ConfigError, match=told):
        check_halting(HALTING | changes, ARCHITECTURE, 3)
    full = vit_flops(ARCHITECTURE, 3)
    check_halting(HALTING | {"target_gflops": 0.8 * full}, ARCHITECTURE, 3)
