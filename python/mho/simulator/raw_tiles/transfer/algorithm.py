"""Chopped and dynamic transfer, formula by formula.

See Rasch, Carta, Fagbohungbe and Gokmen, "Fast and robust analog in-memory deep neural network
training", Nat. Commun. 15, 2024. Gradients are written to a fast array `A`, whose lines are read
one after another, collected in a digital buffer `H` and written to the slow array `C` in whole
pulses. Every line is written and read with a sign that flips from time to time, so that offsets of
`A` average out; the dynamic cell also subtracts what was read, on average, before the last flip.

Lines are columns (`transfer_columns`) or rows: `H` has the shape `[lines, length]`, and `H[k]` is
line `k`. All that is kept between two calls are the buffers in `TransferArrays`.
"""

import math
from typing import Protocol

import torch
from torch import Tensor

from mho.exceptions import ArgumentError, ConfigError
from mho.simulator.devices.cells.chopped_transfer import ChoppedTransferCompound
from mho.simulator.devices.cells.dynamic_transfer import DynamicTransferCompound
from mho.simulator.parameters.finite import all_finite


class TransferArrays(Protocol):
    """The two arrays, and what is kept between two calls."""

    cell: ChoppedTransferCompound
    """Parameters of the algorithm."""

    desired_bl: int
    """Longest pulse train of an update of the tile."""

    hidden_weight: Tensor
    """`H`, in pulses, float32 `[lines, length]`."""

    past_mean_weight: Tensor
    """`M`, running mean of what was read; of dynamic cells, same shape."""

    reference_weight: Tensor
    """`P`, that mean at the last flip; of dynamic cells, same shape."""

    in_chopper: Tensor
    """Sign of each line, int8 `[lines]`."""

    out_chopper: Tensor
    """Sign of each element of a line, int8 `[length]`."""

    in_chopper_switched: Tensor
    """Which lines flipped after they were read last; of dynamic cells, int8 `[lines]`."""

    current_update_idx: Tensor
    """Samples so far, int64 `[1]`."""

    current_slice_indices: Tensor
    """Line that is read next, int64 `[1]`."""

    transfer_counter: Tensor
    """Sweeps over all lines so far, int64 `[1]`."""

    input_error_averages: Tensor
    """Running averages of the largest input and error, float64 `[2]`; zero before the first one."""

    count_lr: Tensor
    """Last learning rate of `A`, float64 `[1]`."""

    def granularity(self) -> tuple[float, float]:
        """Return the mean steps of the devices of `A` and of `C`."""

    def pulse(self, x: Tensor, d: Tensor, rate: float) -> None:
        """Do a pulsed update of `A` with inputs `[batch, in]` and errors `[batch, out]`."""

    def read(self, line: int) -> Tensor:
        """Return a line of `A` as an analog product reads it, `[length]`."""

    def write(self, line: int, error: Tensor, rate: float) -> None:
        """Do a pulsed update of a line of `C` with an error `[length]`."""

    def uniform(self, count: int) -> Tensor:
        """Return draws from `[0, 1)`, float32 `[count]`."""


# --- updates --------------------------------------------------------------------------------------


def update(tile: TransferArrays, x: Tensor, d: Tensor, lr: float) -> None:
    """Do `W -= lr d^T x`: all samples reach `A` at once, and at most one line of it travels to `C`.

    Args:
        tile: Arrays.
        x: Inputs, shape `[batch, in]`.
        d: Errors, shape `[batch, out]`, as many.
        lr: Learning rate of the tile, positive.

    Raises:
        ConfigError: More than one line would have to travel in this call.
    """
    batch, before = len(x), int(tile.current_update_idx)
    every = checked_period(tile.cell, batch)
    rate = fast_rate(tile, x, d, lr)
    tile.count_lr.fill_(rate)
    of_x, of_d = tile.in_chopper, tile.out_chopper
    if not tile.cell.transfer_columns:
        of_x, of_d = of_d, of_x
    tile.pulse(x * of_x, d * of_d, rate)
    tile.current_update_idx.fill_(before + batch)
    if every > 0 and before % every + batch >= every:
        transfer(tile, lr)


def checked_period(cell: ChoppedTransferCompound, batch: int) -> int:
    """Return the number of samples between two transfers, 0 for never.

    Args:
        cell: Parameters of the cell.
        batch: Samples of the call.

    Raises:
        ConfigError: It is shorter than the call, for which one transfer would not be enough.
    """
    nominal = nominal_period(cell)
    every = round_half_up(nominal)
    if cell.units_in_mbatch:
        every = math.ceil(single(single(nominal) * batch))
    if 0 < every < batch:
        name = "transfer_every_vec" if cell.transfer_every_vec else "transfer_every"
        raise ConfigError(
            f"device.{name}: a transfer every {every} samples is more than one in this update of"
            f" {batch} samples, which TorchTransferTile cannot do; set it to {batch} or more, use"
            " units_in_mbatch=True, or tile_class=AnalogTile"
        )
    return every


