"""Properties that every product of the core has, for random parameters and inputs."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

import mho
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    AnalogMVType,
    BoundManagementType,
    InferenceRPUConfig,
    IOParameters,
    NoiseManagementType,
    SingleRPUConfig,
    WeightNoiseType,
)
from mho.simulator.tiles import AnalogTile, InferenceTile

EPS = 2.0**-24  # half the distance of float32 numbers around one
OUT, IN = 5, 9
DIRECTIONS = pytest.mark.parametrize("direction", ["forward", "backward"])


def real(low: float, high: float) -> st.SearchStrategy[float]:
    """Return numbers of a range, its ends included."""
    return st.floats(low, high, allow_nan=False)


def off_or(low: float, high: float) -> st.SearchStrategy[float]:
    """Return zero or a number of a range."""
    return st.just(0.0) | real(low, high)


RESOLUTION = st.sampled_from([-1.0, 1 / 2, 1 / 3, 1 / 14, 1 / 126, 1 / 510, 20.0])
NOISE = st.sampled_from(list(WeightNoiseType))
BOUNDS = st.sampled_from([b for b in BoundManagementType if b is not BoundManagementType.SHIFT])
SCALES = st.sampled_from(list(NoiseManagementType))
PRODUCTS = st.sampled_from(
    [
        AnalogMVType.ONE_PASS,
        AnalogMVType.POS_NEG_SEPARATE,
        AnalogMVType.POS_NEG_SEPARATE_DIGITAL_SUM,
    ]
)
OUT_BOUND = st.sampled_from([0.0, 0.05, 1.0, 12.0, float("inf")])


def valid(settings: dict[str, Any]) -> dict[str, Any]:
    """Return parameters with the input bound that noise management requires."""
    scaled = settings["noise_management"] is not NoiseManagementType.NONE
    return {**settings, "inp_bound": 1.0} if scaled else settings


PARAMETERS = st.fixed_dictionaries(
    {
        "mv_type": PRODUCTS,
        "inp_bound": off_or(1e-3, 4.0),
        "inp_noise": off_or(1e-3, 0.5),
        "inp_res": RESOLUTION,
        "inp_sto_round": st.booleans(),
        "inp_asymmetry": real(-0.5, 0.5),
        "out_bound": OUT_BOUND,
        "out_noise": off_or(1e-3, 1.0),
        "out_noise_std": off_or(0.1, 1.0),
        "out_res": RESOLUTION,
        "out_sto_round": st.booleans(),
        "out_scale": real(-4.0, 4.0),
        "out_asymmetry": real(-0.5, 0.5),
        "bound_management": BOUNDS,
        "noise_management": SCALES,
        "w_noise": off_or(1e-3, 0.5),
        "w_noise_type": NOISE,
        "ir_drop": off_or(0.1, 2.0),
        "ir_drop_g_ratio": real(1.0, 1e6),
        "r_series": off_or(1e-3, 0.5),
        "v_offset_std": off_or(1e-3, 0.3),
        "v_offset_w_min": real(-1.0, 0.5),
        "out_nonlinearity": off_or(0.01, 1.0),
        "out_nonlinearity_std": off_or(0.01, 0.5),
        "slope_calibration": off_or(0.01, 0.9),
        "w_read_asymmetry_dtod": off_or(0.01, 0.3),
        "nm_thres": off_or(0.1, 10.0),
        "nm_decay": real(0.0, 1.0),
        "max_bm_factor": st.integers(0, 10**9),
        "bm_test_negative_bound": st.booleans(),
    }
).map(valid)

# Everything that acts on normalised inputs only; the scale of noise management is exact in it.
NORMALISED = st.fixed_dictionaries(
    {
        "inp_noise": off_or(1e-3, 0.5),
        "inp_res": RESOLUTION,
        "inp_sto_round": st.booleans(),
        "inp_asymmetry": real(-0.5, 0.5),
        "out_bound": OUT_BOUND,
        "out_noise": off_or(1e-3, 1.0),
        "out_res": RESOLUTION,
        "out_sto_round": st.booleans(),
        "bound_management": BOUNDS,
        "w_noise": off_or(1e-3, 0.5),
        "w_noise_type": NOISE,
        "ir_drop": off_or(0.1, 1.0),
        "out_nonlinearity": off_or(0.01, 0.5),
    }
)


def build(
    direction: str, settings: dict[str, Any], out: int = OUT, columns: int = IN
) -> AnalogTile:
    """Return a fresh tile with given parameters of one direction, the same one each time."""
    config = SingleRPUConfig(**{direction: IOParameters(**settings)})
    torch.manual_seed(11)
    return AnalogTile(out, columns, config)


def product(tile: AnalogTile, direction: str, x: Tensor) -> Tensor:
    """Return the product of the raw tile for the first call number."""
    tile.analog_tile_calls.fill_(1000)
    with torch.no_grad():
        result: Tensor = getattr(tile.tile, direction)(x)
    return result


def inputs(direction: str, rows: int = 3, out: int = OUT, columns: int = IN) -> Tensor:
    """Return random inputs with a row of zeros."""
    torch.manual_seed(12)
    x = torch.randn(rows, columns if direction == "forward" else out)
    x[-1] = 0.0
    return x


@DIRECTIONS
@given(settings=PARAMETERS, size=st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 1e3, 1e20]))
def test_finite_inputs_give_finite_outputs(
    direction: str, settings: dict[str, Any], size: float
) -> None:
    """No combination of valid parameters turns finite inputs into NaN or infinity."""
    if settings["noise_management"] is NoiseManagementType.NONE and settings["inp_bound"] <= 0.0:
        size = min(size, 1e3)  # IR drop has powers of the bare inputs, which float32 must hold
    tile = build(direction, settings)
    for _ in range(2):
        y = product(tile, direction, size * inputs(direction))
        assert bool(torch.isfinite(y).all())
    for name, value in tile.state_dict().items():
        assert bool(torch.isfinite(value).all()), name


EXACT = [
    {"is_perfect": True},
    {
        "inp_res": -1.0,
        "out_res": -1.0,
        "out_noise": 0.0,
        "inp_bound": 0.0,
        "out_bound": 0.0,
        "noise_management": NoiseManagementType.NONE,
        "bound_management": BoundManagementType.NONE,
    },
]


@DIRECTIONS
@pytest.mark.parametrize("settings", EXACT, ids=["is_perfect", "all off"])
@given(
    rows=st.integers(1, 9), out=st.integers(1, 70), columns=st.integers(1, 300), bits=st.integers()
)
def test_perfect_products_are_linear(
    direction: str, settings: dict[str, Any], rows: int, out: int, columns: int, bits: int
) -> None:
    """Without non-idealities the product is `F.linear` up to the rounding of a float32 sum.

    Any order of summing n products errs by at most `n u / (1 - n u)` times the sum of their
    magnitudes, u = 2^-24, with or without fused multiplication; the reference in float64 errs by
    2^29 times less.
    """
    tile = build(direction, settings, out, columns)
    generator = torch.Generator().manual_seed(bits % 2**63)
    n = columns if direction == "forward" else out
    x = torch.randn(rows, n, generator=generator)
    w = tile.tile.get_weights() if direction == "forward" else tile.tile.get_weights().t()
    expected = functional.linear(x.double(), w.double())
    magnitude = functional.linear(x.double().abs(), w.double().abs())
    bound = 1.01 * n * EPS * magnitude + 1e-37
    assert bool(((product(tile, direction, x).double() - expected).abs() <= bound).all())


@DIRECTIONS
@given(settings=NORMALISED, power=st.integers(-40, 40))
def test_outputs_follow_powers_of_two(direction: str, settings: dict[str, Any], power: int) -> None:
    """With ABS_MAX a factor 2^k on the inputs is one on the outputs, noise included, to the bit."""
    settings = {**settings, "noise_management": NoiseManagementType.ABS_MAX}
    tile, x = build(direction, settings), inputs(direction)
    factor = torch.tensor([2.0**power, 2.0**power, 1.0])[:, None]  # a row of zeros has scale one
    y = product(tile, direction, x)
    assert torch.equal(product(tile, direction, x * factor), y * factor)


@DIRECTIONS
@given(settings=PARAMETERS, rows=st.sampled_from([1, 2, 17, 130]))
def test_threads_do_not_change_bits(direction: str, settings: dict[str, Any], rows: int) -> None:
    """One, two, three and seven threads give the same outputs and the same state."""
    before, results = mho.get_num_threads(), []
    try:
        for count in (1, 2, 3, 7):
            mho.set_num_threads(count)
            tile = build(direction, settings, 70, 150)
            y = product(tile, direction, inputs(direction, rows, 70, 150))
            results.append((y, list(tile.state_dict().values())))
    finally:
        mho.set_num_threads(before)
    for y, state in results[1:]:
        assert torch.equal(y, results[0][0])
        assert all(torch.equal(a, b) for a, b in zip(state, results[0][1], strict=True))


def test_draws_belong_to_rows() -> None:
    """A row gets the same noise whichever rows come after it."""
    tile = build("forward", {}, 70, 150)
    whole = product(tile, "forward", inputs("forward", 40, 70, 150))
    part = product(tile, "forward", inputs("forward", 40, 70, 150)[:20])
    assert torch.equal(whole[:20], part)


# --- running scales -------------------------------------------------------------------------------

AVERAGE = {"noise_management": NoiseManagementType.AVERAGE_ABS_MAX, "nm_decay": 0.25}
FORWARD, BACKWARD = (f"analog_tile_{side}.running_abs_max" for side in ("forward", "backward"))


def averaging() -> AnalogTile:
    """Return a tile whose products of both directions follow a running scale."""
    config = SingleRPUConfig(forward=IOParameters(**AVERAGE), backward=IOParameters(**AVERAGE))
    return AnalogTile(OUT, IN, config)


def running(tile: AnalogTile) -> tuple[Tensor, Tensor]:
    """Return copies of both running scales."""
    state = tile.state_dict()
    return state[FORWARD].clone(), state[BACKWARD].clone()


def test_running_scales_are_separate() -> None:
    """A product changes the scale of its own direction only."""
    tile = averaging()
    start = running(tile)
    tile.tile.forward(inputs("forward"))
    after_forward = running(tile)
    assert not torch.equal(after_forward[0], start[0])
    assert torch.equal(after_forward[1], start[1])
    tile.tile.backward(3.0 * inputs("backward"))
    after_backward = running(tile)
    assert torch.equal(after_backward[0], after_forward[0])
    assert not torch.equal(after_backward[1], after_forward[1])
    assert not torch.equal(*after_backward)


@pytest.mark.filterwarnings("ignore:AnalogTile outside of a model")  # nobody trains it
def test_running_scales_rest_in_evaluation() -> None:
    """Evaluation uses the scales that training has left and does not move them."""
    tile = averaging()
    _optimizer = AnalogSGD(tile.parameters(), lr=0.1)
    tile(inputs("forward")).sum().backward()
    trained = running(tile)
    tile.eval()
    x = (5.0 * inputs("forward")).requires_grad_()
    tile(x).sum().backward()
    with torch.no_grad():
        tile(x)
    assert all(torch.equal(a, b) for a, b in zip(running(tile), trained, strict=True))
    tile.train()
    tile(x).sum().backward()
    assert not torch.equal(running(tile)[0], trained[0])


@pytest.mark.filterwarnings("ignore:AnalogTile outside of a model")  # nobody trains it
def test_running_scales_are_saved() -> None:
    """A loaded tile goes on with both scales to the bit."""
    tile, other = averaging(), averaging()
    _optimizers = [AnalogSGD(one.parameters(), lr=0.1) for one in (tile, other)]
    tile(inputs("forward")).sum().backward()
    other.load_state_dict(tile.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(running(other), running(tile), strict=True))
    for _ in range(2):
        x = [inputs("forward").requires_grad_() for _ in range(2)]
        y = [one(value) for one, value in zip((tile, other), x, strict=True)]
        for output in y:
            output.square().sum().backward()
        assert torch.equal(y[0], y[1])
        assert torch.equal(x[0].grad, x[1].grad)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(running(other), running(tile), strict=True))


# --- frozen values --------------------------------------------------------------------------------

SPREAD = {
    "mv_type": AnalogMVType.POS_NEG_SEPARATE,
    "out_noise": 0.1,
    "out_noise_std": 0.5,
    "v_offset_std": 0.1,
    "w_read_asymmetry_dtod": 0.2,
    "out_nonlinearity": 0.2,
    "out_nonlinearity_std": 0.5,
}


@pytest.mark.parametrize("kind", ["pulsed", "inference"])
def test_frozen_values_survive(kind: str) -> None:
    """Values drawn once per line are in the state and come back, whatever the other tile drew."""
    config: Any = SingleRPUConfig() if kind == "pulsed" else InferenceRPUConfig()
    config.forward, config.backward = IOParameters(**SPREAD), IOParameters(**SPREAD)
    cls: Any = AnalogTile if kind == "pulsed" else InferenceTile
    tile, other = cls(OUT, IN, config), cls(OUT, IN, config)
    for get in ("get_forward_parameters", "get_backward_parameters"):
        mine, drawn = getattr(tile, get)(), getattr(other, get)()
        assert {"out_noise_values", "v_offset", "w_asymmetry"} <= {
            name for name, value in mine.items() if value.numel() > 0
        }
        assert not torch.equal(mine["out_noise_values"], drawn["out_noise_values"])
    other.load_state_dict(tile.state_dict())
    for get in ("get_forward_parameters", "get_backward_parameters"):
        mine, loaded = getattr(tile, get)(), getattr(other, get)()
        assert list(mine) == list(loaded)
        assert all(torch.equal(loaded[name], value) for name, value in mine.items())
    with torch.no_grad():
        assert torch.equal(other(inputs("forward")), tile(inputs("forward")))
