"""Recurrent networks of several layers."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from mho.exceptions import ArgumentError, InputError, short_traceback, warn_caller
from mho.nn.modules.container import AnalogContainerBase
from mho.nn.modules.linear import AnalogLinear
from mho.nn.modules.rnn.layers import (
    AnalogBidirRNNLayer,
    AnalogRNNLayer,
    SequenceT,
    check_cell,
    data_of,
    map_state,
    with_data,
)
from mho.simulator.parameters.arguments import (
    check_flag,
    check_function,
    check_probability,
    check_rpu_config,
    check_size,
)
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.state.ordinary import ordinary_tensors


class ModularRNN(nn.Module):
    """Layers one after the other, with dropout between them."""

    def __init__(
        self,
        num_layers: int,
        layer: Callable[..., nn.Module],
        dropout: float,
        first_layer_args: Any,
        other_layer_args: Any,
    ) -> None:
        """Build the layers.

        Args:
            num_layers: Number of layers.
            layer: Class of the layers.
            dropout: Probability that an output between two layers is zeroed in training.
            first_layer_args: Arguments of the first layer.
            other_layer_args: Arguments of all others.

        Raises:
            ArgumentError: The number is no size, or the probability none.
        """
        super().__init__()
        self.layers = self.init_stacked_analog_lstm(
            num_layers, layer, first_layer_args, other_layer_args
        )
        self.num_layers = num_layers
        self.dropout_layer = nn.Dropout(check_probability("dropout", dropout))
        if dropout > 0 and num_layers == 1:
            warn_caller(
                "dropout: acts between layers only, and there is one layer; leave it out, or set"
                " num_layers to 2 or more"
            )

    @staticmethod
    def init_stacked_analog_lstm(
        num_layers: int,
        layer: Callable[..., nn.Module],
        first_layer_args: Any,
        other_layer_args: Any,
    ) -> nn.ModuleList:
        """Return the layers.

        Args:
            num_layers: Number of layers.
            layer: Class of the layers.
            first_layer_args: Arguments of the first layer.
            other_layer_args: Arguments of all others.

        Raises:
            ArgumentError: The number is no size.
        """
        check_size("num_layers", num_layers)
        check_function("layer", layer)
        others = (layer(*other_layer_args) for _ in range(num_layers - 1))
        return nn.ModuleList([layer(*first_layer_args), *others])

    def get_zero_state(self, batch_size: int) -> list[Any]:
        """Return the state of every layer for sequences that begin.

        Args:
            batch_size: Number of sequences.
        """
        layers: list[Any] = list(self.layers)
        return [layer.get_zero_state(batch_size) for layer in layers]

    def forward(self, input: SequenceT, states: list[Any]) -> tuple[SequenceT, list[Any]]:
        """Go through sequences, layer by layer.

        Args:
            input: Inputs ``[T, N, input_size]``, or packed sequences.
            states: State of every layer.

        Returns:
            Outputs of the last layer, packed as the inputs are, and the new state of every layer.
        """
        output, new_states = input, []
        for i, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            if i > 0:
                output = with_data(output, self.dropout_layer(data_of(output)))
            output, new_state = layer(output, state)
            new_states.append(new_state)
        return output, new_states


class AnalogRNN(AnalogContainerBase, nn.Module):
    """Recurrent network whose products are computed by crossbars.

    Every step in time is a product, and a pair of the trace, of each linear layer of its cells; all
    pairs of a training step are one update.
    """

    @short_traceback
    def __init__(
        self,
        cell: type,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        rpu_config: RPUConfigBase | None = None,
        tile_module_class: type | None = None,
        xavier: bool = False,
        num_layers: int = 1,
        bidir: bool = False,
        dropout: float = 0.0,
        batch_first: bool = False,
    ) -> None:
        """Build the layers and initialise their weights.

        Args:
            cell: Class of the cells: `AnalogVanillaRNNCell`, `AnalogLSTMCell`,
                `AnalogLSTMCellCombinedWeight`, `AnalogGRUCell`, or one with the same methods.
            input_size: Size of an input vector.
            hidden_size: Size of the hidden state.
            bias: Whether the linear layers of the cells have a bias.
            rpu_config: Configuration of the tiles; without one the network is digital, but for
                `AnalogGRUCell`, which takes `InferenceRPUConfig()`.
            tile_module_class: As for `AnalogLinear`.
            xavier: How to initialise, see `reset_parameters`.
            num_layers: Number of layers.
            bidir: Whether each layer goes through a sequence in both directions.
            dropout: Probability that an output between two layers is zeroed in training.
            batch_first: Whether tensors are ``[N, T, size]`` instead of ``[T, N, size]``; states
                are not concerned.

        Raises:
            ArgumentError: An argument is invalid.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        super().__init__()
        check_cell(cell)
        if not callable(getattr(cell, "get_zero_state", None)):
            raise ArgumentError(
                f"cell: {cell.__name__} has no get_zero_state, as AnalogLSTMCell has; it is no cell"
            )
        self.input_size = check_size("input_size", input_size)
        self.hidden_size = check_size("hidden_size", hidden_size)
        self.num_layers = check_size("num_layers", num_layers)
        self.bias = check_flag("bias", bias)
        self.bidir = check_flag("bidir", bidir)
        self.batch_first = check_flag("batch_first", batch_first)
        xavier = check_flag("xavier", xavier)
        if rpu_config is not None:
            check_rpu_config(rpu_config)
        directions = 2 if self.bidir else 1
        layer = AnalogBidirRNNLayer if self.bidir else AnalogRNNLayer
        rest = (self.hidden_size, self.bias, rpu_config, tile_module_class)
        self.rnn = ModularRNN(
            self.num_layers,
            layer,
            dropout,
            (cell, self.input_size, *rest),
            (cell, directions * self.hidden_size, *rest),
        )
        self._widths = _widths(self.rnn.get_zero_state(1))
        self.reset_parameters(xavier)

    @ordinary_tensors()
    def init_layers(
        self,
        weight_init_fn: Callable[[Tensor], Any],
        bias_init_fn: Callable[[Tensor], Any] | None = None,
    ) -> None:
        """Initialise all linear layers, analog and digital ones.

        Args:
            weight_init_fn: Changes weights ``[out_features, in_features]`` in place.
            bias_init_fn: Changes a bias in place; None leaves biases as they are.

        Raises:
            ArgumentError: One is no function.
        """
        check_function("weight_init_fn", weight_init_fn)
        if bias_init_fn is not None:
            check_function("bias_init_fn", bias_init_fn)
        for layer in self.modules():
            if not isinstance(layer, nn.Linear):
                continue
            analog = layer if isinstance(layer, AnalogLinear) else None
            weight: Tensor
            bias: Tensor | None
            weight, bias = (layer.weight, layer.bias) if analog is None else analog.get_weights()
            weight_init_fn(weight)
            if bias is not None and bias_init_fn is not None:
                bias_init_fn(bias)
            if analog is not None:
                analog.set_weights(weight, bias)

    def reset_parameters(self, xavier: bool = False) -> None:
        """Draw the weights anew.

        Args:
            xavier: Whether weights are drawn by `torch.nn.init.xavier_uniform_` and biases are
                zero; otherwise both are uniform within ``1 / sqrt(hidden_size)``, as in torch.

        Raises:
            ArgumentError: It is no truth value.
        """
        if check_flag("xavier", xavier):
            self.init_layers(nn.init.xavier_uniform_, nn.init.zeros_)
            return
        bound = 1.0 / math.sqrt(self.hidden_size)

        def uniform(values: Tensor) -> None:
            nn.init.uniform_(values, -bound, bound)

        self.init_layers(uniform, uniform)

    def get_zero_state(self, batch_size: int) -> list[Any]:
        """Return the state of every layer for sequences that begin: zeros.

        Args:
            batch_size: Number of sequences.

        Returns:
            For every layer the state of its cell, or a list of those of both directions.
        """
        return self.rnn.get_zero_state(batch_size)

    def forward(self, input: SequenceT, states: list[Any] | None = None) -> tuple[SequenceT, Any]:
        """Go through sequences.

        Args:
            input: Inputs ``[T, N, input_size]``, ``[N, T, input_size]`` if the batch is first, or
                packed sequences.
            states: State of every layer at the beginning, as returned by an earlier call; zeros by
                default.

        Returns:
            Outputs of the last layer, ``hidden_size`` of each direction at each step, in the form
            of the inputs; and the state of every layer.

        Raises:
            InputError: Number of axes, features or states, dtype or device does not fit.
        """
        check_sequence(input, self.input_size, 1 if self.batch_first else 0)
        if isinstance(input, PackedSequence):
            count, order, back = int(input.batch_sizes[0]), input[2], input[3]
        else:
            order = back = None
            input = input.transpose(0, 1) if self.batch_first else input
            count = input.shape[1]
        if states is None:
            states = _zeros(self._widths, count, data_of(input))
        else:
            states = _selected(_checked(states, self._widths, count), order)
        output, new_states = self.rnn(input, states)
        if isinstance(output, Tensor) and self.batch_first:
            output = output.transpose(0, 1)
        return output, _selected(new_states, back)

    def extra_repr(self) -> str:
        """Return the arguments that differ from those by default, and the configuration."""
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (("num_layers", 1), ("bidir", False), ("batch_first", False)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return self._with_config_name(text)


def check_sequence(sequence: object, size: int, time_axis: int) -> None:
    """Check inputs of a recurrent network.

    Args:
        sequence: Tensor with axes for time, batch and features, or packed sequences.
        size: Expected number of features.
        time_axis: Axis of time of a tensor.

    Raises:
        InputError: They are something else, or there is no step.
    """
    if isinstance(sequence, PackedSequence):
        data, axes = sequence.data, 2
    elif isinstance(sequence, Tensor):
        data, axes = sequence, 3
    else:
        raise InputError(
            f"input: expected a tensor or packed sequences, got {type(sequence).__name__}"
        )
    check_not_nested(data)
    if data.dim() != axes or data.shape[-1] != size:
        raise InputError(
            f"input: expected {axes} axes with {size} features on the last one, got shape"
            f" {tuple(data.shape)}"
        )
    if axes == 3 and data.shape[time_axis] == 0:
        raise InputError("input: expected sequences of one step or more, got none")


def check_not_nested(data: Tensor) -> None:
    """Refuse nested tensors, which cannot even be asked for their shape.

    Args:
        data: Inputs.

    Raises:
        InputError: They are nested.
    """
    if data.is_nested:
        raise InputError(
            "input: expected an ordinary tensor, got a nested one; pack the sequences, see"
            " torch.nn.utils.rnn.pack_sequence"
        )


def _widths(state: Any) -> Any:
    """Return the number of features of each tensor of a state, in its form."""
    if isinstance(state, Tensor):
        return state.shape[1]
    parts = [_widths(part) for part in state]
    return parts if isinstance(state, list) else tuple(parts)


def _zeros(widths: Any, count: int, like: Tensor) -> Any:
    """Return a state of zeros for some sequences."""
    if isinstance(widths, int):
        return like.new_zeros(count, widths)
    parts = [_zeros(part, count, like) for part in widths]
    return parts if isinstance(widths, list) else tuple(parts)


def _nested(function: Callable[..., Tensor], state: Any) -> Any:
    """Return the state of a layer of what a function makes of its tensors."""
    if isinstance(state, list):
        return [map_state(function, one) for one in state]
    return map_state(function, state)


def _selected(states: list[Any], order: Tensor | None) -> list[Any]:
    """Return the states of sequences in another order."""
    if order is None:
        return states
    return [_nested(lambda part: part.index_select(0, order), state) for state in states]


def _checked(state: Any, widths: Any, count: int) -> Any:
    """Return a given state in the form of the cells.

    Raises:
        InputError: It is another one.
    """
    if isinstance(widths, int):
        if isinstance(state, Tensor) and tuple(state.shape) == (count, widths):
            return state
        expected = f"a tensor [N, hidden_size] = {(count, widths)}"
    else:
        if isinstance(state, (list, tuple)) and len(state) == len(widths):
            parts = [_checked(*both, count) for both in zip(state, widths, strict=True)]
            return parts if isinstance(widths, list) else tuple(parts)
        expected = f"{len(widths)} parts"
    given = f"shape {tuple(state.shape)}" if isinstance(state, Tensor) else type(state).__name__
    raise InputError(
        f"states: expected {expected} where {given} is; states have the form of those that"
        " get_zero_state and the forward pass return"
    )
