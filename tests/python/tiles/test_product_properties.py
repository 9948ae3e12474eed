"""Properties of the core's product over random valid parameters, in both directions."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import mho
from mho.simulator.configs import (
    AnalogMVType,
    BoundManagementType,
    IOParameters,
    NoiseManagementType,
    SingleRPUConfig,
    WeightNoiseType,
)
from mho.simulator.tiles import AnalogTile

DIRECTIONS = ("forward", "backward")


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


@st.composite
def io_parameters(draw: st.DrawFn) -> IOParameters:
    """Any mixture of valid non-idealities; most of them are off in a given example."""
    noise = draw(st.sampled_from(list(NoiseManagementType)))
    managed = noise is not NoiseManagementType.NONE
    fields: dict[str, st.SearchStrategy[Any]] = {
        "mv_type": st.sampled_from(
            [
                AnalogMVType.ONE_PASS,
                AnalogMVType.POS_NEG_SEPARATE,
                AnalogMVType.POS_NEG_SEPARATE_DIGITAL_SUM,
            ]
        ),
        "inp_bound": st.just(1.0) if managed else floats(-1.0, 4.0),
        "inp_res": st.sampled_from([-1.0, 1 / 126, 1 / 3, 20.0]),
        "inp_noise": floats(0.0, 0.5),
        "inp_sto_round": st.booleans(),
        "inp_asymmetry": floats(-0.3, 0.3),
        "out_bound": st.sampled_from([0.0, 0.05, 1.0, 12.0, float("inf")]),
        "out_res": st.sampled_from([-1.0, 1 / 510, 1 / 3, 20.0]),
        "out_noise": floats(0.0, 1.0),
        "out_noise_std": floats(0.0, 0.5),
        "out_sto_round": st.booleans(),
        "out_scale": floats(-2.0, 2.0),
        "out_asymmetry": floats(-0.3, 0.3),
        "bound_management": st.sampled_from(
            [b for b in BoundManagementType if b is not BoundManagementType.SHIFT]
        ),
        "w_noise": floats(0.0, 0.3),
        "w_noise_type": st.sampled_from(list(WeightNoiseType)),
        "ir_drop": floats(0.0, 2.0),
        "ir_drop_g_ratio": floats(1.0, 1e6),
        "out_nonlinearity": floats(0.0, 1.0),
        "out_nonlinearity_std": floats(0.0, 0.5),
        "slope_calibration": floats(0.0, 0.9),
        "v_offset_std": floats(0.0, 0.3),
        "v_offset_w_min": floats(-1.0, 0.5),
        "r_series": floats(0.0, 0.3),
        "w_read_asymmetry_dtod": floats(0.0, 0.3),
        "max_bm_factor": st.integers(0, 10**9),
        "bm_test_negative_bound": st.booleans(),
        "nm_thres": floats(0.0, 3.0),
        "nm_decay": floats(0.0, 1.0),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(fields)), max_size=8))
    return IOParameters(
        noise_management=noise,
        **{"inp_bound": draw(fields["inp_bound"])},
        **{name: draw(fields[name]) for name in chosen - {"inp_bound"}},
    )


def product(
    io: IOParameters, direction: str, x: Tensor, out_size: int = 7, seed: int = 1
) -> Tensor:
    """Return the first product of a fresh tile; equal arguments give equal draws."""
    torch.manual_seed(seed)
    in_size = x.shape[-1]
    sizes = (out_size, in_size) if direction == "forward" else (in_size, out_size)
    tile = AnalogTile(*sizes, SingleRPUConfig(**{direction: io}))
    return getattr(tile.tile, direction)(x)


@given(io_parameters(), st.sampled_from(DIRECTIONS), st.integers(0, 2**31), floats(-20.0, 20.0))
def test_finite_inputs_give_finite_outputs(
    io: IOParameters, direction: str, seed: int, exponent: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 5, generator=generator) * 2.0**exponent
    x[1] = 0.0
    assert bool(torch.isfinite(product(io, direction, x)).all())


@given(
    st.sampled_from(DIRECTIONS), st.integers(1, 70), st.integers(1, 90), st.integers(1, 40),
    st.integers(0, 2**31),
)  # fmt: skip
def test_perfect_is_the_plain_product(
    direction: str, out_size: int, in_size: int, batch: int, seed: int
) -> None:
    torch.manual_seed(seed)
    sizes = (out_size, in_size) if direction == "forward" else (in_size, out_size)
    io = IOParameters(is_perfect=True)
    tile = AnalogTile(*sizes, SingleRPUConfig(**{direction: io}))
    x = torch.randn(batch, in_size)
    weight = tile.tile.get_weights()
    weight = weight if direction == "forward" else weight.T
    y = getattr(tile.tile, direction)(x)
    # Any order of n fused or unfused additions of n products is within n eps sum |w x|.
    allowed = (
        in_size * torch.finfo(torch.float32).eps * (x.abs().double() @ weight.abs().T.double())
    )
    exact = x.double() @ weight.double().T
    assert bool(((y.double() - exact).abs() <= allowed + 1e-40).all())


@given(st.sampled_from(DIRECTIONS), st.integers(-30, 30), st.integers(0, 2**31))
def test_result_scales_with_managed_inputs(direction: str, exponent: int, seed: int) -> None:
    """A power of two on the inputs is one on the results, noise and rounding included."""
    x = torch.randn(4, 9, generator=torch.Generator().manual_seed(seed))
    io = IOParameters(noise_management=NoiseManagementType.ABS_MAX, inp_noise=0.1, w_noise=0.1)
    y = product(io, direction, x)
    assert torch.equal(product(io, direction, x * 2.0**exponent), y * 2.0**exponent)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"out_bound": 0.5},
        {"mv_type": AnalogMVType.POS_NEG_SEPARATE_DIGITAL_SUM, "ir_drop": 1.0},
        {"w_noise": 0.1, "w_noise_type": WeightNoiseType.PCM_READ, "inp_sto_round": True},
        {"noise_management": NoiseManagementType.AVERAGE_ABS_MAX, "out_noise_std": 0.3},
    ],
    ids=["default", "bound", "pos_neg", "w_noise", "average"],
)
def test_bits_do_not_depend_on_threads(direction: str, settings: dict[str, Any]) -> None:
    io = IOParameters(**settings)
    before = mho.get_num_threads()
    try:
        results = []
        # The second shape is large enough to be split among threads.
        for threads in (1, 2, 3, 7):
            mho.set_num_threads(threads)
            for size, batch in ((5, 3), (301, 130)):
                x = torch.randn(batch, size, generator=torch.Generator().manual_seed(4))
                results.append((size, product(io, direction, x, out_size=257)))
        for size, y in results[2:]:
            expected = next(first for s, first in results if s == size)
            assert torch.equal(y, expected)
    finally:
        mho.set_num_threads(before)


def test_running_averages_are_separate_and_saved() -> None:
    """Forward and backward have a running scale each; evaluation leaves both alone."""
    io = IOParameters(noise_management=NoiseManagementType.AVERAGE_ABS_MAX)
    tile = AnalogTile(3, 4, SingleRPUConfig(forward=io, backward=io))
    key = "running_abs_max"

    def running() -> list[float]:
        state = tile.state_dict()
        return [float(state[f"analog_tile_{d}.{key}"]) for d in DIRECTIONS]

    assert running() == [-1.0, -1.0]
    tile.eval()
    tile(torch.full((2, 4), 0.5))
    assert running() == [-1.0, -1.0]
    tile.train()
    x = torch.full((1, 4), 0.5, requires_grad=True)
    tile(x).backward(torch.full((1, 3), 0.25))
    assert running() == [0.5, 0.25]
    copy = AnalogTile(3, 4, SingleRPUConfig(forward=io, backward=io))
    copy.load_state_dict(tile.state_dict())
    assert {k: v.tolist() for k, v in copy.state_dict().items() if key in k} == {
        f"analog_tile_{d}.{key}": [v] for d, v in zip(DIRECTIONS, (0.5, 0.25), strict=True)
    }


def test_frozen_lines_survive_a_checkpoint() -> None:
    """Values that are drawn once per tile come back, in both directions."""
    io = IOParameters(
        out_noise_std=0.3, v_offset_std=0.2, out_nonlinearity=0.4, out_nonlinearity_std=0.3,
        w_read_asymmetry_dtod=0.2, mv_type=AnalogMVType.POS_NEG_SEPARATE,
    )  # fmt: skip
    config = SingleRPUConfig(forward=io, backward=io)
    tile, copy = AnalogTile(3, 4, config), AnalogTile(3, 4, config)
    for get in ("get_forward_parameters", "get_backward_parameters"):
        mine, other = getattr(tile, get)(), getattr(copy, get)()
        assert not torch.equal(mine["out_noise_values"], other["out_noise_values"])
    copy.load_state_dict(tile.state_dict())
    for get in ("get_forward_parameters", "get_backward_parameters"):
        mine, other = getattr(tile, get)(), getattr(copy, get)()
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)
