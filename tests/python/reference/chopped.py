"""Buffered transfers with chopped signs, and with a reference found on the fly (Rasch, 2024)."""

import math

import numpy as np
from numpy.typing import ArrayLike

from mho.simulator.configs import (
    ChoppedTransferCompound,
    DynamicTransferCompound,
    UpdateParameters,
)
from reference.crosspoints import ConstantStepCells
from reference.joint import Make
from reference.pulses import Array, Counts, NotDeterministicError, single
from reference.transfer import Chain, ratio, rounded

FAST, SLOW = 0, 1


class ChoppedCell(Chain):
    """Pairs whose fast device is written and read with signs that flip from time to time.

    The input choppers belong to the lines that are read, the output choppers to their elements. The
    buffer counts in pulses.
    """

    config: ChoppedTransferCompound

    def __init__(
        self, config: ChoppedTransferCompound, make: Make, rng: np.random.Generator
    ) -> None:
        super().__init__(config, make, rng)
        self.buffer = np.zeros_like(self.weight)
        self.rate = 0.0
        self.forget()

    def forget(self) -> None:
        """Return buffer, choppers and averages to their start."""
        self.buffer[:] = 0
        self.in_sign = np.ones(self.lines, np.float32)
        self.out_sign = np.ones(self.length, np.float32)
        self.mean_x = self.mean_d = 0.0
        self.sweeps = 0

    # --- updates ----------------------------------------------------------------------------------

    def begin(self, x: Array, d: Array, lr: float, batch: int) -> None:
        super().begin(x, d, lr, batch)
        if self.config.auto_scale:
            share = (1 - self.config.auto_momentum) / batch
            self.mean_x = average(self.mean_x, float(np.abs(x).max()), share)
            self.mean_d = average(self.mean_d, float(np.abs(d).max()), share)

    def count_lr(self, lr: float, update: UpdateParameters) -> float:
        if self.config.auto_scale and self.config.fast_lr > 0:
            rate = self.config.fast_lr * update.desired_bl * self.granularity
            if self.mean_x > 0 and self.mean_d > 0:
                rate /= self.mean_x * self.mean_d
            self.rate = rate * (lr if self.config.scale_fast_lr else 1.0)
        else:
            self.rate = super().count_lr(lr, update)
        return self.rate

    def signs(self) -> Array:
        """Return the sign of each crosspoint, shape ``[out, in]``."""
        if self.config.transfer_columns:
            return np.outer(self.out_sign, self.in_sign)
        return np.outer(self.in_sign, self.out_sign)

    def pulse(self, counts: Counts) -> None:
        super().pulse(counts * self.signs().astype(np.int64))

    def reduce(self) -> None:
        fast, slow = self.devices
        seen = self.signs() * fast.weight
        self.weight = self.gamma[FAST] * seen + self.gamma[SLOW] * slow.weight

    # --- transfers --------------------------------------------------------------------------------

    def period(self, nominal: float, batch: int) -> int:
        if nominal >= 0:
            return super().period(nominal, batch)
        fast = self.devices[FAST]
        if not isinstance(fast, ConstantStepCells):
            raise NotDeterministicError("an automatic period needs a single fast device")
        states = (fast.config.w_max - fast.config.w_min) / fast.granularity
        return max(1, rounded(states / self.lines * abs(nominal)))

    def transfer_lr(self, source: int, lr: float) -> float:
        return super().transfer_lr(source, lr) * ratio(*self.gammas)

    def scale(self, rate: float) -> float:
        """Return the pulses that a unit of the fast device adds to the buffer."""
        config, g_fast = self.config, self.devices[FAST].granularity
        threshold = g_fast * (config.buffer_granularity if config.buffer_granularity > 0 else 1.0)
        if config.auto_granularity > 0:
            period = abs(self.nominal_periods()[FAST])
            threshold *= config.auto_granularity / (self.lines * period)
        if config.correct_gradient_magnitudes:
            threshold *= self.rate * self.devices[SLOW].granularity / g_fast
        return abs(rate) / threshold

    def in_period(self) -> int:
        """Return the sweeps between two regular flips of an input chopper."""
        return max(math.ceil(1 / self.config.in_chop_prob), 2)

    def move(self, source: int, target: int, line: int, rate: float) -> None:
        sign = self.in_sign[line] * self.out_sign
        before = self.of_line(self.buffer, line)
        if self.config.no_buffer:
            before[:] = 0
        omega = before + single(self.scale(rate)) * sign * self.read(source, line)
        n = self.fire(omega)
        before[:] = self.kept(omega, n)
        if n.any():
            self.write(target, line, -n, self.config.step * self.devices[target].granularity)
        self.flip(line)

    def fire(self, omega: Array) -> Array:
        """Return the pulses that a line of the buffer asks for."""
        longest = self.config.transfer_update.desired_bl
        whole = np.clip(np.trunc(omega), -longest, longest)
        return np.where(np.abs(omega) >= 1, whole, single(0.0))

    def kept(self, omega: Array, n: Array) -> Array:
        """Return what stays of a line of the buffer."""
        momentum = self.config.momentum
        if self.config.forget_buffer:
            return np.where(n != 0, single(momentum) * omega, omega)
        return omega - (1 - single(min(max(momentum, 0), 1))) * n

    def flip(self, line: int) -> None:
        """Flip choppers after a line was read, and count sweeps."""
        config, last = self.config, line == self.lines - 1
        if config.in_chop_prob > 0:
            if config.in_chop_random:
                flips = self.rng.random() < config.in_chop_prob
            else:
                flips = self.sweeps % self.in_period() + 1 == self.in_period()
            if flips:
                self.in_sign[line] *= -1
        if last and config.out_chop_prob > 0:
            self.out_sign[self.rng.random(self.length) < config.out_chop_prob] *= -1
        self.sweeps += last

    # --- weights ----------------------------------------------------------------------------------

    def set_weights(self, values: ArrayLike) -> None:
        self.forget()
        super().set_weights(values)

    def hidden(self) -> dict[str, Array]:
        return super().hidden() | {"buffered_FP_weight_0": self.buffer}

    def extra(self) -> dict[str, ArrayLike]:
        return super().extra() | {
            "in_chopper": self.in_sign < 0,
            "out_chopper": self.out_sign < 0,
            "m_x": self.mean_x,
            "m_d": self.mean_d,
            "transfer_counter": self.sweeps,
            "tmp_count_lr": self.rate,
        }


