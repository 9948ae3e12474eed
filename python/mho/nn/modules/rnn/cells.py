"""One step in time of recurrent layers: products by crossbars, all else digitally."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mho.nn.modules.layer_weight import io_dtype
from mho.nn.modules.linear import AnalogLinear
from mho.simulator.parameters.arguments import check_flag, check_size
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.tiles.inference import InferenceRPUConfig


class LSTMState(NamedTuple):
    """State of an LSTM."""

    hx: Tensor
    """Hidden state ``[N, hidden_size]``, the output of the last step."""

    cx: Tensor
    """Cell state ``[N, hidden_size]``."""


class AnalogVanillaRNNCell(nn.Module):
    """Cell ``h = tanh(W_ih x + W_hh h)`` of an Elman network."""

    activation: Callable[[Tensor], Tensor] = staticmethod(torch.tanh)
    input_size: int
    hidden_size: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        rpu_config: RPUConfigBase | None = None,
        tile_module_class: type | None = None,
    ) -> None:
        """Build the layers of the cell.

        Args:
            input_size: Size of an input vector.
            hidden_size: Size of the state.
            bias: Whether both layers have a bias.
            rpu_config: Configuration of the tiles; None makes the layers digital.
            tile_module_class: As for `AnalogLinear`.

        Raises:
            ArgumentError: A size is not a positive integer, ``bias`` is no truth value, or
                ``rpu_config`` is not an instance of a configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        super().__init__()
        _keep_sizes(self, input_size, hidden_size, bias)
        self.weight_ih = _linear(input_size, hidden_size, bias, rpu_config, tile_module_class)
        self.weight_hh = _linear(hidden_size, hidden_size, bias, rpu_config, tile_module_class)

    def get_zero_state(self, batch_size: int) -> Tensor:
        """Return zeros ``[batch_size, hidden_size]``, where the layers are.

        Args:
            batch_size: Number of sequences.
        """
        return _zeros(self.weight_hh, batch_size, self.hidden_size)

    def forward(self, input_: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step.

        Args:
            input_: Inputs ``[N, input_size]``.
            state: Hidden state ``[N, hidden_size]``.

        Returns:
            The new hidden state twice, as output and as state.
        """
        hidden = self.activation(self.weight_ih(input_) + self.weight_hh(state))
        return hidden, hidden


class AnalogLSTMCell(nn.Module):
    """LSTM cell with a layer for the input and one for the hidden state.

    Their outputs are those of the gates i, f, g and o, one after the other, as in torch.
    """

    input_size: int
    hidden_size: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        rpu_config: RPUConfigBase | None = None,
        tile_module_class: type | None = None,
    ) -> None:
        """Build the layers of the cell.

        Args:
            input_size: Size of an input vector.
            hidden_size: Size of the state.
            bias: Whether both layers have a bias.
            rpu_config: Configuration of the tiles; None makes the layers digital.
            tile_module_class: As for `AnalogLinear`.

        Raises:
            ArgumentError: As for `AnalogVanillaRNNCell`.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        super().__init__()
        _keep_sizes(self, input_size, hidden_size, bias)
        self.weight_ih = _linear(input_size, 4 * hidden_size, bias, rpu_config, tile_module_class)
        self.weight_hh = _linear(hidden_size, 4 * hidden_size, bias, rpu_config, tile_module_class)

    def get_zero_state(self, batch_size: int) -> LSTMState:
        """Return zeros ``[batch_size, hidden_size]`` for both parts, where the layers are.

        Args:
            batch_size: Number of sequences.
        """
        zeros = _zeros(self.weight_hh, batch_size, self.hidden_size)
        return LSTMState(zeros, torch.zeros_like(zeros))

    def forward(
        self, input_: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Take one step.

        Args:
            input_: Inputs ``[N, input_size]``.
            state: Hidden state and cell state, ``[N, hidden_size]`` each.

        Returns:
            New hidden state, and the pair of both new states.
        """
        hidden, cell = state
        return _lstm_step(self.weight_ih(input_) + self.weight_hh(hidden), cell)


class AnalogLSTMCellCombinedWeight(nn.Module):
    """LSTM cell with one layer for the input and the hidden state, side by side.

    Its outputs are those of the gates i, f, g and o, one after the other.
    """

    input_size: int
    hidden_size: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        rpu_config: RPUConfigBase | None = None,
        tile_module_class: type | None = None,
    ) -> None:
        """Build the layer of the cell.

        Args:
            input_size: Size of an input vector.
            hidden_size: Size of the state.
            bias: Whether the layer has a bias.
            rpu_config: Configuration of the tiles; None makes the layer digital.
            tile_module_class: As for `AnalogLinear`.

        Raises:
            ArgumentError: As for `AnalogVanillaRNNCell`.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        super().__init__()
        _keep_sizes(self, input_size, hidden_size, bias)
        columns = self.input_size + self.hidden_size
        self.weight = _linear(columns, 4 * hidden_size, bias, rpu_config, tile_module_class)

    def get_zero_state(self, batch_size: int) -> LSTMState:
        """Return zeros ``[batch_size, hidden_size]`` for both parts, where the layer is.

        Args:
            batch_size: Number of sequences.
        """
        zeros = _zeros(self.weight, batch_size, self.hidden_size)
        return LSTMState(zeros, torch.zeros_like(zeros))

    def forward(
        self, input_: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Take one step.

        Args:
            input_: Inputs ``[N, input_size]``.
            state: Hidden state and cell state, ``[N, hidden_size]`` each.

        Returns:
            New hidden state, and the pair of both new states.
        """
        hidden, cell = state
        return _lstm_step(self.weight(torch.cat([input_, hidden], dim=-1)), cell)


class AnalogGRUCell(nn.Module):
    """GRU cell with a layer for the input and one for the hidden state.

    Their outputs are those of the gates r, z and n, one after the other, as in torch.
    """

    input_size: int
    hidden_size: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        rpu_config: RPUConfigBase | None = None,
        tile_module_class: type | None = None,
    ) -> None:
        """Build the layers of the cell.

        Args:
            input_size: Size of an input vector.
            hidden_size: Size of the state.
            bias: Whether both layers have a bias.
            rpu_config: Configuration of the tiles, `InferenceRPUConfig()` by default.
            tile_module_class: As for `AnalogLinear`.

        Raises:
            ArgumentError: As for `AnalogVanillaRNNCell`.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        super().__init__()
        _keep_sizes(self, input_size, hidden_size, bias)
        # Other cells are digital without a configuration; scripts rely on this one.
        rpu_config = InferenceRPUConfig() if rpu_config is None else rpu_config
        self.weight_ih = _linear(input_size, 3 * hidden_size, bias, rpu_config, tile_module_class)
        self.weight_hh = _linear(hidden_size, 3 * hidden_size, bias, rpu_config, tile_module_class)

    def get_zero_state(self, batch_size: int) -> Tensor:
        """Return zeros ``[batch_size, hidden_size]``, where the layers are.

        Args:
            batch_size: Number of sequences.
        """
        return _zeros(self.weight_hh, batch_size, self.hidden_size)

    def forward(self, input_: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step: ``n = tanh(n_x + r n_h)``, ``h = n + z (h - n)``.

        Args:
            input_: Inputs ``[N, input_size]``.
            state: Hidden state ``[N, hidden_size]``.

        Returns:
            The new hidden state twice, as output and as state.
        """
        r_x, z_x, n_x = self.weight_ih(input_).chunk(3, dim=-1)
        r_h, z_h, n_h = self.weight_hh(state).chunk(3, dim=-1)
        new = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
        hidden = new + torch.sigmoid(z_x + z_h) * (state - new)
        return hidden, hidden


def _lstm_step(gates: Tensor, cell: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    i, f, g, o = gates.chunk(4, dim=-1)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    hidden = torch.sigmoid(o) * torch.tanh(cell)
    return hidden, (hidden, cell)


def _keep_sizes(cell: Any, input_size: int, hidden_size: int, bias: bool) -> None:
    cell.input_size = check_size("input_size", input_size)
    cell.hidden_size = check_size("hidden_size", hidden_size)
    cell.bias = check_flag("bias", bias)


def _linear(
    in_features: int,
    out_features: int,
    bias: bool,
    rpu_config: RPUConfigBase | None,
    tile_module_class: type | None,
) -> nn.Linear:
    if rpu_config is None:
        return nn.Linear(in_features, out_features, bool(bias))
    return AnalogLinear(in_features, out_features, bias, rpu_config, tile_module_class)


def _zeros(layer: nn.Linear, batch_size: int, size: int) -> Tensor:
    """Return zeros of the type that a layer takes, on its device."""
    if isinstance(layer, AnalogLinear):
        place: tuple[Any, Any] = layer.analog_module.device, io_dtype(layer.analog_module)
    else:
        place = layer.weight.device, layer.weight.dtype
    device, dtype = place
    return torch.zeros(check_size("batch_size", batch_size), size, device=device, dtype=dtype)
