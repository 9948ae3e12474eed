"""What happens to a state dict before torch loads it, and how a failed load is undone."""

import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mho.exceptions import ArgumentError, InputError
from mho.simulator.parameters.arguments import check_flag, check_mapping
from mho.simulator.state.entries import refuse_nested
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.plan import deferred_commits
from mho.simulator.state.tensor_group import TensorGroup
from mho.simulator.tiles.module import TileModule

# Where layers have their tiles.
_TILES = ("analog_module", "array")
# What puts a prefix before all names of a state.
_WRAPPERS = {
    "_orig_mod.": "torch.compile",
    "module.": "DataParallel or DistributedDataParallel",
}


def prepare(
    state_dict: Mapping[str, Any], strict: bool, assign: bool
) -> tuple[Mapping[str, Any], bool]:
    """Return the entries to load and whether names must match.

    Contexts of shape ``[]`` come from old checkpoints. They are left out with a warning, and
    missing names are then forgiven.

    Args:
        state_dict: Entries as given by the user; not changed.
        strict: Whether the user wants names to match.
        assign: Must be False.

    Raises:
        ArgumentError: ``assign`` is True.
        InputError: An entry is a nested tensor.
    """
    refuse_nested(check_mapping("state_dict", state_dict))
    strict = check_flag("strict", strict)
    if check_flag("assign", assign):
        raise ArgumentError("assign: tiles are loaded in place; call without it")
    outdated = [
        name
        for name, value in state_dict.items()
        if str(name).endswith("analog_ctx") and getattr(value, "shape", None) == ()
    ]
    is_pickled = any(str(name).endswith(Names.ANALOG_STATE_NAME) for name in state_dict)
    if not outdated or is_pickled:  # tiles refuse the states of aihwkit and say what reads them
        return state_dict, strict
    warnings.warn(
        f"checkpoint is of an old format; {len(outdated)} analog contexts are ignored and"
        " missing names are not reported",
        stacklevel=3,
    )
    kept = OrderedDict((n, value) for n, value in state_dict.items() if n not in outdated)
    if hasattr(state_dict, "_metadata"):
        kept._metadata = state_dict._metadata  # type: ignore[attr-defined]
    return kept, False


def check_origin(module: nn.Module, state_dict: Mapping[str, Any]) -> None:
    """Refuse the state of a model that is digital, or that was wrapped when it was saved.

    Args:
        module: Model with analog layers.
        state_dict: Entries to load.

    Raises:
        InputError: It is one; nothing is changed.
    """
    children = dict(module.named_modules())
    for prefix, wrapper in _WRAPPERS.items():
        names = [name for name in state_dict if name.startswith(prefix)]
        if names and prefix[:-1] not in children:
            raise InputError(
                f"state_dict: {names[0]!r} and {len(names) - 1} others start with {prefix!r}: it"
                f" was saved from a model inside of {wrapper}; save the state of the model itself"
                f" or remove it, {{k.removeprefix({prefix!r}): v for k, v in state.items()}}"
            )
    for name, child in children.items():
        layer = f"{name}." if name else ""
        is_layer = hasattr(child, "OWN_ENTRIES") and not child._modules.keys().isdisjoint(_TILES)
        if is_layer and is_digital_entry(state_dict, layer):
            raise InputError(f"state_dict: {digital_entry(layer)}")


def is_digital_entry(state_dict: Mapping[str, Any], prefix: str) -> bool:
    """Return whether a state has the weights of a digital layer in the place of an analog one.

    Args:
        state_dict: Entries to load.
        prefix: Name of the layer with a dot behind it, empty for that of a model.
    """
    tiles = tuple(f"{prefix}{name}." for name in _TILES)
    return f"{prefix}weight" in state_dict and not any(
        name.startswith(tiles) for name in state_dict
    )


def digital_entry(prefix: str) -> str:
    """Return what is said of such a state.

    Args:
        prefix: As for `is_digital_entry`.
    """
    return (
        f"it has the weights of a digital layer, {prefix + 'weight'!r}, but this layer is analog"
        f" and keeps its own in its tiles; load the state into the digital model and convert"
        " that with convert_to_analog, or hand the weights to set_weights of the layers"
    )


@contextmanager
def all_or_nothing(model: nn.Module, tiles: Iterable[TileModule]) -> Iterator[None]:
    """Undo everything that loading inside the block has changed if it raises.

    Tiles are changed after the block, hence after load hooks of other modules have run.

    Args:
        model: Module that is loaded.
        tiles: Its tiles.
    """
    flags = [(tile, tile.load_rpu_config, tile.strict_rpu_config_check) for tile in tiles]
    saved = [(value, value.detach().clone()) for value in _digital(model)]
    try:
        with deferred_commits():
            yield
    except BaseException:
        with torch.no_grad():
            for value, old in saved:
                value.copy_(old)
        for tile, *choice in flags:
            tile.set_load_rpu_config_state(*choice)
        raise


def _digital(model: nn.Module) -> Iterator[Tensor]:
    """Yield every tensor that torch itself loads; tiles load theirs at once or not at all."""
    for module in model.modules():
        if isinstance(module, (TileModule, TensorGroup)):
            continue
        for value in (*module._parameters.values(), *module._buffers.values()):
            if value is not None and not is_lazy(value):
                yield value
