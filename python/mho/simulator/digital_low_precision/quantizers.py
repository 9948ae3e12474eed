"""Uniform levels, and rounding to them with straight-through gradients.

A quantiser knows its step and, if asymmetric, the level that stands for zero. Both follow a range
of values (`set_quant_range`) until they are made trainable; gradients of a trained step are those
of the rounded product `step * clamp(round(x / step))` with rounding taken as the identity.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mho.documented import documented
from mho.exceptions import AihwkitException, ArgumentError
from mho.simulator.parameters.signatures import checked

_EPS = 1e-8


class QuantizerNotInitializedError(AihwkitException):
    """A quantiser was used before it had a range."""


class RoundStraightThrough(torch.autograd.Function):
    """Rounds, half to even; the gradient passes unchanged."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Return the rounded values."""
        return x.round()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep nothing: the gradient depends on no value."""

    @staticmethod
    def backward(ctx: Any, output_grad: Tensor) -> Tensor:
        """Return the gradient unchanged."""
        return output_grad


class FloorStraightThrough(torch.autograd.Function):
    """Rounds down; the gradient passes unchanged."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Return the largest whole numbers below or at the values."""
        return x.floor()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep nothing: the gradient depends on no value."""

    @staticmethod
    def backward(ctx: Any, output_grad: Tensor) -> Tensor:
        """Return the gradient unchanged."""
        return output_grad


round_ste_func: Callable[..., Tensor] = RoundStraightThrough.apply
floor_ste_func: Callable[..., Tensor] = FloorStraightThrough.apply


class QuantizerBase(nn.Module):
    """Uniform levels of one range, or of one range per channel.

    `_delta`, shape `[1]` or `[channels]`, is the distance of two levels (its logarithm in the
    domain `"log"`), and `_is_set`, shape `[1]`, one if there is a range and else zero. `_signed`
    serves symmetric levels and `_zero_float` others; both have both, so that a state fits either.
    Trainable ranges are parameters under the same names.
    """

    _delta: Tensor
    _is_set: Tensor
    _signed: Tensor
    _zero_float: Tensor

    @checked
    def __init__(
        self,
        n_bits: int,
        per_channel: bool = False,
        axis: int | None = None,
        scale_domain: str = "linear",
        eps: float = _EPS,
    ) -> None:
        """Set the number of levels; the range is unknown.

        Args:
            n_bits: Number of bits, from 2 to 32.
            per_channel: One range per index of `axis` instead of one for all values.
            axis: Axis of the channels; 0 by default.
            scale_domain: `"linear"`, or `"log"` for a trained step that stays positive.
            eps: Smallest step.

        Raises:
            ArgumentError: A value is impossible.
        """
        super().__init__()
        if isinstance(n_bits, bool) or not isinstance(n_bits, int) or not 2 <= n_bits <= 32:
            raise ArgumentError(f"n_bits: expected an integer from 2 to 32, got {n_bits!r}")
        if scale_domain not in ("linear", "log"):
            raise ArgumentError(f"scale_domain: expected 'linear' or 'log', got {scale_domain!r}")
        self.n_bits, self.per_channel, self.axis = n_bits, bool(per_channel), axis
        self.scale_domain, self.eps = scale_domain, eps
        self.learning = False
        self._has_range = False
        for name in ("_delta", "_is_set", "_signed", "_zero_float"):
            self.register_buffer(name, torch.zeros(1))

    @property
    def is_initialized(self) -> bool:
        """Whether there is a range."""
        return self._has_range

    @property
    def symmetric(self) -> bool:
        """Whether the levels are symmetric around zero."""
        raise NotImplementedError(f"{type(self).__name__} lacks symmetric")

    @property
    def int_min(self) -> float | Tensor:
        """Number of the lowest level."""
        raise NotImplementedError(f"{type(self).__name__} lacks int_min")

    @property
    def int_max(self) -> float | Tensor:
        """Number of the highest level."""
        raise NotImplementedError(f"{type(self).__name__} lacks int_max")

    @property
    def zero_point(self) -> float | Tensor:
        """Number of the level that stands for zero."""
        raise NotImplementedError(f"{type(self).__name__} lacks zero_point")

    @property
    def delta(self) -> Tensor:
        """Distance of two levels, shape `[1]` or `[channels]`; a constant unless it is learned.

        Raises:
            QuantizerNotInitializedError: There is no range.
        """
        if not self._has_range:
            raise QuantizerNotInitializedError(
                f"{type(self).__name__}: there is no range yet; pass data in a state that estimates"
                " it, or call set_quant_range"
            )
        raw = self._own("_delta")
        return raw.exp() if self.scale_domain == "log" else raw.abs().clamp(min=self.eps)

    @property
    def scale(self) -> Tensor:
        """Distance of two levels."""
        return self.delta

    @property
    def x_max(self) -> Tensor:
        """Highest level."""
        return self.delta * (self.int_max - self.zero_point)

    @property
    def x_min(self) -> Tensor:
        """Lowest level."""
        return self.delta * (self.int_min - self.zero_point)

    def _own(self, name: str) -> Tensor:
        value: Tensor = getattr(self, name)
        return value if self.learning else value.detach()

    def _spread(self, value: float | Tensor, x: Tensor) -> float | Tensor:
        """Return a number per channel in a shape that fits the values."""
        if not isinstance(value, Tensor) or not self.per_channel or value.numel() == 1:
            return value
        axis = (self.axis or 0) % x.dim()
        return value.reshape((1,) * axis + (-1,) + (1,) * (x.dim() - axis - 1))

    def to_integer_forward(self, x_float: Tensor) -> Tensor:
        """Return the numbers of the nearest levels, as floating-point numbers.

        Args:
            x_float: Values of any shape.

        Raises:
            QuantizerNotInitializedError: There is no range.
        """
        delta: Any = self._spread(self.delta, x_float)
        level = round_ste_func(x_float / delta) + self._spread(self.zero_point, x_float)
        low, high = self._spread(self.int_min, x_float), self._spread(self.int_max, x_float)
        # Not torch.clamp, which halves the gradient at a limit that is a tensor, where the largest
        # value of a range always is.
        return torch.where(level > high, high, torch.where(level < low, low, level))

    def forward(self, x_float: Tensor) -> Tensor:
        """Return the nearest levels.

        Args:
            x_float: Values of any shape.

        Raises:
            QuantizerNotInitializedError: There is no range.
        """
        level = self.to_integer_forward(x_float) - self._spread(self.zero_point, x_float)
        result: Tensor = level * self._spread(self.delta, x_float)
        return result.to(x_float.dtype)

    @torch.no_grad()
    def set_quant_range(self, x_min: Tensor | float, x_max: Tensor | float) -> None:
        """Choose the levels of a range.

        Args:
            x_min: Smallest value, one or one per channel.
            x_max: Largest value.
        """
        like = self._delta
        low = torch.as_tensor(x_min, dtype=like.dtype, device=like.device).detach().reshape(-1)
        high = torch.as_tensor(x_max, dtype=like.dtype, device=like.device).detach().reshape(-1)
        self._follow_range(low.clamp(max=0.0), high.clamp(min=0.0))
        self._is_set.fill_(1.0)
        self._has_range = True

    def _follow_range(self, low: Tensor, high: Tensor) -> None:
        """Write the step and what else a range decides."""
        raise NotImplementedError(f"{type(self).__name__} lacks a range")

    def _write(self, name: str, value: Tensor) -> None:
        present: Tensor = getattr(self, name)
        if present.shape != value.shape:  # the number of channels is known from now on
            with torch.inference_mode(False):  # it is written in training as well
                zeros = torch.zeros(value.shape, dtype=present.dtype, device=present.device)
            if isinstance(present, nn.Parameter):
                present.data = zeros
            else:  # graphs know no other sizes of a tensor that there is
                setattr(self, name, zeros)
                present = zeros
        if isinstance(present, nn.Parameter):
            present.data.copy_(value)  # a graph may hold it, which needs its sign only
        else:
            present.copy_(value)

    def _write_delta(self, delta: Tensor) -> None:
        delta = delta.clamp(min=self.eps)
        self._write("_delta", delta.log() if self.scale_domain == "log" else delta)

    def make_range_trainable(self) -> None:
        """Turn the range into parameters; while `learning` is set they have gradients."""
        for name in self._trained_names():
            if name not in self._parameters:
                value = self._buffers.pop(name)
                assert value is not None
                self.register_parameter(name, nn.Parameter(value.detach().clone()))

    def make_range_constant(self) -> None:
        """Turn parameters back into buffers."""
        self.learning = False
        for name in self._trained_names():
            if name in self._parameters:
                value = self._parameters.pop(name)
                assert value is not None
                self.register_buffer(name, value.detach().clone())

    def _trained_names(self) -> tuple[str, ...]:
        return ("_delta",)

    def reset(self) -> None:
        """Forget the range."""
        self._is_set.zero_()
        self._has_range = False

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        for name in ("_delta", "_signed", "_zero_float"):
            given, present = state_dict.get(prefix + name), getattr(self, name)
            if isinstance(given, Tensor) and given.dim() == 1:
                if given.shape != present.shape and (self.per_channel or given.numel() == 1):
                    present.data = present.new_zeros(given.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self.follow_state()

    def follow_state(self) -> None:
        """Follow tensors that were written from outside."""
        self._has_range = bool(self._is_set.item())

    def extra_repr(self) -> str:
        """Return the number of bits and what the ranges are of."""
        return f"n_bits={self.n_bits}, per_channel={self.per_channel}, {self._has_range=}".replace(
            "self._has_range", "is_initialized"
        )


class SymmetricUniformQuantizer(QuantizerBase):
    """Levels `step * k` with `k` from `-2^(n-1)` to `2^(n-1) - 1`, or to `2^n - 1` from zero.

    The latter if no value of the range was negative.
    """

    @checked
    def __init__(
        self,
        n_bits: int,
        scale_domain: str = "linear",
        per_channel: bool = False,
        axis: int | None = None,
        eps: float = _EPS,
    ) -> None:
        """Set the number of levels; see the base class.

        Args:
            n_bits: Number of bits.
            scale_domain: `"linear"` or `"log"`.
            per_channel: One range per channel.
            axis: Axis of the channels.
            eps: Smallest step.
        """
        super().__init__(n_bits, per_channel, axis, scale_domain, eps)

    @property
    def symmetric(self) -> bool:
        """True."""
        return True

    @property
    def signed(self) -> Tensor:
        """Whether there are negative levels; one if so and else zero, one or one per channel."""
        return self._signed

    @property
    def int_min(self) -> Tensor:
        """Number of the lowest level."""
        return self._signed * -(2.0 ** (self.n_bits - 1))

    @property
    def int_max(self) -> Tensor:
        """Number of the highest level."""
        signed, unsigned = 2.0 ** (self.n_bits - 1) - 1.0, 2.0**self.n_bits - 1.0
        return unsigned + self._signed * (signed - unsigned)

    @property
    def zero_point(self) -> float:
        """Zero."""
        return 0.0

    def _follow_range(self, low: Tensor, high: Tensor) -> None:
        self._write("_signed", (low < 0.0).to(low.dtype))
        self._write_delta(torch.maximum(-low, high) / self.int_max)


class AsymmetricUniformQuantizer(QuantizerBase):
    """Levels `step * (k - zero)` with `k` from 0 to `2^n - 1` and a whole number for zero."""

    @checked
    def __init__(
        self,
        n_bits: int,
        scale_domain: str = "linear",
        per_channel: bool = False,
        axis: int | None = None,
        eps: float = _EPS,
    ) -> None:
        """Set the number of levels; see the base class.

        Args:
            n_bits: Number of bits.
            scale_domain: `"linear"` or `"log"`.
            per_channel: One range per channel.
            axis: Axis of the channels.
            eps: Smallest step.
        """
        super().__init__(n_bits, per_channel, axis, scale_domain, eps)

    @property
    def symmetric(self) -> bool:
        """False."""
        return False

    @property
    def int_min(self) -> float:
        """Number of the lowest level."""
        return 0.0

    @property
    def int_max(self) -> float:
        """Number of the highest level."""
        return 2.0**self.n_bits - 1.0

    @property
    def zero_float(self) -> Tensor:
        """Where zero is among the levels, before rounding."""
        return self._own("_zero_float")

    @property
    def zero_point(self) -> Tensor:
        """Number of the level that stands for zero."""
        return round_ste_func(self.zero_float).clamp(self.int_min, self.int_max)

    def _trained_names(self) -> tuple[str, ...]:
        return ("_delta", "_zero_float")

    def _follow_range(self, low: Tensor, high: Tensor) -> None:
        delta = ((high - low) / self.int_max).clamp(min=self.eps)
        self._write_delta(delta)
        self._write("_zero_float", -low / delta)


class QMethodMap(NamedTuple):
    """Number and class of a kind of levels."""

    value: int
    cls: type[QuantizerBase]


@documented
class QMethods(Enum):
    """Kinds of levels."""

    symmetric_uniform = QMethodMap(0, SymmetricUniformQuantizer)
    """Multiples of the step, as many below zero as above; above only, if no value is negative."""

    asymmetric_uniform = QMethodMap(1, AsymmetricUniformQuantizer)
    """From the smallest value to the largest, zero among them."""

    @property
    def cls(self) -> type[QuantizerBase]:
        """Class of the quantiser."""
        return self.value.cls

    @classmethod
    def list(cls) -> list[str]:
        """Return the names of all kinds."""
        return [member.name for member in cls]
