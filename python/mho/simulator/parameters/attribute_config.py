"""Base of noise models, converters and drift compensations, which are no dataclasses.

Their state is their `__dict__`. That alone decides equality, printing and JSON text.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mho.exceptions import ConfigError
from mho.simulator.parameters import checking, json_text

if TYPE_CHECKING:
    from typing_extensions import Self


class AttributeConfig:
    """Object that compares, copies and travels by its attributes."""

    __hash__ = None  # type: ignore[assignment]  # mutable and compared by value

    def __eq__(self, other: object) -> bool:
        """Return whether the other object has the same class and equal attributes."""
        if type(other) is not type(self):
            return NotImplemented
        mine, theirs = vars(self), vars(other)
        return mine.keys() == theirs.keys() and all(_same(v, theirs[k]) for k, v in mine.items())

    def __repr__(self) -> str:
        """Return the class with all attributes."""
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"

    def check(self, path: str = "") -> None:
        """Check names, types and values of all attributes, nested ones included.

        The attributes are those that the classes annotate. A class whose constructor adds others
        without annotating any may have more of them, but none that is named like a method.

        Args:
            path: Prefix of the names in messages, such as `"noise_model"`.

        Raises:
            ConfigError: An attribute is missing, unknown, of the wrong type or impossible.
        """
        checking.check_attributes(self, path)
        try:
            self.check_values()
        except (ValueError, AssertionError, ArithmeticError) as error:
            raise ConfigError(f"{path}: {error}" if path else str(error)) from error

    def check_values(self) -> None:
        """Check values against each other; the constructor does so as well.

        Raises:
            ValueError: They are impossible; the message names the attribute.
        """

    def to_json(self) -> str:
        """Return the object as JSON text that `from_json` restores, class included.

        Raises:
            ConfigError: The class is not registered or an attribute has no JSON form.
        """
        return json_text.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> "Self":
        """Return the object described by JSON text; nothing in the text is executed.

        Args:
            text: Output of `to_json` of this class or a subclass.

        Raises:
            ConfigError: The text is not valid, describes another class, or an attribute is missing,
                unknown, of the wrong type or impossible.
        """
        return json_text.loads(text, cls)


def _same(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, torch.Tensor):
        return isinstance(theirs, torch.Tensor) and torch.equal(mine, theirs)
    if isinstance(mine, np.ndarray):
        return isinstance(theirs, np.ndarray) and np.array_equal(mine, theirs)
    return bool(mine == theirs)
