"""The arguments of an evaluation, and what is wrong with them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mho.evaluation.calibration import check_calibrate
from mho.evaluation.data import check_source
from mho.evaluation.metrics import check_metric
from mho.evaluation.moments import Moment, label
from mho.evaluation.preparation import FROM_CONFIG
from mho.evaluation.statistics import FEWEST_FOR_BOOTSTRAP
from mho.evaluation.workers import check_workers
from mho.exceptions import ArgumentError
from mho.inference.compensation.base import BaseDriftCompensation
from mho.inference.noise.base import BaseNoiseModel
from mho.simulator.parameters.arguments import check_size
from mho.simulator.parameters.checking import describe

_FRESH, _KEEP = "fresh", "keep"
_VARY = ("programming", "chip")
_INTERVALS = ("t", "bootstrap")
_ON_ERROR = ("raise", "record")
_REFERENCE = "digital"


@dataclass
class Request:
    """The arguments of `evaluate`."""

    model: nn.Module
    data: Any
    metric: Any
    times: Any
    n_programmings: int
    n_reads: int
    vary: str
    programming: str
    noise_model: BaseNoiseModel | None
    compensation: BaseDriftCompensation | str | None
    calibrate: Any
    reference: nn.Module | str | None
    layer_error: int
    ablation: Any
    confidence: float
    interval: str
    seed: int
    workers: Any
    torch_threads: int
    resume: Any
    progress: Any
    on_error: str
    allow_mixed: bool

    @property
    def keeps(self) -> bool:
        """Whether what is programmed is kept."""
        return self.programming == _KEEP

    def check(self) -> None:
        """Check arguments by themselves; what needs the model comes later.

        Raises:
            ArgumentError: One is impossible.
        """
        for name in ("n_programmings", "n_reads", "torch_threads"):
            check_size(name, getattr(self, name))
        choices = (
            ("vary", _VARY),
            ("programming", (_FRESH, _KEEP)),
            ("interval", _INTERVALS),
            ("on_error", _ON_ERROR),
        )
        for name, known in choices:
            _check_choice(name, getattr(self, name), known)
        if isinstance(self.compensation, str):
            _check_choice("compensation", self.compensation, (FROM_CONFIG,))
        if isinstance(self.reference, str):
            _check_choice("reference", self.reference, (_REFERENCE,))
        self._check_numbers()
        self._check_together()
        check_source(self.data)
        self.metric = check_metric(self.metric)
        self.calibrate = check_calibrate(self.calibrate)
        self.workers = check_workers(self.workers)

    def _check_numbers(self) -> None:
        if not 0.0 < self.confidence < 1.0:
            raise ArgumentError(
                f"confidence: expected a number between 0 and 1, got {self.confidence}"
            )
        if self.layer_error < 0:
            raise ArgumentError(f"layer_error: expected 0 or more rows, got {self.layer_error}")
        if self.resume is not None and not isinstance(self.resume, (str, Path)):
            raise ArgumentError(f"resume: expected a path, got {describe(self.resume)}")
        if not isinstance(self.progress, bool) and not callable(self.progress):
            raise ArgumentError(
                f"progress: expected True, False or a function, got {describe(self.progress)}"
            )

    def _check_together(self) -> None:
        if self.keeps and self.n_programmings != 1:
            raise ArgumentError(
                "n_programmings: programming='keep' has the one that is there; use"
                f" n_programmings=1, got {self.n_programmings}"
            )
        if self.keeps and self.vary == "chip":
            raise ArgumentError("vary: programming='keep' keeps the chip as well")
        if self.interval == "bootstrap" and self.n_programmings < FEWEST_FOR_BOOTSTRAP:
            raise ArgumentError(
                f"interval: 'bootstrap' needs n_programmings of {FEWEST_FOR_BOOTSTRAP} or more, got"
                f" {self.n_programmings}; below it covers far less than it says"
            )

    def settings(self, moments: list[Moment]) -> dict[str, Any]:
        """Return the arguments as plain data."""
        names = (
            "n_programmings n_reads vary programming layer_error confidence interval seed"
            " torch_threads on_error"
        )
        found = {name: getattr(self, name) for name in names.split()}
        ablation = self.ablation if isinstance(self.ablation, str | None) else list(self.ablation)
        return {
            "times": [label(moment) for moment in moments],
            "metric": self.metric.name,
            "noise_model": None if self.noise_model is None else str(self.noise_model),
            "compensation": None if self.compensation is None else str(self.compensation),
            "reference": self.reference if isinstance(self.reference, str | None) else "module",
            "ablation": ablation,
            **found,
        }


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ArgumentError(f"{name}: expected {' or '.join(map(repr, known))}, got {value!r}")
