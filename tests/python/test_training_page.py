"""What docs/training.md says about pulses, and about what acts on which weights."""

from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import ArgumentError
from mho.nn import AnalogLinear
from mho.optim import AnalogAdam, AnalogOptimizer, AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    InferenceRPUConfig,
    IOParameters,
    PulseType,
    SingleRPUConfig,
    UpdateParameters,
)

SAMPLES = 2000


def layer(update: UpdateParameters | None = None, **device: Any) -> AnalogLinear:
    even = {"dw_min_dtod": 0.0, "dw_min_std": 0.0, "up_down_dtod": 0.0}
    config = SingleRPUConfig(
        device=ConstantStepDevice(dw_min=0.001, count_pulses=True, **even, **device),
        update=update or UpdateParameters(),
        forward=IOParameters(is_perfect=True),
    )
    torch.manual_seed(0)
    return AnalogLinear(2, 2, bias=False, rpu_config=config)


def sent(
    lr: float, x: tuple[float, float], d: tuple[float, float], **update: Any
) -> list[list[float]]:
    """Return the mean number of pulses of a sample, `[output][input]`."""
    pulsed = layer(UpdateParameters(**update))
    y = pulsed(torch.tensor(x).expand(SAMPLES, 2).contiguous())
    (y * torch.tensor(d)).sum().backward()
    AnalogSGD(pulsed.parameters(), lr=lr).step()
    counts: list[list[float]] = (pulsed.get_pulse_counters().sum(0) / SAMPLES).tolist()
    return counts


@pytest.mark.parametrize("managed", [True, False])
def test_numbers_of_pulses(managed: bool) -> None:
    counts = sent(0.02, (1.0, 0.25), (0.5, 0.1), update_bl_management=managed)
    # Binomial counts of at most 31 slots: five standard deviations of the mean.
    tolerance = 5 * (10 / SAMPLES) ** 0.5
    for row, error in zip(counts, (0.5, 0.1), strict=True):
        assert row == pytest.approx([20 * error, 5 * error], abs=tolerance)


def test_errors_are_cut_at_the_longest_train() -> None:
    """Errors above `dw_min desired_bl / (lr max|x|)`, here 0.31, move as if they were that."""
    counts = sent(0.1, (1.0, 0.5), (0.5, 0.2))
    assert counts[0] == pytest.approx([31.0, 15.5], abs=0.5)
    assert counts[1] == pytest.approx([20.0, 10.0], abs=0.5)


def test_small_errors_need_management() -> None:
    on = sent(10.0, (1.0, 0.5), (0.001, 0.0005))
    off = sent(
        10.0, (1.0, 0.5), (0.001, 0.0005), update_management=False, update_bl_management=False
    )
    assert on[0] == pytest.approx([10.0, 5.0], abs=0.3)
    assert off[0][0] < 1.0 and off[0] == pytest.approx([off[0][0]] * 2, abs=0.1)


def test_trains_grow_without_a_fixed_length() -> None:
    options = {"update_bl_management": False, "update_management": False}
    assert sent(0.05, (1.0, 1.0), (1.0, 1.0), **options)[0][0] == 31.0
    assert sent(0.05, (1.0, 1.0), (1.0, 1.0), fixed_bl=False, **options)[0][0] == 50.0


def test_steps_of_probabilities() -> None:
    """The second input asks for a probability of 0.1: below half a step of 0.3."""
    x, d = (1.0, 0.1), (1.0, 1.0)
    assert sent(0.02, x, d, res=0.3)[0][1] == 0.0
    assert sent(0.02, x, d, res=0.3, sto_round=True)[0][1] == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize("kind", [PulseType.MEAN_COUNT, PulseType.DETERMINISTIC_IMPLICIT])
def test_rounded_counts_lose_small_updates(kind: PulseType) -> None:
    assert sent(0.0002, (1.0, 1.0), (1.0, 1.0), pulse_type=kind)[0][0] == 0.0
    assert sent(0.0008, (1.0, 1.0), (1.0, 1.0), pulse_type=kind)[0][0] == 1.0


