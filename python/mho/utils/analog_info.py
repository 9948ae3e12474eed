"""Summary of a model: layers, tiles, exact counts, and what they cost on some hardware."""

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from mho.exceptions import ArgumentError, short_traceback
from mho.simulator.parameters.arguments import check_flag, check_rpu_config, check_size
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.signatures import checked
from mho.utils.hardware_cost.counts import LayerCounts, layer_counts
from mho.utils.hardware_cost.execution import (
    LayerRun,
    analog_layers,
    as_written,
    is_analog_layer,
    runs_of,
    tiles_of,
)
from mho.utils.hardware_cost.figures import plot_layers
from mho.utils.hardware_cost.inputs import arguments_of_pass, batch_of
from mho.utils.hardware_cost.peak import has_costs
from mho.utils.hardware_cost.report import LAYER_COSTS, CostReport, cost_report
from mho.utils.hardware_cost.schedule import Schedule, as_schedule
from mho.utils.hardware_cost.table import HardwareTable
from mho.utils.hardware_cost.text import report_text
from mho.utils.hardware_cost.training import training_cost
from mho.utils.hardware_cost.updates import UpdateRecord, pending_record
from mho.utils.hardware_cost.workload import workload_text, write_workload
from mho.utils.layer_info import (
    COLUMN_DEFINITIONS,
    COLUMN_NAMES,
    COLUMN_WIDTH,
    FLOAT_FORMAT,
    FORMATTING_WIDTH,
    LayerInfo,
    TileInfo,
    cells,
)

__all__ = [
    "COLUMN_DEFINITIONS",
    "COLUMN_NAMES",
    "COLUMN_WIDTH",
    "FLOAT_FORMAT",
    "FORMATTING_WIDTH",
    "AnalogInfo",
    "LayerInfo",
    "TileInfo",
    "analog_summary",
    "cost",
]


