"""Conductances of a model for the Fusion test chip, and those of the chip back into a model."""

import copy
import csv
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, FusionExportError, TileError
from mho.inference.converter.base import BaseConductanceConverter
from mho.inference.converter.fusion import FusionConductanceConverter
from mho.nn.modules.base import AnalogLayerBase
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parameters.signatures import checked
from mho.simulator.raw_tiles.given_values import as_vector
from mho.simulator.state.transaction import unchanged_on_error
from mho.simulator.tiles.base import TileModuleBase
from mho.simulator.tiles.inference import InferenceTile

_HEADER = ("id", "class", "num_weights", "height", "width")


@checked
def fusion_export(
    analog_model: nn.Module,
    g_converter: BaseConductanceConverter | None = None,
    file_name: str | Path | None = None,
) -> tuple[dict[str, list[float]], dict[str, list[dict[str, Any]]], dict[str, Tensor]]:
    """Return the conductances that stand for the raw weights of a model, and write them to a file.

    The file is text with commas: five lines with one entry per analog layer (number of the layer
    among the modules that are no containers, class, number of weights, outputs, inputs), one line
    with the names of the layers, and one line of conductances per layer. It has neither signs,
    scales nor biases: keep `params` and `state_dict` beside it.

    Args:
        analog_model: Model with analog layers anywhere in it, whose tiles are `InferenceTile`.
        g_converter: Conversion, to one device per weight; `FusionConductanceConverter()` by
            default.
        file_name: File to write, replaced if it exists.

    Returns:
        Conductances in microsiemens by name of the layer, row by row and tile after tile; what
        converts them back by name of the layer, one dictionary per tile; and the state of the
        model, copied.

    Raises:
        ArgumentError: The conversion gives more than one device per weight.
        TileError: There are no analog layers, or a tile is of another class.
        OSError: The file cannot be written.
    """
    converter = FusionConductanceConverter() if g_converter is None else g_converter
    conductances: dict[str, list[float]] = OrderedDict()
    params: dict[str, list[dict[str, Any]]] = OrderedDict()
    for name, layer in _layers(analog_model):
        conductances[name], params[name] = [], []
        for tile in _tiles(name, layer):
            weight, _ = tile.get_weights(apply_weight_scaling=False)
            found, own = converter.convert_to_conductances(weight)
            if len(found) != 1:
                raise ArgumentError(
                    f"g_converter: {type(converter).__name__} has {len(found)} devices per weight,"
                    " the chip one"
                )
            conductances[name] += found[0].flatten().tolist()
            params[name].append(own)
    if not conductances:
        raise TileError("analog_model: has no analog layers; convert it first")
    if file_name is not None:
        _write(Path(file_name), _fusion_get_csv_header(analog_model), conductances)
    return conductances, params, copy.deepcopy(analog_model.state_dict())


@checked
def fusion_import(
    conductance_data: dict[str, Any] | str | Path,
    analog_model: nn.Module,
    params: dict[str, Any],
    state_dict: dict[str, Any] | None = None,
    g_converter: BaseConductanceConverter | None = None,
) -> nn.Module:
    """Write conductances, as the chip has them, into a model as raw weights.

    Args:
        conductance_data: As returned by `fusion_export`, or a file with a header of this model.
        analog_model: Model of the same layers; changed in place and put into evaluation mode.
        params: As returned by `fusion_export`.
        state_dict: State to load first, with scales and biases.
        g_converter: Conversion that made the parameters; `FusionConductanceConverter()` by default.

    Returns:
        The model.

    Raises:
        ArgumentError: Conductances or parameters do not fit the layers, or are not finite. Nothing
            is changed.
        FusionExportError: The header of the file is not that of this model, or a line is damaged.
            Nothing is changed.
        TileError: There are no analog layers, or a tile is of another class.
        OSError: The file cannot be read.
        RuntimeError: The state does not fit the model, as torch says it. No tile is changed.
    """
    converter = FusionConductanceConverter() if g_converter is None else g_converter
    layers = list(_layers(analog_model))
    tiles = {name: _tiles(name, layer) for name, layer in layers}
    if not tiles:
        raise TileError("analog_model: has no analog layers; convert it first")
    data = conductance_data
    if isinstance(data, (str, Path)):
        data = _fusion_load_csv(data, _fusion_get_csv_header(analog_model))
    weights = [
        weight
        for name, _ in layers
        for weight in _weights(name, tiles[name], data, params, converter)
    ]
    changed = [tile for name, _ in layers for tile in tiles[name]]
    if state_dict is not None:
        analog_model.load_state_dict(state_dict)
    analog_model.eval()
    with unchanged_on_error(changed):
        for tile, weight in zip(changed, weights, strict=True):
            _, bias = tile.get_weights(apply_weight_scaling=False)
            tile.set_weights(weight, bias, apply_weight_scaling=False)
    return analog_model


