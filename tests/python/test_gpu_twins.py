"""Tiles on graphics processors compute what tiles on the host compute.

Draws are the same integers, except those of the noise of pulses; sums may be rounded in another
order. `tests/rust/gpu_*.rs` compares the kernels on more sizes and options.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from adapters import twins
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    IOParameters,
    PulseType,
    SingleRPUConfig,
    UpdateMode,
    UpdateParameters,
)
from mho.simulator.parameters.enums import WeightClipType
from mho.simulator.parameters.inference import WeightClipParameter
from mho.simulator.parameters.mapping import MappingParameter
from mho.simulator.tiles import AnalogTile, FloatingPointTile
from pulsed import build, cases
from test_every_io_field import ACTS, FIELD_OF, NEEDS_GRID, QUIET, REFUSED

ULP = torch.finfo(torch.float32).eps
ROWS, COLUMNS, SAMPLES = 12, 21, 30


def assert_outputs(found: Tensor, expected: Tensor, n_in: int) -> None:
    """Sums of `n_in` products in another order: half an ulp of the largest each, and 16 around."""
    largest = max(float(expected.abs().max()), 1e-3)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=largest * ULP * (16 + n_in / 4))


@pytest.mark.parametrize("field", ACTS)
def test_every_field_of_products(field: str) -> None:
    needed, value = ACTS[field]
    extra = {"inp_res": 1 / 14} if field in NEEDS_GRID else {}
    io = IOParameters(**{**QUIET, **extra, **needed, field: value})
    check_products(SingleRPUConfig(forward=io, backward=io))


@pytest.mark.parametrize("member", [m for e in FIELD_OF for m in e if m not in REFUSED], ids=str)
def test_every_choice_of_products(member: Any) -> None:
    settings = {"inp_res": 1 / 126, "w_noise": 0.1, "out_bound": 1.0}
    io = IOParameters(**{**settings, FIELD_OF[type(member)]: member, "out_res": -1.0})
    check_products(SingleRPUConfig(forward=io, backward=io))


def check_products(config: Any) -> None:
    host, gpu = twins(AnalogTile(ROWS, COLUMNS, config))
    x, d = torch.randn(SAMPLES, COLUMNS), torch.randn(SAMPLES, ROWS)
    for _ in range(2):
        assert_outputs(gpu.tile.forward(x), host.tile.forward(x), COLUMNS)
        assert_outputs(gpu.tile.backward(d), host.tile.backward(d), ROWS)


def noiseless(device: Any) -> Any:
    """Take the noise of pulses from a device, and count its pulses."""
    for field in list(vars(device)):
        if field.startswith("dw_min_std"):
            setattr(device, field, 0.0)
    device.count_pulses = True
    return device


def check_update(config: Any, analog_bias: bool = False) -> None:
    config.mapping = MappingParameter(digital_bias=not analog_bias)
    host, gpu = twins(AnalogTile(ROWS, COLUMNS, config, bias=analog_bias))
    for tile in (host, gpu):
        tile.tile.set_learning_rate(0.01)
    for _ in range(2):
        x, d = torch.randn(SAMPLES, COLUMNS), torch.randn(SAMPLES, ROWS)
        for tile in (host, gpu):
            tile.update(x, d)
    counts = host.tile.get_pulse_counters()
    assert torch.equal(gpu.tile.get_pulse_counters(), counts)
    # One after another, pulses round a weight below 1 a few times. The host adds up stochastic ones
    # with an error below a thousandth of the way, whose steps are at most about twice dw_min.
    pulses = int(counts.sum(0).max()) if counts.numel() else 2 * SAMPLES
    step = getattr(config.device, "dw_min", 0.0)
    atol = 2e-3 * step * pulses + 2 * ULP * (40 + pulses)
    torch.testing.assert_close(gpu.tile.get_weights(), host.tile.get_weights(), rtol=0, atol=atol)


@pytest.mark.parametrize(("name", "at"), cases())
def test_every_device(name: str, at: int) -> None:
    check_update(SingleRPUConfig(device=noiseless(build(name, at))))


@pytest.mark.parametrize("mode", UpdateMode)
@pytest.mark.parametrize(("name", "at"), cases())
def test_infinitely_fine_steps(name: str, at: int, mode: UpdateMode) -> None:
    update = UpdateParameters(update_mode=mode)
    config = SingleRPUConfig(device=build(name, at, dw_min=0.0), update=update)
    host, gpu = twins(AnalogTile(ROWS, COLUMNS, config))
    x, d = torch.randn(SAMPLES, COLUMNS), torch.randn(SAMPLES, ROWS)
    for tile in (host, gpu):
        # A step across several nodes lets roundings grow with the slopes between them.
        tile.tile.set_learning_rate(0.05 if mode is UpdateMode.FLOW else 5e-4)
        tile.update(x, d)
    # Each sample rounds a weight and the change of it a few times; changes are up to 0.3, and
    # powers and exponentials have a relative error of 1e-6.
    atol = 2 * ULP * SAMPLES
    torch.testing.assert_close(gpu.tile.get_weights(), host.tile.get_weights(), rtol=0, atol=atol)


@pytest.mark.parametrize("pulse_type", PulseType)
@pytest.mark.parametrize("name", ["SoftBounds", "LinearStep"])
def test_every_pulse_type(pulse_type: PulseType, name: str) -> None:
    update = UpdateParameters(pulse_type=pulse_type)
    config = SingleRPUConfig(device=noiseless(build(name)), update=update)
    check_update(config, analog_bias=name == "LinearStep")


@pytest.mark.parametrize(("name", "at"), cases())
def test_weights_over_time(name: str, at: int) -> None:
    device = build(name, at, lifetime=10.0, diffusion=0.01, reset_std=0.01)
    host, gpu = twins(AnalogTile(ROWS, COLUMNS, SingleRPUConfig(device=device)))
    clip = WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=0.05)
    for change in (
        lambda raw: raw.decay_weights(1.5),
        lambda raw: raw.diffuse_weights(),
        lambda raw: raw.reset_columns(5, 30, 0.4),
        lambda raw: raw.clip_weights(clip),
    ):
        change(host.tile)
        change(gpu.tile)
        assert gpu.tile.kernels.is_newer
        # Decay and reset round two or three times.
        torch.testing.assert_close(
            gpu.tile.get_weights(), host.tile.get_weights(), rtol=0, atol=4 * ULP
        )


def test_exact_tile() -> None:
    host, gpu = twins(FloatingPointTile(ROWS, COLUMNS, FloatingPointRPUConfig()))
    x, d = torch.randn(SAMPLES, COLUMNS), torch.randn(SAMPLES, ROWS)
    for tile in (host, gpu):
        tile.tile.set_learning_rate(0.01)
        tile.update(x, d)
    assert_outputs(gpu.tile.get_weights(), host.tile.get_weights(), SAMPLES)
    assert_outputs(gpu.tile.forward(x), host.tile.forward(x), COLUMNS)
