"""Arrays of tiles with groups: a matrix that is zero but for its diagonal of blocks."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mho.exceptions import ArgumentError, InputError
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
)
from mho.simulator.tiles.array import TileModuleArray

# One product of float32 numbers of order one, summed in another order than torch does.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def perfect(config: Any, most_in: int, most_out: int) -> Any:
    if not isinstance(config, FloatingPointRPUConfig):  # it is perfect
        config.forward = config.backward = IOParameters(is_perfect=True)
    config.mapping.max_input_size, config.mapping.max_output_size = most_in, most_out
    return config


@given(
    groups=st.integers(1, 3),
    block=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    most=st.tuples(st.sampled_from([0, 2]), st.sampled_from([0, 3])),
    bias=st.booleans(),
)
def test_products_are_those_of_the_whole_matrix(
    groups: int, block: tuple[int, int], most: tuple[int, int], bias: bool
) -> None:
    rows, columns = block[0] * groups, block[1] * groups
    config = perfect(SingleRPUConfig(device=IdealDevice()), *most)
    array = TileModuleArray(rows, columns, config, bias, groups=groups)
    weight, column = torch.randn(rows, block[1]), torch.randn(rows)
    array.set_weights(weight, column)
    assert torch.equal(array.get_weights()[0], weight)
    whole = torch.block_diag(*weight.split(block[0]))
    x = torch.randn(5, columns, requires_grad=True)
    y = array(x)
    torch.testing.assert_close(y, x @ whole.t() + (column if bias else 0), **CLOSE)
    d = torch.randn_like(y)
    (dx,) = torch.autograd.grad(y, x, d)
    torch.testing.assert_close(dx, d @ whole, **CLOSE)
    torch.testing.assert_close(array.backward(d), d @ whole, **CLOSE)


def test_updates() -> None:
    config = perfect(FloatingPointRPUConfig(), 2, 2)
    array = TileModuleArray(6, 6, config, groups=2)
    weight = torch.randn(6, 3)
    array.set_weights(weight)
    array.set_learning_rate(0.5)
    x, d = torch.randn(4, 6), torch.randn(4, 6)
    array.update(x, d)
    blocks = [(d[:, i : i + 3].t() @ x[:, i : i + 3]) for i in (0, 3)]
    expected = weight - 0.5 * torch.cat(blocks)
    torch.testing.assert_close(array.get_weights()[0], expected, **CLOSE)
    array.set_weights(weight)
    array(x).backward(d)
    AnalogSGD(array.parameters(), lr=0.5).step()
    torch.testing.assert_close(array.get_weights()[0], expected, **CLOSE)


def test_counters_and_states() -> None:
    config = SingleRPUConfig(device=ConstantStepDevice(count_pulses=True))
    array = TileModuleArray(4, 6, config, True, groups=2)
    assert array.analog_tile_count == 2
    assert [name for name in array.state_dict() if name.endswith("analog_tile_weights")] == [
        f"array.{i}.0.analog_tile_weights" for i in (0, 1)
    ]
    assert array.get_pulse_counters().shape == (2, 4, 3)
    other = copy.deepcopy(array)
    array.update(torch.rand(9, 6), torch.rand(9, 4))
    assert array.get_pulse_counters().sum() > 0 == other.get_pulse_counters().sum()
    other.load_state_dict(array.state_dict())
    assert torch.equal(other.get_weights()[0], array.get_weights()[0])


@pytest.mark.parametrize("sizes", [(4, 5), (5, 4)])
def test_groups_divide_both_sizes(sizes: tuple[int, int]) -> None:
    with pytest.raises(ArgumentError, match="groups: 2 of them do not divide"):
        TileModuleArray(*sizes, InferenceRPUConfig(), groups=2)
    with pytest.raises(ArgumentError, match="groups: expected a positive integer"):
        TileModuleArray(4, 4, InferenceRPUConfig(), groups=0)


def test_weights_of_the_whole_matrix_are_refused() -> None:
    array = TileModuleArray(4, 4, InferenceRPUConfig(), groups=2)
    with pytest.raises(InputError, match=r"\(4, 2\)"):
        array.set_weights(torch.zeros(4, 4))
