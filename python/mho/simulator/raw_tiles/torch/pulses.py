"""Inputs of the array as pulses of a whole number of ticks, in one or several phases."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mho.simulator.parameters.enums import AnalogMVType
from mho.simulator.parameters.io import IOParametersIRDropT

_TOLERANCE = 1e-6
"""Relative distance from an integer that a quotient of two floats may have and still be one."""


class Phase(NamedTuple):
    """Pulses that are applied together; the digital result is multiplied by a power of two."""

    factor: int
    """Value of one tick in the result."""

    ticks: int
    """Length of the longest pulse."""

    steps: int
    """Points in time at which the currents are sampled, evenly from 0 to the longest pulse."""

    def part(self, ticks: Tensor) -> Tensor:
        """Return the signed pulse of this phase, in ticks.

        Args:
            ticks: Signed whole numbers, any shape; of the full range.
        """
        size = (ticks.abs() / self.factor).floor()
        return ticks.sign() * torch.remainder(size, self.ticks + 1)

    def counts(self, pulse: Tensor, plain_sum: bool) -> Tensor:
        """Return for how many steps a pulse lasts, with its sign and the weights of the quadrature.

        Args:
            pulse: Signed whole numbers of ticks, any shape.
            plain_sum: Weigh all steps alike. Otherwise the trapezoidal rule with the first sample
                duplicated in front: the first step counts 1.5, the last one 0.5.
        """
        ticks = pulse.abs()
        if self.ticks > 0 and self.steps - 1 != self.ticks:
            # The number of q >= 0 with q ticks < pulse (steps - 1), in exact integer arithmetic.
            product = ticks * (self.steps - 1)
            rest = torch.remainder(product, self.ticks)
            count = (product - rest) / self.ticks + (rest > 0)
        else:
            count = ticks
        count = count.clamp(max=self.steps)
        if not plain_sum:
            count = count + 0.5 * (ticks > 0) - 0.5 * (count == self.steps)
        return pulse.sign() * count

    def width(self) -> float:
        """Return the length of a step in ticks."""
        return self.ticks / (self.steps - 1) if self.ticks > 0 else 1.0


def full_scale(io: IOParametersIRDropT) -> int:
    """Return the number of ticks of the longest pulse, that of an input at the bound.

    Args:
        io: Checked parameters.
    """
    return round(_ticks(io))


def phases(io: IOParametersIRDropT) -> list[Phase]:
    """Return the phases of a product, least significant first.

    Args:
        io: Checked parameters.
    """
    largest, scale = full_scale(io), io.ir_drop_time_step_resolution_scale
    if io.mv_type is AnalogMVType.ONE_PASS:
        return [Phase(1, largest, int((largest + 1) * scale + _TOLERANCE))]
    bits = round(math.log2(largest + 1))
    if io.mv_type is AnalogMVType.BIT_WISE:
        return [Phase(2**bit, 1, 2) for bit in range(bits)]
    shift = io.split_mode_bit_shift
    lengths = ((1, 2**shift), (2**shift, 2 ** (bits - shift)))
    return [Phase(f, length - 1, int(length * scale + _TOLERANCE)) for f, length in lengths]


def problems(io: IOParametersIRDropT) -> list[tuple[str, str]]:
    """Return names of fields that give no whole pulses, with what to do about them.

    Args:
        io: Parameters whose types are right.
    """
    if not (math.isfinite(io.inp_res) and io.inp_res > 0.0):
        return [("inp_res", "inputs are pulses of whole ticks; the resolution must be positive")]
    if io.inp_bound != 1.0:
        return [("inp_bound", "must be 1, the longest pulse; scale the weights instead")]
    ticks = _ticks(io)
    if round(ticks) < 1 or abs(ticks - round(ticks)) > _TOLERANCE * ticks:
        return [("inp_res", f"1 / inp_res must be even, as in 1 / (2^n - 2), got {2 * ticks:g}")]
    if io.mv_type is not AnalogMVType.ONE_PASS:
        found = _problems_of_bits(io, round(ticks) + 1)
        if found:
            return found
    if io.mv_type is AnalogMVType.BIT_WISE:
        return []
    scale = io.ir_drop_time_step_resolution_scale
    if scale <= 0.0 or any(p.steps < min(2, p.ticks + 1) for p in phases(io)):
        name = "ir_drop_time_step_resolution_scale"
        return [(name, f"{scale:g} leaves less than two time steps; use at most 1 and more")]
    return []


def _problems_of_bits(io: IOParametersIRDropT, levels: int) -> list[tuple[str, str]]:
    name, bits = io.mv_type.name, round(math.log2(levels))
    if levels != 2**bits:
        return [("inp_res", f"{name} needs a whole number of bits n: 1 / (2^n - 2)")]
    if io.inp_noise > 0.0:
        return [("inp_noise", f"{name} splits whole pulses; input noise must be 0")]
    if io.mv_type is AnalogMVType.SPLIT_MODE and not 0 <= io.split_mode_bit_shift <= bits:
        return [
            (
                "split_mode_bit_shift",
                f"must be from 0 to {bits} for inputs of {bits} bits and a sign, got"
                f" {io.split_mode_bit_shift}",
            )
        ]
    return []


def _ticks(io: IOParametersIRDropT) -> float:
    # A resolution above one is a number of steps.
    return 0.5 * io.inp_res if io.inp_res > 1.0 else 0.5 / io.inp_res
