"""Which methods of an object are public, and those that random calls leave out, each with why."""

import inspect
from typing import Any

from torch import nn

# Inherited from torch, for subclasses that replace them, or called by the other parts of a tile:
# they get what the tile has checked.
HOOKS = {
    "pre_forward", "post_forward", "pre_backward", "post_backward", "pre_update", "joint_forward",
    "traced_forward", "cast_input", "connect", "follow", "settle", "weights_edited", "bias_input",
    "take_config", "plan_edit", "own_reference", "output_factors", "enter_range",
    "register_parameter",
}  # fmt: skip
# They answer a question about their argument and hold no state.
QUESTIONS = {
    "get_tensor_view", "get_analog_state_name", "compatible_with", "apply_to_analog_layers",
    "apply_to_analog_tiles", "check_config", "get_split_sizes",
}  # fmt: skip


def public_methods(obj: Any) -> list[str]:
    """Names of the methods of an object that are not those of every torch module."""
    names = []
    for name in dir(type(obj)):
        inherited = getattr(nn.Module, name, None)
        own = inspect.getattr_static(type(obj), name)
        if name.startswith("_") or isinstance(own, (property, classmethod)) or not callable(own):
            continue
        of_torch = getattr(own, "__module__", "").startswith("torch.")
        if getattr(type(obj), name) is not inherited and name not in HOOKS and not of_torch:
            names.append(name)
    return [*names, "__call__"] if hasattr(obj, "forward") else names


def arguments_of(method: Any) -> dict[str, inspect.Parameter]:
    """Parameters of a method that can be given by name."""
    found = inspect.signature(method).parameters
    return {n: p for n, p in found.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
