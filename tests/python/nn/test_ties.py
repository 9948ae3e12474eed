"""Weights that several layers share: what a conversion says of them."""

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from mho.nn import conversion_report
from mho.nn.conversion import convert_to_analog, convert_to_digital
from mho.simulator.configs import InferenceRPUConfig


def _shared() -> Any:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    return model


def test_layers_that_are_both_converted_come_apart_with_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"2\.weight, of a converted Linear, .* '0\.weight'"):
        analog: Any = convert_to_analog(_shared(), InferenceRPUConfig())
    remarks = {entry.name: entry.remark for entry in conversion_report(analog)}
    assert remarks == {
        "0": "",
        "2": "weight was tied to '0.weight' and is a copy of its own",
        "3": "",
    }
    analog[0].set_weights(torch.zeros(4, 4))
    assert analog[2].get_weights()[0].any()


def test_a_layer_that_stays_digital_keeps_the_parameter() -> None:
    with pytest.warns(UserWarning, match=r"0\.weight, of .* was tied to '2\.weight'"):
        analog: Any = convert_to_analog(_shared(), InferenceRPUConfig(), exclude_modules=["2"])
    assert conversion_report(analog).converted[0].remark
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both = convert_to_analog(_shared(), InferenceRPUConfig(), exclude_modules=["0", "2"])
    assert both[0].weight is both[2].weight


def test_one_module_under_two_names_is_no_tie() -> None:
    layer = nn.Linear(4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        analog: Any = convert_to_analog(nn.Sequential(layer, layer), InferenceRPUConfig())
        digital: Any = convert_to_digital(analog)
    assert digital[0] is digital[1]


def test_a_conversion_to_digital_that_finds_nothing_says_so() -> None:
    with pytest.warns(UserWarning, match="the model has no analog layers"):
        convert_to_digital(nn.Sequential(nn.Linear(2, 2)))
    analog = convert_to_analog(nn.ModuleList([nn.Linear(2, 2)]), InferenceRPUConfig())
    with pytest.warns(UserWarning, match="of the classes in conversion_set"):
        convert_to_digital(analog[0], conversion_set=set())
