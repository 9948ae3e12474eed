"""Everything that a module holds, for comparing it bit for bit before and after a call."""

from typing import Any

import torch
from torch import Tensor, nn

from mho.simulator.tiles.module import TileModule

IDENTITIES = "identities of the parameters"
"""Optimizers hold parameters by these; those of a copy are other ones."""


READOUT = "readout"
"""Inputs of the drift compensation: no state has them, they are made again when needed."""

TRACE = "trace"
"""What was recorded for the next step."""


def bits(value: Any) -> Any:
    """A value in a form that compares bit for bit, NaN included."""
    if isinstance(value, Tensor):
        if value.is_meta:
            return str(value.dtype), tuple(value.shape), "meta"
        plain = value.detach().cpu().clone(memory_format=torch.contiguous_format).reshape(-1)
        return str(value.dtype), tuple(value.shape), plain.view(torch.uint8).numpy().tobytes()
    if isinstance(value, (list, tuple)):
        return [bits(item) for item in value]
    return repr(value)


def everything(module: nn.Module) -> dict[str, Any]:
    """State of a module: what is saved, and what decides how it goes on."""
    found = {name: bits(value) for name, value in module.state_dict().items()}
    parameters = list(module.named_parameters())
    found["parameters"] = [(name, value.requires_grad) for name, value in parameters]
    found[IDENTITIES] = [id(value) for _, value in parameters]
    for name, tile in module.named_modules():
        found[f"{name}: training"] = tile.training
        if not isinstance(tile, TileModule):
            continue
        rest = {
            "learning rate": tile.get_learning_rate(),
            "rate scale": tile.mapping_lr_scale,
            "backend": tile.backend,
            "load flags": (tile.load_rpu_config, tile.strict_rpu_config_check),
            "precision": tile.io_dtype,
            READOUT: bits(getattr(tile, "drift_readout_tensor", None)),
            TRACE: bits([tile.analog_ctx.analog_input, tile.analog_ctx.analog_grad_output]),
        }
        found |= {f"{name}: {what}": repr(value) for what, value in rest.items()}
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of what is not the same."""
    names = before.keys() | after.keys()
    return sorted(name for name in names if before.get(name) != after.get(name))