def test_exact_updates_stay_within_bounds_and_take_no_steps() -> None:
    fixed = {"w_max": 0.5, "w_min": -0.5, "w_max_dtod": 0.0, "w_min_dtod": 0.0}
    pulsed = layer(UpdateParameters(pulse_type=PulseType.NONE_WITH_DEVICE), **fixed)
    pulsed.set_weights(torch.zeros(2, 2))
    y = pulsed(torch.tensor([[1.0, 0.00033]]))
    (y * torch.tensor([1.0, -1.0])).sum().backward()
    AnalogSGD(pulsed.parameters(), lr=1.0).step()
    expected = torch.tensor([[-0.5, -0.00033], [0.5, 0.00033]])
    assert torch.allclose(pulsed.get_weights()[0], expected, rtol=1e-6)


def test_decaying_optimizers_need_a_group_for_pulsed_weights() -> None:
    with pytest.raises(ArgumentError, match="weight_decay"):
        AnalogOptimizer(torch.optim.AdamW, layer().parameters(), lr=0.1)
    digital = nn.Linear(2, 2)
    groups = [
        {"params": list(layer().parameters()), "weight_decay": 0.0},
        {"params": list(digital.parameters())},
    ]
    assert AnalogOptimizer(torch.optim.AdamW, groups, lr=0.1).param_groups[1]["weight_decay"] > 0.0


def stepped(optimizer: Any, factor: float = 1.0, **options: Any) -> torch.Tensor:
    """Return how a pulsed layer has changed after a step."""
    pulsed = layer()
    before = pulsed.get_weights()[0].clone()
    (factor * pulsed(torch.ones(200, 2)).sum()).backward()
    optimizer(pulsed.parameters(), lr=1e-5, **options).step()
    return pulsed.get_weights()[0] - before


def test_moments_do_not_act_on_pulsed_weights() -> None:
    assert torch.equal(stepped(AnalogAdam), stepped(AnalogSGD))


def test_factors_and_signs_act_on_pulsed_weights() -> None:
    once, often = stepped(AnalogSGD).mean(), stepped(AnalogSGD, factor=50.0).mean()
    assert once == pytest.approx(-200e-5, rel=0.5) and often == pytest.approx(-50 * 200e-5, rel=0.1)
    assert stepped(AnalogSGD, factor=50.0, maximize=True).mean() > 0.05


def test_clipping_of_gradients_does_not_act_on_pulsed_weights() -> None:
    pulsed = layer()
    before = pulsed.get_weights()[0].clone()
    pulsed(torch.ones(3, 2)).sum().backward()
    assert nn.utils.clip_grad_norm_(pulsed.parameters(), 1e-9) == 0.0
    optimizer = AnalogSGD(pulsed.parameters(), lr=0.01)
    # Three samples of ones to each of four weights.
    assert optimizer.clip_analog_norm(1e3) == pytest.approx(6.0)
    optimizer.step()
    assert (pulsed.get_weights()[0] - before).mean() == pytest.approx(-0.03, rel=0.3)


def test_penalties_do_not_act_on_pulsed_weights() -> None:
    pulsed = layer()
    (entry,) = pulsed.parameters()
    assert not entry.square().sum().requires_grad
    inference = AnalogLinear(2, 2, bias=False, rpu_config=InferenceRPUConfig())
    sum(p.square().sum() for p in inference.parameters()).backward()
    assert all(p.grad is not None for p in inference.parameters())
    assert not inference.weight.square().sum().requires_grad


def test_devices_decay_at_a_rate_of_zero() -> None:
    pulsed = layer(lifetime=10.0, lifetime_dtod=0.0)
    before = pulsed.get_weights()[0].clone()
    pulsed(torch.ones(1, 2)).sum().backward()
    AnalogSGD(pulsed.parameters(), lr=0.0).step()
    assert torch.allclose(pulsed.get_weights()[0], 0.9 * before)


@pytest.mark.parametrize("kind", [PulseType.NONE, PulseType.STOCHASTIC_COMPRESSED])
def test_passes_add_up(kind: PulseType) -> None:
    """Four passes of 50 samples: exact updates are those of one pass, pulses as many on average."""
    changes = []
    for passes in (1, 4):
        pulsed = layer(UpdateParameters(pulse_type=kind))
        before = pulsed.get_weights()[0].clone()
        optimizer = AnalogSGD(pulsed.parameters(), lr=1e-3)
        for x in torch.ones(200, 2).split(200 // passes):
            pulsed(x).sum().backward()
        optimizer.step()
        changes.append(pulsed.get_weights()[0] - before)
    assert changes[0].mean() == pytest.approx(-0.2, rel=0.15)
    tolerance = 1e-6 if kind is PulseType.NONE else 0.15
    assert torch.allclose(changes[0].mean(), changes[1].mean(), rtol=tolerance)