def _layers(model: nn.Module) -> Iterator[tuple[str, AnalogLayerBase]]:
    for name, module in model.named_modules():
        if isinstance(module, AnalogLayerBase) and not module.IS_CONTAINER:
            yield name, module


def _tiles(name: str, layer: AnalogLayerBase) -> list[InferenceTile]:
    found: list[InferenceTile] = []
    for tile in layer.analog_tiles():
        if not isinstance(tile, InferenceTile):
            raise TileError(
                f"analog_model: layer {name!r} has tiles {type(tile).__name__}; only weights of"
                " InferenceTile are programmed for the chip, use InferenceRPUConfig"
            )
        found.append(tile)
    return found


def _weights(
    name: str,
    tiles: Sequence[InferenceTile],
    data: Mapping[str, Any],
    params: Mapping[str, Any],
    converter: BaseConductanceConverter,
) -> Iterator[Tensor]:
    """Yield the raw weights of the tiles of a layer."""
    for what, given in (("conductance_data", data), ("params", params)):
        if name not in given:
            raise ArgumentError(f"{what}: lacks layer {name!r}")
    values, owns = as_vector(f"conductance_data[{name!r}]", data[name]), params[name]
    if not all_finite(values):
        raise ArgumentError(f"conductance_data[{name!r}]: values must be finite")
    if not isinstance(owns, (list, tuple)) or not all(isinstance(own, Mapping) for own in owns):
        raise ArgumentError(f"params[{name!r}]: expected dictionaries, got {describe(owns)}")
    sizes = [tile.out_size * tile.in_size for tile in tiles]
    if values.numel() != sum(sizes) or len(owns) != len(tiles):
        raise ArgumentError(
            f"conductance_data, params: layer {name!r} needs {sum(sizes)} conductances and"
            f" {len(tiles)} dictionaries, got {values.numel()} and {len(owns)}"
        )
    for tile, part, own in zip(tiles, torch.split(values, sizes), owns, strict=True):
        matrix = part.reshape(tile.out_size, tile.in_size)
        yield converter.convert_back_to_weights([matrix], dict(own))


def _numbered(model: nn.Module) -> Iterator[tuple[int, nn.Module]]:
    """Yield the modules that are no containers with their numbers, as the header counts them."""
    count, inside = 0, set[nn.Module]()
    for module in model.modules():
        if isinstance(module, TileModuleBase):
            inside.update(module.modules())
        is_container = isinstance(module, AnalogLayerBase) and module.IS_CONTAINER
        if module in inside or is_container or isinstance(module, nn.ModuleList):
            continue
        count += 1
        yield count, module


def _fusion_get_csv_header(analog_model: nn.Module) -> list[str]:
    """Return the five lines that describe the layers of a model, without line ends."""
    numbers = {module: count for count, module in _numbered(analog_model)}
    columns = []
    for _, layer in _layers(analog_model):
        weight, _ = layer.get_weights()
        sizes = (weight.numel(), weight.shape[0], weight[0].numel())
        columns.append((numbers[layer], type(layer).__name__, *sizes))
    return [",".join(map(str, line)) for line in zip(*columns, strict=True)]


def _write(file: Path, header: list[str], conductances: Mapping[str, list[float]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        stream.writelines(f"{line}\n" for line in header)
        writer = csv.writer(stream)
        writer.writerow(conductances)
        writer.writerows(conductances.values())


def _fusion_load_csv(file_name: str | Path, header: list[str]) -> dict[str, Tensor]:
    """Return the conductances of a file by name of the layer.

    Args:
        file_name: File.
        header: Expected first five lines.

    Raises:
        FusionExportError: They are others, or there is not one line of numbers per layer.
    """
    try:  # spreadsheets begin files with a mark of their encoding
        with Path(file_name).open(encoding="utf-8-sig", newline="") as stream:
            lines = [row for row in csv.reader(stream) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FusionExportError(f"{file_name}: is no table of text: {error}") from error
    for name, line, wanted in zip(_HEADER, lines, header, strict=False):
        if ",".join(line) != wanted:
            raise FusionExportError(
                f"{file_name}: {name}: expected {wanted}, got {','.join(line)}; the file is of"
                " another model"
            )
    names, rows = lines[len(header) : len(header) + 1], lines[len(header) + 1 :]
    if not names or len(rows) != len(names[0]):
        raise FusionExportError(
            f"{file_name}: expected {len(header)} header lines, the names of the layers and one"
            f" line for each of them, got {len(lines)} lines"
        )
    try:
        return {
            name: torch.tensor([float(value) for value in row], device="cpu")
            for name, row in zip(names[0], rows, strict=True)
        }
    except ValueError as error:
        raise FusionExportError(f"{file_name}: {error}") from error
