"""Raw tiles that read images through an index table, under the names of the standard."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import ArgumentError, InputError, TileError
from mho.nn import AnalogConv2d
from mho.simulator.configs import ConstantStepDevice, InferenceRPUConfig, SingleRPUConfig


def _layer(digital_bias: bool = True) -> Any:
    config = SingleRPUConfig(device=ConstantStepDevice(count_pulses=True))
    config.mapping.digital_bias = digital_bias
    layer = AnalogConv2d(2, 3, 3, 2, 1, rpu_config=config)
    layer.recalculate_indexes(torch.zeros(1, 2, 7, 9))
    return layer


@pytest.mark.parametrize("digital_bias", [True, False])
def test_calls_with_images_are_those_with_patches(digital_bias: bool) -> None:
    layer = _layer(digital_bias)
    raw, other = (copy.deepcopy(layer.analog_module).tile for _ in range(2))
    raw.set_matrix_indices(layer.fold_indices)
    x, d = torch.randn(4, 2, 7, 9), torch.randn(4, 3, 4, 5)
    rows = nn.functional.unfold(x, 3, padding=1, stride=2).transpose(1, 2)
    d_rows = d.flatten(2).transpose(1, 2)
    y = torch.full((4, 3, 4, 5), torch.nan)
    assert raw.forward_indexed(x, y, True) is y
    expected = other.forward(rows, not digital_bias, is_test=True)
    assert torch.equal(y, expected.transpose(1, 2).reshape(4, 3, 4, 5))

    d_x = torch.full_like(x, torch.nan)
    assert raw.backward_indexed(d, d_x) is d_x
    patches = other.backward(d_rows, not digital_bias).transpose(1, 2)
    # Sums of up to four elements of 3 products each, in another order.
    torch.testing.assert_close(d_x, nn.functional.fold(patches, (7, 9), 3, padding=1, stride=2))

    raw.update_indexed(x, d)
    other.update(rows, d_rows, not digital_bias)
    assert torch.equal(raw.get_weights(), other.get_weights())
    assert torch.equal(raw.get_pulse_counters(), other.get_pulse_counters())


def test_a_table_belongs_to_a_tile_and_to_no_copy() -> None:
    layer = _layer()
    tile = layer.analog_module
    state = tile.state_dict()
    assert not tile.tile.has_matrix_indices()
    tile.set_indexed(layer.fold_indices, layer.image_sizes)
    assert tile.tile.has_matrix_indices() and tile.state_dict().keys() == state.keys()
    assert not copy.deepcopy(tile).tile.has_matrix_indices()
    assert not AnalogConv2d(1, 1, 1).analog_module.tile.has_matrix_indices()


def test_sizes_are_those_of_each_call() -> None:
    layer = AnalogConv2d(2, 3, 1, bias=False, rpu_config=InferenceRPUConfig())
    raw = layer.analog_module.tile
    raw.set_matrix_indices(torch.arange(2, 14, dtype=torch.int32))
    for sizes in ((2, 3), (3, 2), (6, 1)):
        x, y = torch.randn(5, 2, *sizes), torch.empty(5, 3, *sizes)
        assert raw.forward_indexed(x, y).shape == (5, 3, *sizes)


def test_wrong_tables_and_shapes_are_refused() -> None:
    layer = _layer(False)
    raw, table = layer.analog_module.tile, layer.fold_indices
    x, d = torch.randn(4, 2, 7, 9), torch.randn(4, 3, 4, 5)
    for call in (
        lambda: raw.forward_indexed(x, d),
        lambda: raw.backward_indexed(d, x),
        lambda: raw.update_indexed(x, d),
    ):
        with pytest.raises(TileError, match="set_matrix_indices"):
            call()
    for wrong in (table.long(), table[:-1].flatten()[:-1], torch.empty(0, dtype=torch.int32)):
        with pytest.raises(InputError, match="indices"):
            raw.set_matrix_indices(wrong)
    assert not raw.has_matrix_indices()
    raw.set_matrix_indices(table)
    weights = raw.get_weights()
    for images, outputs in [
        (x[:3], d),
        (x, d[:, :2]),
        (x, d[..., :4]),
        (x[:, :1], d),
        (x.double(), d),
        (x, d.flatten(2)),
        (x, d[:, :, 0, 0]),
    ]:
        with pytest.raises((InputError, ArgumentError)):
            raw.update_indexed(images, outputs)
        with pytest.raises((InputError, ArgumentError)):
            raw.forward_indexed(images, outputs)
    with pytest.raises(ArgumentError, match="is_test"):
        raw.forward_indexed(x, d, is_test="no")
    assert torch.equal(raw.get_weights(), weights)
    raw.set_matrix_indices(table.clamp(max=1))  # another table, without the bias in its place
    table[-1] = 0
    with pytest.raises(InputError, match="ones"):
        raw.set_matrix_indices(table)
        raw.update_indexed(x, d)
