"""Devices and layers that move as in one process with all samples."""

from collections.abc import Callable
from typing import Any

from torch import nn

import custom_compounds
from cells_for_tests import CELLS
from mho.nn import (
    AnalogConv1d,
    AnalogConv2d,
    AnalogConv2dMapped,
    AnalogConv3d,
    AnalogConvTranspose2d,
    AnalogGRUCell,
    AnalogLinear,
    AnalogLinearMapped,
    AnalogLSTMCell,
    AnalogLSTMCellCombinedWeight,
    AnalogRNN,
)
from mho.simulator.configs import (
    ConstantStepDevice,
    ExpStepDevice,
    FloatingPointRPUConfig,
    LinearStepDevice,
    PiecewiseStepDevice,
    PowStepDevice,
    PowStepReferenceDevice,
    PulseType,
    SingleRPUConfig,
    SoftBoundsDevice,
    SoftBoundsPmaxDevice,
    SoftBoundsReferenceDevice,
    UpdateParameters,
)
from mho.simulator.tiles.custom import CustomRPUConfig
from replicas.support import (
    CASES,
    analog_bias,
    as_one,
    batches,
    in_python,
    pulsed,
    split,
    two_layers,
)

DEVICES: dict[str, Callable[[], Any]] = {
    kind.__name__: lambda kind=kind: SingleRPUConfig(device=kind())
    for kind in (
        ConstantStepDevice, ExpStepDevice, LinearStepDevice, PiecewiseStepDevice, PowStepDevice,
        PowStepReferenceDevice, SoftBoundsDevice, SoftBoundsPmaxDevice, SoftBoundsReferenceDevice,
    )
}  # fmt: skip


def swaps(t: Any) -> None:
    """Move the first device by pulses, and the second one to what a noisy read of it gives."""
    t.update(0, t.x, t.d, t.lr)
    t.update(1, t.coin(0.5, 1, t.X), t.read(0, cols=[t.cycle("line", t.X)]), t.lr)


MORE: dict[str, Callable[[], Any]] = {
    "FloatingPoint": FloatingPointRPUConfig,
    "transfer in Python": in_python,
    "rule in Python": lambda: custom_compounds.config(swaps),
    "raw tile in Python": CustomRPUConfig,
    "diffusing": lambda: SingleRPUConfig(
        device=SoftBoundsDevice(diffusion=0.01, lifetime=100.0, count_pulses=True)
    ),
    "write noise": lambda: SingleRPUConfig(device=SoftBoundsDevice(write_noise_std=0.3)),
    "no pulses": lambda: SingleRPUConfig(update=UpdateParameters(pulse_type=PulseType.NONE)),
}


for _name, _config in (DEVICES | CELLS | MORE).items():
    CASES[f"device: {_name}"] = lambda _config=_config: as_one(
        two_layers(_config), batches(3, 8, 5)
    )


def grouped() -> Any:
    return split(analog_bias(pulsed()), 3)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "analog bias": (lambda: AnalogLinear(5, 4, rpu_config=analog_bias(pulsed())), (8, 5)),
    "array": (lambda: AnalogLinear(7, 5, bias=False, rpu_config=grouped()), (8, 7)),
    "mapped": (lambda: AnalogLinearMapped(7, 5, bias=False, rpu_config=grouped()), (8, 7)),
    "three axes": (lambda: AnalogLinear(5, 4, rpu_config=analog_bias(pulsed())), (8, 3, 5)),
    "Conv1d": (
        lambda: AnalogConv1d(2, 3, 3, rpu_config=analog_bias(pulsed())), (4, 2, 7)),
    "Conv2d": (
        lambda: AnalogConv2d(2, 3, 3, padding=1, rpu_config=analog_bias(pulsed())), (4, 2, 5, 5)),
    "Conv2d with index": (
        lambda: AnalogConv2d(
            2, 3, 3, rpu_config=analog_bias(pulsed()), use_indexed=True), (4, 2, 5, 5)),
    "Conv2d groups": (
        lambda: AnalogConv2d(4, 4, 3, groups=2, bias=False, rpu_config=pulsed()), (4, 4, 5, 5)),
    "Conv2dMapped": (
        lambda: AnalogConv2dMapped(2, 3, 3, bias=False, rpu_config=split(pulsed(), 9)),
        (4, 2, 5, 5)),
    "Conv3d": (
        lambda: AnalogConv3d(1, 2, 2, rpu_config=analog_bias(pulsed())), (4, 1, 3, 3, 3)),
    "ConvTranspose2d": (
        lambda: AnalogConvTranspose2d(2, 3, 3, bias=False, rpu_config=pulsed()), (4, 2, 4, 4)),
    "LSTM": (
        lambda: AnalogRNN(
            AnalogLSTMCell, 3, 4, bias=True, rpu_config=analog_bias(pulsed()), num_layers=2,
            bidir=True, batch_first=True), (4, 5, 3)),
    "LSTM, one matrix": (
        lambda: AnalogRNN(
            AnalogLSTMCellCombinedWeight, 3, 4, rpu_config=analog_bias(pulsed()),
            batch_first=True), (4, 5, 3)),
    "GRU": (
        lambda: AnalogRNN(
            AnalogGRUCell, 3, 4, rpu_config=analog_bias(pulsed()), batch_first=True), (4, 5, 3)),
}  # fmt: skip

for _name, (_build, _shape) in LAYERS.items():
    CASES[f"layer: {_name}"] = lambda _build=_build, _shape=_shape: as_one(
        _build, batches(3, *_shape)
    )
