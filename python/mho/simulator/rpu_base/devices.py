"""Names of the parameters of the core; here they are the configuration classes themselves."""

from typing import Any

from mho import pending
from mho.simulator import devices as _devices
from mho.simulator.devices import cells as _cells
from mho.simulator.parameters.enums import (
    AnalogMVType,
    BoundManagementType,
    NoiseManagementType,
    PulseType,
    VectorUnitCellUpdatePolicy,
    WeightNoiseType,
)
from mho.simulator.parameters.inference import DriftParameter
from mho.simulator.parameters.io import IOParameters as AnalogTileInputOutputParameter
from mho.simulator.parameters.training import UpdateParameters as AnalogTileUpdateParameter

__all__ = [
    "AnalogMVType",
    "AnalogTileInputOutputParameter",
    "AnalogTileUpdateParameter",
    "BoundManagementType",
    "DriftParameter",
    "NoiseManagementType",
    "PulseType",
    "VectorUnitCellUpdatePolicy",
    "WeightNoiseType",
]

_SUFFIX = "ResistiveDeviceParameter"
_COMPOUNDS = {
    "MixedPrec": "MixedPrecisionCompound",
    "OneSided": "OneSidedUnitCell",
    "Vector": "VectorUnitCell",
}


_missing = pending.attribute_of(__name__, 2)


def __getattr__(name: str) -> Any:
    """Return the class behind a name such as `ConstantStepResistiveDeviceParameter`."""
    stem = name.removesuffix(_SUFFIX)
    if stem != name:
        for candidate in (_COMPOUNDS.get(stem, ""), f"{stem}Device", f"{stem}Compound"):
            found = getattr(_devices, candidate, None) or getattr(_cells, candidate, None)
            if isinstance(found, type):
                return found
    return _missing(name)
