"""Everything that a module holds, for comparing it bit for bit before and after a call."""

from typing import Any

import torch
from torch import Tensor, nn

from mho.simulator.tiles.module import TileModule


def bits(value: Any) -> Any:
    """A value in a form that compares bit for bit, NaN included."""
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        return str(value.dtype), tuple(value.shape), plain.reshape(-1).view(torch.uint8).tolist()
    if isinstance(value, (list, tuple)):
        return [bits(item) for item in value]
    return repr(value)


def everything(module: nn.Module) -> dict[str, Any]:
    """State of a module: what is saved, and what decides how it goes on."""
    found = {name: bits(value) for name, value in module.state_dict().items()}
    found["parameters"] = [
        (name, value.requires_grad, id(value)) for name, value in module.named_parameters()
    ]
    for name, tile in module.named_modules():
        found[f"{name}: training"] = tile.training
        if not isinstance(tile, TileModule):
            continue
        rest = (
            tile.get_learning_rate(),
            tile.mapping_lr_scale,
            tile.backend,
            tile.load_rpu_config,
            tile.strict_rpu_config_check,
            str(tile.rpu_config),
            tile.io_dtype,
            bits(getattr(tile, "drift_readout_tensor", None)),
            bits(tile.analog_ctx.analog_input),
            bits(tile.analog_ctx.analog_grad_output),
        )
        found[f"{name}: rest"] = [repr(value) for value in rest]
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of what is not the same."""
    names = before.keys() | after.keys()
    return sorted(name for name in names if before.get(name) != after.get(name))
