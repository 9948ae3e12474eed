"""A tile of unit cells in NumPy, and the few functions by which tests drive it or a real tile."""

from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from mho.simulator.configs import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    ConstantStepDevice,
    DynamicTransferCompound,
    MixedPrecisionCompound,
    OneSidedUnitCell,
    PulseType,
    ReferenceUnitCell,
    TransferCompound,
    VectorUnitCell,
)
from mho.simulator.devices.crosspoint import CrosspointDevice
from reference.chopped import ChoppedCell, DynamicCell
from reference.crosspoints import ConstantStepCells, Crosspoints, ExactCells
from reference.digital import MixedPrecisionCell
from reference.joint import Cell, OneSidedCell, ReferenceCell, VectorCell
from reference.pulses import Array, NotDeterministicError, single
from reference.transfer import BufferedCell, TransferCell


class Subject(Protocol):
    """A tile under test."""

    def set_weights(self, values: ArrayLike) -> None:
        """Program the raw weight ``[out, in]``."""

    def set_device(self, k: int, values: ArrayLike) -> None:
        """Set the hidden weight of device ``k``, and nothing else."""

    def choose(self, k: int) -> None:
        """Set the device that ``VectorUnitCellUpdatePolicy.SINGLE_FIXED`` updates and programs."""

    def update(self, x: ArrayLike, d: ArrayLike, lr: float) -> None:
        """Do one call of an update: ``x`` is ``[batch, in]``, ``d`` is ``[batch, out]``."""

    def read(self, name: str) -> Array:
        """Return ``weight``, a hidden parameter, or a counter, flag or average by name."""


class ReferenceTile:
    """Tile of the configuration ``config``, with weights of zero."""

    def __init__(self, rows: int, columns: int, config: Any, seed: int = 0) -> None:
        config.core_wire()  # refuses what no tile can have
        self.config = config
        shape, rng = (rows, columns), np.random.default_rng(seed)
        if config.update.pulse_type is PulseType.NONE:
            self.crosspoints: Crosspoints = ExactCells(shape)
        else:
            self.crosspoints = crosspoints_of(config.device, shape, rng)

    def set_weights(self, values: ArrayLike) -> None:
        """Program the raw weight; the rule of the cell says what the devices get."""
        self.crosspoints.set_weights(values)

    def set_device(self, k: int, values: ArrayLike) -> None:
        """Set the hidden weight of device ``k``, and nothing else."""
        assert isinstance(self.crosspoints, Cell)
        self.crosspoints.put(k, values)

    def choose(self, k: int) -> None:
        """Set the device that ``VectorUnitCellUpdatePolicy.SINGLE_FIXED`` updates and programs."""
        assert isinstance(self.crosspoints, VectorCell)
        self.crosspoints.current = k

    def update(self, x: ArrayLike, d: ArrayLike, lr: float) -> None:
        """Do one call of an update: one sample after another."""
        xs, ds = np.atleast_2d(single(x)), np.atleast_2d(single(d))
        for x_row, d_row in zip(xs, ds, strict=True):
            self.crosspoints.vector_update(x_row, d_row, lr, self.config.update, len(xs))

    def read(self, name: str) -> Array:
        """Return the weight, a hidden parameter, or a counter, flag or average by name."""
        extra = getattr(self.crosspoints, "extra", dict)()
        return single(
            ({"weight": self.crosspoints.weight} | self.crosspoints.hidden() | extra)[name]
        )


def crosspoints_of(
    device: CrosspointDevice, shape: tuple[int, int], rng: np.random.Generator
) -> Crosspoints:
    """Return devices or cells of a configuration with weights of zero."""
    make = partial(crosspoints_of, shape=shape, rng=rng)
    cells: list[tuple[type, Any]] = [
        (DynamicTransferCompound, DynamicCell),
        (ChoppedTransferCompound, ChoppedCell),
        (BufferedTransferCompound, BufferedCell),
        (TransferCompound, TransferCell),
        (MixedPrecisionCompound, MixedPrecisionCell),
        (ReferenceUnitCell, ReferenceCell),
        (VectorUnitCell, VectorCell),
    ]
    if isinstance(device, OneSidedUnitCell):
        return OneSidedCell(device, make)
    for config_class, cell in cells:
        if isinstance(device, config_class):
            made: Crosspoints = cell(device, make, rng)
            return made
    if isinstance(device, ConstantStepDevice):
        return ConstantStepCells(device, shape)
    raise NotDeterministicError(f"{type(device).__name__} has no transcription")
