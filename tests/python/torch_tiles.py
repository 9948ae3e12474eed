"""Small torch tiles that several tests use."""

from collections.abc import Callable

import torch
from torch import Tensor

from mho.simulator.configs import (
    IOParameters,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.enums import (
    BoundManagementType,
    NoiseManagementType,
)
from mho.simulator.tiles import TorchInferenceTile

NM, BM = NoiseManagementType, BoundManagementType
W = torch.tensor([[0.5, -0.25], [0.1, 0.8]])


def ideal(**changes: object) -> IOParameters:
    """Return parameters with everything switched off but the given changes."""
    off = {
        "inp_bound": -1.0,
        "inp_res": -1.0,
        "out_bound": -1.0,
        "out_res": -1.0,
        "out_noise": 0.0,
        "noise_management": NM.NONE,
        "bound_management": BM.NONE,
    }
    return IOParameters(**{**off, **changes})


def perfect() -> IOParameters:
    """Return parameters of an exact product."""
    return IOParameters(is_perfect=True)


def tile_with(
    forward: IOParameters, weight: Tensor = W, edit: Callable | None = None, bias: bool = False
) -> TorchInferenceTile:
    """Return a tile with given weights; `edit` changes its configuration first."""
    config = TorchInferenceRPUConfig(forward=forward)
    if edit is not None:
        edit(config)
    tile = TorchInferenceTile(*weight.shape, config, bias)
    tile.set_weights(weight)
    return tile


def with_range(**changes: object) -> Callable[[TorchInferenceRPUConfig], None]:
    """Return an edit that switches a fixed input range of 2 on, with the given changes."""

    def edit(config: TorchInferenceRPUConfig) -> None:
        values = {"enable": True, "init_value": 2.0, "init_from_data": 0, "decay": 0.0, **changes}
        for name, value in values.items():
            setattr(config.pre_post.input_range, name, value)

    return edit
