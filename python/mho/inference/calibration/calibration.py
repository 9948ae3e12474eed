"""Input ranges of a trained model, from what its tiles see when data passes through it."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from tqdm import tqdm

from mho.documented import documented
from mho.exceptions import ArgumentError, ConfigError, ModuleError, warn_caller
from mho.inference.calibration.observers import (
    CachedQuantile,
    LargestValue,
    MovingQuantile,
    MovingStd,
    Observer,
)
from mho.nn.data_passes import arguments_of, evaluated
from mho.nn.low_precision_modules.calibration import (
    calibrate_quantization_ranges as calibrate_quantization_ranges,
)
from mho.simulator.parameters.arguments import check_size
from mho.simulator.parameters.enums import NoiseManagementType
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.pre_post import PrePostProcessingRPU
from mho.simulator.parameters.signatures import checked
from mho.simulator.tiles.editing import edit
from mho.simulator.tiles.periphery import TileWithPeriphery

_RANGE = "pre_post.input_range."


@documented
class InputRangeCalibrationType(Enum):
    """How a range follows from the inputs of a tile."""

    NONE = "None"
    """Not at all."""

    MOVING_STD = "MovingStd"
    """Mean over batches of `std_alpha` standard deviations."""

    MOVING_QUANTILE = "MovingQuantile"
    """Mean over batches of a quantile."""

    CACHE_QUANTILE = "CacheQuantile"
    """Quantile of rows drawn from all batches, without noise."""

    MAX = "Max"
    """Largest absolute value, without noise."""


_WITHOUT_NOISE = (InputRangeCalibrationType.CACHE_QUANTILE, InputRangeCalibrationType.MAX)
_OF_QUANTILES = (
    InputRangeCalibrationType.CACHE_QUANTILE,
    InputRangeCalibrationType.MOVING_QUANTILE,
)
_QUANTILE, _SAMPLES = 0.99995, 1000


@checked
def calibrate_input_ranges(
    model: nn.Module,
    calibration_type: InputRangeCalibrationType,
    dataloader: Iterable[Any],
    quantile: float = _QUANTILE,
    max_samples: int = _SAMPLES,
    std_alpha: float | None = None,
    force_all_layers: bool = True,
    verbose: bool = False,
    absolute: bool = False,
) -> None:
    """Set the input ranges of all tiles from the inputs that they see in a data set.

    The same as passing the batches through the model inside of `calibrate`, which see. A batch is

    - a tensor, the one argument of the model;
    - a pair of arguments and a dictionary, `(args, kwargs)`: the model is called with both, where
      `args` is a list or tuple of arguments, or a tensor;
    - any other list or tuple, such as `(x, y)`: its first element is the one argument;
    - a dictionary of keyword arguments.

    Args:
        model: Model with analog layers anywhere in it.
        calibration_type: How ranges follow from inputs; `NONE` does nothing.
        dataloader: Batches, on the device of the model.
        quantile: As for `calibrate`.
        max_samples: As for `calibrate`.
        std_alpha: As for `calibrate`.
        force_all_layers: As for `calibrate`.
        verbose: Show a progress bar over the batches.
        absolute: As for `calibrate`.

    Raises:
        ArgumentError: As for `calibrate`, or a batch is none of these; nothing is changed.
        ConfigError: As for `calibrate`.
    """
    if calibration_type is InputRangeCalibrationType.NONE:
        return
    with calibrate(
        model, calibration_type, quantile, max_samples, std_alpha, force_all_layers, absolute
    ):
        for batch in tqdm(dataloader, "calibrating", unit="batch", disable=not verbose):
            args, kwargs = arguments_of(batch, "dataloader")
            model(*args, **kwargs)


@checked
@contextmanager
def calibrate(
    model: nn.Module,
    calibration_type: InputRangeCalibrationType = InputRangeCalibrationType.CACHE_QUANTILE,
    quantile: float = _QUANTILE,
    max_samples: int = _SAMPLES,
    std_alpha: float | None = None,
    force_all_layers: bool = True,
    absolute: bool = False,
) -> Iterator[dict[str, float]]:
    """Set the input ranges of all tiles from what they see inside the block.

    Inside, the model is in evaluation mode and nothing is recorded for gradients. At its end every
    tile has its range. A range that was off is on then, and not learned; noise management of the
    inputs is off, since it would choose another range for each vector; and ranges do not follow
    the first batches of a later training any more (`init_from_data`). If the block raises,
    everything is as it was before.

    With `CACHE_QUANTILE` and `MAX` products are perfect inside of the block and nothing is clipped,
    and the range is noted in the configuration (`init_value`, `calibration_info`). The other types
    set the range after each batch, whose product is noisy.

    Vectors of zeros do not count. A tile without inputs in the block keeps what it has, and a
    warning names it. Inside of the block the model cannot be copied or pickled.

    Args:
        model: Model with analog layers anywhere in it, before `torch.compile`.
        calibration_type: How ranges follow from inputs; `NONE` does nothing.
        quantile: Fraction of the values that are at or below the range; of signed values unless
            `absolute`, so that of symmetric inputs twice as many are clipped.
        max_samples: Number of rows to keep for `CACHE_QUANTILE`, of batches that count for the
            moving types.
        std_alpha: Number of standard deviations for `MOVING_STD`; None takes that of the
            configuration.
        force_all_layers: Switch ranges on where they are off, and noise management off. Otherwise
            tiles without input range are left out.
        absolute: Take quantiles of absolute values.

    Yields:
        A dictionary, at first empty. At the end of the block it has the range of every tile by the
        name of the tile in the model.

    Raises:
        ArgumentError: The model has no tiles with digital processing of their inputs, none of them
            has seen inputs that ask for a range, inputs are not finite, or an argument is
            impossible. Nothing is changed.
        ConfigError: A tile has noise management and `force_all_layers` is off, or it cannot have an
            input range; the message names both. Nothing is changed.
    """
    ranges: dict[str, float] = {}
    if calibration_type is InputRangeCalibrationType.NONE:
        yield ranges
        return
    if not 0.0 < quantile <= 1.0:
        raise ArgumentError(f"quantile: expected a number above 0, at most 1, got {quantile}")
    check_size("max_samples", max_samples)
    if std_alpha is not None and not std_alpha > 0.0:
        raise ArgumentError(f"std_alpha: expected a positive number, got {std_alpha}")
    _warn_of_idle(calibration_type, quantile, max_samples, std_alpha, absolute)

    def observer_of(tile: TileWithPeriphery) -> Observer:
        if calibration_type is InputRangeCalibrationType.MAX:
            return LargestValue()
        if calibration_type is InputRangeCalibrationType.CACHE_QUANTILE:
            return CachedQuantile(max_samples, quantile, absolute)
        if calibration_type is InputRangeCalibrationType.MOVING_QUANTILE:
            return MovingQuantile(max_samples, quantile, absolute)
        own = tile.rpu_config.pre_post.input_range.init_std_alpha
        return MovingStd(max_samples, own if std_alpha is None else std_alpha)

    tiles = [
        _Calibrated(name, tile, observer_of(tile))
        for name, tile in _tiles(model, force_all_layers).items()
    ]
    fields = {} if std_alpha is None else {f"{_RANGE}init_std_alpha": std_alpha}
    perfect = calibration_type in _WITHOUT_NOISE
    with evaluated(model), _undone_on_error(tiles):
        for one in tiles:
            one.begin(fields, perfect)
        with torch.no_grad(), _eager():
            yield ranges
        ranges.update(_finish(tiles, calibration_type.value if perfect else None))


def _warn_of_idle(
    kind: InputRangeCalibrationType,
    quantile: float,
    max_samples: int,
    std_alpha: float | None,
    absolute: bool,
) -> None:
    """Warn of arguments that ranges of this kind do not depend on."""
    of_quantiles = kind in _OF_QUANTILES
    idle = {
        "quantile": quantile != _QUANTILE and not of_quantiles,
        "absolute": absolute and not of_quantiles,
        "max_samples": max_samples != _SAMPLES and kind is InputRangeCalibrationType.MAX,
        "std_alpha": std_alpha is not None and kind is not InputRangeCalibrationType.MOVING_STD,
    }
    for name in (name for name, is_idle in idle.items() if is_idle):
        warn_caller(f"{name}: has no effect on ranges of the type {kind.name}")


def _tiles(model: nn.Module, force_all_layers: bool) -> dict[str, TileWithPeriphery]:
    """Return the tiles to calibrate, by name."""
    found = {
        name: tile
        for name, tile in model.named_modules()
        if isinstance(tile, TileWithPeriphery)
        and isinstance(tile.rpu_config, PrePostProcessingRPU)
        and isinstance(getattr(tile.rpu_config, "forward", None), IOParameters)
    }
    if not force_all_layers:
        found = {name: t for name, t in found.items() if t.rpu_config.pre_post.input_range.enable}
        for name, tile in found.items():
            if tile.rpu_config.forward.noise_management is not NoiseManagementType.NONE:
                raise ConfigError(
                    f"tile {name!r}: forward.noise_management: chooses a range for each vector;"
                    " set it to NONE, or force_all_layers to do so"
                )
    if not found:
        raise ArgumentError(
            "model: has no analog tiles with an input range; convert it first"
            + ("" if force_all_layers else ", or set force_all_layers")
        )
    return found


class _Calibrated:
    """One tile: what is seen of it, and what it was like before."""

    def __init__(self, name: str, tile: TileWithPeriphery, observer: Observer) -> None:
        self.name = name
        self._tile = tile
        self._observer = observer
        self._before: dict[str, Any] = {}
        self._range: Tensor | None = None
        self._hook: RemovableHandle | None = None

    def begin(self, fields: Mapping[str, Any], perfect: bool) -> None:
        """Change the configuration, and look at inputs from now on."""
        tile, config = self._tile, self._tile.rpu_config
        present = tile.input_processing.value()
        self._range = None if present is None else present.detach().clone()
        changes = {f"{_RANGE}init_from_data": 0, **fields}
        if not config.pre_post.input_range.enable:
            changes |= {f"{_RANGE}enable": True, f"{_RANGE}learn_input_range": False}
        changes["forward.noise_management"] = NoiseManagementType.NONE
        if perfect:
            # A perfect product has no clipped outputs, and a range that looks for them is refused.
            changes |= {"forward.is_perfect": True, f"{_RANGE}manage_output_clipping": False}
        noted = (f"{_RANGE}init_value", f"{_RANGE}calibration_info")
        self._before = {path: _value(config, path) for path in (*changes, *noted)}
        edit({self.name: tile}, changes)
        self._hook = tile.register_forward_pre_hook(
            partial(_before_product, self), with_kwargs=True
        )

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse copies, which would never leave the block."""
        raise ModuleError(
            f"calibrate: tile {self.name!r} is being calibrated; copy or pickle the model before"
            " the block or behind it"
        )

    def look_away(self) -> None:
        """Look at inputs no longer."""
        if self._hook is not None:
            self._hook.remove()

    def see(self, x: Tensor) -> None:
        """Take inputs into account before the tile computes their product."""
        values = x.detach().movedim(0, -1) if self._tile.in_trans else x.detach()
        rows = values.reshape(-1, values.shape[-1]).float()
        if not all_finite(rows):
            raise ArgumentError(
                f"tile {self.name!r}: inputs must be finite to be calibrated with; found NaN or"
                " infinity"
            )
        rows = rows[(rows != 0.0).any(dim=1)]
        if len(rows) == 0:
            return
        present = self._tile.input_processing.magnitude()
        if present is None:
            raise ArgumentError(
                f"tile {self.name!r}: its input range was switched off while it was calibrated, by"
                " a state that was loaded or an edit; do that before the block"
            )
        self._observer.observe(rows)
        if not self._observer.follows:
            self._tile.set_input_range(max(float(rows.abs().max()), float(present)))
        elif (value := self._observer.result()) is not None:
            self._tile.set_input_range(value)

    def wanted(self) -> float | None:
        """Return the range that the inputs ask for, None if there were none.

        Raises:
            ArgumentError: It is zero.
        """
        value = self._observer.result()
        if value == 0.0:
            raise ArgumentError(
                f"quantile: that of the inputs of tile {self.name!r} is 0; take a larger one"
            )
        return value

    def finish(self, value: float, info: str | None) -> None:
        """Set the range, and products as they were."""
        self.look_away()
        temporary = ("forward.is_perfect", f"{_RANGE}manage_output_clipping")
        changes = {path: self._before[path] for path in temporary if path in self._before}
        self._tile.set_input_range(value)
        if info is not None:
            changes |= {f"{_RANGE}init_value": value, f"{_RANGE}calibration_info": info}
        edit({self.name: self._tile}, changes)

    def undo(self) -> None:
        """Make everything as it was."""
        self.look_away()
        if self._before:
            edit({self.name: self._tile}, self._before)
        present = self._tile.input_processing.value()
        if present is not None and self._range is not None:
            present.data.copy_(self._range)