def nominal_period(cell: ChoppedTransferCompound) -> float:
    """Return the period of the transfers in the unit of the configuration."""
    own = cell.transfer_every_vec
    return own[0] if own else cell.transfer_every


def fast_rate(tile: TransferArrays, x: Tensor, d: Tensor, lr: float) -> float:
    """Return the learning rate with which `A` is updated.

    Args:
        tile: Arrays; the averages of the largest input and error take in those of this call.
        x: Inputs, shape `[batch, in]`.
        d: Errors, shape `[batch, out]`.
        lr: Learning rate of the tile.
    """
    cell = tile.cell
    if cell.auto_scale:
        share = (1.0 - cell.auto_momentum) / len(x)
        for number, values in enumerate((x, d)):
            mean = float(tile.input_error_averages[number])
            for largest in values.abs().amax(1).tolist():
                mean = running_average(mean, largest, share)
            tile.input_error_averages[number] = mean
    if cell.fast_lr <= 0.0:
        return lr
    rate = cell.fast_lr
    if cell.auto_scale:
        m_x, m_d = tile.input_error_averages.tolist()
        rate *= tile.desired_bl * tile.granularity()[0]
        if m_x > 0.0 and m_d > 0.0:
            rate /= m_x * m_d
    return rate * lr if cell.scale_fast_lr else rate


def running_average(mean: float, value: float, share: float) -> float:
    """Return a running average after one more value; the first one is taken as it is.

    Args:
        mean: Average so far, 0 for none.
        value: New value; 0 is passed over.
        share: Its weight.
    """
    if mean <= 0.0:
        return value
    return (1.0 - share) * mean + share * value if value > 0.0 else mean


# --- transfers ------------------------------------------------------------------------------------


def transfer(tile: TransferArrays, lr: float) -> None:
    """Read the line whose turn it is, collect it, and write the pulses that come of it.

    Args:
        tile: Arrays.
        lr: Learning rate of the tile.

    Raises:
        ArgumentError: The buffer overflows.
    """
    cell, lines = tile.cell, len(tile.in_chopper)
    k = int(tile.current_slice_indices)
    tile.current_slice_indices.fill_((k + 1) % lines)
    rate = transfer_rate(cell, lr)
    if rate == 0.0:
        return
    scale = single(buffer_scale(tile, rate))
    sign = (tile.in_chopper[k] * tile.out_chopper).to(torch.float32)
    v = tile.read(k)
    kept = tile.hidden_weight[k] if keeps_buffer(cell) else 0.0
    omega = kept + scale * sign * (v - reference(tile, k))
    if not all_finite(omega):
        raise ArgumentError(
            f"device.transfer_lr: a rate of {rate:g} makes the buffer overflow; use a smaller one,"
            " or a smaller learning rate"
        )
    n = pulses(cell, omega)
    tile.hidden_weight[k] = rest(cell, omega, n)
    remember(tile, k, v)
    if bool(n.any()) and is_warm(tile):
        tile.write(k, -n, cell.step * tile.granularity()[1])
    flip(tile, k)


def transfer_rate(cell: ChoppedTransferCompound, lr: float) -> float:
    """Return the learning rate of the transfer.

    Args:
        cell: Parameters of the cell.
        lr: Learning rate of the tile.
    """
    rate = cell.transfer_lr_vec[0] if cell.transfer_lr_vec else cell.transfer_lr
    fast, slow = gammas(cell)
    if fast > 0.0 and slow > 0.0:
        rate *= fast / slow
    return rate * lr if cell.scale_transfer_lr else rate


def gammas(cell: ChoppedTransferCompound) -> tuple[float, float]:
    """Return the weights of `A` and `C` in the sum of both."""
    fast, slow = cell.gamma_vec or (cell.gamma, 1.0)
    return fast, slow


def buffer_scale(tile: TransferArrays, rate: float) -> float:
    """Return the pulses that one unit of the weight of `A` adds to the buffer.

    Args:
        tile: Arrays.
        rate: Learning rate of the transfer.

    Raises:
        ArgumentError: There is no such number.
    """
    cell, (g_fast, g_slow) = tile.cell, tile.granularity()
    threshold = g_fast * (cell.buffer_granularity if cell.buffer_granularity > 0.0 else 1.0)
    if cell.auto_granularity > 0.0:
        threshold *= cell.auto_granularity / (len(tile.in_chopper) * nominal_period(cell))
    if cell.correct_gradient_magnitudes:
        threshold *= float(tile.count_lr) * g_slow / g_fast
    if threshold == 0.0:
        raise ArgumentError(
            f"device.fast_lr: the learning rate {float(tile.count_lr):g} of the fast device is too"
            " small to correct the size of gradients; use a larger one"
        )
    return abs(rate) / threshold


def keeps_buffer(cell: ChoppedTransferCompound) -> bool:
    """Return whether the buffer counts at the next transfer; that of a dynamic cell always does."""
    return isinstance(cell, DynamicTransferCompound) or not cell.no_buffer


