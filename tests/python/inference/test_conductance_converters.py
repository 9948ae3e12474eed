"""Conversion between weights and conductances."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mho.inference import (
    BaseConductanceConverter,
    CustomPairConductanceConverter,
    DualPairConductanceConverter,
    NPairConductanceConverter,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
)

WEIGHTS = torch.tensor([[0.5, -0.25], [0.1, -1.0], [0.0, 0.75]])
CUSTOM = ([1.0], [[0.0, 0.0, 25.0], [25.0, 0.0, 0.0]])
CONVERTERS = [
    SinglePairConductanceConverter(),
    SinglePairConductanceConverter(g_max=20.0, g_min=5.0),
    DualPairConductanceConverter([1.0, 3.0], 20.0, 5.0),
    NPairConductanceConverter([1.0, 2.0, 3.0], 25.0, 0.0),
    SingleDeviceConductanceConverter(),
    CustomPairConductanceConverter(*CUSTOM),
]


def check(conductances: list[Tensor], expected: list[list[list[float]]]) -> None:
    """Compare with the reference; they are given with four to six digits."""
    assert len(conductances) == len(expected)
    for got, want in zip(conductances, expected, strict=True):
        torch.testing.assert_close(got, torch.tensor(want), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("converter", "scale", "expected"),
    [
        (
            SinglePairConductanceConverter(),
            25.0,
            [[[12.5, 0], [2.5, 0], [0, 18.75]], [[0, 6.25], [0, 25], [0, 0]]],
        ),
        (
            SinglePairConductanceConverter(20.0, 5.0),
            15.0,
            [[[12.5, 5], [6.5, 5], [5, 16.25]], [[5, 8.75], [5, 20], [5, 5]]],
        ),
        (
            DualPairConductanceConverter([1, 3], 20.0, 5.0),
            60.0,
            [
                [[20, 5], [11, 5], [5, 20]],
                [[5, 20], [5, 20], [5, 5]],
                [[10, 5], [5, 5], [5, 15]],
                [[5, 5], [5, 20], [5, 5]],
            ],
        ),
        (
            SingleDeviceConductanceConverter(),
            45.257141,
            [[[76.8857, 42.9429], [58.7829, 9.0], [54.2571, 88.2]]],
        ),
    ],
)
def test_worked_values(converter: Any, scale: float, expected: Any) -> None:
    conductances, params = converter.convert_to_conductances(WEIGHTS)
    expected = [[[float(v) for v in row] for row in part] for part in expected]
    check(conductances, expected)
    assert float(params["scale_ratio"]) == pytest.approx(scale, rel=1e-5)


def test_three_pairs_fill_one_after_the_other() -> None:
    conductances, params = NPairConductanceConverter([1, 2, 3]).convert_to_conductances(WEIGHTS)
    assert float(params["scale_ratio"]) == pytest.approx(150.0)
    check(conductances[3:4], [[[0.0, 6.25], [0.0, 25.0], [0.0, 0.0]]])


@pytest.mark.parametrize("converter", CONVERTERS)
@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=12))
def test_weights_survive(converter: BaseConductanceConverter, values: list[float]) -> None:
    weights = torch.tensor([values])
    conductances, params = converter.convert_to_conductances(weights)
    back = converter.convert_back_to_weights(conductances, params)
    # A conductance has a relative error of a few float32 steps (6e-8), and a weight is the
    # difference of
    # conductances that stand for the largest weight: 1e-5 of that leaves room for the sum over
    # pairs.
    torch.testing.assert_close(back, weights, rtol=0.0, atol=1e-5 * max(map(abs, values)) + 1e-12)
    for part in conductances:
        # The end of the range is reached up to rounding.
        assert part.min() >= converter.g_min - 1e-3 and part.max() <= converter.g_max + 1e-3


@pytest.mark.parametrize("converter", CONVERTERS)
@pytest.mark.parametrize("weights", [torch.zeros(2, 3), torch.full((2, 3), 0.5), torch.zeros(0, 3)])
def test_constant_and_empty_weights_stay_finite(
    converter: BaseConductanceConverter, weights: Tensor
) -> None:
    conductances, params = converter.convert_to_conductances(weights)
    back = converter.convert_back_to_weights(conductances, params)
    torch.testing.assert_close(back, weights, rtol=1e-5, atol=1e-6)


def test_weights_are_not_changed_and_need_no_gradient() -> None:
    weights = WEIGHTS.clone().requires_grad_()
    conductances, _ = SinglePairConductanceConverter().convert_to_conductances(weights)
    assert not conductances[0].requires_grad
    torch.testing.assert_close(weights.detach(), WEIGHTS, rtol=0, atol=0)


@pytest.mark.parametrize("converter", CONVERTERS)
def test_copies_and_json(converter: BaseConductanceConverter) -> None:
    for duplicate in (copy.deepcopy(converter), type(converter).from_json(converter.to_json())):
        assert duplicate == converter
        assert repr(duplicate) == repr(converter)
    with pytest.raises(TypeError):
        hash(converter)


def test_equality_is_by_class_and_value() -> None:
    assert SinglePairConductanceConverter() == SinglePairConductanceConverter(25.0, 0.0)
    assert SinglePairConductanceConverter() != SinglePairConductanceConverter(24.0)
    assert DualPairConductanceConverter([1, 2]) != NPairConductanceConverter([1, 2])


def test_printing() -> None:
    text = str(SinglePairConductanceConverter())
    assert text == "SinglePairConductanceConverter(g_max=25.00, g_min=0.00)"


@pytest.mark.parametrize(
    "limits", [(-1.0, 0.0), (25.0, -1.0), (5.0, 5.0), (5.0, 6.0), (float("nan"), 0.0)]
)
@pytest.mark.parametrize(
    "make",
    [
        SinglePairConductanceConverter,
        SingleDeviceConductanceConverter,
        lambda *limits: NPairConductanceConverter([1.0], *limits),
        lambda *limits: CustomPairConductanceConverter(*CUSTOM, *limits),
    ],
)
def test_limits_are_checked(make: Any, limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="g_m"):
        make(*limits)


@pytest.mark.parametrize("f_lst", [[], [-1.0], 3.0, None])
def test_factors_are_checked(f_lst: Any) -> None:
    with pytest.raises(ValueError, match="f_lst"):
        NPairConductanceConverter(f_lst)


def test_dual_pair_needs_two_factors() -> None:
    with pytest.raises(ValueError, match="f_lst"):
        DualPairConductanceConverter([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("g_lst", "error"),
    [
        ([[0.0, 25.0]], ValueError),
        ([[0.0, 25.0], [25.0]], ValueError),
        ([[0.0], [25.0]], ValueError),
        ([0.0, 25.0], ValueError),
        ([[0.0, 0.0, 25.0], [25.0, 10.0, 0.0]], ArithmeticError),
    ],
)
def test_tables_are_checked(g_lst: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="g_lst"):
        CustomPairConductanceConverter([1.0], g_lst)


@pytest.mark.parametrize("converter", CONVERTERS)
def test_conversion_back_checks_its_arguments(converter: BaseConductanceConverter) -> None:
    conductances, params = converter.convert_to_conductances(WEIGHTS)
    with pytest.raises(ValueError, match="conductances"):
        converter.convert_back_to_weights([*conductances, WEIGHTS], params)
    with pytest.raises(ValueError, match="params"):
        converter.convert_back_to_weights(conductances, {})


def test_interface_names_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="convert_to_conductances"):
        BaseConductanceConverter().convert_to_conductances(WEIGHTS)
    with pytest.raises(NotImplementedError, match="convert_back_to_weights"):
        BaseConductanceConverter().convert_back_to_weights([], {})
