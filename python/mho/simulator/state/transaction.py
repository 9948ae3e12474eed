"""Calls on tiles that change everything or nothing: what they changed is undone if they raise."""

import copy
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

_unseen: ContextVar[bool] = ContextVar("unseen", default=False)


@contextmanager
def nobody_sees() -> Iterator[None]:
    """Change tiles inside the block that are given up if it raises: nothing is put back then."""
    token = _unseen.set(True)
    try:
        yield
    finally:
        _unseen.reset(token)


def is_seen() -> bool:
    """Return whether somebody can see what a change that raises has left."""
    return not _unseen.get()


@contextmanager
def unchanged_on_error(tiles: Iterable[nn.Module]) -> Iterator[None]:
    """Put tiles back, bit for bit, if the block raises.

    For calls that run code of users or work on several tiles, where not everything can be checked
    beforehand. Costs a copy of all tensors of the tiles; torch's generators are not among them.

    Args:
        tiles: Tiles that the block may change.
    """
    saved = [] if not is_seen() else [_Snapshot(tile) for tile in tiles]
    try:
        yield
    except BaseException:
        for snapshot in saved:
            snapshot.restore()
        raise


class _Snapshot:
    """Everything that a tile holds: tensors by value, all else by reference."""

    def __init__(self, tile: nn.Module) -> None:
        raw: Any = tile.tile
        self._raw = raw
        # The configuration is a plain object, of which calls replace single fields.
        config: Any = tile.rpu_config
        own: list[Any] = raw.changed_objects()
        holders: list[Any] = [*tile.modules(), config, config.runtime, *own]
        self._attributes = [(holder, dict(vars(holder))) for holder in holders]
        self._registries = [
            (registry, _content(registry)) for module in tile.modules() for registry in _of(module)
        ]
        tensors = (value for _, content in self._registries for value in content.values())
        self._values = [(value, _copy(value)) for value in tensors if isinstance(value, Tensor)]

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back."""
        for holder, attributes in self._attributes:
            vars(holder).clear()
            vars(holder).update(attributes)
        with ExitStack() as stack:
            stack.enter_context(self._raw.on_host(replaces_all=True))
            for registry, content in self._registries:
                # Past the methods of watched buffers, but not past the order of ordered ones, which
                # torch 2.4 has: they would list some entries no longer.
                plain: Any = OrderedDict if isinstance(registry, OrderedDict) else dict
                plain.clear(registry)
                plain.update(registry, content)
            for value, old in self._values:
                # What did not change is not written: autograd and mirrors watch for writes.
                if not _same_bits(_plain(value), old):
                    _plain(value).copy_(old)


def _of(module: nn.Module) -> tuple[dict[str, Any], ...]:
    return module._parameters, module._buffers, module._modules


def _content(registry: dict[str, Any]) -> dict[str, Any]:
    # The own method of watched buffers brings them up to date.
    return copy.copy(registry) if type(registry) is dict else registry.copy()


def _plain(value: Tensor) -> Tensor:
    with torch._C.DisableTorchFunctionSubclass():
        return value.detach()


def _copy(value: Tensor) -> Tensor:
    with torch._C.DisableTorchFunctionSubclass():
        return value.detach().clone()


def _same_bits(value: Tensor, old: Tensor) -> bool:
    if value.shape != old.shape or value.dtype != old.dtype:
        return False
    return torch.equal(_bytes(value), _bytes(old))


def _bytes(value: Tensor) -> Tensor:
    # Flat: scalars, and single elements with the stride of a view, are no bytes in torch.
    return value.reshape(-1).clone(memory_format=torch.contiguous_format).view(torch.uint8)
