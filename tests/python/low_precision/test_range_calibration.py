"""Ranges of quantisers from data, without training."""

from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import ArgumentError
from mho.nn import AnalogLinear
from mho.nn.low_precision_conversion import convert_to_quantized
from mho.nn.low_precision_modules.calibration import calibrate_quantization_ranges
from mho.nn.low_precision_modules.conversion_utils import append_default_conversions
from mho.simulator.configs import IOParameters, QuantizedTorchInferenceRPUConfig
from mho.simulator.digital_low_precision.quantization_manager import Qstates
from mho.simulator.parameters.enums import RangeEstimators
from mho.simulator.parameters.quantization import (
    ActivationQuantConfig,
    QuantizationConfig,
    QuantizationMap,
    WeightQuantConfig,
)


def made() -> Any:
    """Return a digital layer whose outputs have the range of all batches, and an analog one."""
    acts = ActivationQuantConfig(8, True, RangeEstimators.allminmax)
    given = QuantizationMap(default_qconfig=QuantizationConfig(acts, WeightQuantConfig(8)))
    append_default_conversions(given)
    config = QuantizedTorchInferenceRPUConfig(
        forward=IOParameters(is_perfect=True), act_quant_config=acts
    )
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), AnalogLinear(4, 3, rpu_config=config))
    return convert_to_quantized(model, given)


BATCHES = [torch.full((2, 4), value) for value in (1.0, -3.0, 2.0, 50.0)]


@pytest.mark.parametrize("kind", ["tensor", "tuple", "dict"])
def test_ranges_cover_the_batches(kind: str) -> None:
    model = made()
    wrap: Any = {
        "tensor": lambda x: x,
        "tuple": lambda x: (x, torch.zeros(1)),
        "dict": lambda x: {"input": x},
    }[kind]
    calibrate_quantization_ranges(model, [wrap(x) for x in BATCHES], 3)
    assert model.training
    layer, tile = model[0], model[1].analog_module
    outputs = torch.cat([nn.functional.linear(x, *layer.get_params()) for x in BATCHES[:3]])
    found = layer.activation_quantizer
    assert found.state is Qstates.fix_ranges
    torch.testing.assert_close(found.range_estimator.current_xmin[0], outputs.min())
    torch.testing.assert_close(found.range_estimator.current_xmax[0], outputs.max())
    before = tile.act_quantizer.quantizer.delta.clone()
    y = model.eval()(BATCHES[3])
    assert torch.equal(tile.act_quantizer.quantizer.delta, before)
    assert y.abs().max() <= tile.act_quantizer.quantizer.x_max * 1.02
    model.train()
    layer(BATCHES[3])
    model[1](BATCHES[3])  # tiles follow training again, quantised layers do not
    assert not torch.equal(tile.act_quantizer.quantizer.delta, before)
    torch.testing.assert_close(found.range_estimator.current_xmax[0], outputs.max())


@pytest.mark.parametrize("trained", [False, True])
def test_an_error_in_the_data_leaves_all_ranges(trained: bool) -> None:
    model = made()
    if trained:
        model(BATCHES[0])
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def failing() -> Any:
        yield BATCHES[3]
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        calibrate_quantization_ranges(model, failing())
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_refused() -> None:
    model = made()
    for loader, count, name in (
        ([], 20, "loader"),
        ([3], 20, "loader"),
        (BATCHES, 0, "max_num_batches"),
        (3, 20, "loader"),
    ):
        with pytest.raises(ArgumentError, match=name):
            calibrate_quantization_ranges(model, loader, count)  # type: ignore[arg-type]
        assert model.training
        assert model[0].activation_quantizer.state is Qstates.estimate_ranges_train
