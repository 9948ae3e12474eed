"""Tells whether tensors were written or replaced since somebody looked."""

from collections.abc import Mapping

from torch import Tensor

# Storage, address and version of a tensor; None for the version of inference tensors, which have
# none. The storage is held, so that no other tensor can get its address.
_Stamp = tuple[object, int, int | None]


class TensorVersions:
    """Versions of groups of tensors, as somebody last saw them.

    The version of a tensor counts the operations that wrote to it in place. Writes through `.data`,
    through NumPy or by other libraries do not count.
    """

    def __init__(self) -> None:
        """Start without any."""
        self._groups: dict[str, dict[str, _Stamp]] = {}

    def changed(self, group: str, tensors: Mapping[str, Tensor]) -> bool:
        """Return whether the tensors must be read again: changed, never seen, or not tracked.

        Args:
            group: Name of the group.
            tensors: Its tensors by name.
        """
        seen = self._groups.get(group)
        if seen is None or len(seen) != len(tensors):
            return True
        return any(_differs(seen.get(name), value, True) for name, value in tensors.items())

    def written(self, group: str, tensors: Mapping[str, Tensor]) -> bool:
        """Return whether tensors that were seen are known to have changed.

        Args:
            group: Name of the group.
            tensors: Its tensors by name.
        """
        seen = self._groups.get(group)
        if seen is None:
            return False
        return len(seen) != len(tensors) or any(
            _differs(seen.get(name), value, False) for name, value in tensors.items()
        )

    def put(self, group: str, tensors: Mapping[str, Tensor]) -> None:
        """Remember the tensors as they are.

        Args:
            group: Name of the group.
            tensors: Its tensors by name.
        """
        self._groups[group] = {name: _stamp(value) for name, value in tensors.items()}

    def forget(self, group: str) -> None:
        """Forget a group.

        Args:
            group: Name of the group.
        """
        self._groups.pop(group, None)

    def clear(self) -> None:
        """Forget all groups."""
        self._groups.clear()


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def _stamp(tensor: Tensor) -> _Stamp:
    return tensor.untyped_storage(), tensor.data_ptr(), _version(tensor)


def _differs(seen: _Stamp | None, tensor: Tensor, untracked: bool) -> bool:
    if seen is None or tensor.data_ptr() != seen[1]:
        return True
    version = _version(tensor)
    return untracked if version is None else version != seen[2]
