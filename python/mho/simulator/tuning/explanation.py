"""What the settings of a tile follow from, and what to expect of them."""

import math
from dataclasses import dataclass, field
from typing import Any

from mho.exceptions import warn_caller
from mho.simulator.parameters.io import IOParameters


@dataclass
class Explanation:
    """Settings of a tile, the numbers that they follow from, and what may go wrong.

    `print` shows it as a table. Weights and steps are in units of the weight, a vector is a sample,
    or one use of the weights in it, and a sweep is over when every column (or row) was transferred
    once.
    """

    config: Any
    """Configuration with the settings."""

    rows: int
    """Outputs of the tile."""

    columns: int
    """Inputs of the tile, that of an analog bias included."""

    rate: float
    """Rate at which the weight follows the gradient, in units of the learning rate."""

    slow_step: float
    """Mean change of the slow device, or of the only one, by one pulse."""

    states: float
    """Steps between the bounds of that device."""

    kappa: float
    """Slope of half the difference of the steps down and up of the fast device, or of the only one,
    at its symmetry point, in steps per unit of the weight."""

    symmetry_point: float
    """Weight at which these steps are equal."""

    sweep: float
    """Vectors from one transfer of a column to the next."""

    fast_step: float | None = None
    """Mean change of the fast device by one pulse."""

    pulses: float | None = None
    """Pulses per vector where input and error are largest; the cost of an update."""

    leak: float | None = None
    """Share of its weight that the fast device forgets in a sweep."""

    gain: float | None = None
    """Mean of what is read over the gradient of one sweep."""

    period: int | None = None
    """Sweeps between two flips of a chopper."""

    writes: int | None = None
    """Most pulses that a transfer writes."""

    read_noise: float | None = None
    """Standard deviation of a read of the fast device: output noise and converter."""

    signal: float | None = None
    """Standard deviation that single pulses up and down give the fast device."""

    warnings: list[str] = field(default_factory=list)
    """Why the training may fail."""

    advice: list[str] = field(default_factory=list)
    """What may be better."""

    @property
    def memory(self) -> float | None:
        """Vectors that the fast device remembers."""
        return None if self.leak is None else self.sweep / self.leak

    @property
    def speed_limit(self) -> float | None:
        """Fastest change of the weight, per vector."""
        return None if self.writes is None else self.writes * self.slow_step / self.sweep

    @property
    def signal_to_noise(self) -> float | None:
        """Signal over the noise of a read; infinite for perfect reads."""
        if self.signal is None or self.read_noise is None:
            return None
        return self.signal / self.read_noise if self.read_noise > 0.0 else math.inf

    def warn(self) -> None:
        """Warn of what may make the training fail, at the line of the user's code."""
        for text in self.warnings:
            warn_caller(f"tuning of {type(self.config.device).__name__}: {text}")

    def __str__(self) -> str:
        """Return a table of what there is."""
        texts = [(name, _text(value, unit)) for name, unit, value in self._values()]
        rows = [(name, text) for name, text in texts if text]
        width = max(len(name) for name, _ in rows)
        cell = type(self.config.device).__name__
        lines = [f"{cell} on a tile of {self.rows} x {self.columns}"]
        lines += [f"  {name:{width}}  {text}" for name, text in rows]
        lines += [f"  warning: {text}" for text in self.warnings]
        lines += [f"  advice: {text}" for text in self.advice]
        return "\n".join(lines)

    def _values(self) -> list[tuple[str, str, float | None]]:
        return [
            ("step of the fast device", "", self.fast_step),
            ("step of the slow device", "", self.slow_step),
            ("states of the slow device", "", self.states),
            ("kappa", "per unit of the weight", self.kappa),
            ("symmetry point", "", self.symmetry_point),
            ("sweep", "vectors", self.sweep),
            ("pulses per vector", "", self.pulses),
            ("leak", "per sweep", self.leak),
            ("memory", "vectors", self.memory),
            ("chopper period", "sweeps", self.period),
            ("gain", "", self.gain),
            ("effective rate", "times the learning rate", self.rate),
            ("pulses per transfer", "at most", self.writes),
            ("speed limit", "per vector", self.speed_limit),
            ("signal to read noise", "", self.signal_to_noise),
        ]


def read_noise(forward: IOParameters) -> float:
    """Return the standard deviation of a read of one device: output noise and converter.

    Args:
        forward: How it is read.
    """
    if forward.is_perfect:
        return 0.0
    converted = forward.out_res > 0.0 and math.isfinite(forward.out_bound)
    step = 2.0 * forward.out_bound * forward.out_res if converted else 0.0
    return math.hypot(max(forward.out_noise, 0.0), max(step, 0.0) / math.sqrt(12.0))


def _text(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.4g} {unit}".strip()
