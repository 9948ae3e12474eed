"""A quantiser together with what decides about its range."""

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mho.documented import documented
from mho.exceptions import ArgumentError, StateError
from mho.simulator.digital_low_precision.quantizers import QMethods, QuantizerBase
from mho.simulator.digital_low_precision.range_estimators import ESTIMATORS, RangeEstimatorBase
from mho.simulator.parameters.enums import RangeEstimators
from mho.simulator.parameters.signatures import checked

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@documented
class Qstates(Enum):
    """When the range of a quantiser changes."""

    estimate_ranges = 0
    """With every batch."""

    fix_ranges = 1
    """Never; if there is none yet, the first batch gives it."""

    learn_ranges = 2
    """By its gradient."""

    estimate_ranges_train = 3
    """With every batch in training; as `fix_ranges` in evaluation."""


class QuantizationManager(nn.Module):
    """Quantises values, and finds the range of its levels.

    The state is part of the saved one, in `_qstate`.
    """

    _qstate: Tensor
    quantizer: QuantizerBase
    range_estimator: RangeEstimatorBase

    @checked
    def __init__(
        self,
        qmethod: QMethods = QMethods.symmetric_uniform,
        init: RangeEstimators = RangeEstimators.current_minmax,
        per_channel: bool = False,
        axis: int | None = None,
        n_groups: int | None = None,
        x_min: Tensor | float | None = None,
        x_max: Tensor | float | None = None,
        qparams: dict[str, Any] | None = None,
        init_params: dict[str, Any] | None = None,
    ) -> None:
        """Build quantiser and estimator; ranges are estimated until something else is chosen.

        Args:
            qmethod: Kind of levels.
            init: How the range is estimated.
            per_channel: One range per index of `axis`.
            axis: Axis of the channels; 0 by default.
            n_groups: Refused, see `RangeEstimatorBase`.
            x_min: Smallest value of a range that is known; needs `x_max`, and fixes the range.
            x_max: Largest value.
            qparams: Further arguments of the quantiser, such as `n_bits`, 8 by default.
            init_params: Further arguments of the estimator.

        Raises:
            ArgumentError: A value is impossible.
        """
        super().__init__()
        self.per_channel = bool(per_channel)
        shared = {"per_channel": self.per_channel, "axis": axis}
        levels = {"n_bits": 8, **(qparams or {}), **shared}
        self.quantizer = _built("qparams", qmethod.cls, levels)
        search = {**(init_params or {}), **shared, "quantizer": self.quantizer}
        search["n_groups"] = n_groups
        self.range_estimator = _built("init_params", ESTIMATORS[init].cls, search)
        self.register_buffer("_qstate", torch.zeros(1))
        self.state = Qstates.estimate_ranges
        if x_min is not None and x_max is not None:
            self.set_quant_range(x_min, x_max)
            self.fix_ranges()

    @property
    def n_bits(self) -> int:
        """Number of bits."""
        return self.quantizer.n_bits

    def enter(self, state: Qstates) -> None:
        """Choose when the range changes.

        Args:
            state: When.
        """
        self.state = state
        if "_qstate" in self._buffers:
            self._qstate.fill_(float(state.value))
        self.quantizer.learning = state is Qstates.learn_ranges

    def estimate_ranges(self) -> None:
        """Let the range follow every batch."""
        self.enter(Qstates.estimate_ranges)

    def fix_ranges(self) -> None:
        """Keep the range; if there is none, the next batch gives it."""
        self.enter(Qstates.fix_ranges)

    def learn_ranges(self) -> None:
        """Make the range trainable; optimizers have to be told of the new parameters."""
        self.quantizer.make_range_trainable()
        self.enter(Qstates.learn_ranges)

    def estimate_ranges_train(self) -> None:
        """Let the range follow every batch in training, and keep it in evaluation."""
        self.enter(Qstates.estimate_ranges_train)

    def is_learning(self) -> bool:
        """Return whether the range is trained."""
        return self.state is Qstates.learn_ranges

    def reset_ranges(self) -> None:
        """Forget the range and its data; it is estimated again from now on."""
        self.range_estimator.reset()
        self.quantizer.reset()
        self.estimate_ranges()

    def set_quant_range(self, x_min: Tensor | float, x_max: Tensor | float) -> None:
        """Choose the levels of a range.

        Args:
            x_min: Smallest value, one or one per channel.
            x_max: Largest value.
        """
        self.quantizer.set_quant_range(x_min, x_max)

    def estimate(self, x: Tensor) -> None:
        """Let the range follow a batch.

        Args:
            x: Values of any shape.
        """
        self.quantizer.set_quant_range(*self.range_estimator(x))

    def forward(self, x: Tensor) -> Tensor:
        """Return the nearest levels of values, after the range has followed them if it is to.

        Args:
            x: Values of any shape.
        """
        follows = self.state is Qstates.estimate_ranges or (
            self.state is Qstates.estimate_ranges_train and self.training
        )
        if follows or not self.quantizer.is_initialized:
            if x.numel() == 0:
                return x
            is_first = not (self.quantizer.is_initialized or torch.compiler.is_compiling())
            self.estimate(x)
            if is_first and not self.range_estimator.has_range:
                self.quantizer.reset()  # values that are not finite have no levels
                return x
        result: Tensor = self.quantizer(x)
        return result

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        given = state_dict.get(f"{prefix}_qstate")
        if isinstance(given, Tensor) and given.numel() == 1:
            known = {float(state.value) for state in Qstates}
            if given.item() not in known:
                raise StateError(f"{prefix}_qstate: expected one of {sorted(known)}")
            # Before the quantiser is loaded, whose range is a parameter then.
            state = Qstates(int(given.item()))
            if state is Qstates.learn_ranges:
                self.quantizer.make_range_trainable()
            self.enter(state)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def extra_repr(self) -> str:
        """Return the state."""
        return f"state={self.state.name}"


def _built(name: str, cls: Callable[..., ModuleT], arguments: dict[str, Any]) -> ModuleT:
    """Return a module; names of arguments that it does not know are those of an argument here."""
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ArgumentError(f"{name}: {error}") from error
