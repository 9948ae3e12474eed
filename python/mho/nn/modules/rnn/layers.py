"""Cells along a sequence, in one direction or in both."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from mho.exceptions import ArgumentError
from mho.simulator.parameters.checking import describe

SequenceT = TypeVar("SequenceT", Tensor, PackedSequence)

State = Any
"""Tensor ``[N, hidden_size]``, or a tuple of them."""


class AnalogRNNLayer(nn.Module):
    """A cell that goes through a sequence from its beginning to its end."""

    def __init__(self, cell: type[nn.Module], *cell_args: Any) -> None:
        """Build the cell.

        Args:
            cell: Class of the cell.
            cell_args: Its arguments.

        Raises:
            ArgumentError: It is no class of modules.
        """
        super().__init__()
        self.cell: Any = check_cell(cell)(*cell_args)

    def get_zero_state(self, batch_size: int) -> State:
        """Return the state that a sequence begins with if none is given.

        Args:
            batch_size: Number of sequences.
        """
        return self.cell.get_zero_state(batch_size)

    def forward(self, input_: SequenceT, state: State) -> tuple[SequenceT, State]:
        """Go through sequences.

        Args:
            input_: Inputs ``[T, N, input_size]``, or packed sequences.
            state: State at their beginning.

        Returns:
            Outputs ``[T, N, hidden_size]``, packed as the inputs are, and the state at the end.
        """
        outputs, state = _forward_in_time(self.cell, steps_of(input_), state)
        return sequence_like(input_, outputs), state


class AnalogReverseRNNLayer(nn.Module):
    """A cell that goes through a sequence from its end to its beginning."""

    def __init__(self, cell: type[nn.Module], *cell_args: Any) -> None:
        """Build the cell.

        Args:
            cell: Class of the cell.
            cell_args: Its arguments.

        Raises:
            ArgumentError: It is no class of modules.
        """
        super().__init__()
        self.cell: Any = check_cell(cell)(*cell_args)

    @staticmethod
    def reverse(lst: list[Tensor]) -> list[Tensor]:
        """Return a list in reversed order.

        Args:
            lst: List.
        """
        return lst[::-1]

    def get_zero_state(self, batch_size: int) -> State:
        """Return the state that a sequence ends with if none is given.

        Args:
            batch_size: Number of sequences.
        """
        return self.cell.get_zero_state(batch_size)

    def forward(self, input_: SequenceT, state: State) -> tuple[SequenceT, State]:
        """Go through sequences backwards.

        Args:
            input_: Inputs ``[T, N, input_size]``, or packed sequences.
            state: State at their ends.

        Returns:
            Outputs in the order of the inputs, packed as they are, and the state at the beginning.
        """
        outputs, state = _backward_in_time(self.cell, self.reverse(steps_of(input_)), state)
        return sequence_like(input_, self.reverse(outputs)), state


class AnalogBidirRNNLayer(nn.Module):
    """Two cells that go through a sequence in both directions."""

    def __init__(self, cell: type[nn.Module], *cell_args: Any) -> None:
        """Build the cells.

        Args:
            cell: Class of the cells.
            cell_args: Their arguments.

        Raises:
            ArgumentError: It is no class of modules.
        """
        super().__init__()
        self.directions = nn.ModuleList(
            [AnalogRNNLayer(cell, *cell_args), AnalogReverseRNNLayer(cell, *cell_args)]
        )

    def get_zero_state(self, batch_size: int) -> list[State]:
        """Return the states that both directions start with if none are given.

        Args:
            batch_size: Number of sequences.
        """
        return [direction.get_zero_state(batch_size) for direction in self._directions()]

    def forward(self, input_: SequenceT, states: list[State]) -> tuple[SequenceT, list[State]]:
        """Go through sequences in both directions.

        Args:
            input_: Inputs ``[T, N, input_size]``, or packed sequences.
            states: States at their beginnings, and at their ends.

        Returns:
            Outputs ``[T, N, 2 * hidden_size]``, those of the first direction first, packed as the
            inputs are; and the states at the other sides.
        """
        results = [
            direction(input_, state)
            for direction, state in zip(self._directions(), states, strict=True)
        ]
        data = torch.cat([data_of(output) for output, _ in results], dim=-1)
        return with_data(input_, data), [state for _, state in results]

    def _directions(self) -> list[Any]:
        return list(self.directions)


def check_cell(cell: object) -> type[nn.Module]:
    """Return the class of a cell.

    Args:
        cell: Candidate.

    Raises:
        ArgumentError: It is no class of modules, or lacks the methods of cells.
    """
    if not (isinstance(cell, type) and issubclass(cell, nn.Module)):
        raise ArgumentError(
            f"cell: expected a class of modules, such as AnalogLSTMCell, got {describe(cell)}"
        )
    if not callable(getattr(cell, "get_zero_state", None)):
        raise ArgumentError(
            f"cell: {cell.__name__} has no get_zero_state, so it is no cell of AnalogRNN; use"
            " AnalogLSTMCell or another one of mho.nn (networks of torch become analog by"
            " convert_to_analog)"
        )
    return cell


def steps_of(sequence: Tensor | PackedSequence) -> list[Tensor]:
    """Return the inputs of every step; of packed sequences, fewer and fewer.

    Args:
        sequence: Tensor ``[T, N, size]``, or packed sequences.
    """
    if isinstance(sequence, PackedSequence):
        return list(torch.split(sequence.data, sequence.batch_sizes.tolist()))
    return list(sequence.unbind(0))


def sequence_like(sequence: SequenceT, outputs: Sequence[Tensor]) -> SequenceT:
    """Return the outputs of every step in the form of the inputs.

    Args:
        sequence: Inputs.
        outputs: Outputs in their order.
    """
    packed = isinstance(sequence, PackedSequence)
    return with_data(sequence, torch.cat(list(outputs)) if packed else torch.stack(list(outputs)))


def data_of(sequence: Tensor | PackedSequence) -> Tensor:
    """Return the numbers of sequences.

    Args:
        sequence: Tensor, or packed sequences.
    """
    return sequence.data if isinstance(sequence, PackedSequence) else sequence


def with_data(sequence: SequenceT, data: Tensor) -> SequenceT:
    """Return sequences of the same lengths with other numbers.

    Args:
        sequence: Tensor, or packed sequences.
        data: Numbers.
    """
    if isinstance(sequence, PackedSequence):
        _, sizes, order, back = sequence
        return PackedSequence(data, sizes, order, back)
    return data


def map_state(function: Callable[..., Tensor], state: State, *others: State) -> State:
    """Return a state of what a function makes of its tensors.

    Args:
        function: Function of a tensor of each state.
        state: State.
        others: States of the same form.
    """
    if isinstance(state, Tensor):
        return function(state, *others)
    return tuple(function(*parts) for parts in zip(state, *others, strict=True))


def _count(state: State) -> int:
    return int((state if isinstance(state, Tensor) else state[0]).shape[0])


def _rows(state: State, start: int, stop: int) -> State:
    return map_state(lambda part: part[start:stop], state)


def _joined(state: State, more: State) -> State:
    return map_state(lambda part, other: torch.cat([part, other]), state, more)


def _forward_in_time(cell: Any, steps: list[Tensor], state: State) -> tuple[list[Tensor], State]:
    """Take all steps; sequences that end leave with their states."""
    outputs, ended = [], []
    for x in steps:
        there = x.shape[0]
        if there < _count(state):
            ended.append(_rows(state, there, _count(state)))
            state = _rows(state, 0, there)
        output, state = cell(x, state)
        outputs.append(output)
    for others in reversed(ended):
        state = _joined(state, others)
    return outputs, state


def _backward_in_time(cell: Any, steps: list[Tensor], first: State) -> tuple[list[Tensor], State]:
    """Take all steps in the order given; sequences come in with their first states."""
    outputs = []
    state = _rows(first, 0, steps[0].shape[0])
    for x in steps:
        there = x.shape[0]
        if there > _count(state):
            state = _joined(state, _rows(first, _count(state), there))
        output, state = cell(x, state)
        outputs.append(output)
    return outputs, state
