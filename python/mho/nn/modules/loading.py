"""What happens to a state dict before torch loads it, and how a failed load is undone."""

import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mho.exceptions import ArgumentError
from mho.simulator.parameters.arguments import check_flag, check_mapping
from mho.simulator.state.plan import deferred_commits
from mho.simulator.state.tensor_group import TensorGroup
from mho.simulator.tiles.module import TileModule


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
    """
    check_mapping("state_dict", state_dict)
    strict = check_flag("strict", strict)
    if check_flag("assign", assign):
        raise ArgumentError("assign: tiles are loaded in place; call without it")
    outdated = [
        name
        for name, value in state_dict.items()
        if str(name).endswith("analog_ctx") and getattr(value, "shape", None) == ()
    ]
    if not outdated:
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
