"""Calibration as part of an evaluation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from mho.documented import documented
from mho.exceptions import ArgumentError
from mho.simulator.parameters.checking import describe

BEFORE, PROGRAMMED, DRIFTED = "before", "programmed", "drifted"
_TIMES = (BEFORE, PROGRAMMED, DRIFTED)


@documented
@dataclass(frozen=True)
class Calibrate:
    """A function that calibrates a model, and when it is called."""

    function: Callable[[nn.Module], Any]
    """Called with the model in evaluation mode, which it may change; what it returns is ignored."""

    when: str = BEFORE
    """`"before"`: once, with the weights that programming aims at. `"programmed"`: after each
    programming. `"drifted"`: before each measurement; it then acts on this measurement only."""

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ArgumentError(f"function: expected f(model), got {describe(self.function)}")
        if self.when not in _TIMES:
            raise ArgumentError(f"when: expected one of {_TIMES}, got {self.when!r}")


def check_calibrate(calibrate: Any) -> Calibrate | None:
    """Return a calibration, None for none.

    Args:
        calibrate: Function, `Calibrate` or None.

    Raises:
        ArgumentError: It is none of these.
    """
    if calibrate is None or isinstance(calibrate, Calibrate):
        return calibrate
    if not callable(calibrate):
        raise ArgumentError(
            f"calibrate: expected f(model) or Calibrate(f, when=...), got {describe(calibrate)}"
        )
    return Calibrate(calibrate)
