"""What masks of attention add to its scores."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from mho.exceptions import InputError
from mho.simulator.parameters.checking import describe


def check_masks(**masks: Tensor | None) -> None:
    """Refuse masks that are no tensors.

    Args:
        masks: Masks by the names of their arguments, None for none.

    Raises:
        InputError: One is something else.
    """
    for name, mask in masks.items():
        if mask is not None and not isinstance(mask, Tensor):
            raise InputError(f"{name}: expected a tensor, got {describe(mask)}")


def mask_of_scores(
    q: Tensor,
    k: Tensor,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    by_kernel: bool,
    more: int,
) -> tuple[Tensor | None, bool]:
    """Return what is added to the scores, and whether the kernel masks what is behind by itself.

    Args:
        q: Queries ``[N, heads, L, size]``.
        k: Keys ``[N, heads, S, size]``, without additional ones.
        key_padding_mask: ``[N, S]``, True or what is added where a key is to be ignored.
        attn_mask: ``[L, S]`` or ``[N * heads, L, S]``, the same for pairs.
        by_kernel: Whether ``attn_mask`` is the causal one, which a kernel can do without.
        more: Number of additional keys, which no mask is about.

    Raises:
        InputError: A mask has the wrong shape or dtype.
    """
    (batch, heads, length, _), source = q.shape, k.shape[2]
    if by_kernel and key_padding_mask is None:
        return None, True
    total = None
    if attn_mask is not None:
        total = _additive("attn_mask", attn_mask, q.dtype)
        if total.shape == (batch * heads, length, source):
            total = total.reshape(batch, heads, length, source)
        elif total.shape != (length, source):
            raise InputError(
                f"attn_mask: expected [{length}, {source}] or [{batch * heads}, {length},"
                f" {source}], got {list(total.shape)}"
            )
    if key_padding_mask is not None:
        if key_padding_mask.shape != (batch, source):
            raise InputError(
                f"key_padding_mask: expected one value for each of {source} keys of {batch}"
                f" sequences, got {list(key_padding_mask.shape)}"
            )
        keys = _additive("key_padding_mask", key_padding_mask, q.dtype)[:, None, None, :]
        total = keys if total is None else total + keys
    return total if total is None or not more else pad(total, (0, more)), False


def _additive(name: str, mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, float("-inf"))
    if not mask.is_floating_point():
        raise InputError(f"{name}: expected a mask of bool or floating point, got {mask.dtype}")
    return mask.to(dtype)
