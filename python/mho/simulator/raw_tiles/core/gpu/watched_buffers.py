"""Buffers of a module whose weights may be newer on a graphics processor."""

from collections.abc import Callable, Collection, Iterator
from typing import Any


class WatchedBuffers(dict[str, Any]):
    """Buffers of a module; whoever reads a watched one gets it up to date.

    Modules keep their buffers in a dictionary that all of torch reads: attributes, `state_dict`,
    copies. So this is the one place that sees every reader.
    """

    def __init__(
        self, buffers: dict[str, Any], names: Collection[str], sync: Callable[[], None]
    ) -> None:
        """Take over buffers.

        Args:
            buffers: Buffers by name.
            names: Names of the watched ones.
            sync: Called before one of these is read.
        """
        super().__init__(buffers)
        self._names, self._sync = frozenset(names), sync

    def __getitem__(self, name: str) -> Any:
        """Return a buffer."""
        if name in self._names:
            self._sync()
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a buffer, or a default."""
        if name in self._names:
            self._sync()
        return super().get(name, default)

    def __setitem__(self, name: str, value: Any) -> None:
        """Replace a buffer, after the old one is up to date; torch reads it first from 2.5 on."""
        if name in self._names:
            self._sync()
        super().__setitem__(name, value)

    def pop(self, name: str, *default: Any) -> Any:
        """Remove a buffer and return it."""
        if name in self._names:
            self._sync()
        return super().pop(name, *default)

    def items(self) -> Any:
        """Return names and buffers."""
        self._sync()
        return super().items()

    def values(self) -> Any:
        """Return buffers."""
        self._sync()
        return super().values()

    def copy(self) -> dict[str, Any]:
        """Return a plain dictionary."""
        self._sync()
        return super().copy()

    def __iter__(self) -> Iterator[str]:
        """Return the names; with an own method, copies of the dictionary read by `__getitem__`."""
        return super().__iter__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copy and pickle as a plain dictionary: what watches belongs to this process."""
        return dict, (self.copy(),)


def peek(buffers: dict[str, Any], name: str) -> Any:
    """Return a buffer as the host has it, None if there is none.

    Args:
        buffers: Buffers by name.
        name: Name of the buffer.
    """
    return dict.get(buffers, name)


def peek_all(buffers: dict[str, Any]) -> dict[str, Any]:
    """Return a plain dictionary of the buffers as the host has them.

    Args:
        buffers: Buffers by name.
    """
    return dict(dict.items(buffers))  # `dict.copy` reads by `__getitem__`
