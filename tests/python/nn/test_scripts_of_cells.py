"""Scripts with unit cells as users of aihwkit write them, with the import changed."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from mho.exceptions import ModuleError
from mho.nn import AnalogLinear, AnalogSequential
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    CustomCompound,
    DigitalRankUpdateRPUConfig,
    IOParameters,
    RuleTile,
    UnitCellRPUConfig,
    UpdateParameters,
)
from mho.simulator.configs.compounds import (
    ChoppedTransferCompound,
    MixedPrecisionCompound,
    OneSidedUnitCell,
    TransferCompound,
    VectorUnitCell,
)
from mho.simulator.configs.devices import (
    ConstantStepDevice,
    DriftParameter,
    SoftBoundsDevice,
)
from mho.simulator.configs.utils import VectorUnitCellUpdatePolicy
from mho.simulator.presets import PCMPresetUnitCell, ReRamESPresetDevice
from mho.simulator.rpu_base import cuda
from mho.simulator.tiles.transfer import TorchTransferTile

X = torch.tensor([[0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.1, 0.3]])
Y = torch.tensor([[1.0, 0.5], [0.7, 0.3]])


def train(config: Any) -> tuple[AnalogLinear, list[float]]:
    torch.manual_seed(4)
    model = AnalogLinear(4, 2, bias=True, rpu_config=config)
    if cuda.is_compiled():
        model.cuda()
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    optimizer.regroup_param_groups(model)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss: Tensor = mse_loss(model(X), Y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def test_other_devices() -> None:
    cell = VectorUnitCell(
        unit_cell_devices=[
            ReRamESPresetDevice(),
            SoftBoundsDevice(w_max=0.4, w_min=-0.4),
            ConstantStepDevice(),
        ]
    )
    config = UnitCellRPUConfig(device=cell)
    config.device.update_policy = VectorUnitCellUpdatePolicy.SINGLE_RANDOM
    assert "SINGLE_RANDOM" in str(config) and "ReRamESPresetDevice" in str(config)
    model, losses = train(config)
    assert "VectorUnitCell" in str(model) and "VectorUnitCell" in str(model.analog_module.tile)
    assert losses[-1] < 0.2 * losses[0]


def test_tiki_taka() -> None:
    read = IOParameters(out_noise=0.0)
    cell = TransferCompound(
        unit_cell_devices=[
            SoftBoundsDevice(w_min=-0.3, w_max=0.3),
            SoftBoundsDevice(w_min=-0.6, w_max=0.6),
        ],
        units_in_mbatch=False,
        transfer_every=2,
        n_reads_per_transfer=1,
        gamma=0.0,
        scale_transfer_lr=True,
        transfer_lr=1.0,
        fast_lr=0.1,
        scale_fast_lr=False,
        transfer_forward=read,
        transfer_update=UpdateParameters(),
    )
    config = UnitCellRPUConfig(device=cell, forward=read, backward=read)
    assert "transfer_every=2" in repr(config)
    model, losses = train(config)
    assert "TransferCompound" in str(next(model.analog_tiles()).tile)
    assert losses[-1] < 0.2 * losses[0]


def test_mixed_precision() -> None:
    cell = MixedPrecisionCompound(device=SoftBoundsDevice())
    _, losses = train(DigitalRankUpdateRPUConfig(device=cell))
    assert losses[-1] < 0.2 * losses[0]


def test_tiles_without_layers() -> None:
    config = UnitCellRPUConfig(device=TransferCompound([SoftBoundsDevice(), SoftBoundsDevice()]))
    tile = config.tile_class(3, 4, config)
    tile.set_learning_rate(0.1)
    tile.update(torch.rand(5, 4), torch.rand(5, 3))
    names, values = tile.tile.get_hidden_parameter_names(), tile.tile.get_hidden_parameters()
    assert values.shape == (len(names), 3, 4)
    state: dict[str, Any] = {}
    tile.state_dict(destination=state)
    tile.load_state_dict(state)


@pytest.fixture()
def _plots() -> Iterator[None]:
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    yield
    matplotlib.pyplot.close("all")


@pytest.mark.usefixtures("_plots")
def test_plots_of_cells() -> None:
    from mho.utils.visualization import plot_device, plot_device_compact, plot_response_overview

    pair = VectorUnitCell([SoftBoundsDevice(), ConstantStepDevice()])
    for device in (PCMPresetUnitCell(), pair):
        assert plot_device(device, n_steps=40).axes
        assert plot_device_compact(device, n_steps=40).axes
    assert plot_response_overview(UnitCellRPUConfig(device=pair), n_loops=1).axes


def drifting(*units: float) -> AnalogSequential:
    devices = [SoftBoundsDevice(drift=DriftParameter(nu=0.1, t_0=t)) for t in units]
    config = UnitCellRPUConfig(device=TransferCompound([*devices], gamma=0.5))
    return AnalogSequential(AnalogLinear(4, 3, rpu_config=config)).eval()


def test_models_of_cells_drift() -> None:
    model = drifting(10.0, 10.0)
    tile = next(model.analog_tiles())
    planes = tile.get_hidden_parameters()
    planes["hidden_weights_0"] = torch.full((3, 4), 0.2)
    tile.set_hidden_parameters(planes)
    before = {k: v for k, v in tile.get_hidden_parameters().items() if k.startswith("hidden")}
    model.drift_analog_weights(0.0)
    model.drift_analog_weights(1000.0)
    for name, value in before.items():
        # A hundred units of time, exponent one tenth.
        found = tile.get_hidden_parameters()[name]
        torch.testing.assert_close(found, value * 100.0**-0.1, rtol=1e-5, atol=1e-7)
    with pytest.raises(ModuleError, match="t_inference"):
        model.drift_analog_weights(10.0)


def fast_only(t: RuleTile) -> None:
    t.update(0, t.x, t.d, t.lr)


@pytest.mark.parametrize("kind", ["rule", "torch", "mp", "one-sided"])
def test_models_of_all_cells_drift(kind: str) -> None:
    """Wherever their arrays are, devices have a clock, which runs forward and starts anew."""
    device = SoftBoundsDevice(drift=DriftParameter(nu=0.1, t_0=10.0), w_max=1.0, w_min=-1.0)
    pair = [device, copy.deepcopy(device)]
    config: Any
    if kind == "rule":
        cell = CustomCompound([SoftBoundsDevice(), device], rule=fast_only)
        config = UnitCellRPUConfig(device=cell)
    elif kind == "torch":
        config = UnitCellRPUConfig(device=ChoppedTransferCompound([*pair]))
        config.tile_class, config.device.units_in_mbatch = TorchTransferTile, True
    elif kind == "mp":
        config = DigitalRankUpdateRPUConfig(device=MixedPrecisionCompound(device=device))
    else:
        config = UnitCellRPUConfig(device=OneSidedUnitCell([*pair]))
    model = AnalogSequential(AnalogLinear(4, 3, False, rpu_config=config)).eval()
    model[0].set_weights(torch.full((3, 4), 0.2))
    for time in (100.0, 100.0, 1000.0):
        model.drift_analog_weights(time)
        expected = torch.full((3, 4), 0.2 * (time / 10.0) ** -0.1)
        torch.testing.assert_close(model[0].get_weights()[0], expected, rtol=1e-5, atol=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ModuleError, match="1000 s already"):
        model.drift_analog_weights(999.0)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    twin = copy.deepcopy(model)
    twin.load_state_dict(before)
    for current in (model, twin):
        current.drift_analog_weights(1e5)
    assert torch.equal(model[0].get_weights()[0], twin[0].get_weights()[0])
    next(model.analog_tiles()).program_weights(max_iter=1)
    start = model[0].get_weights()[0]
    model.drift_analog_weights(1000.0)
    torch.testing.assert_close(model[0].get_weights()[0], start * 100.0**-0.1)


def test_devices_of_a_cell_need_one_unit_of_time() -> None:
    model = drifting(10.0, 1.0)
    with pytest.raises(ModuleError, match="t_0"):
        model.drift_analog_weights(100.0)
    next(model.analog_tiles()).drift_weights(3.0)