class DynamicCell(ChoppedCell):
    """Chopped pairs that subtract what was read, on average, before the last flip (AGAD)."""

    config: DynamicTransferCompound

    def forget(self) -> None:
        super().forget()
        self.mean, self.past = np.zeros_like(self.weight), np.zeros_like(self.weight)
        self.switched = np.zeros(self.lines, np.bool_)

    def move(self, source: int, target: int, line: int, rate: float) -> None:
        config, period = self.config, self.in_period()
        position = self.sweeps % period + 1
        scale = self.scale(rate)
        if config.experimental_correct_accumulation:
            scale /= min(position, 1 / self.devices[FAST].granularity)
        beta = single(min(config.tail_weightening / period, 1))
        buffer, mean, past = (
            self.of_line(plane, line) for plane in (self.buffer, self.mean, self.past)
        )
        value = self.read(source, line)
        if self.switched[line]:
            past[:] = mean
        omega = buffer + single(scale) * (self.in_sign[line] * self.out_sign) * (value - past)
        n = self.fire(omega)
        buffer[:] = self.kept(omega, n)
        mean[:] = (1 - beta) * mean + beta * value
        # Before there is a first mean, pulses are lost.
        if n.any() and self.sweeps > period:
            self.write(target, line, -n, config.step * self.devices[target].granularity)
        regular = position == period
        self.switched[line] = regular or (
            config.in_chop_random and self.rng.random() < config.in_chop_prob
        )
        if self.switched[line]:
            self.in_sign[line] *= -1
        self.sweeps += line == self.lines - 1

    def kept(self, omega: Array, n: Array) -> Array:
        rest = super().kept(omega, n)
        cap = self.config.buffer_cap * self.config.transfer_update.desired_bl
        if self.config.forget_buffer or cap <= 0:
            return rest
        return np.where(n != 0, np.clip(rest, single(-cap), single(cap)), rest)

    def hidden(self) -> dict[str, Array]:
        named = super().hidden()
        return {name: v for name, v in named.items() if name != "buffered_FP_weight_0"} | {
            "buffered_FP_weight": self.buffer,
            "running_mean_weight": self.mean,
            "past_mean_weight": self.past,
        }

    def extra(self) -> dict[str, ArrayLike]:
        return super().extra() | {"in_chopper_switched": self.switched}


def average(mean: float, value: float, share: float) -> float:
    """Return a running average; the first value is taken as it is, and zeros are passed over."""
    if mean <= 0:
        return value
    return (1 - share) * mean + share * value if value > 0 else mean
