"""Weights of a tile are whole tensors: nobody puts a shard of them in their place.

Products read all of an array, and what follows a step (clipping, remapping, devices) needs the
parameter that the optimizer has trained. Wrappers that shard parameters give a module other tensors
in turn, so that this would be left out without a word.
"""

from typing import Any

from torch import Tensor, nn

from mho.exceptions import TileModuleError


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
            " another tensor. Use DistributedDataParallel for several processes, or shard digital"
            " modules only; prune and parametrise digital layers and convert them then; set_weights"
            " of the layer writes other values"
        )


def _is_computed(owner: nn.Module, name: str) -> bool:
    """Return whether torch computes the weights of a raw torch tile anew before each product.

    Pruning and the norms of `torch.nn.utils` do so from parameters that are named after them.
    Kernels of the core read the parameter itself.
    """
    made_from = any(key.startswith(f"{name}_") for key in owner._parameters)
    return made_from and not hasattr(owner, "parts")
