"""One unit of an evaluation: one variant of the model is programmed once, and measured."""

import copy
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from mho.evaluation.ablation import FULL, REFERENCE, let_through
from mho.evaluation.calibration import DRIFTED, PROGRAMMED
from mho.evaluation.chips import draw_chip
from mho.evaluation.data import same_order
from mho.evaluation.experiment import Experiment
from mho.evaluation.layers import layer_errors
from mho.evaluation.moments import Moment
from mho.evaluation.preparation import programmable, tiles_of
from mho.evaluation.random_state import kept_random_state, seed_everything, seed_tile, seed_torch

_ONE_AT_A_TIME = threading.Lock()
"""Units of one process share its generators, so that threads take turns."""


class Point(NamedTuple):
    """One measurement of a unit."""

    moment: Moment
    read: int


class Unit(NamedTuple):
    """What is programmed once."""

    variant: str
    programming: int
    points: tuple[Point, ...]
    """In ascending order of their time."""


class Measurement(NamedTuple):
    """What a measurement has found."""

    point: Point
    values: dict[str, float]
    layers: dict[str, dict[str, float]] | None = None


class Outcome(NamedTuple):
    """What a unit has found."""

    unit: Unit
    measurements: list[Measurement]
    machine: str
    """What the bits of results depend on."""


def machine() -> str:
    """Return what the bits of results depend on: architecture and set of instructions."""
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def run_unit(experiment: Experiment, unit: Unit) -> Outcome:
    """Program a variant once and measure it at all points.

    A pure function of its arguments: random numbers of the process are as before afterwards.

    Args:
        experiment: All that is shared.
        unit: What to do.
    """
    with (
        _ONE_AT_A_TIME,
        torch_threads_set(experiment.torch_threads),
        kept_random_state(experiment.model),
    ):
        if unit.variant == REFERENCE:
            measured = [_measured_reference(experiment, unit, point) for point in unit.points]
        else:
            measured = list(_Chip(experiment, unit).measurements())
        return Outcome(unit, measured, machine())


@contextmanager
def torch_threads_set(number: int) -> Iterator[None]:
    """Let torch have a number of threads inside of the block.

    Args:
        number: At least 1.
    """
    before = torch.get_num_threads()
    if before == number:
        yield
        return
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _measured_reference(experiment: Experiment, unit: Unit, point: Point) -> Measurement:
    model = copy.deepcopy(experiment.reference())
    seed_everything(experiment.key("metric", unit.programming, "", *point))
    with same_order(experiment.batches(), experiment.seed):
        return Measurement(point, experiment.metric.measure(model, experiment.batches()))


class _Chip:
    """A copy of the model that is programmed, drifts and is measured."""

    def __init__(self, experiment: Experiment, unit: Unit) -> None:
        self._experiment, self._unit = experiment, unit
        self._removed = experiment.ablation.variants()[unit.variant]
        self._model = copy.deepcopy(experiment.variant(unit.variant))

    def measurements(self) -> Iterator[Measurement]:
        """Yield what is found at all points, one after another."""
        experiment, number = self._experiment, self._unit.programming
        if experiment.new_chips:
            draw_chip(self._model, experiment.seed, number)
        self._program()
        calibrate = experiment.calibrate
        if calibrate is not None and calibrate.when == PROGRAMMED:
            self._seed(self._model, "calibrate", "calibrate", None, None)
            calibrate.function(self._model)
        each_alone = calibrate is not None and calibrate.when == DRIFTED
        for point in self._unit.points:
            model = copy.deepcopy(self._model) if each_alone else self._model
            self._drift(model, point)
            if calibrate is not None and each_alone:
                self._seed(model, "calibrate", "calibrate", *point)
                calibrate.function(model)
            let_through(model, experiment.ablation, self._removed)
            values = self._passed(model, "product", "metric", point, experiment.metric.measure)
            yield Measurement(point, values, self._layers(model, point))

    def _key(self, purpose: str, tile: str, moment: Moment, read: int | None) -> int:
        return self._experiment.key(purpose, self._unit.programming, tile, moment, read)

    def _program(self) -> None:
        tiles = programmable(self._model)
        for name in sorted(tiles):
            if self._experiment.keep:
                tiles[name].programming.undo_drift()
                continue
            seed_torch(self._key("program", name, None, None))
            # The readout that compensation starts from follows at once, with numbers of its own on
            # tiles of the core, and with those behind programming on tiles that draw from torch.
            seed_tile(tiles[name], self._key("baseline", name, None, None))
            tiles[name].program_weights()

    def _drift(self, model: nn.Module, point: Point) -> None:
        if point.moment is None:
            return
        tiles = programmable(model)
        for name in sorted(tiles):
            seed_torch(self._key("drift", name, *point))
            seed_tile(tiles[name], self._key("alpha", name, *point))
            tiles[name].drift_weights(point.moment)

    def _seed(
        self, model: nn.Module, of_tiles: str, of_torch: str, moment: Moment, read: int | None
    ) -> None:
        for name, tile in tiles_of(model).items():
            seed_tile(tile, self._key(of_tiles, name, moment, read))
        seed_everything(self._key(of_torch, "", moment, read))

    def _passed(
        self,
        model: nn.Module,
        of_tiles: str,
        of_torch: str,
        point: Point,
        run: Callable[[nn.Module, Any], Any],
    ) -> Any:
        """Return what a function makes of a model and the data, with the draws of a purpose."""
        experiment = self._experiment
        self._seed(model, of_tiles, of_torch, *point)
        with same_order(experiment.batches(), experiment.seed):
            return run(model, experiment.batches())

    def _layers(self, model: nn.Module, point: Point) -> dict[str, dict[str, float]] | None:
        experiment = self._experiment
        if not experiment.layer_rows or point.read != 0 or self._unit.variant != FULL:
            return None
        exact, reference = experiment.exact(), experiment.reference()
        measure = experiment.metric.measure

        def run(passed: nn.Module) -> Any:
            return self._passed(passed, "layers", "layers", point, measure)

        return layer_errors(model, exact, reference, run, experiment.layer_rows)
