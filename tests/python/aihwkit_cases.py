"""Models that are built by the same script with aihwkit and with mho, one for each kind of state.

`data/make_aihwkit_checkpoints.py` builds, trains and saves them with aihwkit; the tests build them
with mho and load what was saved.
"""

from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

Built = tuple[nn.Module, Tensor]
CASES: dict[str, Callable[[Any], Built]] = {}
CELLS = {
    "vector": lambda p, d: p.VectorUnitCell([d, p.ConstantStepDevice()]),
    "reference": lambda p, d: p.ReferenceUnitCell([d, d]),
    "one_sided": lambda p, d: p.OneSidedUnitCell([d], refresh_every=3),
    "transfer": lambda p, d: p.TransferCompound([d, d, d], transfer_every=2.0),
    "buffered": lambda p, d: p.BufferedTransferCompound([d, d], transfer_every=2.0),
    "chopped": lambda p, d: p.ChoppedTransferCompound(
        [d, d], transfer_every=2.0, in_chop_prob=0.4, out_chop_prob=0.4
    ),
    "dynamic": lambda p, d: p.DynamicTransferCompound([d, d], transfer_every=1.0, in_chop_prob=0.4),
}
DEVICES = (
    "ConstantStepDevice", "ExpStepDevice", "PowStepDevice", "PiecewiseStepDevice",
    "SoftBoundsReferenceDevice", "PowStepReferenceDevice", "SoftBoundsPmaxDevice",
)  # fmt: skip


def package(name: str) -> Any:
    """Return what scripts use of `aihwkit` or of `mho`, in one namespace."""
    names: dict[str, Any] = {}
    for module in (
        "nn", "optim", "simulator.configs", "simulator.parameters", "simulator.presets",
        "inference", "simulator.tiles.custom", "simulator.tiles.transfer", "nn.conversion",
        "simulator.parameters.quantization", "inference.noise.hermes",
    ):  # fmt: skip
        found = import_module(f"{name}.{module}")
        names |= {key: getattr(found, key) for key in dir(found) if not key.startswith("_")}
    return SimpleNamespace(**names)


def build(p: Any, name: str) -> Built:
    """Return a model and an input for it.

    Args:
        p: What `package` returned.
        name: Name in `CASES`.
    """
    torch.manual_seed(3)
    return CASES[name](p)


def case(function: Callable[[Any], Built]) -> Callable[[Any], Built]:
    """Enter a builder under its name."""
    CASES[function.__name__] = function
    return function


def exact(config: Any) -> Any:
    """Make the products of a configuration exact, so that outputs can be compared."""
    for name in ("forward", "backward"):
        if hasattr(config, name):
            getattr(config, name).is_perfect = True
    return config


def scaled(config: Any, columnwise: bool = True) -> Any:
    """Let a configuration have everything digital that there is."""
    config.mapping.weight_scaling_omega = 0.6
    config.mapping.weight_scaling_columnwise = columnwise
    config.mapping.learn_out_scaling = True
    config.mapping.out_scaling_columnwise = columnwise
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.init_from_data = 2
    return config


@case
def soft_bounds(p: Any) -> Built:
    config = exact(p.SingleRPUConfig(device=p.SoftBoundsDevice()))
    config.mapping.weight_scaling_omega = 0.4
    return p.AnalogSequential(p.AnalogLinear(3, 2, rpu_config=config)), torch.rand(4, 3)


@case
def write_noise(p: Any) -> Built:
    config = exact(p.SingleRPUConfig(device=p.LinearStepDevice(write_noise_std=0.2)))
    config.mapping.digital_bias = False
    return p.AnalogLinear(3, 2, rpu_config=config), torch.rand(4, 3)


@case
def floating_point(p: Any) -> Built:
    return p.AnalogLinear(3, 2, rpu_config=p.FloatingPointRPUConfig()), torch.rand(4, 3)


@case
def ideal(p: Any) -> Built:
    config = exact(p.SingleRPUConfig(device=p.IdealDevice()))
    return p.AnalogLinear(3, 2, False, rpu_config=config), torch.rand(4, 3)


def _device(name: str) -> Callable[[Any], Built]:
    def built(p: Any) -> Built:
        config = exact(p.SingleRPUConfig(device=getattr(p, name)()))
        return p.AnalogLinear(3, 2, False, rpu_config=config), torch.rand(4, 3)

    return built


CASES |= {name: _device(name) for name in DEVICES}


@case
def drifting_device(p: Any) -> Built:
    device = p.ConstantStepDevice(
        drift=p.DriftParameter(nu=0.1, nu_dtod=0.1), lifetime=100.0, diffusion=0.01, reset_std=0.1
    )
    config = exact(p.SingleRPUConfig(device=device))
    return p.AnalogLinear(3, 2, False, rpu_config=config), torch.rand(4, 3)