class AnalogInfo:
    """Summary of a model; it prints as a table, and as a report of costs if there is hardware."""

    layer_summary: list[LayerInfo]
    """Layers in the order in which they run, each once."""

    total_tile_number: int
    """Number of tiles."""

    total_nb_analog: int
    """Number of analog layers."""

    counts: list[LayerCounts]
    """Exact counts of the layers, in the same order."""

    cost: CostReport | None
    """Costs on the hardware; None without any, or if its table has none."""

    @checked
    def __init__(
        self,
        model: nn.Module,
        input_size: Any = None,
        rpu_config: RPUConfigBase | None = None,
        *,
        inputs: Any = None,
        hardware: str | Path | HardwareTable | None = None,
        training: bool | UpdateRecord = False,
        batch: int | None = None,
        schedule: str | Schedule = "resident",
    ) -> None:
        """Run the model once and count; see `analog_summary`.

        Args:
            model: Model.
            input_size: Shape of the input.
            rpu_config: Kept as an attribute.
            inputs: Inputs instead of zeros.
            hardware: Table of costs.
            training: Whether to add the cost of a training step.
            batch: Samples of the inputs.
            schedule: How layers share the hardware.
        """
        model = as_written(model)
        _check_model(model)
        self.model = model
        self.input_size = input_size
        self.rpu_config = None if rpu_config is None else check_rpu_config(rpu_config)
        self.table = None if hardware is None else HardwareTable.load(hardware)
        self.schedule: Schedule = as_schedule(schedule)
        if not isinstance(training, UpdateRecord):
            training = check_flag("training", training)
        if batch is not None:
            check_size("batch", batch)
        if self.table is None and (training is not False or self.schedule != Schedule()):
            raise ArgumentError("hardware: training and schedule need a table of costs")
        args, kwargs = arguments_of_pass(model, input_size, inputs)
        has_inputs = bool(args or kwargs)
        self._runs = runs_of(model, args, kwargs) if has_inputs else _idle_runs(model)
        self.batch = batch or batch_of(args, kwargs)
        self.layer_summary = self.create_layer_summary()
        self.total_tile_number = self.calculate_num_tiles()
        self.total_nb_analog = self.calculate_num_analog()
        self.counts = [layer_counts(run, self.table) for run in self._runs]
        self.cost = self._costs(training)

    def register_hooks_recursively(self, module: nn.Module, hook: Callable[..., Any]) -> list[Any]:
        """Call a function after each call of the layers of a module.

        Layers are modules with nothing inside, and analog layers.

        Args:
            module: Module.
            hook: Function as `register_forward_hook` of torch takes it.

        Returns:
            Handles, whose `remove` takes the hooks away again.
        """
        if is_analog_layer(module) or next(module.children(), None) is None:
            return [module.register_forward_hook(hook)]
        return [
            handle
            for child in module.children()
            for handle in self.register_hooks_recursively(child, hook)
        ]

    def create_layer_summary(self) -> list[LayerInfo]:
        """Return shapes and tiles of the layers in the order in which they ran."""
        return [
            LayerInfo(run.module, self.rpu_config, run.input_shape, run.output_shape)
            for run in self._runs
            if _is_listed(run)
        ]

    def calculate_num_tiles(self) -> int:
        """Return the number of tiles."""
        return sum(layer.num_tiles for layer in self.layer_summary)

    def calculate_num_analog(self) -> int:
        """Return the number of analog layers."""
        return sum(layer.isanalog for layer in self.layer_summary)

    def _costs(self, training: Any) -> CostReport | None:
        if self.table is None or not has_costs(self.table):
            return None
        report = cost_report(
            type(self.model).__name__, self.counts, self.table, self.schedule, self.batch
        )
        if training is False:
            return report
        record = training if isinstance(training, UpdateRecord) else pending_record(self.model)
        configs = {
            ".".join(part for part in (run.name, name) if part): tile.rpu_config
            for run in self._runs
            if is_analog_layer(run.module)
            for name, tile in tiles_of(run.module)
        }
        cost = training_cost(self.counts, configs, self.table, record, report.latency, self.batch)
        return replace(report, training=cost)

    def to_dict(self) -> dict[str, Any]:
        """Return counts and costs, for JSON."""
        return {
            "model": type(self.model).__name__,
            "hardware": None if self.table is None else self.table.name,
            "limits": "" if self.table is None else self.table.limits,
            "counts": [layer.to_dict() for layer in self.counts],
            "cost": None if self.cost is None else self.cost.to_dict(),
        }

    def to_pandas(self) -> Any:
        """Return a data frame with a row for each layer: counts, and costs in units of the SI.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            pandas: Any = importlib.import_module("pandas")
        except ImportError as error:
            raise ImportError(
                "data frames need pandas; install it with `pip install pandas`, or use to_dict()"
            ) from error
        return pandas.DataFrame(self._rows())

    def _rows(self) -> list[dict[str, Any]]:
        rows = [layer.to_dict() for layer in self.counts]
        for row, layer in zip(rows, () if self.cost is None else self.cost.layers, strict=False):
            for name in LAYER_COSTS:
                quantity = getattr(layer, name)
                for end in ("low", "value", "high"):
                    row[f"{name}_{end}"] = None if quantity is None else getattr(quantity, end)
        return rows

    def save(self, path: str | Path) -> None:
        """Write counts and costs as JSON.

        Args:
            path: File, written anew.
        """
        Path(path).write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    @short_traceback
    def plot(self, kind: str = "energy") -> Any:
        """Return a figure with a bar for each layer.

        Args:
            kind: `"energy"`, `"latency"`, `"area"` or `"utilisation"`; only the last one needs no
                hardware.

        Raises:
            ArgumentError: It is another kind, or there are no such costs.
            ImportError: matplotlib is not installed.
        """
        return plot_layers(kind, self.counts, self.cost)

    @short_traceback
    def export_workload(self, path: str | Path, format: str = "accelforge") -> None:
        """Write the workload for other tools.

        Args:
            path: File, written anew.
            format: `"accelforge"` is YAML with an einsum for each executed analog layer; `"csv"`
                are the counts of all layers.

        Raises:
            ArgumentError: The format is another one; nothing is written.
        """
        write_workload(path, workload_text(self.counts, self._runs, format))

    def __repr__(self) -> str:
        text = self._summary()
        if self.cost is not None:
            return text + report_text(self.cost) + "\n"
        if self.table is not None:
            return text + f"No costs: {self.table.limits}\n"
        return text

    def _summary(self) -> str:
        line = "=" * FORMATTING_WIDTH
        titles = [
            [title for group, title in COLUMN_NAMES.values() if group == i]
            for i in range(len(COLUMN_DEFINITIONS))
        ]
        groups = "| ".join(
            name.ljust(COLUMN_WIDTH * len(own))
            for name, own in zip(COLUMN_DEFINITIONS, titles, strict=True)
        )
        parts = [
            line, f"Model Name: {type(self.model).__name__}", line, "Per-layer Information", line,
            groups.rstrip(), line, cells(title for own in titles for title in own),
        ]  # fmt: skip
        layers = "".join(map(repr, self.layer_summary))
        totals = [
            line, "General Information", line, f"Total number of tiles: {self.total_tile_number}",
            f"Total number of analog layers: {self.total_nb_analog}",
        ]  # fmt: skip
        return "\n".join(parts) + "\n" + layers + "\n".join(totals) + "\n"


@checked
def analog_summary(
    model: nn.Module,
    input_size: Any = None,
    rpu_config: RPUConfigBase | None = None,
    *,
    inputs: Any = None,
    hardware: str | Path | HardwareTable | None = None,
    training: bool | UpdateRecord = False,
    batch: int | None = None,
    schedule: str | Schedule = "resident",
) -> AnalogInfo:
    """Return layers, tiles and exact counts of a model, and what one pass costs on some hardware.

    The model runs once, in evaluation mode and without gradients; afterwards its modes, random
    streams and hooks are as before. A module that runs several times counts as often, but has its
    tiles once.

    Args:
        model: Model with analog layers.
        input_size: Shape of an input of zeros, such as `(1, 1, 28, 28)`; a list of shapes for
            several inputs.
        rpu_config: Not used; tiles have their own configurations.
        inputs: Inputs instead of zeros: a tensor, a tuple of arguments, or arguments by name. With
            neither, layers are listed without shapes and executions.
        hardware: Name of a table (`mho.utils.hardware_cost.presets()` lists them), path of a TOML
            file, or a `HardwareTable`. Without, there are counts but no costs.
        training: Whether to add the cost of a training step; the pulses of its update are those
            that the last `loss.backward()` has prepared, or those of an `UpdateRecord` from
            `mho.utils.hardware_cost.record_updates`.
        batch: Samples of the inputs; by default the size of the first axis of the first one.
        schedule: `"resident"`, `"pipelined"`, `"time_shared"`, or a `Schedule`.

    Raises:
        ArgumentError: The model has no analog layer, or an argument has the wrong type or value.
        ConfigError: There is no such hardware, a number in its table is wrong, or the schedule
            needs one that it does not have; the message has file and key.
    """
    return AnalogInfo(
        model, input_size, rpu_config, inputs=inputs, hardware=hardware, training=training,
        batch=batch, schedule=schedule,
    )  # fmt: skip


@checked
def cost(
    model: nn.Module,
    inputs: Any,
    hardware: str | Path | HardwareTable = "hermes_pcm_14nm",
    *,
    training: bool | UpdateRecord = False,
    batch: int | None = None,
    schedule: str | Schedule = "resident",
) -> CostReport:
    """Return what one pass through a model costs; the short form of `analog_summary`.

    Args:
        model: Model with analog layers.
        inputs: A tensor, a tuple of arguments, or arguments by name.
        hardware: Table of costs, see `analog_summary`.
        training: Whether to add the cost of a training step.
        batch: Samples of the inputs; by default the size of the first axis of the first one.
        schedule: How layers share the hardware.

    Raises:
        ArgumentError: There are no inputs, the model has no analog layer, or an argument has the
            wrong type or value.
        ConfigError: As for `analog_summary`, or the table has no costs.
    """
    if inputs is None:
        raise ArgumentError("inputs: a cost is that of a pass; expected a tensor or arguments")
    info = AnalogInfo(
        model, inputs=inputs, hardware=hardware, training=training, batch=batch, schedule=schedule
    )
    if info.cost is None:
        table = HardwareTable.load(hardware)
        raise ArgumentError(
            f"hardware: the table {table.name} has no costs, use analog_summary for the counts."
            f" {table.limits}"
        )
    return info.cost


def _check_model(model: nn.Module) -> None:
    if next(analog_layers(model), None) is None:
        raise ArgumentError(
            "model: has no analog layer; convert it with mho.nn.convert_to_analog first"
        )


def _idle_runs(model: nn.Module) -> list[LayerRun]:
    """Return the analog layers of a model that did not run."""
    return [
        LayerRun(name, layer, vectors={tile: 0 for tile, _ in tiles_of(layer)})
        for name, layer in analog_layers(model)
    ]


def _is_listed(run: LayerRun) -> bool:
    """Return whether the summary lists a module: layers, but not what holds others."""
    return is_analog_layer(run.module) or next(run.module.children(), None) is None
