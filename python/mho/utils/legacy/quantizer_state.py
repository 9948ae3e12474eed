"""Quantisers around tiles, whose entries have other names and no mark of being in use."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import StateError
from mho.simulator.parts.quantized_periphery import BIAS, OUTPUT, SCALE
from mho.simulator.tiles.module import TileModule

_OF_TILES = {
    SCALE: "scale_quantizer",
    BIAS: "bias_quantizer",
    OUTPUT: "out_quantizer.activation_quantizer",
}
_OF_ARRAYS = {BIAS: "bias_quantizer", OUTPUT: "module_out_quantizer.activation_quantizer"}

# The entry that tells whether the entries beside it have values.
_IS_SET = "_is_set"
_FIRST = {"quantizer": "_delta", "range_estimator": "current_xmin"}


def with_quantizers(model: nn.Module, state: Mapping[str, Any]) -> "OrderedDict[str, Any]":
    """Return a state with the entries of quantisers in the place of those of aihwkit.

    Args:
        model: Model of mho; says which quantisers there are.
        state: State of aihwkit.

    Raises:
        StateError: An entry has another form.
    """
    result: OrderedDict[str, Any] = OrderedDict(state)
    if hasattr(state, "_metadata"):
        result._metadata = state._metadata  # type: ignore[attr-defined]
    for name, owner in model.named_modules(remove_duplicate=False):
        prefix = f"{name}." if name else ""
        names = _OF_TILES if isinstance(owner, TileModule) else _OF_ARRAYS
        for mine, theirs in names.items():
            quantizer = owner._modules.get(mine)
            if quantizer is not None and (isinstance(owner, TileModule) or hasattr(owner, "array")):
                entries = _translated(quantizer, result, f"{prefix}{theirs}.")
                result.update((f"{prefix}{mine}.{key}", v) for key, v in entries.items())
    return result


def _translated(
    quantizer: nn.Module, state: "OrderedDict[str, Any]", prefix: str
) -> dict[str, Tensor]:
    """Return the entries of one quantiser, and take those of aihwkit out of a state."""
    found: dict[str, Tensor] = {}
    for name, like in quantizer.state_dict().items():
        value = state.pop(f"{prefix}{name}", None)
        if value is None:
            found[name] = torch.zeros_like(like)
        elif not isinstance(value, Tensor) or value.dim() > 1:
            raise StateError(f"{prefix}{name}: expected one value, or one for each channel")
        else:
            # Steps that were not found yet are NaN.
            found[name] = value.detach().reshape(-1).to(like.dtype).nan_to_num(nan=0.0)
    for part, first in _FIRST.items():
        if f"{part}.{_IS_SET}" in found:
            is_set = bool((found[f"{part}.{first}"] != 0).any())
            found[f"{part}.{_IS_SET}"].fill_(float(is_set))
    return found
