"""What a pickle of aihwkit holds after reading: classes by name, objects by their attributes.

Nothing here is looked up or called, so it means nothing until somebody compares its name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mho.exceptions import StateError


@dataclass(frozen=True)
class Name:
    """Class or function that a pickle names."""

    module: str
    """Module, such as `"aihwkit.nn"`."""

    qualname: str
    """Name in the module."""

    def __str__(self) -> str:
        """Return module and name with a dot between them."""
        return f"{self.module}.{self.qualname}"

    @property
    def is_of_aihwkit(self) -> bool:
        """Whether it is a name of aihwkit."""
        return self.module.partition(".")[0] == "aihwkit"


_LONGEST_PART = 1000


class Record:
    """Object that a pickle describes, never made: its class, arguments and attributes."""

    __slots__ = ("args", "attributes", "name")

    def __init__(self, name: Name, args: tuple[Any, ...] = ()) -> None:
        """Describe an object without attributes.

        Args:
            name: Its class.
            args: What the class would be called with; of members of enumerations only.
        """
        self.name, self.args = name, args
        self.attributes: dict[str, Any] = {}

    def __repr__(self) -> str:
        """Return the class; attributes may be anything, also the object itself."""
        return f"<{self.name} in a pickle, not made>"


class Budget:
    """Bounds how many containers one walk over the values of a pickle may visit, and their content.

    They may contain each other, or one of them a thousand times; a walk over all paths would then
    take for ever, and so would copies of a text or an array that is named a thousand times.
    """

    DEPTH = 64
    VISITS = 1_000_000
    CONTENT = 256_000_000

    def __init__(self, walks: int = 1) -> None:
        """Begin a walk.

        Args:
            walks: Number of walks that are bounded together.
        """
        self._visits = self._depth = self._content = 0
        self._most = walks * self.VISITS

    def __enter__(self) -> None:
        """Go into a value.

        Raises:
            StateError: It is nested too deeply, or there are too many.
        """
        self._visits += 1
        self._depth += 1
        if self._depth > self.DEPTH or self._visits > self._most:
            raise StateError(
                f"pickle: values are nested more than {self.DEPTH} levels deep, contain"
                f" themselves, or are in more than {self._most} containers"
            )

    def take(self, count: int) -> None:
        """Count what is looked at or copied.

        Args:
            count: Number of items or characters.

        Raises:
            StateError: It is too much.
        """
        self._content += count
        if self._content > self.CONTENT:
            raise StateError(
                f"pickle: names the same values so often that they are more than {self.CONTENT}"
            )

    def __exit__(self, *_: object) -> None:
        """Leave it."""
        self._depth -= 1


def is_scalar(value: object) -> bool:
    """Return whether there is nothing inside of a value.

    Args:
        value: Any value of a pickle.
    """
    return value is None or type(value) in (bool, int, float, str, bytes)


def name_of(key: object) -> str:
    """Return a key as a part of a name in messages.

    Args:
        key: Key of a dictionary in a pickle.
    """
    return str(key)[:_LONGEST_PART] if type(key) in (str, int) else type(key).__name__


def children_of(module: Record) -> Iterator[tuple[str, Record]]:
    """Yield the modules inside of a module of torch by name.

    Args:
        module: Pickled module.
    """
    for name, child in _dictionary(module, "_modules").items():
        if isinstance(child, Record):
            yield str(name), child


def tensors_of(module: Record) -> Iterator[tuple[str, Any]]:
    """Yield parameters and saved buffers of a module of torch by name, in their order.

    Args:
        module: Pickled module.
    """
    hidden = module.attributes.get("_non_persistent_buffers_set") or ()
    yield from _dictionary(module, "_parameters").items()
    for name, value in _dictionary(module, "_buffers").items():
        if name not in hidden:
            yield name, value


def is_module(value: object) -> bool:
    """Return whether a value is a pickled module of torch.

    Args:
        value: Any value of a pickle.
    """
    return isinstance(value, Record) and {"_modules", "_parameters"} <= value.attributes.keys()


def _dictionary(module: Record, name: str) -> dict[str, Any]:
    value = module.attributes.get(name)
    return value if isinstance(value, dict) else {}