@case
def lines(p: Any) -> Built:
    config = p.SingleRPUConfig(device=p.ConstantStepDevice())
    for io in (config.forward, config.backward):
        io.inp_res = io.out_res = -1.0
        io.out_noise = io.inp_noise = io.w_noise = 0.0
        io.out_noise_std = 0.1
        io.v_offset_std = io.w_read_asymmetry_dtod = 0.2
        io.out_nonlinearity = io.out_nonlinearity_std = 0.2
        io.r_series = 0.01
        io.slope_calibration = 0.5
    return p.AnalogLinear(3, 2, False, rpu_config=config), torch.rand(4, 3) - 0.5


@case
def running_scale(p: Any) -> Built:
    config = exact(p.SingleRPUConfig(device=p.ConstantStepDevice()))
    config.forward.is_perfect = False
    config.forward.noise_management = p.NoiseManagementType.AVERAGE_ABS_MAX
    return p.AnalogLinear(3, 2, False, rpu_config=config), torch.rand(4, 3) - 0.5


def _cell(name: str) -> Callable[[Any], Built]:
    def built(p: Any) -> Built:
        device = CELLS[name](p, p.SoftBoundsDevice(w_min_dtod=0.1))
        if hasattr(device, "transfer_forward"):
            device.transfer_forward.out_noise_std = 0.3
        config = exact(p.UnitCellRPUConfig(device=device))
        return p.AnalogLinear(3, 2, False, rpu_config=config), torch.rand(4, 3)

    return built


CASES |= {name: _cell(name) for name in CELLS}


@case
def one_sided_reads(p: Any) -> Built:
    cell = p.OneSidedUnitCell([p.ConstantStepDevice()], refresh_every=3)
    cell.refresh_forward.out_noise_std = 0.3
    config = exact(p.UnitCellRPUConfig(device=cell))
    return p.AnalogLinear(3, 2, False, rpu_config=config), torch.rand(4, 3)


@case
def mixed_precision(p: Any) -> Built:
    device = p.MixedPrecisionCompound(device=p.ConstantStepDevice(), transfer_every=3)
    config = exact(p.DigitalRankUpdateRPUConfig(device=device))
    return p.AnalogLinear(3, 2, rpu_config=config), torch.rand(4, 3)


@case
def transfer_tile(p: Any) -> Built:
    device = p.DynamicTransferCompound(
        [p.SoftBoundsDevice(), p.ConstantStepDevice()], transfer_every=4.0, in_chop_prob=0.5
    )
    config = exact(p.UnitCellRPUConfig(device=device))
    config.tile_class = p.TorchTransferTile
    return p.AnalogLinear(3, 2, rpu_config=config), torch.rand(4, 3)


@case
def custom_tile(p: Any) -> Built:
    config = exact(p.CustomRPUConfig())
    return p.AnalogLinear(3, 2, rpu_config=config), torch.rand(4, 3)


@case
def inference(p: Any) -> Built:
    config = scaled(exact(p.InferenceRPUConfig()))
    config.noise_model = p.PCMLikeNoiseModel(g_max=20.0)
    config.clip.type = p.WeightClipType.FIXED_VALUE
    config.clip.fixed_value = 1.0
    model = p.AnalogSequential(
        p.AnalogLinear(3, 4, rpu_config=config), nn.Tanh(), p.AnalogLinear(4, 2, rpu_config=config)
    )
    return model, torch.rand(4, 3)


@case
def torch_inference(p: Any) -> Built:
    config = scaled(exact(p.TorchInferenceRPUConfig()), columnwise=False)
    config.forward.out_noise_std = 0.2
    return p.AnalogLinear(3, 2, rpu_config=config), torch.rand(4, 3)


def _quantized(p: Any, size: int) -> Built:
    config = exact(p.QuantizedTorchInferenceRPUConfig())
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = True
    config.pre_post.periph_quant.n_bits = 8
    config.act_quant_config = p.ActivationQuantConfig(n_bits=6)
    config.mapping.max_input_size = config.mapping.max_output_size = size
    return p.AnalogLinear(4, 4, rpu_config=config), torch.rand(4, 4)


@case
def quantized(p: Any) -> Built:
    return _quantized(p, 0)


@case
def quantized_array(p: Any) -> Built:
    return _quantized(p, 2)


@case
def mapped(p: Any) -> Built:
    config = scaled(exact(p.InferenceRPUConfig()))
    config.mapping.max_input_size = 2
    config.mapping.max_output_size = 2
    return p.AnalogLinear(3, 3, rpu_config=config), torch.rand(4, 3)


@case
def convolutions(p: Any) -> Built:
    config = exact(p.InferenceRPUConfig())
    config.mapping.max_input_size = config.mapping.max_output_size = 0
    small = exact(p.InferenceRPUConfig())
    small.mapping.max_input_size, small.mapping.max_output_size = 4, 2
    digital = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2))
    analog = p.convert_to_analog(digital, config)
    mapped_layer = p.AnalogConv2dMapped(2, 3, 2, rpu_config=small)
    last = p.AnalogConv1d(3, 2, 2, rpu_config=config)
    return p.AnalogSequential(analog, mapped_layer, nn.Flatten(2), last), torch.rand(2, 1, 4, 4)