def _before_product(
    one: _Calibrated, tile: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    x = args[0] if args else kwargs["x_input"]
    if isinstance(x, Tensor):  # the product refuses what is none
        one.see(x)


def _value(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config


def _finish(tiles: list[_Calibrated], info: str | None) -> dict[str, float]:
    """Give every tile its range; returns the ranges by name."""
    found = {one.name: one.wanted() for one in tiles}
    unseen = [name for name, value in found.items() if value is None]
    if len(unseen) == len(tiles):
        raise ArgumentError(
            "calibrate: no tile has seen inputs that ask for a range; pass batches through the"
            " model, and through the one before torch.compile"
        )
    for one in tiles:
        value = found[one.name]
        if value is None:
            one.undo()
        else:
            one.finish(value, info)
    if unseen:
        warn_caller(
            f"calibrate: {', '.join(map(repr, unseen))} saw no inputs that ask for a range and are"
            " left as they were"
        )
    return {name: value for name, value in found.items() if value is not None}


@contextmanager
def _undone_on_error(tiles: list[_Calibrated]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for one in reversed(tiles):
            one.undo()
        raise


def _eager() -> AbstractContextManager[Any]:
    """Return a block in which compiled models run as they are written: graphs have no hooks."""
    compiler: Any = torch.compiler  # older versions of torch have no `set_stance`
    if "torch._dynamo" in sys.modules and hasattr(compiler, "set_stance"):
        stance: AbstractContextManager[Any] = compiler.set_stance("force_eager")
        return stance
    return nullcontext()
