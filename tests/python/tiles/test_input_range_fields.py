"""Every field of the input range does something, in inference tiles and in pulsed ones."""

import dataclasses
from functools import partial
from typing import Any

import pytest
import torch

from mho.simulator.configs import (
    IdealDevice,
    InferenceRPUConfig,
    InputRangeParameter,
    IOParameters,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.enums import BoundManagementType, NoiseManagementType

WEIGHTS = torch.tensor([[0.5, -0.25], [0.1, 0.8], [0.3, 0.2]])
# Two of eight inputs are beyond the range of 1, and two of twelve outputs beyond the bound of 0.5.
INPUTS = torch.tensor([[0.5, 0.1], [0.2, 2.0], [3.0, 0.1], [0.1, 0.4]])
CLASSES: list[Any] = [
    InferenceRPUConfig,
    TorchInferenceRPUConfig,
    partial(SingleRPUConfig, device=IdealDevice(), backward=IOParameters(is_perfect=True)),
]


def outcome(cls: Any, **fields: Any) -> tuple[torch.Tensor, float, float | None]:
    """Outputs, range after the pass, and gradient of the range; of two training passes."""
    forward = IOParameters(
        inp_res=0.0,
        out_res=0.0,
        out_noise=0.0,
        inp_bound=1.0,
        out_bound=0.5,
        noise_management=NoiseManagementType.NONE,
        bound_management=BoundManagementType.NONE,
    )
    config = cls(forward=forward)
    base = {"enable": True, "init_value": 1.0, "init_from_data": 0, "decay": 0.0}
    config.pre_post.input_range = InputRangeParameter(**{**base, **fields})
    tile = config.tile_class(3, 2, config)
    tile.set_weights(WEIGHTS)
    y = tile(INPUTS)
    y.backward(torch.full_like(y, -1.0))
    value = tile.input_range
    if value is None:
        return y.detach(), 0.0, None
    grad = None if value.grad is None else float(value.grad)
    return y.detach(), value.item(), grad


# Without the field, and with it: what of the outcome has to differ.
CASES: dict[str, tuple[dict[str, Any], Any, int]] = {
    "enable": ({"init_value": 2.0}, False, 0),
    "learn_input_range": ({}, False, 2),
    "init_value": ({}, 2.0, 0),
    "init_from_data": ({}, 1, 1),
    "init_std_alpha": ({"init_from_data": 1}, 1.0, 1),
    "decay": ({"input_min_percentage": 0.5}, 0.25, 2),
    "input_min_percentage": ({"decay": 0.25, "input_min_percentage": 0.5}, 0.9, 2),
    "manage_output_clipping": ({}, True, 2),
    "output_min_percentage": ({"manage_output_clipping": True}, 0.1, 2),
    "gradient_scale": ({}, 3.0, 2),
    "gradient_relative": ({"init_value": 2.0}, False, 2),
}


def test_all_fields_are_tried() -> None:
    names = {field.name for field in dataclasses.fields(InputRangeParameter)}
    assert names - set(CASES) == {"calibration_info"}  # a note, that calibration writes


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cls", CLASSES)
def test_field_acts(cls: Any, name: str) -> None:
    fields, value, what = CASES[name]
    before, after = outcome(cls, **fields), outcome(cls, **{**fields, name: value})
    if what == 0:
        assert not torch.equal(before[0], after[0])
    else:
        assert before[what] != after[what]


@pytest.mark.parametrize("cls", CLASSES)
def test_clipped_outputs_count_per_output(cls: Any) -> None:
    """The fraction of clipped outputs times the range is what the gradient lacks."""
    y, _, plain = outcome(cls)
    clipped = int((y.abs() >= 0.999 * 0.5).sum())
    assert 0 < clipped < y.numel()
    *_, managed = outcome(cls, manage_output_clipping=True)
    assert plain is not None and managed is not None
    assert managed - plain == pytest.approx(-clipped / y.numel(), rel=1e-5)


@pytest.mark.parametrize("cls", CLASSES)
def test_clipped_outputs_enlarge_the_range_in_training(cls: Any) -> None:
    """Until few enough are clipped: the products in units of the range become smaller."""
    forward = IOParameters(
        inp_res=0.0, out_res=0.0, out_noise=0.0, out_bound=0.5,
        noise_management=NoiseManagementType.NONE, bound_management=BoundManagementType.NONE,
    )  # fmt: skip
    config = cls(forward=forward)
    config.pre_post.input_range = InputRangeParameter(
        enable=True, init_value=1.0, init_from_data=0, decay=0.0, manage_output_clipping=True,
        output_min_percentage=0.9,
    )  # fmt: skip
    tile = config.tile_class(3, 2, config)
    tile.set_weights(WEIGHTS)
    tile.analog_ctx.requires_grad_(False)
    optimizer = torch.optim.SGD([tile.input_range], lr=0.5)
    x = torch.rand(64, 2, generator=torch.Generator().manual_seed(1)) * 2.0

    def free() -> float:
        y = tile(x) / tile.input_range.detach()
        return float((y.abs() < 0.999 * 0.5).float().mean())

    assert free() < 0.8
    for _ in range(200):
        optimizer.zero_grad()
        y = tile(x)
        y.backward(torch.zeros_like(y))
        optimizer.step()
    assert 0.88 <= free() < 1.0


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("managed", [False, True])
def test_passes_before_one_backward_pass_have_the_ranges_that_they_saw(
    cls: Any, managed: bool
) -> None:
    """As in a recurrent network, whose steps come while the range still follows the data."""
    forward = IOParameters(
        inp_res=0.0, out_res=0.0, out_noise=0.0, out_bound=0.5,
        noise_management=NoiseManagementType.NONE, bound_management=BoundManagementType.NONE,
    )  # fmt: skip
    config = cls(forward=forward)
    config.pre_post.input_range = InputRangeParameter(
        enable=True, init_from_data=5, init_std_alpha=0.5, manage_output_clipping=managed
    )
    grads = []
    for together in (False, True):
        tile = config.tile_class(3, 2, config)
        tile.set_weights(WEIGHTS)
        inputs = [(INPUTS * factor).requires_grad_() for factor in (1.0, 3.0)]
        losses = []
        for x in inputs:
            losses.append((tile(x) * torch.linspace(-1.0, 1.0, 3)).sum())
            if not together:
                losses[-1].backward()
        if together:
            sum(losses).backward()  # type: ignore[union-attr]
        grads.append([*(x.grad for x in inputs), tile.input_range.grad])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)
