"""The configuration of a raw tile as the core takes it."""

import json
import re
import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mho import _core, pending
from mho.exceptions import ConfigError
from mho.simulator.state.header import Steps


class ParsedConfig:
    """Text of the configuration, parsed for the sizes of a tile, and the mean step of its devices.

    The parsed form is immutable: whoever wants to know whether it changed compares identities.
    """

    def __init__(self, text: str, out_size: int, in_size: int, analog_bias: bool) -> None:
        """Parse a configuration.

        Args:
            text: JSON text.
            out_size: Number of outputs.
            in_size: Number of inputs without that of an analog bias.
            analog_bias: Whether the last column is a bias.

        Raises:
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        self.out_size, self.in_size, self.analog_bias = out_size, in_size, analog_bias
        self.text = text
        self.dw_min: Steps | None = None
        self.spec = self._parse(text, None)

    def __getstate__(self) -> dict[str, Any]:
        """Return text and sizes; the parsed form is of this process."""
        return {name: value for name, value in self.__dict__.items() if name != "spec"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state and parse the text again."""
        self.__dict__.update(state)
        self.spec = self._parse(self.text, self.dw_min)

    def parse(self, text: str, dw_min: Steps | None = None) -> _core.TileSpec:
        """Return another configuration parsed for these sizes; this one stays in force.

        Args:
            text: JSON text.
            dw_min: Mean step of the devices instead of that in the text.

        Raises:
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        if text == self.text and dw_min == self.dw_min:
            return self.spec
        return self._parse(text, dw_min)

    def _parse(self, text: str, dw_min: Steps | None) -> _core.TileSpec:
        columns = self.in_size + int(self.analog_bias)
        try:
            return _core.TileSpec(text, self.out_size, columns, self.analog_bias, dw_min)
        except ConfigError as error:
            raise _readable(error) from error

    def adopt(self, text: str, spec: _core.TileSpec, dw_min: Steps | None = None) -> None:
        """Put another configuration in force.

        Args:
            text: JSON text.
            spec: The same, parsed.
            dw_min: Mean step that it was parsed with instead of that in the text.
        """
        self.text, self.spec, self.dw_min = text, spec, dw_min

    def dw_min_for(self, text: str) -> Steps | None:
        """Return the own mean step of the devices, which belongs to no others.

        Args:
            text: JSON text of a configuration.
        """
        if self.dw_min is None or device_of(text) != device_of(self.text):
            return None
        return self.dw_min

    def estimated(
        self, text: str, spec: _core.TileSpec, planes: Mapping[str, Tensor]
    ) -> tuple[_core.TileSpec, Steps | None]:
        """Return a configuration that agrees with the mean step of planes, and its own `dw_min`.

        Args:
            text: JSON text.
            spec: The same, parsed.
            planes: Values of all hidden parameters, shape `[out, x_size]` each.
        """
        given = {name: value for name, value in planes.items() if name != spec.visible_name}
        dw_min = _core.unexpected_dw_min(spec, given)
        if dw_min is None:
            return spec, self.dw_min if spec is self.spec else None
        warnings.warn(
            f"dw_min: the steps of the hidden parameters do not fit that of {spec.device}; the tile"
            f" uses {_shown(dw_min)} from now on",
            stacklevel=2,
        )
        return self.parse(text, dw_min), dw_min


def _shown(dw_min: Steps) -> str:
    return ", ".join(f"{step:g}" for step in (dw_min if isinstance(dw_min, list) else [dw_min]))


def device_of(text: str) -> object:
    """Return the device in the JSON text of a configuration."""
    return json.loads(text)["device"]


def _readable(error: ConfigError) -> ConfigError:
    """Return an error that names a device or choice which the core lacks, without its grammar."""
    found = re.match(r"([\w.\[\]]+): unknown variant `(\w+)`", str(error))
    return ConfigError(f"{found[1]}: {pending.message(found[2])}") if found else error