@case
def recurrent(p: Any) -> Built:
    config = exact(p.SingleRPUConfig(device=p.ConstantStepDevice()))
    return p.AnalogRNN(p.AnalogLSTMCell, 2, 2, True, config, num_layers=2, bidir=True), torch.rand(
        3, 1, 2
    )


@case
def gated(p: Any) -> Built:
    config = exact(p.InferenceRPUConfig())
    return p.AnalogRNN(p.AnalogGRUCell, 2, 2, True, config), torch.rand(3, 1, 2)


@case
def mixed(p: Any) -> Built:
    """All kinds of parameters that an optimizer can have."""
    config = scaled(exact(p.InferenceRPUConfig()))
    pulsed = exact(p.SingleRPUConfig(device=p.ConstantStepDevice()))
    model = p.AnalogSequential(
        p.AnalogLinear(3, 4, rpu_config=config),
        p.AnalogLinear(4, 3, rpu_config=pulsed),
        nn.Linear(3, 2),
    )
    return model, torch.rand(4, 3)


CONTINUED: dict[str, Callable[[Any, Any], Any]] = {
    "vector": lambda p, d: p.VectorUnitCell(
        [d, d], update_policy=p.VectorUnitCellUpdatePolicy.SINGLE_SEQUENTIAL
    ),
    "one_sided": lambda p, d: p.OneSidedUnitCell([d], refresh_every=5),
    "transfer": lambda p, d: p.TransferCompound([d, d], transfer_every=2.0),
    "buffered": lambda p, d: p.BufferedTransferCompound([d, d], transfer_every=2.0),
    "chopped": lambda p, d: p.ChoppedTransferCompound(
        [d, d], transfer_every=2.0, in_chop_prob=0.4, in_chop_random=False, auto_scale=True
    ),
    "dynamic": lambda p, d: p.DynamicTransferCompound(
        [d, d], transfer_every=1.0, in_chop_prob=0.4, in_chop_random=False, auto_scale=True
    ),
    "mixed_precision": lambda p, d: p.MixedPrecisionCompound(device=d, transfer_every=2),
}
"""Cells of devices without noise, whose training has nothing random."""


def continued(p: Any, name: str) -> Any:
    """Return a layer with a cell of `CONTINUED`, and its optimizer."""
    noise = dict.fromkeys(
        ("dw_min_std", "dw_min_dtod", "up_down_dtod", "w_max_dtod", "w_min_dtod"), 0.0
    )
    cell = CONTINUED[name](p, p.ConstantStepDevice(dw_min=0.01, w_max=1.0, w_min=-1.0, **noise))
    for product in ("transfer_forward", "refresh_forward"):
        if hasattr(cell, product):
            getattr(cell, product).is_perfect = True
    for update in ("transfer_update", "refresh_update"):
        if hasattr(cell, update):
            getattr(cell, update).pulse_type = p.PulseType.DETERMINISTIC_IMPLICIT
    kind = p.DigitalRankUpdateRPUConfig if name == "mixed_precision" else p.UnitCellRPUConfig
    config = exact(kind(device=cell))
    config.update.pulse_type = p.PulseType.DETERMINISTIC_IMPLICIT
    layer = p.AnalogLinear(3, 2, False, rpu_config=config)
    layer.set_weights(torch.tensor([[0.1, 0.2, -0.3], [0.0, -0.2, 0.05]]))
    optimizer = p.AnalogSGD(layer.parameters(), lr=0.1)
    optimizer.regroup_param_groups(layer)
    return layer, optimizer


def go_on(layer: nn.Module, optimizer: Any, inputs: Tensor, errors: Tensor) -> None:
    """Make one step for each batch of inputs and of gradients of the outputs."""
    for x, d in zip(inputs, errors, strict=True):
        optimizer.zero_grad()
        (layer(x) * d).sum().backward()
        optimizer.step()


def output(model: nn.Module, x: Tensor) -> Tensor:
    """Return what a model makes of an input, of a recurrent one without the states."""
    y = model(x)
    return y[0] if isinstance(y, tuple) else y


def train(
    p: Any, model: nn.Module, x: Tensor, kind: str = "AnalogSGD", regroup: bool = True
) -> Any:
    """Make three steps; returns the optimizer."""
    options = {"lr": 0.1} | ({"momentum": 0.5} if kind == "AnalogSGD" else {})
    if kind == "AnalogSGD" and p.AnalogSGD.__module__.startswith("mho"):
        options.pop("momentum")
    optimizer = getattr(p, kind)(model.parameters(), **options)
    if regroup:
        optimizer.regroup_param_groups(model)
    for _ in range(3):
        optimizer.zero_grad()
        (output(model, x) - 0.3).square().sum().backward()
        optimizer.step()
    return optimizer