def pulses(cell: ChoppedTransferCompound, omega: Tensor) -> Tensor:
    """Return the pulses that values of the buffer ask for, with their sign.

    Args:
        cell: Parameters of the cell.
        omega: Values, shape `[length]`.
    """
    longest = cell.transfer_update.desired_bl
    return torch.where(omega.abs() >= 1.0, omega.trunc().clamp(-longest, longest), 0.0)


def rest(cell: ChoppedTransferCompound, omega: Tensor, n: Tensor) -> Tensor:
    """Return what stays in the buffer.

    Args:
        cell: Parameters of the cell.
        omega: Values before, shape `[length]`.
        n: Pulses, same shape.
    """
    if cell.forget_buffer:
        return torch.where(n != 0.0, single(cell.momentum) * omega, omega)
    left = omega - (1.0 - single(min(max(cell.momentum, 0.0), 1.0))) * n
    if isinstance(cell, DynamicTransferCompound) and cell.buffer_cap > 0.0:
        cap = cell.buffer_cap * cell.transfer_update.desired_bl
        left = torch.where(n != 0.0, left.clamp(-cap, cap), left)
    return left


def flip(tile: TransferArrays, k: int) -> None:
    """Flip signs after a line was read, and count sweeps.

    Args:
        tile: Arrays.
        k: The line.
    """
    cell, is_last = tile.cell, k == len(tile.in_chopper) - 1
    is_dynamic = isinstance(cell, DynamicTransferCompound)
    is_end = cell.in_chop_prob > 0.0 and place(tile) == chopper_period(cell)
    by_chance = cell.in_chop_random and bool(tile.uniform(1) < cell.in_chop_prob)
    flips = by_chance if cell.in_chop_random and not is_dynamic else is_end or by_chance
    if flips:
        tile.in_chopper[k] *= -1
    if is_dynamic:
        tile.in_chopper_switched[k] = int(flips)
    elif is_last and cell.out_chop_prob > 0.0:
        tile.out_chopper[tile.uniform(len(tile.out_chopper)) < cell.out_chop_prob] *= -1
    tile.transfer_counter.add_(int(is_last))


def chopper_period(cell: ChoppedTransferCompound) -> int:
    """Return the sweeps between two regular flips of a sign."""
    period = math.inf if cell.in_chop_prob == 0.0 else 1.0 / cell.in_chop_prob
    # A frequency close to zero has a period that never ends.
    return max(math.ceil(min(period, 2.0**62)), 2)


def place(tile: TransferArrays) -> int:
    """Return the position of the present sweep in its chopper period, from 1 on."""
    return int(tile.transfer_counter) % chopper_period(tile.cell) + 1


# --- reference of dynamic cells -------------------------------------------------------------------


def reference(tile: TransferArrays, k: int) -> Tensor | float:
    """Return what is subtracted from a line that was read: the mean before its sign flipped last.

    Args:
        tile: Arrays.
        k: The line.
    """
    if not isinstance(tile.cell, DynamicTransferCompound):
        return 0.0
    if tile.in_chopper_switched[k]:
        tile.reference_weight[k] = tile.past_mean_weight[k]
    return tile.reference_weight[k]


def remember(tile: TransferArrays, k: int, v: Tensor) -> None:
    """Take a line that was read into the running mean, which is never reset.

    Args:
        tile: Arrays.
        k: The line.
        v: What was read, shape `[length]`.
    """
    cell = tile.cell
    if isinstance(cell, DynamicTransferCompound):
        beta = single(min(cell.tail_weightening / chopper_period(cell), 1.0))
        tile.past_mean_weight[k] = (1.0 - beta) * tile.past_mean_weight[k] + beta * v


def is_warm(tile: TransferArrays) -> bool:
    """Return whether pulses are written: not before there is a first reference."""
    is_dynamic = isinstance(tile.cell, DynamicTransferCompound)
    return not is_dynamic or int(tile.transfer_counter) > chopper_period(tile.cell)


# --- weights --------------------------------------------------------------------------------------


def reduced(tile: TransferArrays, fast: Tensor, slow: Tensor) -> Tensor:
    """Return the weight that products see, `gamma_A c A + gamma_C C` with the signs `c`.

    Args:
        tile: Arrays.
        fast: Weights of `A`, shape `[out, in]`.
        slow: Weights of `C`, same shape.
    """
    of_fast, of_slow = gammas(tile.cell)
    signs = torch.outer(tile.in_chopper, tile.out_chopper)
    if tile.cell.transfer_columns:
        signs = signs.t()
    return single(of_fast) * (signs * fast) + single(of_slow) * slow


# --- numbers --------------------------------------------------------------------------------------


def single(value: float) -> float:
    """Return a number rounded to single precision, as the buffers have it.

    Ties at the threshold decide about pulses, so that factors are rounded where they are made.

    Args:
        value: Number.
    """
    return float(torch.tensor(value, dtype=torch.float32, device="cpu"))


def round_half_up(value: float) -> int:
    """Return a number that is not negative, rounded to an integer."""
    return math.floor(value + 0.5)
