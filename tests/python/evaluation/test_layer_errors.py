"""Errors of layers: closed forms, published statistics, clipping, convolutions."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import mho
from evaluation_cases import batches, inference_config, one_layer, outputs, two_layers
from mho.evaluation import Evaluation
from mho.evaluation.layers import QUANTITIES, layer_errors
from mho.inference import PCMLikeNoiseModel
from mho.nn import AnalogLinear, convert_to_analog
from mho.simulator.configs import InferenceRPUConfig, IOParameters, TorchInferenceRPUConfig
from mho.simulator.parameters.enums import BoundManagementType, NoiseManagementType


def of_one_layer(weight: Tensor, config: InferenceRPUConfig, **arguments: Any) -> Evaluation:
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(512, weight.shape[1], generator=generator)
    model = one_layer(weight, config)
    given = {"n_programmings": 3, "layer_error": 512, "progress": False} | arguments
    return mho.evaluate(model, [(x, x)], outputs, **given)


@pytest.mark.parametrize("c", [0.5, 1.0])
def test_closed_form_of_programming(c: float) -> None:
    """Constant noise of programming, of which the idle device of each pair keeps the positive half.

    Of both devices of a weight of one, `d = (c / g_max) (xi - max(xi', 0))`: mean
    `-c / (g_max sqrt(2 pi))`, variance `(1 + 1/2 - 1 / (2 pi)) (c / g_max)^2`.
    """
    signs = torch.randint(0, 2, (512, 512), generator=torch.Generator().manual_seed(2)) * 2.0 - 1.0
    config = inference_config(perfect=True)
    config.noise_model = PCMLikeNoiseModel(prog_coeff=[c, 0.0, 0.0], g_max=25.0)
    (row,) = of_one_layer(signs, config, times="programmed").layers
    gain, residual = (
        1.0 - c / (25.0 * math.sqrt(2 * math.pi)),
        math.sqrt(1.5 - 0.5 / math.pi) * c / 25,
    )
    assert row["gain"] == pytest.approx(gain, rel=0.005)
    assert row["residual"] == pytest.approx(residual, rel=0.005)
    assert row["error"] == pytest.approx(math.hypot(1.0 - gain, residual), rel=0.005)
    assert row["snr_db"] == pytest.approx(-20 * math.log10(residual / gain), abs=0.1)
    assert row["propagated"] == row["error"]  # the first layer sees what the reference sees
    assert row["clipped_in"] == row["clipped_out"] == 0.0


# Mean and standard deviation over ten programmings of an independent implementation of the noise
# model in NumPy: error, gain, residual; then error and gain without compensation.
PCM = {
    "programmed": ((0.0630, 2), (0.9939, 3), (0.0627, 2), (0.0630, 2), (0.9939, 3)),
    "0 s": ((0.0823, 4), (0.9938, 3), (0.0820, 4), (0.0823, 4), (0.9939, 3)),
    "1 h": ((0.0971, 6), (0.9950, 4), (0.0970, 6), (0.2411, 4), (0.7709, 3)),
    "1 d": ((0.1133, 4), (0.9955, 4), (0.1132, 4), (0.3475, 4), (0.6607, 4)),
    "1 y": ((0.1515, 5), (0.9961, 5), (0.1514, 6), (0.5086, 4), (0.4971, 4)),
}


def test_statistics_of_pcm() -> None:
    """Within five deviations of the table, and half a per cent for its rounding and one matrix."""
    generator = torch.Generator().manual_seed(4)
    weight = torch.rand(256, 256, generator=generator) * 2.0 - 1.0
    times = ["programmed", 0, "1 h", "1 d", "1 y"]
    config = inference_config(perfect=True)
    with_it = of_one_layer(weight, config, times=times).layers
    without = of_one_layer(weight, config, times=times, compensation=None).layers
    for row, bare in zip(with_it, without, strict=True):
        found = row["error"], row["gain"], row["residual"], bare["error"], bare["gain"]
        for value, (mean, deviation) in zip(found, PCM[row["time"]], strict=True):
            assert value == pytest.approx(mean, abs=5e-4 * deviation + 0.005 * mean), row["time"]


def quantities(model: nn.Module, exact: nn.Module, x: Tensor, rows: int) -> dict[str, Any]:
    with torch.no_grad():
        return layer_errors(model, exact, exact, lambda m: m(x), rows)


def test_definitions() -> None:
    """Of a model with other weights, all quantities by their formulas in NumPy."""
    config = inference_config(perfect=True)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(5, 7, generator=generator) for _ in range(2)]
    model, exact = (one_layer(weight, config).eval() for weight in weights)
    x = torch.randn(9, 7, generator=generator)
    found = quantities(model, exact, x, 6)["0"]
    y, z = ((x[:6].double() @ w.double().T).numpy() for w in weights)
    gain = (y * z).sum() / (z * z).sum()

    def size(a: NDArray[np.float64]) -> float:
        return float(np.sqrt((a * a).sum() / (z * z).sum()))

    expected = {
        "error": size(y - z),
        "gain": gain,
        "residual": size(y - gain * z),
        "snr_db": -20 * math.log10(size(y - gain * z) / gain) if gain > 0 else math.nan,
        "clipped_in": 0.0,
        "clipped_out": 0.0,
        "propagated": size(y - z),
    }
    assert tuple(found) == QUANTITIES
    assert found == pytest.approx(expected, rel=1e-5, nan_ok=True)


def test_errors_propagate() -> None:
    """The second layer sees the errors of the first one in `propagated` only."""
    result = mho.evaluate(
        two_layers(), batches(), outputs, times="1 d", n_programmings=2, layer_error=12,
        progress=False,
    )  # fmt: skip
    first, second = result.layers
    assert first["propagated"] == pytest.approx(first["error"], rel=1e-12)
    assert second["propagated"] > 1.1 * second["error"]
    assert first["error_low"] < first["error"] < first["error_high"]


def test_layers_that_are_zero_have_no_error() -> None:
    model = one_layer(torch.zeros(4, 6), inference_config())
    result = mho.evaluate(
        model, [(torch.randn(3, 6), torch.zeros(3))], outputs, layer_error=3, times="1 h",
        n_programmings=2, progress=False,
    )  # fmt: skip
    (row,) = result.layers
    for name in ("error", "gain", "residual", "snr_db", "propagated"):
        assert math.isnan(row[name]), name


def test_clipping_is_counted() -> None:
    """Inputs beyond the range, and outputs that end at the bound of the converter."""
    config = inference_config(
        out_bound=1.0, out_noise=0.0, noise_management=NoiseManagementType.NONE,
        bound_management=BoundManagementType.NONE,
    )  # fmt: skip
    weight = torch.eye(4)
    x = torch.zeros(10, 4)
    x[:, 0], x[:5, 1] = 0.5, 1.5  # of forty inputs five are beyond the range of one
    model = one_layer(weight, config).eval()
    found = quantities(model, copy.deepcopy(model), x, 10)["0"]
    assert found["clipped_in"] == 5 / 40 and found["clipped_out"] == 5 / 40
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.init_value = 0.25
    ranged = one_layer(weight, config).eval()
    found = quantities(ranged, copy.deepcopy(ranged), x, 10)["0"]
    assert found["clipped_in"] == 15 / 40 and found["clipped_out"] == 15 / 40


def test_clipping_of_torch_tiles() -> None:
    forward = IOParameters(
        out_bound=1.0, out_noise=0.0, noise_management=NoiseManagementType.NONE,
        bound_management=BoundManagementType.NONE,
    )  # fmt: skip
    x = torch.zeros(10, 4)
    x[:5, 1] = 1.5
    model = one_layer(torch.eye(4), TorchInferenceRPUConfig(forward=forward)).eval()
    found = quantities(model, copy.deepcopy(model), x, 10)["0"]
    assert found["clipped_in"] == 5 / 40 and found["clipped_out"] == 5 / 40


def test_rows_of_convolutions_are_patches() -> None:
    """Seven of the outputs of an image of sixteen patches are seven rows of all channels."""
    torch.manual_seed(1)
    config = inference_config(perfect=True)
    exact = convert_to_analog(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1)), config).eval()
    other = convert_to_analog(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1)), config).eval()
    x = torch.randn(2, 2, 4, 4)
    with torch.no_grad():
        y, z = ((m(x).movedim(1, -1).reshape(-1, 3)[:7]).double() for m in (other, exact))
    found = quantities(other, exact, x, 7)["0"]
    assert found["error"] == pytest.approx(float((y - z).norm() / z.norm()), rel=1e-6)


def test_hooks_are_gone() -> None:
    """Also when the model fails in the middle."""
    model, exact = two_layers().eval(), two_layers().eval()
    with pytest.raises(ZeroDivisionError), torch.no_grad():
        layer_errors(model, exact, exact, lambda m: (m(torch.ones(1, 12)), 1 / 0), 10)
    for module in model.modules():
        assert not module._forward_hooks
    for layer in model.modules():
        if isinstance(layer, AnalogLinear):
            for tile in layer.analog_tiles():
                assert not vars(tile.tile).keys() & {"enter_range", "run_forward"}
                assert vars(tile)["_direct"]
