"""Buffers of a module, one of which is really a parameter."""

from typing import Any

import torch


class TrainedBuffers(dict[str, Any]):
    """Buffers of a module; one more is found by its name: the values of a parameter.

    Whoever walks over parameters and buffers of a model, such as averages of models do, must meet
    the weights once. Kernels find them among the buffers, torch among the parameters, and both the
    same storage, even after it was replaced.
    """

    def __init__(
        self, buffers: dict[str, Any], name: str, parameters: dict[str, Any], parameter: str
    ) -> None:
        """Take over buffers.

        Args:
            buffers: Buffers by name.
            name: Name under which the values of the parameter are found.
            parameters: Parameters of the module by name.
            parameter: Name of the parameter.
        """
        super().__init__((key, value) for key, value in buffers.items() if key != name)
        self._name, self._parameters, self._parameter = name, parameters, parameter

    def plain(self) -> dict[str, Any]:
        """Return a plain dictionary with all buffers, that one first."""
        return {self._name: self._parameters[self._parameter].data, **self}

    def __missing__(self, name: str) -> Any:
        """Return the values of the parameter; only this name costs more than in a dictionary."""
        if name != self._name:
            raise KeyError(name)
        parameter = self._parameters[self._parameter]
        # Its values can be written anyway where nothing is recorded, and another tensor costs more.
        if not torch.is_grad_enabled():
            return parameter
        # Writes to the values are to count as versions of the parameter, unlike those to `.data`.
        return parameter.detach()

    def __contains__(self, name: object) -> bool:
        """Return whether there is a buffer of this name."""
        return name == self._name or super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a buffer, or a default."""
        return self[name] if name == self._name else super().get(name, default)

    def __setitem__(self, name: str, value: Any) -> None:
        """Replace a buffer; that of the parameter by giving it other values."""
        if name == self._name:
            self._parameters[self._parameter].data = value
        else:
            super().__setitem__(name, value)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copy and pickle as a plain dictionary of all buffers."""
        return dict, (self.plain(),)
