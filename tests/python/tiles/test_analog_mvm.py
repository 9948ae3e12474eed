"""The analog product of torch tiles against closed forms, golden values and statistics.

The expected outputs of the golden cases follow from the equations in the documentation of
`mho.simulator.tiles.analog_mvm`, computed in double precision; no value lies near a half-way point
of a converter, so that single precision agrees to 2e-6.
"""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mho.exceptions import ConfigError, TorchTileConfigError
from mho.simulator.parameters.enums import (
    AnalogMVType,
    NoiseManagementType,
    WeightNoiseType,
)
from mho.simulator.parameters.io import IOParameters, IOParametersIRDropT
from mho.simulator.tiles.analog_mvm import AnalogMVM, UniformQuantize
from torch_tiles import BM, NM, ideal
from torch_tiles import W as SMALL

W = torch.tensor(
    [[0.50, -0.25, 0.125, 0.75], [-0.60, 0.30, 0.90, -0.15], [0.20, 0.80, -0.45, 0.05]]
)
X = torch.tensor([[0.90, -0.37, 0.16, 0.62], [-2.40, 1.30, 0.70, 3.10]])

DAC = {"inp_bound": 1.0, "inp_res": 1 / 126}
COARSE = {"out_noise": 0.0, "inp_res": 1 / 128, "out_res": -1.0}
GOLDEN = {
    "base": (ideal(), [1.0275, -0.6, -0.157], [0.8875, 1.995, 0.4]),
    "inp_bound": (ideal(inp_bound=1.0), [1.0275, -0.6, -0.157], [0.0875, 1.38, 0.335]),
    "inp_res": (
        ideal(**DAC),
        [1.027778, -0.602381, -0.151587],
        [0.087302, 1.378571, 0.335714],
    ),
    "inp_res in steps": (
        ideal(inp_bound=1.0, inp_res=5),
        [1.1, -0.72, -0.12],
        [0.1, 1.47, 0.29],
    ),
    "abs max": (
        ideal(**DAC, noise_management=NM.ABS_MAX),
        [1.023214, -0.602143, -0.157143],
        [0.885714, 1.985476, 0.386270],
    ),
    "abs max with threshold": (
        ideal(**DAC, noise_management=NM.ABS_MAX, nm_thres=1.0),
        [1.023214, -0.602143, -0.157143],
        [0.087302, 1.378571, 0.335714],
    ),
    "constant": (
        ideal(**DAC, noise_management=NM.CONSTANT, nm_thres=2.0),
        [1.035714, -0.6, -0.166667],
        [0.261905, 1.919048, 0.426984],
    ),
    "out_res": (
        ideal(out_bound=1.0, out_res=1 / 30),
        [1.0, -0.6, -0.133333],
        [0.866667, 1.0, 0.4],
    ),
    "defaults without noise": (
        IOParameters(out_noise=0.0),
        [1.016471, -0.592941, -0.169412],
        [0.875294, 2.042353, 0.437647],
    ),
    "bound management": (
        IOParameters(**COARSE, out_bound=0.25),
        [1.054688, -0.641250, -0.106875],
        [0.920312, 2.034375, 0.426250],
    ),
    "bound management stops": (
        IOParameters(**COARSE, out_bound=0.1, max_bm_factor=3),
        [0.36, -0.36, -0.18],
        [0.920312, 1.24, 0.426250],
    ),
    "inp_asymmetry": (
        ideal(inp_asymmetry=0.1),
        [1.01825, -0.5889, -0.1274],
        [1.0075, 1.851, 0.448],
    ),
    "out_asymmetry": (
        ideal(out_asymmetry=0.1),
        [1.0275, -0.54, -0.1413],
        [0.8875, 1.995, 0.4],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_golden(name: str, dtype: torch.dtype) -> None:
    """Deterministic parameter sets give the closed form."""
    io, *expected = GOLDEN[name]
    y = AnalogMVM.matmul(W.to(dtype), X.to(dtype), io)
    assert y.dtype is dtype
    torch.testing.assert_close(y, torch.tensor(expected, dtype=dtype), atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", GOLDEN)
def test_rows_are_independent(name: str) -> None:
    """A batch, single rows, and axes in front give the same numbers."""
    io = GOLDEN[name][0]
    y = AnalogMVM.matmul(W, X, io)
    single = torch.stack([AnalogMVM.matmul(W, row, io) for row in X])
    deep = AnalogMVM.matmul(W, X.reshape(1, 2, 1, 4), io)
    # Products of other shapes add in another order; 2e-6 is some ulp of the largest output.
    torch.testing.assert_close(single, y, atol=2e-6, rtol=0)
    torch.testing.assert_close(deep.reshape(2, 3), y, atol=2e-6, rtol=0)


def test_bound_management_closed_forms() -> None:
    """The last of the allowed passes is accepted although it clips."""
    defaults = {"out_noise": 0.0, "out_bound": 0.1}
    one = torch.ones(1, 1)
    # rho = 16 is the first value above max_bm_res / step = 15.75; the largest output is 16 * 0.1.
    y = AnalogMVM.matmul(10.0 * one, one, IOParameters(**defaults))
    torch.testing.assert_close(y, torch.tensor([[1.6]]), atol=1e-6, rtol=0)
    # Without steps only max_bm_factor = 1000 limits, and rho = 1024 is the first value above.
    y = AnalogMVM.matmul(1000.0 * one, one, IOParameters(**defaults, inp_res=-1.0))
    torch.testing.assert_close(y, torch.tensor([[102.4]]), atol=1e-4, rtol=0)


def test_bound_management_ends() -> None:
    """There are at most 64 passes: an output that never fits ends at 2^63 times the bound."""
    io = ideal(out_bound=1.0, bound_management=BM.ITERATIVE, max_bm_factor=2**62)
    y = AnalogMVM.matmul(torch.full((1, 1), 1e30), torch.ones(1, 1), io)
    assert y.item() == 2.0**63


def test_bound_management_redoes_only_failed_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that fit are multiplied once, with weights of rank 2."""
    sizes = []
    multiply = AnalogMVM._multiply

    def count(weight: Tensor, rows: Tensor, trans: bool) -> Tensor:
        sizes.append(rows.shape[0])
        return multiply(weight, rows, trans)

    monkeypatch.setattr(AnalogMVM, "_multiply", count)
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    weight = torch.tensor([[0.3, 3.0]])
    io = ideal(out_bound=1.0, bound_management=BM.ITERATIVE)
    torch.testing.assert_close(AnalogMVM.matmul(weight, x, io), x @ weight.T)
    assert sizes == [3, 1, 1]


def test_negative_bound_can_be_ignored() -> None:
    """Only the positive bound starts another pass if the negative one does not count."""
    io = ideal(out_bound=1.0, bound_management=BM.ITERATIVE, bm_test_negative_bound=False)
    weight = torch.tensor([[-3.0], [0.5]])
    x = torch.tensor([[1.0], [-1.0]])
    expected = torch.tensor([[-1.0, 0.5], [3.0, -0.5]])
    torch.testing.assert_close(AnalogMVM.matmul(weight, x, io), expected)


@pytest.mark.parametrize("bound", [0.0, -1.0, math.inf])
@pytest.mark.parametrize("side", ["inp", "out"])
def test_without_bound_no_quantizer(bound: float, side: str) -> None:
    """A bound of zero, less or infinity switches the resolution off too."""
    io = ideal(**{f"{side}_bound": bound, f"{side}_res": 1 / 126})
    assert torch.equal(AnalogMVM.matmul(W, X, io), AnalogMVM.matmul(W, X, ideal()))


def test_resolution_as_steps() -> None:
    """254 steps are a resolution of 1/254."""
    steps, fraction = ideal(inp_bound=1.0, inp_res=254), ideal(inp_bound=1.0, inp_res=1 / 254)
    assert torch.equal(AnalogMVM.matmul(W, X, steps), AnalogMVM.matmul(W, X, fraction))


@pytest.mark.parametrize("management", [NM.ABS_MAX, NM.MAX])
def test_zero_rows_are_silent(management: NoiseManagementType) -> None:
    """A row without signal gives exactly zero beside rows with noise, and passes gradients."""
    io = IOParameters(out_noise=1.0, noise_management=management)
    x = torch.tensor([[0.0, 0.0], [1.0, 0.5]], requires_grad=True)
    y = AnalogMVM.matmul(SMALL, x, io)
    assert y[0].tolist() == [0.0, 0.0]
    assert y[1].tolist() != (SMALL @ x[1]).tolist()
    y[0].sum().backward()
    torch.testing.assert_close(x.grad[0], SMALL.sum(0))


def test_max_of_negative_row_is_silent() -> None:
    """MAX noise management gives zero where no element is positive."""
    io = ideal(noise_management=NM.MAX, inp_bound=1.0)
    y = AnalogMVM.matmul(SMALL, torch.tensor([[-1.0, -2.0], [1.0, -2.0]]), io)
    assert y[0].tolist() == [0.0, 0.0]
    # alpha = 1 clips the second element at -1.
    torch.testing.assert_close(y[1], SMALL @ torch.tensor([1.0, -1.0]))


@pytest.mark.parametrize("changes", [{"inp_noise": 0.1}, {"noise_management": NM.NONE}])
def test_zero_rows_are_noisy(changes: dict[str, object]) -> None:
    """With input noise or without noise management a zero row is a row like others."""
    io = IOParameters(**{"out_noise": 1.0, **changes})
    assert AnalogMVM.matmul(SMALL, torch.zeros(1, 2), io).ne(0.0).all()


def test_transposed_zero_row_is_silent_with_input_noise() -> None:
    """The transposed product skips a row without signal in any case."""
    io = IOParameters(inp_noise=0.1)
    assert AnalogMVM.matmul(SMALL, torch.zeros(1, 2), io, trans=True).tolist() == [[0.0, 0.0]]


def test_transposed_product_has_no_bound_management() -> None:
    """The transposed product clips at its bound."""
    io = ideal(out_bound=1.0, bound_management=BM.ITERATIVE)
    y = AnalogMVM.matmul(torch.tensor([[3.0, 0.5]]), torch.ones(1, 1), io, trans=True)
    assert y.tolist() == [[1.0, 0.5]]


def test_perfect_product_is_scaled() -> None:
    """`out_scale` acts on a perfect product too; nothing else does."""
    io = IOParameters(is_perfect=True, out_scale=2.0, out_bound=0.01, inp_bound=3.0)
    AnalogMVM.check_support(io)
    torch.testing.assert_close(AnalogMVM.matmul(W, X, io), 2.0 * X @ W.T)


def test_subnormal_and_huge_inputs_stay_finite() -> None:
    """The scale of the smallest and of the largest inputs is finite."""
    io = IOParameters(out_noise=0.0)
    x = torch.tensor([[1e-40, 0.0], [1e38, -1e38], [0.0, 3e38]])
    assert torch.isfinite(AnalogMVM.matmul(SMALL * 0.5, x, io)).all()


def test_weights_per_batch_entry() -> None:
    """Weights of rank 3 belong to the entries of the first axis of the input."""
    weights = torch.stack([W, 2.0 * W])
    x = X.reshape(2, 1, 4).expand(2, 3, 4)
    io = GOLDEN["bound management"][0]
    y = AnalogMVM.matmul(weights, x, io)
    for i in range(2):
        expected = AnalogMVM.matmul(weights[i], x[i], io)
        torch.testing.assert_close(y[i], expected, atol=4e-6, rtol=0)
    d = torch.ones(2, 3)
    back = AnalogMVM.matmul(weights, d, ideal(), trans=True)
    torch.testing.assert_close(back, torch.stack([d[0] @ W, d[1] @ (2.0 * W)]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision(dtype: torch.dtype) -> None:
    """Half precision agrees to its own rounding of inputs, weights and product."""
    y = AnalogMVM.matmul(W.to(dtype), X.to(dtype), GOLDEN["abs max"][0])
    assert y.dtype is dtype
    expected = torch.tensor(GOLDEN["abs max"][1:])
    # Four products of rounded factors of at most 3.1, then a rounded sum of at most 2: the errors
    # add to below 4 * 3.1 * 3/2 eps + eps, and an input may move by one step of 3.1/63 times a
    # weight of 0.9.
    tolerance = 20.0 * torch.finfo(dtype).eps + 3.1 / 63 * 0.9
    torch.testing.assert_close(y.float(), expected, atol=tolerance, rtol=0)


def test_low_precision_resolves_small_inputs() -> None:
    """Noise management works where the reciprocal of the input is beyond float16."""
    x = torch.tensor([[1e-6, -5e-7]], dtype=torch.float16)
    y = AnalogMVM.matmul(torch.eye(2, dtype=torch.float16), x, ideal(noise_management=NM.ABS_MAX))
    # The smallest number of float16 is 6e-8.
    torch.testing.assert_close(y, x, atol=6e-8, rtol=0)


# Compilation


@pytest.mark.parametrize("name", ["defaults without noise", "bound management", "base"])
def test_compiled_equals_eager(name: str) -> None:
    """A captured graph gives the same numbers and gradients as long as nothing is random."""
    io = GOLDEN[name][0]
    compiled = torch.compile(AnalogMVM.matmul, fullgraph=True, backend="aot_eager")
    results = []
    for function in (AnalogMVM.matmul, compiled):
        x, weight = X.clone().requires_grad_(), W.clone().requires_grad_()
        y = function(weight, x, io)
        y.square().sum().backward()
        results.append((y.detach(), x.grad, weight.grad))
    for eager, captured in zip(*results, strict=True):
        torch.testing.assert_close(captured, eager, rtol=1e-6, atol=2e-6)


# Refusals

REFUSED = {
    "mv_type": [
        AnalogMVType.IDEAL,
        AnalogMVType.POS_NEG_SEPARATE,
        AnalogMVType.POS_NEG_SEPARATE_DIGITAL_SUM,
        AnalogMVType.SPLIT_MODE,
        AnalogMVType.BIT_WISE,
    ],
    "bound_management": [BM.SHIFT, BM.ITERATIVE_WORST_CASE],
    "noise_management": [NM.AVERAGE_ABS_MAX, NM.ABS_MAX_NP_SUM],
    "w_noise": [0.1],
    "w_noise_type": [WeightNoiseType.ADDITIVE_CONSTANT, WeightNoiseType.PCM_READ],
    "ir_drop": [1.0],
    "out_nonlinearity": [0.1],
    "slope_calibration": [0.5],
    "v_offset_std": [0.1],
    "v_offset_w_min": [0.5],
    "r_series": [0.1],
    "w_read_asymmetry_dtod": [0.1],
    "inp_bound": [2.0],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values]
)
def test_refusals_name_the_field(name: str, value: object) -> None:
    """What only the core simulates is refused by name."""
    with pytest.raises(TorchTileConfigError, match=f"^backward.{name}:"):
        AnalogMVM.check_support(IOParameters(**{name: value}), "backward")


def test_support_of_defaults() -> None:
    """The defaults and infinite limits are supported; a subclass is judged by its values."""
    AnalogMVM.check_support(IOParameters())
    AnalogMVM.check_support(ideal(out_bound=math.inf))
    with pytest.raises(TorchTileConfigError, match=r"forward\.ir_drop"):
        AnalogMVM.check_support(IOParametersIRDropT())


def test_wrong_type_is_refused() -> None:
    """A wrong type is a configuration error that names the field."""
    io = copy.deepcopy(IOParameters())
    io.out_noise = "much"  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"forward\.out_noise"):
        AnalogMVM.check_support(io)


NUMBERS = st.floats(-1.0, 2.0, allow_nan=False)
STRENGTHS = st.sampled_from([0.0, 0.01, 0.5])
SUPPORTED = st.builds(
    IOParameters,
    inp_noise=STRENGTHS,
    inp_res=NUMBERS | st.just(254.0),
    inp_sto_round=st.booleans(),
    inp_asymmetry=NUMBERS,
    out_bound=NUMBERS | st.just(math.inf),
    out_noise=STRENGTHS,
    out_res=NUMBERS | st.just(254.0),
    out_sto_round=st.booleans(),
    out_scale=NUMBERS,
    out_asymmetry=NUMBERS,
    bound_management=st.sampled_from([BM.NONE, BM.ITERATIVE]),
    noise_management=st.sampled_from([NM.NONE, NM.ABS_MAX, NM.MAX, NM.CONSTANT]),
    max_bm_factor=st.integers(-1, 10**9),
    max_bm_res=NUMBERS,
    bm_test_negative_bound=st.booleans(),
    nm_thres=NUMBERS,
)


@given(io=SUPPORTED, scale=st.sampled_from([0.0, 1e-30, 1.0, 1e20]), trans=st.booleans())
def test_finite_inputs_give_finite_outputs(io: IOParameters, scale: float, trans: bool) -> None:
    """No supported parameters turn finite inputs or gradients into NaN or infinity."""
    AnalogMVM.check_support(io)
    x = (scale * torch.randn(5, 3 if trans else 4)).requires_grad_()
    y = AnalogMVM.matmul(W, x, io, trans)
    y.sum().backward()
    assert torch.isfinite(y).all() and torch.isfinite(x.grad).all()


@given(exponent=st.integers(-20, 20))
def test_noise_management_scales(exponent: int) -> None:
    """With ABS_MAX the output of a scaled input is the scaled output, exactly for powers of two."""
    io = IOParameters(out_noise=0.0)
    y = AnalogMVM.matmul(W, 2.0**exponent * X, io)
    assert torch.equal(y, 2.0**exponent * AnalogMVM.matmul(W, X, io))


@pytest.mark.parametrize("sto_round", [False, True])
def test_quantizer_properties(sto_round: bool) -> None:
    """The quantiser is odd, idempotent on levels, rounds half to even and stays within its step."""
    torch.manual_seed(25)
    values = torch.randn(1000, dtype=torch.float64)
    levels = UniformQuantize.apply(values, 0.125, sto_round)
    error = (levels - values).abs()
    assert error.max() <= (0.125 if sto_round else 0.0625)
    assert torch.equal(UniformQuantize.apply(levels, 0.125, False), levels)
    if not sto_round:
        assert torch.equal(UniformQuantize.apply(-values, 0.125, False), -levels)
        ties = torch.tensor([0.5, 1.5, 2.5, -0.5])
        assert UniformQuantize.apply(ties, 1.0, False).tolist() == [0.0, 2.0, 2.0, 0.0]
