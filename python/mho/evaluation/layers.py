"""Errors of the layers of a model, against exact products and against a reference network."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mho.evaluation.clipping import Clipping, watched_clipping
from mho.nn.modules.base import AnalogLayerBase
from mho.nn.modules.kernel_layer import KernelLayer
from mho.simulator.tiles.module import TileModule

QUANTITIES = (
    "error",
    "gain",
    "residual",
    "snr_db",
    "clipped_in",
    "clipped_out",
    "propagated",
)
"""What is known of each layer."""


class _Enough(BaseException):
    """All layers have seen their rows; no error, so that nobody takes it for one."""


def analog_layers(model: nn.Module) -> dict[str, AnalogLayerBase]:
    """Return the analog layers of a model by name, without containers.

    Args:
        model: Any module.
    """
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, AnalogLayerBase) and not module.IS_CONTAINER
    }


@dataclass
class _Sums:
    """Sums over the rows of one layer, in double precision."""

    rows: int = 0
    exact: float = 0.0
    """Squares of the exact outputs."""
    product: float = 0.0
    """Exact outputs times deviations."""
    square: float = 0.0
    """Squares of the deviations."""
    reference: float = 0.0
    """Squares of the outputs of the reference network."""
    away: float = 0.0
    """Squares of the deviations from these."""
    clipping: Clipping = field(default_factory=Clipping)

    def add(self, y: Tensor, z: Tensor, z0: Tensor | None) -> None:
        """Take rows into account.

        Args:
            y: Outputs, `[rows, out]`, double precision.
            z: Exact outputs for the same inputs.
            z0: Outputs of the reference network, None if it has no such layer.
        """
        deviation = y - z
        self.rows += len(y)
        self.exact += float(z.square().sum())
        self.product += float((deviation * z).sum())
        self.square += float(deviation.square().sum())
        if z0 is None or z0.shape != y.shape:
            self.reference = math.nan
        else:
            self.reference += float(z0.square().sum())
            self.away += float((y - z0).square().sum())

    def quantities(self) -> dict[str, float]:
        """Return what is known of the layer; NaN where exact outputs are zero."""
        if self.exact == 0.0:
            error = gain = residual = math.nan
        else:
            error = math.sqrt(self.square / self.exact)
            gain = 1.0 + self.product / self.exact
            rest = self.square / self.exact - (1.0 - gain) ** 2
            residual = math.sqrt(max(rest, 0.0))
        away = math.sqrt(self.away / self.reference) if self.reference > 0.0 else math.nan
        values = (
            error,
            gain,
            residual,
            _decibel(gain, residual),
            self.clipping.inputs.share(),
            self.clipping.outputs.share(),
            away,
        )
        return dict(zip(QUANTITIES, values, strict=True))


def _decibel(gain: float, residual: float) -> float:
    if math.isnan(residual) or gain <= 0.0:
        return math.nan
    return math.inf if residual == 0.0 else -20.0 * math.log10(residual / gain)


def layer_errors(
    model: nn.Module,
    exact: nn.Module,
    reference: nn.Module,
    run: Callable[[nn.Module], Any],
    rows: int,
) -> dict[str, dict[str, float]]:
    """Return the errors of all analog layers over the first rows that they see.

    With `y` the output of a layer, `z` the exact output for the same input and `z0` the output of
    the reference network at this layer, over all rows and outputs:

    - `error` is `|y - z| / |z|`,
    - `gain` is `<y, z> / <z, z>`,
    - `residual` is `|y - gain z| / |z|`,
    - `snr_db` is `-20 log10(residual / gain)`,
    - `clipped_in` and `clipped_out` are the shares of inputs beyond the range and of outputs at the
      bound of the converter,
    - `propagated` is `|y - z0| / |z0|`.

    Args:
        model: Model, programmed and maybe drifted.
        exact: The same model with exact products of the weights that were aimed at.
        reference: Reference network; its layers are found by name.
        run: Passes data through a model; called once for each of the two, with the same draws.
        rows: Most rows of each layer; those of convolutions are patches.
    """
    layers = analog_layers(model)
    kept = _reference_outputs(reference, list(layers), run, rows)
    ideal = dict(exact.named_modules())
    sums = {name: _Sums() for name in layers}

    def see(name: str, layer: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or sums[name].rows >= rows:
            return
        left = rows - sums[name].rows
        y = _rows(layer, output, left)
        z = _rows(layer, ideal[name](*args, **kwargs), left)
        z0 = kept[name].take(sums[name].rows, len(y))
        sums[name].add(y, z, z0)
        if all(one.rows >= rows for one in sums.values()):
            raise _Enough

    with ExitStack() as stack:
        for name, layer in layers.items():
            for tile in _tiles(layer):
                stack.enter_context(watched_clipping(tile, sums[name].clipping))
        _passed(model, layers, see, run)
    return {name: one.quantities() for name, one in sums.items()}


class _Kept:
    """First outputs of a layer of the reference network."""

    def __init__(self) -> None:
        self._pieces: list[Tensor] = []
        self.count = 0

    def add(self, rows: Tensor) -> None:
        """Take rows into account."""
        self._pieces.append(rows)
        self.count += len(rows)

    def take(self, first: int, number: int) -> Tensor | None:
        """Return rows, None if there are not that many."""
        if first + number > self.count:
            return None
        if len(self._pieces) > 1:
            self._pieces = [torch.cat(self._pieces)]
        return self._pieces[0][first : first + number]


def _reference_outputs(
    reference: nn.Module, names: list[str], run: Callable[[nn.Module], Any], rows: int
) -> dict[str, _Kept]:
    found = {name: _Kept() for name in names}
    modules = dict(reference.named_modules())
    layers = {name: modules[name] for name in names if name in modules}

    def see(name: str, layer: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        kept = found[name]
        if isinstance(output, Tensor) and kept.count < rows:
            kept.add(_rows(layer, output, rows - kept.count))
            if all(found[name].count >= rows for name in layers):
                raise _Enough

    if layers:
        _passed(reference, layers, see, run)
    return found


def _passed(
    model: nn.Module,
    layers: Any,
    see: Callable[[str, nn.Module, Any, Any, Any], None],
    run: Callable[[nn.Module], Any],
) -> None:
    """Pass data through a model until everything is seen; hooks are gone afterwards."""
    with ExitStack() as stack:
        for name, layer in layers.items():
            stack.enter_context(_hooked(name, layer, see))
        try:
            run(model)
        except _Enough:
            pass


@contextmanager
def _hooked(
    name: str, layer: nn.Module, see: Callable[[str, nn.Module, Any, Any, Any], None]
) -> Iterator[None]:
    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        see(name, module, args, kwargs, output)

    handle = layer.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _rows(layer: nn.Module, output: Tensor, most: int) -> Tensor:
    """Return first outputs as rows, in double precision; those of convolutions are patches."""
    if isinstance(layer, KernelLayer):
        output = output.movedim(-len(layer.kernel_size) - 1, -1)
    return output.detach().reshape(-1, output.shape[-1])[:most].double()


def _tiles(layer: nn.Module) -> Iterator[TileModule]:
    yield from (module for module in layer.modules() if isinstance(module, TileModule))
