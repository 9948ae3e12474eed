"""Names of the configurations of tiles; each stands in the file of the tile that it asks for."""

from mho.inference.compensation.base import BaseDriftCompensation
from mho.inference.compensation.drift import GlobalDriftCompensation
from mho.inference.noise.base import BaseNoiseModel
from mho.inference.noise.pcm import PCMLikeNoiseModel
from mho.simulator.devices.cells.digital_rank_update import DigitalRankUpdateCell
from mho.simulator.devices.cells.transfer import TransferCompound
from mho.simulator.devices.cells.unit_cell import UnitCell
from mho.simulator.devices.constant_step import ConstantStepDevice
from mho.simulator.devices.floating_point import FloatingPointDevice
from mho.simulator.devices.ideal import IdealDevice
from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.parameters.enums import PulseType
from mho.simulator.parameters.helpers import tile_parameters_to_bindings
from mho.simulator.parameters.inference import (
    WeightClipParameter,
    WeightModifierParameter,
    WeightRemapParameter,
)
from mho.simulator.parameters.io import IOParameters, IOParametersIRDropT
from mho.simulator.parameters.mapping import MappableRPU, MappingParameter
from mho.simulator.parameters.pre_post import (
    PrePostProcessingParameter,
    PrePostProcessingParameterQuant,
    PrePostProcessingRPU,
)
from mho.simulator.parameters.quantization import ActivationQuantConfig
from mho.simulator.parameters.runtime import RuntimeParameter
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.raw_tiles.torch.tile import TorchSimulatorTile
from mho.simulator.raw_tiles.torch.tile_ir_drop import TorchSimulatorTileIRDropT
from mho.simulator.tiles.analog import (
    AnalogTile,
    DigitalRankUpdateRPUConfig,
    SingleRPUConfig,
    UnitCellRPUConfig,
)
from mho.simulator.tiles.array import QuantizedTileModuleArray, TileModuleArray
from mho.simulator.tiles.floating_point import FloatingPointRPUConfig, FloatingPointTile
from mho.simulator.tiles.inference import InferenceRPUConfig, InferenceTile
from mho.simulator.tiles.inference_torch import (
    TorchInferenceRPUConfig,
    TorchInferenceRPUConfigIRDropT,
    TorchInferenceTile,
)
from mho.simulator.tiles.io_managed import IOManagedRPUConfig
from mho.simulator.tiles.quantized_inference_torch import (
    QuantizedTorchInferenceRPUConfig,
    QuantizedTorchInferenceTile,
)

__all__ = [
    "ActivationQuantConfig",
    "AnalogTile",
    "BaseDriftCompensation",
    "BaseNoiseModel",
    "ConstantStepDevice",
    "DigitalRankUpdateCell",
    "DigitalRankUpdateRPUConfig",
    "FloatingPointDevice",
    "FloatingPointRPUConfig",
    "FloatingPointTile",
    "GlobalDriftCompensation",
    "IOManagedRPUConfig",
    "IOParameters",
    "IOParametersIRDropT",
    "IdealDevice",
    "InferenceRPUConfig",
    "InferenceTile",
    "MappableRPU",
    "MappingParameter",
    "PCMLikeNoiseModel",
    "PrePostProcessingParameter",
    "PrePostProcessingParameterQuant",
    "PrePostProcessingRPU",
    "PulseType",
    "PulsedDevice",
    "QuantizedTileModuleArray",
    "QuantizedTorchInferenceRPUConfig",
    "QuantizedTorchInferenceTile",
    "RuntimeParameter",
    "SingleRPUConfig",
    "TileModuleArray",
    "TorchInferenceRPUConfig",
    "TorchInferenceRPUConfigIRDropT",
    "TorchInferenceTile",
    "TorchSimulatorTile",
    "TorchSimulatorTileIRDropT",
    "TransferCompound",
    "UnitCell",
    "UnitCellRPUConfig",
    "UpdateParameters",
    "WeightClipParameter",
    "WeightModifierParameter",
    "WeightRemapParameter",
    "tile_parameters_to_bindings",
]
