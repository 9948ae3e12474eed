"""What a programme is worth: the error of weights that are programmed with it and then drift."""

import copy
import math
import pickle
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.exceptions import ArgumentError
from mho.inference.converter.base import BaseConductanceConverter
from mho.inference.converter.custom_pair import CustomPairConductanceConverter
from mho.inference.converter.wpo.programme import Cube, denormalize
from mho.nn.modules.linear import AnalogLinear
from mho.simulator.parameters.arguments import check_size
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parameters.signatures import checked
from mho.simulator.state.transaction import nobody_sees
from mho.simulator.tiles.array import TileModuleArray
from mho.simulator.tiles.inference import InferenceRPUConfig

_SCALE = 10.0
"""Unit of errors: a tenth of the largest weight."""


@dataclass(frozen=True)
class Problem:
    """What is minimised."""

    cube: Cube
    """Where programmes are looked for."""

    rpu_config: InferenceRPUConfig
    """Configuration of the layer that is programmed."""

    t_steps: tuple[float, ...]
    """Times of the reads, in seconds."""

    test_weights: Tensor
    """Weights of the layer, shape `[in, out]`."""

    loss_baseline: float
    """Loss of the programme to compare with."""

    loss_margin: float
    """Share of it that a better programme has to gain."""

    seed: int
    """Decides the noise, together with the programme."""

    device: str
    """Where the layer computes."""

    def layer(self) -> AnalogLinear:
        """Return the layer, without bias."""
        in_size, out_size = self.test_weights.shape
        layer = AnalogLinear(in_size, out_size, bias=False, rpu_config=self.rpu_config)
        return layer.to(self.device).eval()


@checked
def downsample_weight_distribution(weights: Tensor, shape: Sequence[int]) -> Tensor:
    """Return weights of a given number with the distribution of others.

    Quantiles by linear interpolation; smallest and largest weight are kept.

    Args:
        weights: Weights of any shape.
        shape: Shape of the result.

    Raises:
        ArgumentError: There are no weights, or the result would have none.
    """
    count = math.prod(check_size("shape", size) for size in shape)
    if weights.numel() == 0 or not all_finite(weights):
        raise ArgumentError("weights: expected finite values, at least one")
    values = weights.detach().cpu().flatten().double().sort().values
    position = torch.linspace(0, len(values) - 1, count, dtype=torch.float64, device="cpu")
    below = position.floor().long().clamp(max=max(len(values) - 2, 0))
    above = (below + 1).clamp(max=len(values) - 1)
    result = torch.lerp(values[below], values[above], position - below)
    return result.to(weights.dtype).reshape(tuple(shape))


@checked
def shuffle_weights(weights: Tensor) -> Tensor:
    """Return the rows of a matrix in random order, drawn from torch's generator.

    Args:
        weights: Shape `[rows, ...]`.

    Raises:
        ArgumentError: It is a single value.
    """
    if weights.dim() == 0:
        raise ArgumentError("weights: expected rows, got a single value")
    return weights[torch.randperm(len(weights), device=weights.device)]


