"""Recurrent networks and cells of torch on tiles, called as those of torch are."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from mho.exceptions import InputError
from mho.nn.conversion_table import register_analog
from mho.nn.modules.construction import weights_follow
from mho.nn.modules.container import AnalogContainerBase
from mho.nn.modules.layer_weight import io_dtype
from mho.nn.modules.linear import AnalogLinear
from mho.nn.modules.rnn.cells import (
    AnalogGRUCell,
    AnalogLSTMCell,
    AnalogVanillaRNNCell,
)
from mho.nn.modules.rnn.layers import AnalogBidirRNNLayer, AnalogRNNLayer
from mho.nn.modules.rnn.rnn import ModularRNN, check_not_nested, check_sequence
from mho.simulator.parameters.arguments import check_instance
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parts.clipping import warning_of_clipping
from mho.simulator.state.transaction import nobody_sees
from mho.simulator.tiles.analog import SingleRPUConfig

ConvertedT = TypeVar("ConvertedT", bound="_Converted")
Named = tuple[AnalogLinear, str, str | None]
"""Linear layer of a cell, and the names of its weights and of its bias in the module of torch."""


class _ReluRNNCell(AnalogVanillaRNNCell):
    """The same with another nonlinearity."""

    activation: Callable[[Tensor], Tensor] = staticmethod(torch.relu)


class _ProjectedLSTMCell(AnalogLSTMCell):
    """LSTM cell whose hidden state is a projection: ``h = W_hr (o tanh(c))``."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        rpu_config: RPUConfigBase,
        tile_module_class: type | None,
        proj_size: int,
    ) -> None:
        """Build the layers.

        Args:
            input_size: Size of an input vector.
            hidden_size: Size of the cell state.
            bias: Whether the layers of the gates have a bias.
            rpu_config: Configuration of the tiles.
            tile_module_class: As for `AnalogLinear`.
            proj_size: Size of the hidden state.
        """
        super().__init__(input_size, hidden_size, bias, rpu_config, tile_module_class)
        chosen = rpu_config, tile_module_class
        self.weight_hh = AnalogLinear(proj_size, 4 * hidden_size, bias, *chosen)
        self.weight_hr = AnalogLinear(hidden_size, proj_size, False, *chosen)

    def forward(
        self, input_: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Take one step; see the base class."""
        wide, (_, cell) = super().forward(input_, state)
        hidden = self.weight_hr(wide)
        return hidden, (hidden, cell)


class _Converted(AnalogContainerBase, nn.Module):
    """What stands for a recurrent module of torch: its arguments, and cells on tiles."""

    STANDS_FOR_LAYER: ClassVar[bool] = True

    DIGITAL: ClassVar[Any]
    """Class of torch that the module stands for."""

    ARGUMENTS: ClassVar[tuple[str, ...]]
    """Its arguments."""

    def __init__(
        self, digital: Any, rpu_config: RPUConfigBase, tile_module_class: type | None
    ) -> None:
        """Build the cells.

        Args:
            digital: Module of torch; only its arguments are used.
            rpu_config: Configuration of the tiles.
            tile_module_class: As for `AnalogLinear`.
        """
        super().__init__()
        for name in self.ARGUMENTS:
            setattr(self, name, getattr(digital, name))
        self._build(rpu_config, tile_module_class)

    def _build(self, rpu_config: RPUConfigBase, tile_module_class: type | None) -> None:
        raise NotImplementedError

    def _linears(self) -> Iterator[Named]:
        """Yield all linear layers with the names of their weights."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        """Return logical weights by the names that they have in torch, see `AnalogLinear.weight`.

        They are read on demand and written through; parameters are those of the cells.
        """
        if name.startswith(("weight_", "bias_")) and "_modules" in vars(self):
            for linear, weight, bias in self._linears():
                if name in (weight, bias):
                    return linear.weight if name == weight else linear.bias
        return super().__getattr__(name)

    def digital_entries(self) -> frozenset[str]:
        """Return names of entries of the module of torch, which the cells have instead."""
        names = [name for _, *both in self._linears() for name in both if name is not None]
        return frozenset([*names, "_flat_weights", "_flat_weights_names", "_flat_weight_refs",
                          "_all_weights"])  # fmt: skip

    @classmethod
    def from_digital(
        cls: type[ConvertedT],
        module: Any,
        rpu_config: RPUConfigBase | None,
        tile_module_class: type | None = None,
    ) -> ConvertedT:
        """Return an analog module with the weights of a digital one, on the same device.

        Warns if weights are beyond the bounds of the devices, which clip them. A module on the meta
        device has no weights yet: its tiles are made on the host, with fresh ones.

        Args:
            module: Digital module; not changed.
            rpu_config: Configuration of the tiles, `SingleRPUConfig()` if it is None.
            tile_module_class: As for `AnalogLinear`.

        Raises:
            ArgumentError: `module` is no such module, or ``rpu_config`` no configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        check_instance("module", module, cls.DIGITAL)
        config = SingleRPUConfig() if rpu_config is None else rpu_config
        first: Tensor = next(module.parameters())
        if first.is_meta:
            converted = cls(module, config, tile_module_class).train(module.training)
            return converted.to(dtype=first.dtype)
        with weights_follow():
            converted = cls(module, config, tile_module_class).train(module.training)
        with warning_of_clipping(), nobody_sees():
            for linear, weight, bias in converted._linears():
                linear.set_weights(
                    getattr(module, weight), None if bias is None else getattr(module, bias)
                )
        converted = converted.to(first.device, first.dtype)
        for linear, *names in converted._linears():
            for own, name in zip((linear.weight, linear.bias), names, strict=True):
                if own is not None and not getattr(module, str(name)).requires_grad:
                    own.requires_grad_(False)
        return converted

    @classmethod
    def to_digital(cls, module: Any, realistic: bool = False) -> Any:
        """Return the module of torch with the weights of an analog one, on the device of its tiles.

        Args:
            module: Analog module; not changed.
            realistic: Estimate the weights from noisy products instead of reading them exactly.

        Raises:
            ArgumentError: `module` is no such module.
        """
        check_instance("module", module, cls)
        tile = next(module.analog_tiles())
        arguments = {name: getattr(module, name) for name in cls.ARGUMENTS}
        # Without storage nothing is drawn from torch's generator.
        digital = cls.DIGITAL(**arguments, device="meta", dtype=io_dtype(tile))
        digital = digital.to_empty(device=tile.device).train(module.training)
        with torch.no_grad():
            for linear, *names in module._linears():
                values = linear.get_weights(realistic=realistic)
                for name, value, own in zip(
                    names, values, (linear.weight, linear.bias), strict=True
                ):
                    if value is not None:
                        parameter = getattr(digital, str(name))
                        parameter.copy_(value)
                        parameter.requires_grad_(own.requires_grad)
        return digital

    def extra_repr(self) -> str:
        """Return the arguments and the name of the configuration."""
        sizes = ", ".join(str(getattr(self, name)) for name in self.ARGUMENTS[:2])
        rest = [f"{n}={getattr(self, n)}" for n in self.ARGUMENTS[2:] if getattr(self, n)]
        return self._with_config_name(", ".join([sizes, *rest]))


class _ConvertedRNNBase(_Converted):
    """What networks of several layers have in common."""

    ARGUMENTS: ClassVar[tuple[str, ...]] = (
        "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
        "bidirectional",
    )  # fmt: skip
    OWN_ENTRIES: ClassVar[tuple[str, ...]] = ("rnn",)

    CELL: ClassVar[Any]

    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool

    @property
    def all_weights(self) -> list[list[Any]]:
        """Logical weights of every layer and direction, as in torch; see `AnalogLinear.weight`."""
        groups: dict[str, list[list[Any]]] = {}
        for linear, weight, bias in self._linears():
            _, _, place = weight.removeprefix("weight_").partition("_")
            weights, biases = groups.setdefault(place, [[], []])
            weights.append(linear.weight)
            if bias is not None:
                biases.append(linear.bias)
        # The projection of an LSTM comes last.
        return [w[:2] + b + w[2:] for w, b in groups.values()]

    def flatten_parameters(self) -> None:
        """Do nothing: weights are in tiles, there is no memory of a library to arrange."""

    def _build(self, rpu_config: RPUConfigBase, tile_module_class: type | None) -> None:
        directions = 2 if self.bidirectional else 1
        layer = AnalogBidirRNNLayer if self.bidirectional else AnalogRNNLayer
        rest = (self.hidden_size, self.bias, rpu_config, tile_module_class, *self._more())
        self.rnn = ModularRNN(
            self.num_layers,
            layer,
            0.0,
            (self._cell(), self.input_size, *rest),
            (self._cell(), directions * self._hidden_size(), *rest),
        )
        # torch takes this argument for one layer as well, and warns itself.
        self.rnn.dropout_layer.p = self.dropout

    def _cell(self) -> Any:
        return self.CELL

    def _more(self) -> tuple[Any, ...]:
        return ()

    def _hidden_size(self) -> int:
        """Return the size of an output of one direction."""
        return self.hidden_size

    def _linears(self) -> Iterator[Named]:
        for i, layer in enumerate(self.rnn.layers):
            cells: list[Any] = [part.cell for part in getattr(layer, "directions", [layer])]
            for cell, suffix in zip(cells, ("", "_reverse"), strict=False):
                for kind in ("ih", "hh", "hr"):
                    linear = getattr(cell, f"weight_{kind}", None)
                    if linear is not None:
                        name = f"{kind}_l{i}{suffix}"
                        has_bias = self.bias and kind != "hr"
                        yield linear, f"weight_{name}", f"bias_{name}" if has_bias else None

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Go through sequences, as the module of torch does.

        Args:
            input: Inputs ``[T, N, input_size]``, ``[N, T, input_size]`` if the batch is first,
                ``[T, input_size]`` without a batch, or packed sequences.
            hx: First states ``[directions * num_layers, N, size]``, or a pair of them for an LSTM;
                zeros by default.

        Returns:
            Outputs in the form of the inputs, and the last states in the form of the first ones.

        Raises:
            InputError: Number of axes, features or states, dtype or device does not fit.
        """
        is_single = isinstance(input, Tensor) and input.dim() == 2
        sequence = input.unsqueeze(1) if is_single else input
        is_batch_first = self.batch_first and not is_single
        check_sequence(sequence, self.input_size, 1 if is_batch_first else 0)
        if isinstance(sequence, PackedSequence):
            count, order, back = int(sequence.batch_sizes[0]), sequence[2], sequence[3]
            like = sequence.data
        else:
            sequence = sequence.transpose(0, 1) if is_batch_first else sequence
            count, order, back, like = sequence.shape[1], None, None, sequence
        states = self._first_states(hx, count, like, is_single)
        if order is not None:
            states = [state.index_select(1, order) for state in states]
        output, ends = self.rnn(sequence, self._by_layer(states))
        states = self._stacked(ends)
        if back is not None:
            states = [state.index_select(1, back) for state in states]
        if is_single:
            output, states = output.squeeze(1), [state.squeeze(1) for state in states]
        elif is_batch_first and isinstance(output, Tensor):
            output = output.transpose(0, 1)
        return output, states[0] if len(states) == 1 else tuple(states)

    def _state_sizes(self) -> tuple[int, ...]:
        """Return the size of each part of a state."""
        return (self.hidden_size,)

    def _first_states(self, hx: Any, count: int, like: Tensor, is_single: bool) -> list[Tensor]:
        sizes = self._state_sizes()
        layers = self.num_layers * (2 if self.bidirectional else 1)
        if hx is None:
            return [like.new_zeros(layers, count, size) for size in sizes]
        return check_states(hx, [(layers, count, size) for size in sizes], 1, is_single)

    def _by_layer(self, states: list[Tensor]) -> list[Any]:
        """Return the states of all layers, in the form of those of their cells."""
        each: list[Any] = list(zip(*(state.unbind(0) for state in states), strict=True))
        if len(states) == 1:
            each = [state for (state,) in each]
        return [each[i : i + 2] for i in range(0, len(each), 2)] if self.bidirectional else each

    def _stacked(self, ends: list[Any]) -> list[Tensor]:
        """Return the same of the last states as they are in torch."""
        each = [one for layer in ends for one in layer] if self.bidirectional else ends
        parts = [each] if isinstance(each[0], Tensor) else zip(*each, strict=True)
        return [torch.stack(list(part)) for part in parts]


@register_analog(nn.LSTM)
class ConvertedLSTM(_ConvertedRNNBase):
    """What `torch.nn.LSTM` becomes: an `AnalogLSTMCell` for each layer and direction."""

    DIGITAL = nn.LSTM
    ARGUMENTS = (*_ConvertedRNNBase.ARGUMENTS, "proj_size")

    proj_size: int

    def _cell(self) -> Any:
        return _ProjectedLSTMCell if self.proj_size else AnalogLSTMCell

    def _more(self) -> tuple[Any, ...]:
        return (self.proj_size,) if self.proj_size else ()

    def _hidden_size(self) -> int:
        return self.proj_size or self.hidden_size

    def _state_sizes(self) -> tuple[int, ...]:
        return self._hidden_size(), self.hidden_size


@register_analog(nn.GRU)
class ConvertedGRU(_ConvertedRNNBase):
    """What `torch.nn.GRU` becomes: an `AnalogGRUCell` for each layer and direction."""

    DIGITAL = nn.GRU
    CELL = AnalogGRUCell


@register_analog(nn.RNN)
class ConvertedRNN(_ConvertedRNNBase):
    """What `torch.nn.RNN` becomes: a vanilla cell for each layer and direction."""

    DIGITAL = nn.RNN
    ARGUMENTS = (*_ConvertedRNNBase.ARGUMENTS, "nonlinearity")

    nonlinearity: str

    def _cell(self) -> Any:
        return _ReluRNNCell if self.nonlinearity == "relu" else AnalogVanillaRNNCell


class _ConvertedCell(_Converted):
    """What cells have in common."""

    ARGUMENTS: ClassVar[tuple[str, ...]] = ("input_size", "hidden_size", "bias")
    OWN_ENTRIES: ClassVar[tuple[str, ...]] = ("cell",)

    CELL: ClassVar[Any]

    input_size: int
    hidden_size: int
    bias: bool

    def _build(self, rpu_config: RPUConfigBase, tile_module_class: type | None) -> None:
        self.cell = self._cell()(
            self.input_size, self.hidden_size, self.bias, rpu_config, tile_module_class
        )

    def _cell(self) -> Any:
        return self.CELL

    def _linears(self) -> Iterator[Named]:
        cell: Any = self.cell
        for kind in ("ih", "hh"):
            bias = f"bias_{kind}" if self.bias else None
            yield getattr(cell, f"weight_{kind}"), f"weight_{kind}", bias

    def _parts(self) -> int:
        """Return the number of tensors of a state."""
        return 1

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Take one step, as the cell of torch does.

        Args:
            input: Inputs ``[N, input_size]``, or one of them.
            hx: State ``[N, hidden_size]``, or a pair of them for an LSTM; zeros by default.

        Returns:
            The new state.

        Raises:
            InputError: Number of axes, features or states, dtype or device does not fit.
        """
        if isinstance(input, Tensor):
            check_not_nested(input)
        if not isinstance(input, Tensor) or input.dim() not in (1, 2):
            given = tuple(input.shape) if isinstance(input, Tensor) else type(input).__name__
            raise InputError(f"input: expected a tensor [N, {self.input_size}], got {given}")
        is_single = input.dim() == 1
        rows = input.unsqueeze(0) if is_single else input
        shape = (rows.shape[0], self.hidden_size)
        parts = self._parts()
        if hx is None:
            states = [rows.new_zeros(shape) for _ in range(parts)]
        else:
            states = check_states(hx, [shape] * parts, 0, is_single)
        _, state = self.cell(rows, states[0] if parts == 1 else tuple(states))
        new = [state] if parts == 1 else list(state)
        new = [part.squeeze(0) for part in new] if is_single else new
        return new[0] if parts == 1 else tuple(new)


@register_analog(nn.LSTMCell)
class ConvertedLSTMCell(_ConvertedCell):
    """What `torch.nn.LSTMCell` becomes: an `AnalogLSTMCell`, called as that of torch."""

    DIGITAL = nn.LSTMCell
    CELL = AnalogLSTMCell

    def _parts(self) -> int:
        return 2


@register_analog(nn.GRUCell)
class ConvertedGRUCell(_ConvertedCell):
    """What `torch.nn.GRUCell` becomes: an `AnalogGRUCell`, called as that of torch."""

    DIGITAL = nn.GRUCell
    CELL = AnalogGRUCell


@register_analog(nn.RNNCell)
class ConvertedRNNCell(_ConvertedCell):
    """What `torch.nn.RNNCell` becomes: a vanilla cell, called as that of torch."""

    DIGITAL = nn.RNNCell
    ARGUMENTS = (*_ConvertedCell.ARGUMENTS, "nonlinearity")

    nonlinearity: str

    def _cell(self) -> Any:
        return _ReluRNNCell if self.nonlinearity == "relu" else AnalogVanillaRNNCell


def check_states(
    hx: Any, shapes: list[tuple[int, ...]], batch_axis: int, is_single: bool
) -> list[Tensor]:
    """Return given states with an axis for the batch.

    Args:
        hx: Tensor, or a pair of them.
        shapes: Shape of each part with that axis.
        batch_axis: Number of the axis.
        is_single: Whether there is none.

    Raises:
        InputError: Number or shape is another one.
    """
    parts = [hx] if len(shapes) == 1 else hx
    if not isinstance(parts, (list, tuple)) or len(parts) != len(shapes):
        raise InputError("hx: expected a pair of tensors, hidden state and cell state")
    result = []
    for part, shape in zip(parts, shapes, strict=True):
        expected = tuple(
            n for axis, n in enumerate(shape) if not (is_single and axis == batch_axis)
        )
        if not isinstance(part, Tensor) or tuple(part.shape) != expected:
            given = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
            raise InputError(f"hx: expected shape {expected}, got {given}")
        result.append(part.unsqueeze(batch_axis) if is_single else part)
    return result
