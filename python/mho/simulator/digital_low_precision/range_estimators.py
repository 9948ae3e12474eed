"""Estimators of the range of values that a quantiser is to cover.

Each sees one batch after the other and returns the range so far. Batches with values that are not
finite change nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mho.exceptions import AihwkitException, ArgumentError
from mho.simulator.digital_low_precision.quantizers import QuantizerBase
from mho.simulator.parameters.enums import OptMethod, RangeEstimators
from mho.simulator.parameters.signatures import checked

_GOLDEN = 0.6180339887498949
_STEPS = 30
"""Steps of a search by golden section; each keeps 0.618 of the interval, all together 5e-7."""


class NoDataPassedError(AihwkitException):
    """A range was asked for before an estimator had seen data."""


class RangeEstimatorBase(nn.Module):
    """Range of values, one or one per channel.

    `current_xmin` and `current_xmax` have shape `[1]` or `[channels]`, `_is_set` is one if they
    come from data and else zero.
    """

    current_xmin: Tensor
    current_xmax: Tensor
    _is_set: Tensor

    @checked
    def __init__(
        self,
        per_channel: bool = False,
        quantizer: QuantizerBase | None = None,
        axis: int | None = None,
        n_groups: int | None = None,
    ) -> None:
        """Set what the ranges are of.

        Args:
            per_channel: One range per index of `axis`.
            quantizer: Levels that a search tries; not needed by others.
            axis: Axis of the channels; 0 by default.
            n_groups: Refused: ranges of groups of channels are not supported.

        Raises:
            ArgumentError: `n_groups` is given.
        """
        super().__init__()
        if n_groups is not None:
            raise ArgumentError("n_groups: ranges are of a tensor or of a channel; leave it out")
        self.per_channel, self.axis = bool(per_channel), axis
        object.__setattr__(self, "quantizer", quantizer)  # no child: it is one of the manager
        self._has_data = False
        self.register_buffer("current_xmin", torch.zeros(1))
        self.register_buffer("current_xmax", torch.zeros(1))
        self.register_buffer("_is_set", torch.zeros(1))

    @torch.no_grad()
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the range after a batch.

        Args:
            x: Values of any shape.

        Returns:
            Smallest and largest value, each `[1]` or `[channels]`.

        Raises:
            NoDataPassedError: The first batch is empty.
        """
        x = x.detach()
        if x.numel() == 0:
            if not self._has_data:
                raise NoDataPassedError("x: there are no values to estimate a range from")
            return self.current_xmin, self.current_xmax
        low, high = self._of_batch(x.to(self.current_xmin.dtype))
        finite = torch.isfinite(low) & torch.isfinite(high)
        if low.shape != self.current_xmin.shape:  # the number of channels is known from now on
            with torch.inference_mode(False):  # they are written in training as well
                like: dict[str, Any] = {"dtype": low.dtype, "device": low.device}
                self.current_xmin = torch.zeros(low.shape, **like)
                self.current_xmax = torch.zeros(low.shape, **like)
        joined = self._joined(low, high)
        is_set = self._is_set > 0.0
        for present, first, later in zip(
            (self.current_xmin, self.current_xmax), (low, high), joined, strict=True
        ):
            present.copy_(torch.where(finite, torch.where(is_set, later, first), present))
        self._is_set.clamp_(min=finite.all().to(self._is_set.dtype))
        self._has_data = True
        return self.current_xmin, self.current_xmax

    @property
    def has_range(self) -> bool:
        """Whether there was a batch of finite values; looks at a tensor."""
        return bool(self._is_set.item())

    def _of_batch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the range of a batch by itself."""
        flat = self._flat(x)
        return flat.amin(dim=1), flat.amax(dim=1)

    def _joined(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Return the range so far with that of a further batch."""
        return low, high

    def _flat(self, x: Tensor) -> Tensor:
        """Return one row per range."""
        if not self.per_channel or x.dim() == 0:
            return x.reshape(1, -1)
        return x.movedim((self.axis or 0) % x.dim(), 0).reshape(x.shape[self.axis or 0], -1)

    def reset(self) -> None:
        """Forget all data."""
        for value in (self.current_xmin, self.current_xmax, self._is_set):
            value.zero_()
        self._has_data = False

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        for name in ("current_xmin", "current_xmax"):
            given, present = state_dict.get(prefix + name), self._buffers[name]
            if isinstance(given, Tensor) and present is not None and given.dim() == 1:
                if given.shape != present.shape and (self.per_channel or given.numel() == 1):
                    self._buffers[name] = present.new_zeros(given.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self.follow_state()

    def follow_state(self) -> None:
        """Follow tensors that were written from outside."""
        self._has_data = self.has_range

    def __repr__(self) -> str:
        """Return the name of the class."""
        return f"{type(self).__name__}()"


class CurrentMinMaxEstimator(RangeEstimatorBase):
    """Range of the latest batch."""

    @checked
    def __init__(self, percentile: float | None = None, *args: Any, **kwargs: Any) -> None:
        """Set how many extreme values are left out.

        Args:
            percentile: Percentage of values left out at both ends, from 0 to 50; None is none.
            args: As for the base class.
            kwargs: As for the base class.

        Raises:
            ArgumentError: A value is impossible.
        """
        super().__init__(*args, **kwargs)
        if percentile is not None and not 0.0 <= percentile < 50.0:
            raise ArgumentError(f"percentile: expected a number from 0 to 50, got {percentile!r}")
        self.percentile = percentile

    def _of_batch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.percentile is None:
            return super()._of_batch(x)
        # Not torch.quantile, which refuses large tensors.
        ordered = self._flat(x).sort(dim=1).values
        last = ordered.shape[1] - 1
        found = []
        for part in (self.percentile / 100.0, 1.0 - self.percentile / 100.0):
            place = part * last
            below = min(int(place), last)
            above = min(below + 1, last)
            found.append(ordered[:, below].lerp(ordered[:, above], place - below))
        return found[0], found[1]


class AllMinMaxEstimator(RangeEstimatorBase):
    """Range of all batches so far."""

    def _joined(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return torch.minimum(self.current_xmin, low), torch.maximum(self.current_xmax, high)


class RunningMinMaxEstimator(RangeEstimatorBase):
    """Exponential average of the ranges of all batches."""

    @checked
    def __init__(self, momentum: float = 0.9, *args: Any, **kwargs: Any) -> None:
        """Set the weight of the past.

        Args:
            momentum: Weight of the past, at least 0 and below 1.
            args: As for the base class.
            kwargs: As for the base class.

        Raises:
            ArgumentError: A value is impossible.
        """
        super().__init__(*args, **kwargs)
        if not 0.0 <= momentum < 1.0:
            raise ArgumentError(f"momentum: expected at least 0 and below 1, got {momentum!r}")
        self.momentum = momentum

    def _joined(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        past, now = self.momentum, 1.0 - self.momentum
        return past * self.current_xmin + now * low, past * self.current_xmax + now * high


class MSE_Estimator(RangeEstimatorBase):
    """Range of the latest batch whose levels change the values least, by their squared error.

    For symmetric levels one threshold is searched. Asymmetric ones have two: first a common factor
    on the range of the data, then each end by itself.
    """

    @checked
    def __init__(
        self,
        num_candidates: int = 100,
        opt_method: OptMethod = OptMethod.grid,
        range_margin: float = 0.5,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Set the search.

        Args:
            num_candidates: Number of ranges that a grid search tries.
            opt_method: Grid search, or golden section.
            range_margin: How far beyond the data the search goes, relative to their range.
            args: As for the base class.
            kwargs: As for the base class.

        Raises:
            ArgumentError: A value is impossible, or no quantiser is given.
        """
        super().__init__(*args, **kwargs)
        if self._levels() is None:
            raise ArgumentError(f"quantizer: {type(self).__name__} needs the levels to try")
        if num_candidates < 1:
            raise ArgumentError(f"num_candidates: must be positive, got {num_candidates!r}")
        if range_margin < 0.0:
            raise ArgumentError(f"range_margin: must not be negative, got {range_margin!r}")
        self.num_candidates, self.opt_method = num_candidates, OptMethod(opt_method)
        self.range_margin = range_margin

    def _levels(self) -> Any:
        return self.__dict__["quantizer"]

    @property
    def optimization_method(self) -> OptMethod:
        """Search method."""
        return self.opt_method

    @property
    def step_size(self) -> float:
        """Distance of two candidates of a grid, relative to the largest value."""
        return (1.0 + self.range_margin) / self.num_candidates

    def quantize(
        self, x_float: Tensor, x_min: Tensor | None = None, x_max: Tensor | None = None
    ) -> Tensor:
        """Return the nearest levels of a range.

        Args:
            x_float: Values, one row per range.
            x_min: Smallest value of each range; zero by default.
            x_max: Largest value of each range; that of the data by default.
        """
        low = x_float.new_zeros(x_float.shape[0]) if x_min is None else x_min.clamp(max=0.0)
        high = x_float.amax(dim=1) if x_max is None else x_max
        levels, bits = self._levels(), int(self._levels().n_bits)
        high = high.clamp(min=0.0)
        if levels.symmetric:
            signed = low < 0.0
            largest = torch.where(signed, 2.0 ** (bits - 1) - 1.0, 2.0**bits - 1.0)
            smallest = torch.where(signed, -(2.0 ** (bits - 1)), 0.0)
            step = (torch.maximum(-low, high) / largest).clamp(min=levels.eps).unsqueeze(1)
            ticks = (x_float / step).round()
            symmetric: Tensor = (
                torch.clamp(ticks, smallest.unsqueeze(1), largest.unsqueeze(1)) * step
            )
            return symmetric
        step = ((high - low) / (2.0**bits - 1.0)).clamp(min=levels.eps).unsqueeze(1)
        zero = (-low.unsqueeze(1) / step).round()
        ticks = ((x_float / step).round() + zero).clamp(0.0, 2.0**bits - 1.0)
        return (ticks - zero) * step

    def loss_fx(
        self, data: Tensor, neg_thr: Tensor, pos_thr: Tensor, per_channel_loss: bool = False
    ) -> Tensor:
        """Return the error of the levels of a range.

        Args:
            data: Values, one row per range.
            neg_thr: Smallest value of each range.
            pos_thr: Largest value of each range.
            per_channel_loss: Return one error per range instead of their sum.
        """
        error = (self.quantize(data, neg_thr, pos_thr) - data).square().sum(dim=1)
        return error if per_channel_loss else error.sum()

    def _of_batch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        flat = self._rows(x)
        low = flat.reshape(self._count(x), -1).amin(dim=1).clamp(max=0.0)
        high = flat.reshape(self._count(x), -1).amax(dim=1).clamp(min=0.0)
        margin = 1.0 + self.range_margin

        def loss(negative: Tensor, positive: Tensor) -> Tensor:
            return self.loss_fx(flat, negative, positive, per_channel_loss=True)

        if self._levels().symmetric:
            reach = torch.maximum(-low, high)
            has_negative = (low < 0.0).to(low.dtype)
            best = self._search(lambda f: loss(-f * reach * has_negative, f * reach), low, margin)
            return -best * reach * has_negative, best * reach
        both = self._search(lambda f: loss(f * low, f * high), low, margin)
        first = self._search(lambda f: loss(f * low, both * high), low, margin)
        second = self._search(lambda f: loss(first * low, f * high), low, margin)
        return first * low, second * high

    def _rows(self, x: Tensor) -> Tensor:
        return self._flat(x)

    def _count(self, x: Tensor) -> int:
        return self._flat(x).shape[0]

    def _search(self, loss: Callable[[Tensor], Tensor], like: Tensor, largest: float) -> Tensor:
        """Return the factor with the smallest loss of each range."""
        if self.opt_method is OptMethod.golden_section:
            return golden_section(loss, torch.zeros_like(like), torch.full_like(like, largest))
        best, least = torch.ones_like(like), torch.full_like(like, torch.inf)
        for i in range(1, self.num_candidates + 1):
            factor = torch.full_like(like, i * self.step_size)
            error = loss(factor)
            better = error < least
            best, least = torch.where(better, factor, best), torch.where(better, error, least)
        return best


class CrossEntropyEstimator(MSE_Estimator):
    """Range whose levels change the distribution that logits stand for least.

    The loss is the cross entropy of the softmax along the last axis. Logits have one range.
    """

    @checked
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Set the search.

        Args:
            args: As for the base class.
            kwargs: As for the base class.

        Raises:
            ArgumentError: A value is impossible, or ranges per channel are asked for.
        """
        super().__init__(*args, **kwargs)
        if self.per_channel:
            raise ArgumentError("per_channel: logits are compared along channels; set it to False")

    def _rows(self, x: Tensor) -> Tensor:
        return x.reshape(-1, x.shape[-1]) if x.dim() else x.reshape(1, 1)

    def _count(self, x: Tensor) -> int:
        return 1

    def loss_fx(
        self, data: Tensor, neg_thr: Tensor, pos_thr: Tensor, per_channel_loss: bool = False
    ) -> Tensor:
        """Return the cross entropy of the levels of a range relative to the values.

        Args:
            data: Logits, classes along the last axis.
            neg_thr: Smallest value of the range.
            pos_thr: Largest value of the range.
            per_channel_loss: Return a vector of one number.
        """
        levels = self.quantize(data.reshape(1, -1), neg_thr, pos_thr).reshape(data.shape)
        entropy = -(data.softmax(dim=-1) * levels.log_softmax(dim=-1)).sum()
        return entropy.reshape(1) if per_channel_loss else entropy


def golden_section(loss: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Return where a loss is smallest, for several intervals at once.

    Args:
        loss: Returns one number per interval.
        low: Lower ends, shape `[intervals]`.
        high: Upper ends.
    """
    inner, outer = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    left, right = loss(inner), loss(outer)
    for _ in range(_STEPS):
        is_left = left <= right
        high, low = torch.where(is_left, outer, high), torch.where(is_left, low, inner)
        next_inner, next_outer = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        new = loss(torch.where(is_left, next_inner, next_outer))
        left, right = torch.where(is_left, new, right), torch.where(is_left, left, new)
        inner, outer = next_inner, next_outer
    return 0.5 * (low + high)


class RangeEstimatorMap(NamedTuple):
    """Number and class of an estimator."""

    value: int
    cls: type[RangeEstimatorBase]


ESTIMATORS: dict[RangeEstimators, RangeEstimatorMap] = {
    member: RangeEstimatorMap(member.value, cls)
    for member, cls in (
        (RangeEstimators.current_minmax, CurrentMinMaxEstimator),
        (RangeEstimators.allminmax, AllMinMaxEstimator),
        (RangeEstimators.running_minmax, RunningMinMaxEstimator),
        (RangeEstimators.MSE, MSE_Estimator),
        (RangeEstimators.cross_entropy, CrossEntropyEstimator),
    )
}
"""Class of each estimator."""