@checked
@torch.no_grad()
def loss_weights(
    model: AnalogLinear,
    t_steps: Sequence[float],
    test_weights: Tensor,
    max_abs_weight_unitless: float,
    loss_baseline: float,
    loss_margin: float,
    get_baseline: bool = False,
) -> float:
    """Return the mean square error of weights after programming and drift.

    For every time the weights are programmed anew. Errors are those of the weights times the factor
    of the drift compensation, in units of a tenth of the largest weight.

    Args:
        model: Layer without scales, in evaluation mode; its weights are replaced.
        t_steps: Times of the reads, in seconds.
        test_weights: Weights, shape `[in, out]`; `[out, in]` as well, if these differ.
        max_abs_weight_unitless: Largest absolute weight.
        loss_baseline: Loss of the programme to compare with.
        loss_margin: Share of it that a better programme has to gain.
        get_baseline: Return the loss itself instead of what it is above the wanted one.

    Returns:
        The loss, or `(loss - baseline) / baseline + margin`, below zero if the gain exceeds the
        margin. Infinity if the loss is not a number.

    Raises:
        ArgumentError: The weights do not fit the layer, there are no times, or largest weight or
            baseline are not positive.
        ModuleError: The layer is in training mode.
    """
    sizes = (model.in_features, model.out_features)
    if tuple(test_weights.shape) not in (sizes, sizes[::-1]) or not t_steps:
        raise ArgumentError(
            f"test_weights, t_steps: expected weights [in, out] = {list(sizes)} and a time, got"
            f" {list(test_weights.shape)} and {list(t_steps)}"
        )
    if not max_abs_weight_unitless > 0.0 or not (get_baseline or loss_baseline > 0.0):
        raise ArgumentError(
            "max_abs_weight_unitless, loss_baseline: expected positive numbers, got"
            f" {max_abs_weight_unitless} and {loss_baseline}"
        )
    wanted = (test_weights.t() if tuple(test_weights.shape) == sizes else test_weights).cpu()
    total = 0.0
    for t in t_steps:
        model.set_weights(wanted)
        model.drift_analog_weights(t)
        error = _read(model.analog_module).double() - wanted.double()
        total += float(((_SCALE / max_abs_weight_unitless * error) ** 2).mean()) / len(t_steps)
    if math.isnan(total):
        return math.inf
    return total if get_baseline else (total - loss_baseline) / loss_baseline + loss_margin


def _read(module: Any) -> Tensor:
    """Return the weights of a tile or an array in evaluation, corrected for drift, `[out, in]`."""
    if isinstance(module, TileModuleArray):
        grid: Any = module.array
        return torch.cat([torch.cat([_read(tile) for tile in tiles]) for tiles in grid], dim=1)
    weight, _ = module.get_weights()
    factor = module.programming.output_factor()
    read: Tensor = weight if factor is None else weight * factor.cpu().reshape(-1, 1)
    return read


def with_converter(config: InferenceRPUConfig, g_converter: BaseConductanceConverter) -> Any:
    """Return the noise model of a configuration with another conversion, copied.

    Args:
        config: Configuration.
        g_converter: Conversion.
    """
    model: Any = copy.deepcopy(config.noise_model)
    model.g_converter = copy.deepcopy(g_converter)
    for name in ("g_max", "g_min"):
        if hasattr(model, name):
            setattr(model, name, getattr(g_converter, name))
    return model


@checked
def loss_rpu_config(d: Problem) -> float:
    """Return the loss with the conversion that the configuration of a problem has itself.

    Args:
        d: Problem.
    """
    return _loss_of(d, d.layer())


def _loss_of(d: Problem, layer: AnalogLinear) -> float:
    largest = float(d.test_weights.abs().max())
    return loss_weights(layer, d.t_steps, d.test_weights, largest, d.loss_baseline, d.loss_margin)


def loss_fxn(x: Any, *args: bytes) -> float:
    """Return the loss of the programme of a point, for a minimiser.

    The noise follows from the seed of the problem and the point, in whatever process and order
    points are looked at; torch's generator is left as it was.

    Args:
        x: Point of the cube, array of one axis.
        args: A `Problem`, pickled.
    """
    problem, layer = _loaded(args[0])
    point = np.ascontiguousarray(x, dtype=np.float64)
    f_lst, g_lst = denormalize(torch.from_numpy(point.copy()), problem.cube)
    limits = (problem.cube.g_max, problem.cube.g_min)
    # With `g_err` a programme may be off by as much; the others are exact by construction.
    converter = CustomPairConductanceConverter(f_lst, g_lst, *limits, invertibility_test=False)
    vars(next(layer.analog_tiles()).rpu_config)["noise_model"] = with_converter(
        problem.rpu_config, converter
    )
    # The layer is that of the search alone: no copies for the case of an error.
    with torch.random.fork_rng(devices=[]), nobody_sees():
        torch.manual_seed(problem.seed + zlib.crc32(point.tobytes()))
        return _loss_of(problem, layer)


@lru_cache(maxsize=1)
def _loaded(pickled: bytes) -> tuple[Problem, AnalogLinear]:
    problem: Problem = pickle.loads(pickled)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(problem.seed)
        return problem, problem.layer()
