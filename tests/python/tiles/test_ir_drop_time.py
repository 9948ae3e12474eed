"""Time-stepped voltage loss: closed form against time steps, phases, noise, what is refused."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mho.exceptions import ConfigError
from mho.inference import (
    CustomPairConductanceConverter,
    DualPairConductanceConverter,
    PCMLikeNoiseModel,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
)
from mho.nn import AnalogLinear, AnalogLinearMapped
from mho.simulator.configs import (
    IOParameters,
    IOParametersIRDropT,
    MappingParameter,
    TorchInferenceRPUConfigIRDropT,
)
from mho.simulator.parameters.enums import (
    AnalogMVType,
    BoundManagementType,
    NoiseManagementType,
    RPUDataType,
)
from mho.simulator.tiles import TorchInferenceTile
from mho.simulator.tiles.analog_mvm_irdrop_t import AnalogMVMIRDropT
from mho.simulator.tiles.torch_tile_irdrop_t import TorchSimulatorTileIRDropT

NM, BM, MV = NoiseManagementType, BoundManagementType, AnalogMVType
W = torch.tensor([[0.50, -0.25, 0.125, 0.75], [-0.60, 0.30, 0.90, -0.15]])
QUIET: dict[str, Any] = {
    "inp_res": 1 / 14,
    "out_noise": 0.0,
    "out_res": -1.0,
    "out_bound": -1.0,
    "noise_management": NM.NONE,
    "bound_management": BM.NONE,
    "ir_drop_segments": 4,
    "adc_quantization": False,
}


def config_with(rows: int = 8, converter: Any = None, **changes: Any) -> Any:
    """Return a configuration without noise and output converter, but for the changes."""
    config = TorchInferenceRPUConfigIRDropT(
        forward=IOParametersIRDropT(**{**QUIET, **changes}),
        mapping=MappingParameter(max_input_size=rows),
    )
    if converter is not None:
        config.noise_model = PCMLikeNoiseModel(g_converter=converter)
    return config


def tile_with(weight: Tensor = W, **changes: Any) -> TorchInferenceTile:
    """Return a tile in evaluation mode."""
    tile = TorchInferenceTile(*weight.shape, config_with(**changes))
    tile.set_weights(weight)
    return tile.eval()


@pytest.mark.parametrize(
    ("changes", "mild", "strong"),
    [
        ({"ir_drop_v_read": 0.4}, [1.178544, -0.578559], [1.018862, -0.506911]),
        ({}, [1.173901, -0.584130], [1.014839, -0.511581]),
        ({"ir_drop_integration_sum": False}, [1.289970, -0.594844], [1.115402, -0.523386]),
        ({"adc_quantization": True}, [0.824176, -0.412088], [0.824176, -0.412088]),
    ],
)
def test_golden_values(changes: dict[str, Any], mild: list[float], strong: list[float]) -> None:
    x = torch.tensor([[7, -3, 2, 5]]) / 7
    for wire, expected in ((0.15, mild), (1000.0, strong)):
        y = tile_with(ir_drop_rs=wire, **changes)(x)
        torch.testing.assert_close(y, torch.tensor([expected]), atol=2e-6, rtol=0.0)


# --- time steps, one by one, with a solution of the whole network ---------------------------------


def network_current(g: Tensor, source: Tensor, wire: float, v_read: float) -> float:
    """Return the current into the converter of one column, by the equations of all its nodes.

    Args:
        g: Conductance of every segment, from the far end to the converter, in microsiemens.
        source: Voltage of every segment.
        wire: Resistance between two segments, in megaohm; half of it is at the converter.
        v_read: Voltage of the converter.
    """
    n, link = len(g), 1.0 / wire
    matrix, right = torch.diag(g).double(), (g * source).double()
    for s in range(n - 1):
        matrix[s, s] += link
        matrix[s + 1, s + 1] += link
        matrix[s, s + 1] -= link
        matrix[s + 1, s] -= link
    matrix[n - 1, n - 1] += 2.0 * link
    right[n - 1] += 2.0 * link * v_read
    voltage = torch.linalg.solve(matrix, right)
    return float((voltage[n - 1] - v_read) * 2.0 * link)


def stepped(
    weight: Tensor,
    ticks: Tensor,
    io: IOParametersIRDropT,
    rows: int,
    steps: int,
    last: int,
    full: int,
    converter: Any,
) -> Tensor:
    """Return one output per column, time step by time step, in integer arithmetic of ticks."""
    front = (rows - weight.shape[1]) // 2
    padded = torch.zeros(weight.shape[0], rows)
    padded[:, front : front + weight.shape[1]] = weight
    k = torch.zeros(rows, dtype=torch.int64)
    k[front : front + weight.shape[1]] = ticks
    parts, params = converter.convert_to_conductances(padded)
    size = rows // io.ir_drop_segments
    wire = 1e-6 * io.ir_drop * io.ir_drop_rs * size
    result = []
    for column in range(weight.shape[0]):
        total = 0.0
        for factor, plus, minus in zip(
            params.get("f_lst", [1.0]), parts[::2], parts[1::2], strict=True
        ):
            p, m, order = plus[column].double(), minus[column].double(), k
            if column % 2 == 1:
                p, m, order = p.flip(0), m.flip(0), k.flip(0)
            currents = []
            for q in range(steps):
                on = order.abs() * (steps - 1) > q * last
                sign = torch.where(on, order.sign(), 0).double()
                g = p + m
                current = 0.4 * g + 0.2 * sign * (p - m)
                lumped = g.reshape(-1, size).sum(1) + 1e-12
                source = current.reshape(-1, size).sum(1) / lumped
                currents.append(network_current(lumped, source, wire, io.ir_drop_v_read))
            charge = sum(currents)
            if not io.ir_drop_integration_sum:
                charge += 0.5 * currents[0] - 0.5 * currents[-1]
            charge *= last / (steps - 1)
            if io.adc_quantization:
                charge = math.trunc(charge * io.adc_frequency / 100) * 100 / io.adc_frequency
            total += factor * charge
        result.append(total / float(params["scale_ratio"]) / 0.2 / full)
    return torch.tensor(result)


CONVERTERS: dict[str, Any] = {
    "single": SinglePairConductanceConverter(g_max=25.0, g_min=0.0),
    "leaky": SinglePairConductanceConverter(g_max=30.0, g_min=2.0),
    "dual": DualPairConductanceConverter(f_lst=[1.0, 3.0], g_max=20.0, g_min=0.1),
    "custom": CustomPairConductanceConverter(
        f_lst=[1.0], g_lst=[[1.0, 1.0, 20.0], [20.0, 1.0, 1.0]], g_max=20.0, g_min=1.0
    ),
}


@pytest.mark.parametrize("plain_sum", [True, False])
@pytest.mark.parametrize("scale", [1.0, 0.5, 0.3, 2.0])
@pytest.mark.parametrize("name", CONVERTERS)
def test_equal_to_time_steps(name: str, scale: float, plain_sum: bool) -> None:
    torch.manual_seed(3)
    weight, ticks = torch.randn(5, 7), torch.randint(-31, 32, (3, 7))
    changes = {
        "inp_res": 1 / 62,
        "ir_drop_rs": 300.0,
        "ir_drop_segments": 6,
        "ir_drop_integration_sum": plain_sum,
        "ir_drop_time_step_resolution_scale": scale,
    }
    converter = CONVERTERS[name]
    tile = tile_with(weight, rows=12, converter=converter, **changes)
    io, steps = tile.rpu_config.forward, int(32 * scale)
    expected = torch.stack(
        [stepped(weight, row, io, 12, steps, 31, 31, converter) for row in ticks]
    )
    torch.testing.assert_close(tile(ticks / 31), expected.float(), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(
    ("mode", "shift"), [(MV.SPLIT_MODE, 2), (MV.SPLIT_MODE, 4), (MV.BIT_WISE, 0)]
)
@pytest.mark.parametrize("plain_sum", [True, False])
def test_phases_equal_time_steps(mode: MV, shift: int, plain_sum: bool) -> None:
    torch.manual_seed(4)
    weight, ticks = torch.randn(4, 6), torch.randint(-31, 32, (3, 6))
    tile = tile_with(
        weight,
        rows=6,
        inp_res=1 / 62,
        ir_drop_rs=500.0,
        ir_drop_segments=3,
        mv_type=mode,
        split_mode_bit_shift=shift,
        ir_drop_integration_sum=plain_sum,
    )
    if mode is MV.BIT_WISE:
        phases = [(2**bit, 2) for bit in range(5)]
    else:
        phases = [(1, 2**shift), (2**shift, 2 ** (5 - shift))]
    converter = SinglePairConductanceConverter()
    io = tile.rpu_config.forward
    expected = torch.zeros(3, 4)
    for factor, length in phases:
        part = ticks.sign() * (ticks.abs() // factor % length)
        expected += factor * torch.stack(
            [stepped(weight, row, io, 6, length, length - 1, 31, converter) for row in part]
        )
    torch.testing.assert_close(tile(ticks / 31), expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("bits", [4, 6, 7, 8, 9])
@pytest.mark.parametrize("mode", [MV.ONE_PASS, MV.SPLIT_MODE, MV.BIT_WISE])
def test_without_wire_every_tick_is_exact(mode: MV, bits: int) -> None:
    full = 2 ** (bits - 1) - 1
    tile = tile_with(
        inp_res=1 / (2**bits - 2),
        mv_type=mode,
        split_mode_bit_shift=2,
        ir_drop_rs=0.0,
        ir_drop_v_read=0.4,
    )
    x = torch.arange(-full, full + 1).reshape(-1, 1).expand(-1, 4) / full
    torch.testing.assert_close(tile(x), x @ W.T, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("shift", range(7))
def test_every_split_of_the_bits(shift: int) -> None:
    tile = tile_with(
        inp_res=1 / 126,
        mv_type=MV.SPLIT_MODE,
        split_mode_bit_shift=shift,
        ir_drop_rs=0.0,
        ir_drop_v_read=0.4,
    )
    x = torch.arange(-63, 64).reshape(-1, 1).expand(-1, 4) / 63
    torch.testing.assert_close(tile(x), x @ W.T, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("mode", [MV.ONE_PASS, MV.SPLIT_MODE, MV.BIT_WISE])
def test_training_and_zero_strength_are_plain_products(mode: MV) -> None:
    x = torch.tensor([[7, -3, 2, 5], [1, 0, -7, 6]]) / 7
    changes = {"mv_type": mode, "split_mode_bit_shift": 1, "ir_drop_rs": 1000.0}
    torch.testing.assert_close(tile_with(**changes).train()(x), x @ W.T, atol=1e-6, rtol=0.0)
    torch.testing.assert_close(tile_with(ir_drop=0.0, **changes)(x), x @ W.T, atol=1e-6, rtol=0.0)
    assert not torch.allclose(tile_with(**changes)(x), x @ W.T, atol=1e-2)


@pytest.mark.parametrize(
    ("mode", "ratio"),
    [(MV.ONE_PASS, 1.0), (MV.SPLIT_MODE, math.sqrt(65)), (MV.BIT_WISE, math.sqrt(1365))],
)
@pytest.mark.parametrize("training", [False, True])
def test_every_phase_has_its_own_output_noise(mode: MV, ratio: float, training: bool) -> None:
    torch.manual_seed(1)
    tile = tile_with(inp_res=1 / 126, mv_type=mode, out_noise=0.06).train(training)
    y = tile(torch.full((20000, 4), 0.4)).detach()
    torch.testing.assert_close(y.std(0), torch.full((2,), 0.06 * ratio), rtol=0.025, atol=0.0)


def test_bounds_are_managed_by_the_worst_phase() -> None:
    """An input whose low bits clip is redone with half the input, its neighbours are not."""
    changes = {
        "inp_res": 1 / 126,
        "mv_type": MV.SPLIT_MODE,
        "out_bound": 0.05,
        "bound_management": BM.ITERATIVE,
        "max_bm_res": 10.0,
        "ir_drop": 0.0,
    }
    tile = tile_with(torch.ones(1, 4), **changes)
    x = torch.tensor([[7.0, 0, 0, 0], [8, 0, 0, 0], [3, 0, 0, 0]]) / 63
    # 7 ticks in the low phase are beyond the bound of 3.15; halved and rounded 3.5 -> 4, -> 2.
    expected = torch.tensor([[2 * 4.0], [8.0], [3.0]]) / 63
    torch.testing.assert_close(tile(x)[1:], expected[1:], atol=1e-6, rtol=0.0)
    alone = torch.cat([tile(row) for row in x.split(1)])
    assert torch.equal(tile(x), alone)


# --- gradients --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [MV.ONE_PASS, MV.SPLIT_MODE, MV.BIT_WISE])
def test_gradients_in_training(mode: MV) -> None:
    """Those of the plain product of the converted inputs, whatever the phases are."""
    tile = tile_with(mv_type=mode, split_mode_bit_shift=1).train()
    ticks = torch.tensor([[7, -3, 2, 5], [1, 0, -7, 6]])
    x = (ticks / 7 + 0.01).clamp(max=1.0).requires_grad_()
    delta = torch.tensor([[1.0, 2.0], [-0.5, 1.5]])
    tile(x).backward(delta)
    torch.testing.assert_close(x.grad, delta @ W, atol=1e-5, rtol=1e-5)
    expected = delta.T @ (ticks / 7)
    torch.testing.assert_close(tile.tile.weight.grad, expected, atol=1e-5, rtol=1e-5)


def test_no_gradient_passes_in_evaluation() -> None:
    x = torch.rand(2, 4, requires_grad=True)
    assert not tile_with()(x).requires_grad
    assert tile_with(ir_drop=0.0)(x).requires_grad


# --- read noise -------------------------------------------------------------------------------


def strength(ticks: float, g: Tensor) -> Tensor:
    """Return the standard deviation of the read noise in microsiemens."""
    x = math.log10(ticks)
    slope = 0.00021926 * x**4 - 0.00187352 * x**3 + 0.00655714 * x**2 - 0.0146159 * x + 0.02578764
    offset = 1e6 * (
        1.11906167e-09 * x**4
        - 9.08576764e-09 * x**3
        + 3.07015063e-08 * x**2
        - 6.77079241e-08 * x
        + 1.17763144e-07
    )
    return slope * g + offset


@pytest.mark.parametrize("training", [True, False])
def test_read_noise_follows_the_activity(training: bool) -> None:
    torch.manual_seed(5)
    weight = torch.tensor([0.9, 0.5, 0.1, 0.0]).repeat_interleave(4000).reshape(-1, 1)
    tile = tile_with(
        weight,
        rows=4,
        inp_res=1 / 126,
        apply_xdep_pcm_read_noise=True,
        xdep_pcm_read_noise_scale=1.5,
        ir_drop_rs=0.0,
        ir_drop_v_read=0.4,
    ).train(training)
    y = tile(torch.tensor([[31.0], [13.0]]) / 63).detach() * 63 / torch.tensor([[31.0], [13.0]])
    torch.testing.assert_close(y[0], y[1], rtol=1e-5, atol=1e-6)  # one draw for all samples
    kappa = 25.0 / 0.9
    std = 1.5 * strength(22.0, kappa * weight[::4000, 0]) / kappa * (weight[::4000, 0] > 0)
    rows = y[0].reshape(4, -1)
    # Five standard errors of 4000 draws.
    torch.testing.assert_close(rows.std(1), std, rtol=5 / math.sqrt(2 * 4000), atol=1e-9)
    assert ((rows.mean(1) - weight[::4000, 0]).abs() <= 5 * std / math.sqrt(4000) + 1e-6).all()


def test_read_noise_of_silent_and_broken_inputs() -> None:
    tile = tile_with(apply_xdep_pcm_read_noise=True)
    y = tile(torch.tensor([[0.0] * 4, [math.nan, 0, 0, 0], [1.0, 1, 1, 1]]))
    assert torch.isfinite(y[0]).all() and torch.isfinite(y[2]).all()
    assert y[1].isnan().all()
    assert torch.isfinite(tile(torch.zeros(2, 4))).all()
    assert tile(torch.zeros(0, 4)).shape == (0, 2)


def test_read_noise_keeps_gradients() -> None:
    tile = tile_with(apply_xdep_pcm_read_noise=True).train()
    x = torch.tensor([[7, -3, 2, 5.0]]) / 7
    tile(x).sum().backward()
    torch.testing.assert_close(tile.tile.weight.grad, x.expand(2, -1), atol=1e-6, rtol=1e-6)


# --- as other torch tiles ---------------------------------------------------------------------


NOISY = {"out_noise": 0.06, "apply_xdep_pcm_read_noise": True}


def test_seeded() -> None:
    tile = tile_with(**NOISY)
    x = torch.rand(3, 4)
    drawn = []
    for _ in range(2):
        torch.manual_seed(11)
        drawn.append(tile(x))
    assert torch.equal(*drawn)
    assert not torch.equal(tile(x), drawn[0])


def test_state_and_copies() -> None:
    layer = AnalogLinear(4, 2, rpu_config=config_with()).eval()
    x = torch.rand(5, 4)
    copied = copy.deepcopy(layer)
    other = AnalogLinear(4, 2, rpu_config=config_with(ir_drop_rs=7.0)).eval()
    other.load_state_dict(layer.state_dict())
    assert other.analog_module.rpu_config == layer.analog_module.rpu_config
    assert isinstance(layer.analog_module.tile, TorchSimulatorTileIRDropT)
    for twin in (copied, other):
        assert torch.equal(twin(x), layer(x))


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 3, 4), (0, 4)])
def test_any_rank(shape: tuple[int, ...]) -> None:
    tile = tile_with(ir_drop_rs=100.0)
    x = torch.rand(*shape)
    expected = tile(x.reshape(-1, 4)).reshape(*shape[:-1], 2)
    torch.testing.assert_close(tile(x), expected)


def test_padding_by_one_row_and_odd_numbers_of_columns() -> None:
    for rows, inputs in ((8, 7), (9, 4), (4, 4), (0, 4)):
        weight = torch.randn(3, inputs)
        tile = tile_with(weight, rows=rows, ir_drop_segments=1, ir_drop_rs=0.0, ir_drop_v_read=0.4)
        x = torch.randint(-7, 8, (2, inputs)) / 7
        torch.testing.assert_close(tile(x), x @ weight.T, atol=1e-5, rtol=1e-5)


def test_a_layer_of_several_tiles() -> None:
    config = config_with(rows=8, ir_drop_rs=0.0, ir_drop_v_read=0.4)
    layer = AnalogLinearMapped(20, 3, bias=False, rpu_config=config).eval()
    x = torch.randint(-7, 8, (2, 20)) / 7
    torch.testing.assert_close(layer(x), x @ layer.get_weights()[0].T, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["HALF", "DOUBLE"])
def test_other_precisions(kind: str) -> None:
    config = config_with(rows=512, inp_res=1 / 126)
    config.runtime.data_type = RPUDataType[kind]
    tile = TorchInferenceTile(2, 4, config).eval()
    tile.set_weights(W)
    x = (torch.tensor([[63, -27, 18, 45]]) / 63).to(tile.tile.weight.dtype)
    expected = tile_with(rows=512, inp_res=1 / 126)(x.float())
    assert tile(x).dtype is x.dtype
    torch.testing.assert_close(tile(x).float(), expected, atol=2e-3, rtol=0.0)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mode", [MV.ONE_PASS, MV.BIT_WISE])
def test_compiled_and_exported(mode: MV, training: bool) -> None:
    layer = AnalogLinear(4, 2, rpu_config=config_with(mv_type=mode, ir_drop_rs=100.0))
    layer.train(training)
    x = torch.rand(3, 4)
    model = torch.nn.Sequential(layer)  # torch 2.4 trips over absent buffers of a root
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), layer(x))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))


# --- every field acts, or is refused by name ----------------------------------------------------

ACTS: dict[str, tuple[dict[str, Any], Any]] = {
    "ir_drop": ({"ir_drop_rs": 100.0}, 3.0),
    "ir_drop_rs": ({}, 100.0),
    "ir_drop_segments": ({"ir_drop_rs": 100.0}, 2),
    "ir_drop_time_step_resolution_scale": ({}, 0.5),
    "ir_drop_v_read": ({}, 0.41),
    "apply_xdep_pcm_read_noise": ({}, True),
    "xdep_pcm_read_noise_scale": ({"apply_xdep_pcm_read_noise": True}, 3.0),
    "adc_quantization": ({}, True),
    "adc_frequency": ({"adc_quantization": True}, 3.0),
    "ir_drop_integration_sum": ({}, False),
    "split_mode_bit_shift": ({"mv_type": MV.SPLIT_MODE, "out_res": 0.01, "out_bound": 1.0}, 1),
    "mv_type": ({"out_res": 0.01, "out_bound": 1.0}, MV.BIT_WISE),
    "is_perfect": ({}, True),
    "inp_res": ({}, 1 / 30),
    "inp_sto_round": ({}, True),
    "inp_noise": ({}, 0.2),
    "inp_asymmetry": ({}, 0.4),
    "out_bound": ({}, 0.3),
    "out_res": ({"out_bound": 2.0}, 0.1),
    "out_sto_round": ({"out_bound": 2.0, "out_res": 0.1}, True),
    "out_noise": ({}, 0.1),
    "out_noise_std": ({"out_noise": 0.1}, 0.5),
    "out_scale": ({}, 2.0),
    "out_asymmetry": ({}, 0.3),
    "noise_management": ({}, NM.ABS_MAX),
    "nm_thres": ({"noise_management": NM.CONSTANT}, 0.5),
    "bound_management": ({"out_bound": 0.3}, BM.ITERATIVE),
    "max_bm_factor": ({"out_bound": 0.3, "bound_management": BM.ITERATIVE}, 0),
    "max_bm_res": ({"out_bound": 0.3, "bound_management": BM.ITERATIVE}, 0.01),
    "bm_test_negative_bound": ({"out_bound": 0.9, "bound_management": BM.ITERATIVE}, False),
}
REFUSED: list[tuple[str, Any, dict[str, Any]]] = [
    ("inp_res", -1.0, {}),
    ("inp_res", -1.0, {"ir_drop": 0.0}),
    ("inp_res", 0.0, {}),
    ("inp_res", 1 / 15, {}),
    ("inp_res", 6.5, {}),
    ("inp_res", 20.0, {"mv_type": MV.BIT_WISE}),
    ("inp_res", 20.0, {"mv_type": MV.SPLIT_MODE}),
    ("inp_bound", 2.0, {}),
    ("inp_noise", 0.1, {"mv_type": MV.SPLIT_MODE, "split_mode_bit_shift": 1}),
    ("inp_noise", 0.1, {"mv_type": MV.BIT_WISE}),
    ("split_mode_bit_shift", 4, {"mv_type": MV.SPLIT_MODE}),
    ("split_mode_bit_shift", -1, {"mv_type": MV.SPLIT_MODE}),
    ("mv_type", MV.IDEAL, {}),
    ("mv_type", MV.POS_NEG_SEPARATE, {}),
    ("mv_type", MV.POS_NEG_SEPARATE_DIGITAL_SUM, {}),
    ("ir_drop_rs", -1.0, {}),
    ("ir_drop_segments", 0, {}),
    ("ir_drop_segments", 3, {}),
    ("ir_drop_time_step_resolution_scale", 0.0, {}),
    ("ir_drop_time_step_resolution_scale", 0.1, {}),
    ("ir_drop_time_step_resolution_scale", 0.4, {"mv_type": MV.SPLIT_MODE}),
    ("xdep_pcm_read_noise_scale", -1.0, {}),
    ("adc_frequency", 0.0, {"adc_quantization": True}),
    ("bound_management", BM.ITERATIVE_WORST_CASE, {}),
    ("noise_management", NM.ABS_MAX_NP_SUM, {}),
    ("w_noise", 0.1, {}),
    ("out_nonlinearity", 0.1, {}),
    ("v_offset_std", 0.1, {}),
    ("r_series", 0.1, {}),
]


@pytest.mark.parametrize("name", ACTS)
def test_field_acts(name: str) -> None:
    others, value = ACTS[name]
    x = torch.tensor([[7, -3, 2, 5], [-7, 3, -2, -5], [-4, 6, 1, 3.0]]) / 7.4
    if name == "split_mode_bit_shift":
        others = {**others, "split_mode_bit_shift": 2}
    results = []
    for changes in (others, {**others, name: value}):
        torch.manual_seed(0)
        results.append(tile_with(**changes)(x))
    assert not torch.equal(*results)


@pytest.mark.parametrize(("name", "value", "others"), REFUSED)
def test_field_is_refused(name: str, value: Any, others: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"forward\.{name}"):
        tile_with(**{**others, name: value})
    tile = tile_with(**{**({} if name in others else others), **_admitted(others)})
    before = getattr(tile.rpu_config.forward, name)
    with pytest.raises(ConfigError, match=rf"forward\.{name}"):
        setattr(tile.rpu_config.forward, name, value)
    assert getattr(tile.rpu_config.forward, name) == before


def _admitted(others: dict[str, Any]) -> dict[str, Any]:
    """Return fields that make the others possible."""
    if others.get("mv_type") is MV.SPLIT_MODE:
        return {"split_mode_bit_shift": 1, "inp_res": 1 / 14}
    return {"inp_res": 1 / 14}


def test_what_the_array_cannot_be_built_of() -> None:
    with pytest.raises(ConfigError, match=r"mapping\.max_input_size"):
        TorchInferenceTile(2, 9, config_with())
    with pytest.raises(ConfigError, match=r"noise_model\.g_converter: .*SingleDevice"):
        tile_with(converter=SingleDeviceConductanceConverter())
    config = config_with()
    config.forward = IOParameters()
    with pytest.raises(ConfigError, match="forward: expected IOParametersIRDropT"):
        TorchInferenceTile(2, 4, config)
    with pytest.raises(ConfigError, match="ir_drop_segments"):
        AnalogMVMIRDropT.matmul(W, torch.rand(2, 4), IOParametersIRDropT(), is_test=True)
    with pytest.raises(ConfigError, match="per_batch_sample"):
        io = IOParametersIRDropT(**QUIET)
        AnalogMVMIRDropT.matmul(W.expand(2, 2, 4), torch.rand(2, 4), io, is_test=True)
    TorchInferenceTile(2, 9, config_with(ir_drop=0.0))
    TorchInferenceTile(2, 9, config_with(is_perfect=True, inp_res=-1.0))


def test_default_configuration_of_a_layer() -> None:
    layer = AnalogLinear(10, 3, rpu_config=TorchInferenceRPUConfigIRDropT())
    layer(torch.rand(2, 10)).sum().backward()
    layer.eval()
    layer.drift_analog_weights(3600.0)
    assert torch.isfinite(layer(torch.rand(2, 10))).all()
    assert torch.isfinite(layer.analog_module.tile.backward(torch.rand(2, 3))).all()
