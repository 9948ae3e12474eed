"""Weights of a tile are whole tensors: nobody puts a shard of them in their place.

Products read all of an array, and what follows a step (clipping, remapping, devices) needs the
parameter that the optimizer has trained. Wrappers that shard parameters give a module other tensors
in turn, so that this would be left out without a word.
"""

from typing import Any

from torch import Tensor, nn

from mho.exceptions import TileModuleError
from mho.simulator.state.names import AnalogTileStateNames as Names

# Parameters, buffers and modules of a tile, beside those that users add.
_OWN = frozenset(
    (
        *Names.get_field_names(), "alpha", "analog_tile_device", "analog_tile_devices",
        "analog_tile_rule", "bias", "drift_baseline", "input_range", "input_range_update_idx",
        "programmed_weights", "reference_combined_weights", "tile",
    )
)  # fmt: skip
# What pruning and the norms of `torch.nn.utils` name parameters from which they compute others.
_COMPUTED_FROM = ("_orig", "_g", "_v")

_INSTEAD = (
    "Use DistributedDataParallel for several processes; where other layers are sharded, leave the"
    " parameters of analog ones out (ignored_params) and wrap these layers in it; prune and"
    " parametrise digital layers and convert them then"
)


def check_whole(owner: nn.Module, name: str, value: Any, trained: str) -> None:
    """Refuse a shard, which is about to be assigned to a module.

    Args:
        owner: Tile or raw tile.
        name: Name of the attribute.
        value: What is assigned.
        trained: Name of the parameter with the trained weights, `[out, in]`.

    Raises:
        TileModuleError: It is a distributed tensor, or in place of the weights something else than
            a parameter of two axes.
    """
    if not isinstance(value, Tensor):
        return
    is_shard = hasattr(type(value), "placements")  # of torch.distributed.tensor
    if name == trained:
        is_other = value.dim() != 2 or not isinstance(value, nn.Parameter)
        is_shard = is_shard or (is_other and not _is_computed(owner, name))
    if is_shard:
        raise TileModuleError(
            f"{name}: weights of {type(owner).__name__} cannot be sharded, nor exchanged for"
            f" another tensor. {_INSTEAD}; set_weights of the layer writes other values"
        )


def check_kept(owner: nn.Module, name: str) -> None:
    """Refuse to remove a tensor or a module of a tile, which every product needs.

    Args:
        owner: Tile.
        name: Name of the attribute that is about to be deleted.

    Raises:
        TileModuleError: It is a parameter, a buffer or a module that every tile of its kind has.
    """
    tensors_and_modules = owner._parameters, owner._buffers, owner._modules
    if name in _OWN and any(name in names for names in tensors_and_modules):
        raise TileModuleError(
            f"{name}: cannot be taken out of {type(owner).__name__}, whose weights cannot be"
            f" sharded, pruned nor parametrised. {_INSTEAD}"
        )


def check_not_computed(owner: nn.Module, name: str) -> None:
    """Refuse a parameter from which a tensor of a tile is about to be computed.

    Args:
        owner: Tile.
        name: Name of the parameter that is about to be registered.

    Raises:
        TileModuleError: Pruning, or a norm of `torch.nn.utils`, has named it after a tensor of the
            tile.
    """
    for end in _COMPUTED_FROM:
        made = str(name).removesuffix(end)
        if made != name and made in _OWN:
            raise TileModuleError(
                f"{made}: of {type(owner).__name__} cannot be computed from {name}. {_INSTEAD}"
            )


def check_present(owner: nn.Module, name: str) -> None:
    """Refuse a product of a tile whose weights somebody has taken out of the module.

    Args:
        owner: Tile.
        name: Name of the parameter that stands for the weights.

    Raises:
        TileModuleError: There is no such parameter any more.
    """
    if name not in owner._parameters:
        raise TileModuleError(
            f"{name}: was taken out of {type(owner).__name__}, whose weights cannot be sharded,"
            f" pruned nor parametrised. Build the tile anew. {_INSTEAD}"
        )


def _is_computed(owner: nn.Module, name: str) -> bool:
    """Return whether torch computes the weights of a raw torch tile anew before each product.

    Pruning and the norms of `torch.nn.utils` do so from parameters that are named after them.
    Kernels of the core read the parameter itself.
    """
    made_from = any(key.startswith(f"{name}_") for key in owner._parameters)
    return made_from and not hasattr(owner, "parts")
