"""States that cross the border between the package and the crate, and what both make of them next.

The crate reads `tests/rust/state/states.safetensors` and goes on as `go_on` does; what that must
give is in `next.safetensors`, both written by `data/make_rust_states.py`. `from_rust.safetensors`
and its twin are written by the crate and read by the tests here.
"""

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from golden import CASES, RATE, made, numbers
from mho.nn import AnalogLinear, AnalogLinearMapped
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    MappingParameter,
    SingleRPUConfig,
    SoftBoundsDevice,
    TransferCompound,
    UnitCellRPUConfig,
)

FOLDER = Path(__file__).parents[1] / "rust" / "state"

STATES = (
    "floating_point_drift",
    "analog_bias",
    "analog_rich",
    "analog_lines",
    "analog_counters",
    "analog_drift",
    "analog_coarse",
    "inference_drifted",
    "torch_scales",
    "array_analog",
    "cell_nested",
    "cell_transfer_chain",
    "cell_chopped",
    "cell_dynamic",
    "cell_mixed_rows",
)
"""Cases of `golden` that are written for the crate: every kind of entry is in one of them."""


def models() -> nn.ModuleDict:
    """Return the models of all cases."""
    found = nn.ModuleDict({name: made(CASES[name]) for name in STATES})
    # Sums that are exact in any order: instruction sets add in different ones.
    for tile in tiles(found["floating_point_drift"]).values():
        tile.tile.set_weights(numbers(tile.out_size, tile.in_size))
    return found


def tiles(model: nn.Module) -> dict[str, Any]:
    """Return the tiles of a model by name."""
    return {name: m for name, m in model.named_modules() if hasattr(m, "analog_ctx")}


class Digits(nn.Module):
    """A model with several tiles per layer, and with digital layers beside the analog ones."""

    def __init__(self) -> None:
        super().__init__()
        config = InferenceRPUConfig(
            mapping=MappingParameter(
                weight_scaling_omega=0.5,
                weight_scaling_columnwise=True,
                learn_out_scaling=True,
                max_input_size=4,
                max_output_size=3,
            )
        )
        config.pre_post.input_range.enable = True
        self.first = AnalogLinearMapped(7, 5, True, config)
        self.norm = nn.LayerNorm(5)
        trained = SingleRPUConfig(device=SoftBoundsDevice(write_noise_std=0.1))
        self.last = AnalogLinear(5, 2, True, trained)

    def forward(self, x: Tensor) -> Tensor:
        """Return two outputs per sample."""
        result: Tensor = self.last(self.norm(self.first(x)))
        return result


def digits() -> nn.Module:
    """Return that model, with a fixed seed."""
    torch.manual_seed(20240517)
    model = Digits()
    for tile in tiles(model.first).values():
        tile.set_input_range(0.75)
    return model


def go_on(tile: Any) -> dict[str, Tensor]:
    """Use a raw tile further and return outputs, weights and a checksum of all of its state."""
    raw, config = tile.tile, tile.rpu_config
    bias = 1.0 if tile.analog_bias else None
    x, d = numbers(2, tile.in_size, 3), numbers(2, tile.out_size, 8)
    found = {"forward": raw.kernels.forward(x, bias, False)[0].clone()}
    with raw.numbered() as call:
        found["backward"] = raw.run_backward(d, call, False, None).clone()
    raw.kernels.update(x, d, RATE, bias)
    raw.kernels.update(x[:1].contiguous(), d[1:].contiguous(), RATE, bias)
    raw.decay_weights(1.0)
    raw.diffuse_weights()
    if not isinstance(config, FloatingPointRPUConfig):
        raw.reset_columns(1, 2, 0.5)
    raw.drift_weights(7.0)
    found["tested"] = raw.kernels.forward(x, bias, True)[0].clone()
    found["weights"] = raw.get_weights()
    found["checksum"] = torch.tensor([checksum(tile.state_dict())])
    return found


def checksum(state: Mapping[str, Tensor]) -> int:
    """Return a CRC-32 of the entries of a raw tile, by their names."""
    found = 0
    for name in sorted(state):
        if name.startswith("analog_tile_") and name != "analog_tile_config":
            found = zlib.crc32(name.encode() + state[name].numpy().tobytes(), found)
    return found


def outcomes(model: nn.Module) -> dict[str, Tensor]:
    """Return what `go_on` returns of all tiles that compute in the core, by full name."""
    return {
        f"{name}.{what}": value
        for name, tile in tiles(model).items()
        if tile.tile.kernels is not None
        for what, value in go_on(tile).items()
    }


def soft_bounds() -> SingleRPUConfig:
    """Return the configuration of the layer `devices` that the crate writes."""
    return SingleRPUConfig(device=SoftBoundsDevice(write_noise_std=0.5, count_pulses=True))


def transfer() -> UnitCellRPUConfig:
    """Return that of the layer `cells`."""
    return UnitCellRPUConfig(
        device=TransferCompound(unit_cell_devices=[SoftBoundsDevice(), SoftBoundsDevice()])
    )


def analog_bias() -> SingleRPUConfig:
    """Return that of the layer `bias`."""
    return SingleRPUConfig(mapping=MappingParameter(digital_bias=False))


FROM_RUST: dict[str, Callable[[], nn.Module]] = {
    "devices": lambda: AnalogLinear(4, 3, False, soft_bounds()),
    "cells": lambda: AnalogLinear(4, 3, False, transfer()),
    "bias": lambda: AnalogLinear(4, 3, True, analog_bias()),
}
"""Layers that the crate writes, and how they are built here."""
