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
        is_shard = is_shard or value.dim() != 2 or not isinstance(value, nn.Parameter)
    if is_shard:
        raise TileModuleError(
            f"{name}: weights of {type(owner).__name__} cannot be sharded, nor exchanged for"
            " another tensor. Use DistributedDataParallel for several processes, or shard digital"
            " modules only; set_weights of the layer writes other values"
        )
