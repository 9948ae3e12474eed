"""Weights that are newer on the graphics processor reach every reader; writes of the host it."""

import copy
import io
import multiprocessing
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import mho
from adapters import needed_adapter, twins
from mho.exceptions import ArgumentError, BackendError, InputError, TileError
from mho.nn import AnalogLinear, AnalogSequential
from mho.nn.modules.linear_mapped import AnalogLinearMapped
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    InferenceRPUConfig,
    LinearStepDevice,
    SingleRPUConfig,
    SoftBoundsDevice,
    build_config,
)
from mho.simulator.tiles import AnalogTile, InferenceTile
from unchanged import differences, everything

ROWS, COLUMNS = 6, 9
NAME = "analog_tile_weights"


def gpu_tile(device: Any = None) -> AnalogTile:
    """Tile on the graphics processor with write noise, whose weights are newer there."""
    device = LinearStepDevice(write_noise_std=1.0) if device is None else device
    tile = AnalogTile(ROWS, COLUMNS, SingleRPUConfig(device=device))
    tile.to_backend("wgpu", needed_adapter())
    tile.tile.set_learning_rate(0.1)
    make_newer(tile)
    return tile


def make_newer(tile: AnalogTile) -> None:
    """Make an update, which leaves the weights of the host behind."""
    tile.update(torch.randn(5, COLUMNS), torch.randn(5, ROWS))
    assert tile.tile.kernels.backend == "wgpu" and tile.tile.kernels.is_newer


def truth(tile: AnalogTile) -> Tensor:
    """Weights as the graphics processor has them, read past everything that is tested."""
    weights = torch.empty(ROWS, COLUMNS)
    tile.tile.kernels._mirror.tile.read_weights(weights)
    return weights


def saved(tile: AnalogTile) -> dict[str, Tensor]:
    """State dictionary that went through a file."""
    file = io.BytesIO()
    torch.save(tile.state_dict(), file)
    file.seek(0)
    state: dict[str, Tensor] = torch.load(file, weights_only=True)
    return state


READERS: dict[str, Callable[[AnalogTile], Tensor]] = {
    "get_weights": lambda tile: tile.get_weights()[0],
    "raw get_weights": lambda tile: tile.tile.get_weights(),
    "reference": lambda tile: tile.tile.get_weights(as_ref=True),
    "attribute": lambda tile: tile.analog_tile_weights,
    "get_buffer": lambda tile: tile.get_buffer(NAME),
    "buffers": lambda tile: dict(tile.named_buffers())[NAME],
    "dictionary": lambda tile: {**tile._buffers}[NAME],
    "state_dict": lambda tile: tile.state_dict()[NAME],
    "save": lambda tile: saved(tile)[NAME],
    "deepcopy": lambda tile: copy.deepcopy(tile).to_backend("cpu").get_buffer(NAME),
    "pickle": lambda tile: pickle.loads(pickle.dumps(tile)).to_backend("cpu").get_buffer(NAME),
    "context": lambda tile: tile.analog_ctx.enable_data_view().data.clone(),
    "analog state": lambda tile: tile.get_analog_state()["analog_tile_weights"],
    "move": lambda tile: tile.to_backend("cpu").get_buffer(NAME),
}


@pytest.mark.parametrize("reader", READERS)
def test_reader_gets_newer_weights(reader: str) -> None:
    tile = gpu_tile()
    expected, before = truth(tile), dict.__getitem__(tile._buffers, NAME).clone()
    assert not torch.equal(expected, before)
    assert torch.equal(READERS[reader](tile), expected)


@pytest.mark.parametrize("read", ["get", "attribute", "state_dict", "names"])
def test_reader_gets_newer_persistent_weights(read: str) -> None:
    tile = gpu_tile()
    expected = torch.empty(ROWS, COLUMNS)
    tile.tile.kernels._mirror.tile.read_persistent(expected)
    name = "persistent_weights"
    found = {
        "get": lambda: tile.get_hidden_parameters()[name],
        "attribute": lambda: tile.analog_tile_hidden.persistent_weights,
        "state_dict": lambda: tile.state_dict()[f"analog_tile_hidden.{name}"],
        "names": lambda: dict(tile.named_buffers())[f"analog_tile_hidden.{name}"],
    }[read]()
    assert torch.equal(found, expected)


def test_reading_once_is_enough() -> None:
    tile = gpu_tile()
    first = tile.analog_tile_weights
    assert not tile.tile.kernels.is_newer
    with torch.no_grad():
        tile(torch.ones(1, COLUMNS))
        assert tile.device == torch.device("cpu")
    assert not tile.tile.kernels.is_newer
    assert tile.analog_tile_weights is first


WRITERS: dict[str, Callable[[AnalogTile, Tensor], object]] = {
    "set_weights": lambda tile, new: tile.set_weights(new),
    "raw set_weights": lambda tile, new: tile.tile.set_weights(new),
    "attribute": lambda tile, new: tile.analog_tile_weights.copy_(new),
    "reference": lambda tile, new: tile.tile.get_weights(as_ref=True).copy_(new),
    "element": lambda tile, new: tile.analog_tile_weights.__setitem__(slice(None), new),
    "assignment": lambda tile, new: setattr(tile, NAME, new.clone()),
    "load": lambda tile, new: tile.load_state_dict({**tile.state_dict(), NAME: new}),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_writes_of_the_host_are_seen(writer: str) -> None:
    tile = gpu_tile(SoftBoundsDevice())
    new = 0.02 * torch.randn(ROWS, COLUMNS)  # within all bounds, which loading checks
    with torch.no_grad():
        WRITERS[writer](tile, new)
        host = copy.deepcopy(tile).to_backend("cpu")
        # One call each, so that both draw the same.
        x = torch.randn(4, COLUMNS)
        torch.testing.assert_close(tile(x), host(x), rtol=0.0, atol=1e-5)
    assert torch.equal(tile.get_weights()[0], host.get_weights()[0])


def test_hidden_parameters_written_by_the_host_are_seen() -> None:
    tile = gpu_tile(ConstantStepDevice())
    before = truth(tile)
    with torch.no_grad():
        tile.analog_tile_hidden.dwmin_up.zero_()
        tile.analog_tile_hidden.dwmin_down.zero_()
    make_newer(tile)
    assert torch.equal(tile.get_weights()[0], before)
    hidden = tile.get_hidden_parameters()
    hidden["max_bound"] = torch.full((ROWS, COLUMNS), 0.01)
    tile.set_hidden_parameters(hidden)
    assert float(tile.get_weights()[0].max()) <= 0.01
    tile(torch.zeros(1, COLUMNS))
    assert float(truth(tile).max()) <= 0.01


def test_changes_on_both_sides_are_an_error() -> None:
    tile = gpu_tile()
    reference = tile.analog_tile_weights
    make_newer(tile)
    with torch.no_grad():
        reference.zero_()
    for use in (tile.get_weights, lambda: make_newer(tile), tile.state_dict):
        with pytest.raises(TileError, match="on the host while"):
            use()
    new = torch.full((ROWS, COLUMNS), 0.1)
    tile.set_weights(new)
    make_newer(tile)
    tile.get_weights()


def test_lost_device_leaves_the_last_copy_of_the_host() -> None:
    tile = gpu_tile()
    kept = tile.get_weights()[0]
    call = int(tile.analog_tile_calls)
    make_newer(tile)
    tile.tile.kernels._mirror.tile.destroy_device()
    with pytest.raises(BackendError, match=rf"lost.*that the host had at call {call} .*at call"):
        tile.get_weights()
    assert torch.equal(tile.get_weights()[0], kept)
    # The adapter is opened again.
    make_newer(tile)
    assert not torch.equal(tile.get_weights()[0], kept)


@pytest.mark.parametrize("use", [make_newer, lambda tile: tile(torch.zeros(1, COLUMNS))])
def test_lost_device_is_told_by_products_and_updates(use: Callable[[AnalogTile], object]) -> None:
    tile = gpu_tile()
    kept = tile.get_weights()[0]
    tile.tile.kernels._mirror.tile.destroy_device()
    with pytest.raises(BackendError, match=r"lost.*the weights on the host are up to date"):
        use(tile)
    assert torch.equal(tile.get_weights()[0], kept)


def test_bad_input_changes_nothing() -> None:
    tile = gpu_tile()
    before = truth(tile)
    with pytest.raises(InputError):
        tile.update(torch.randn(5, COLUMNS + 1), torch.randn(5, ROWS))
    with pytest.raises(ValueError, match="x"):
        tile.update(torch.full((5, COLUMNS), torch.nan), torch.randn(5, ROWS))
    assert torch.equal(tile.get_weights()[0], before)


def test_copies_are_independent_and_stay_on_the_backend() -> None:
    tile = gpu_tile()
    for other in (copy.deepcopy(tile), pickle.loads(pickle.dumps(tile))):
        assert other.backend == "wgpu"
        x = torch.randn(4, COLUMNS)
        calls = tile.analog_tile_calls.clone()
        with torch.no_grad():
            first = tile(x)
            assert torch.equal(other(x), first)
            tile.analog_tile_calls.copy_(calls)
        before = truth(tile)
        make_newer(other)
        assert torch.equal(tile.get_weights()[0], before)
        assert not torch.equal(other.get_weights()[0], before)


def test_two_tiles_share_an_adapter() -> None:
    torch.manual_seed(1)
    model = AnalogSequential(AnalogLinear(5, 4), AnalogLinear(4, 3))
    host, gpu = twins(model.eval())
    assert {tile.backend for tile in gpu.analog_tiles()} == {"wgpu"}
    x = torch.randn(7, 5)
    with torch.no_grad():
        torch.testing.assert_close(gpu(x), host(x), rtol=0.0, atol=0.1)


def test_mapped_layer_moves_all_its_tiles() -> None:
    config = SingleRPUConfig()
    config.mapping.max_input_size = config.mapping.max_output_size = 4
    host, gpu = twins(AnalogLinearMapped(10, 6, rpu_config=config).eval())
    assert [tile.backend for tile in gpu.analog_tiles()] == ["wgpu"] * 6
    x = torch.randn(3, 10)
    with torch.no_grad():
        # One level of the ADC, 12 / 510 in units of the input.
        torch.testing.assert_close(gpu(x), host(x), rtol=0.0, atol=0.2)


def test_calls_of_threads_are_those_of_one_thread() -> None:
    tile = gpu_tile()
    alone, x = copy.deepcopy(tile), torch.randn(5, COLUMNS)

    def forward(_: int) -> Tensor:
        with torch.no_grad():
            y: Tensor = tile(x)
        return y

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(forward, range(20)))
    with torch.no_grad():
        expected = [alone(x) for _ in range(20)]
    key = lambda y: y.flatten().tolist()  # noqa: E731
    for a, b in zip(sorted(found, key=key), sorted(expected, key=key), strict=True):
        assert torch.equal(a, b)


def test_threads_that_update_and_read() -> None:
    tile = gpu_tile()

    def use(worker: int) -> None:
        for _ in range(5):
            if worker % 2:
                tile.update(torch.randn(5, COLUMNS), torch.randn(5, ROWS))
            else:
                assert bool(torch.isfinite(tile.get_weights()[0]).all())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(8)))
    assert torch.equal(tile.get_weights()[0], truth(tile))


def test_other_weights_of_functional_calls() -> None:
    tile = InferenceTile(ROWS, COLUMNS, InferenceRPUConfig()).eval()
    tile.to_backend("wgpu", needed_adapter())
    x = torch.randn(3, COLUMNS)
    other = torch.full((ROWS, COLUMNS), 0.3)
    y = torch.func.functional_call(tile, {"shared_weights": other}, (x,)).detach()
    assert float(y.abs().min()) > 0.0
    with torch.no_grad():
        # All weights are zero: read noise of 0.06 per unit of the largest input remains.
        assert float(tile(x).abs().max()) < 5 * 0.06 * float(x.abs().max())


def test_optimizers_of_torch_train_inference_tiles() -> None:
    """Steps of the optimizer write to the parameter on the host and are uploaded."""
    torch.manual_seed(0)
    host, gpu = twins(AnalogLinear(COLUMNS, ROWS, rpu_config=InferenceRPUConfig()))
    x, target = torch.randn(20, COLUMNS), torch.randn(20, ROWS)
    losses = []
    for model in (host, gpu, pickle.loads(pickle.dumps(gpu))):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            loss = ((model(x) - target) ** 2).mean()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            losses.append(float(((model.eval()(x) - target) ** 2).mean()))
    # Sums are rounded in another order; a level of the ADC is a hundredth of the outputs.
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert losses[2] == pytest.approx(losses[0], rel=0.01)


def test_training_goes_on_on_the_host() -> None:
    torch.manual_seed(0)
    config = build_config("sgd", device=SoftBoundsDevice())
    gpu = AnalogLinear(COLUMNS, ROWS, rpu_config=config).to_backend("wgpu", needed_adapter())
    steps(gpu)
    file = io.BytesIO()
    torch.save(gpu.state_dict(), file)
    file.seek(0)
    host = AnalogLinear(COLUMNS, ROWS, rpu_config=config)
    host.load_state_dict(torch.load(file, weights_only=True))
    tile = next(host.analog_tiles())
    assert tile.backend == "cpu" and tile.rpu_config.runtime.backend is None
    assert torch.equal(host.get_weights()[0], gpu.get_weights()[0])
    before = host.get_weights()[0]
    steps(host)
    assert not torch.equal(host.get_weights()[0], before)
    # And back again, into a tile that is resident.
    gpu.load_state_dict(host.state_dict())
    assert next(gpu.analog_tiles()).backend == "wgpu"
    assert torch.equal(gpu.get_weights()[0], host.get_weights()[0])
    steps(gpu)


def steps(model: Any) -> None:
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (model(torch.randn(5, COLUMNS)) ** 2).mean().backward()
        optimizer.step()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_process_has_the_weights() -> None:
    tile = gpu_tile()
    expected = truth(tile)
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)

    def child() -> None:
        send.send(tile.to_backend("cpu").get_weights()[0].tolist())

    process = context.Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert torch.equal(torch.tensor(receive.recv()), expected)
    make_newer(tile)


def test_moving_there_and_back_keeps_the_state() -> None:
    tile = gpu_tile()
    state = saved(tile)
    tile.to_backend("cpu")
    assert type(tile._buffers) is dict and tile.tile.kernels.backend == "cpu"
    back = saved(tile)
    for name, value in state.items():
        if name != "analog_tile_config":
            assert torch.equal(back[name], value), name
    tile.to_backend("wgpu", needed_adapter())
    make_newer(tile)


def test_tensors_without_versions() -> None:
    """What is built in inference mode does not tell when it is written: it is always uploaded."""
    with torch.inference_mode():
        host, gpu = twins(AnalogTile(ROWS, COLUMNS, SingleRPUConfig()))
        for tile in (host, gpu):
            config = copy.deepcopy(tile.rpu_config)
            config.device.dw_min_std = 0.0
            tile.replace_with(config)
            tile.tile.set_learning_rate(0.1)
        for _ in range(3):
            x, d = torch.randn(5, COLUMNS), torch.randn(5, ROWS)
            host.update(x, d)
            gpu.update(x, d)
        torch.testing.assert_close(gpu.get_weights()[0], host.get_weights()[0], rtol=0, atol=1e-5)
        host.analog_tile_weights.zero_()
        gpu.analog_tile_weights.zero_()
        assert float(gpu(x).abs().max()) < 5 * 0.06 * float(x.abs().max())


def test_another_configuration_is_used_from_then_on() -> None:
    tile = gpu_tile(SoftBoundsDevice())
    expected = truth(tile)
    config = copy.deepcopy(tile.rpu_config)
    config.forward.is_perfect = True
    tile.replace_with(config)
    x = torch.randn(4, COLUMNS)
    with torch.no_grad():
        torch.testing.assert_close(tile(x), x @ expected.T, rtol=0.0, atol=1e-5)


def test_weights_that_are_not_finite_stop_an_update() -> None:
    """As on the host, also if a product has uploaded them before."""
    for value in (float("nan"), float("inf")):
        tile = gpu_tile()
        tile.tile.get_weights(as_ref=True)[1, 2] = value
        tile(torch.randn(5, COLUMNS))
        before = everything(tile)
        for _ in range(2):
            with pytest.raises(ArgumentError, match=r"weights.*finite"):
                tile.update(torch.randn(5, COLUMNS), torch.randn(5, ROWS))
            assert differences(before, everything(tile)) == []
        tile.set_weights(torch.zeros(ROWS, COLUMNS))
        make_newer(tile)


@pytest.mark.parametrize("build", ["moved", "built there", "copied"])
def test_trained_weights_are_averaged(build: str) -> None:
    """They are a parameter and no buffer, as on the host, so averages of models work."""
    adapter = needed_adapter()
    mho.set_backend("wgpu", adapter) if build == "built there" else None
    try:
        config = InferenceRPUConfig()
        config.forward.is_perfect = True
        model = AnalogSequential(AnalogLinear(4, 3, rpu_config=config))
    finally:
        mho.set_backend("cpu")
    model.to_backend("wgpu", adapter)
    if build == "copied":
        model = copy.deepcopy(model)
    names = [name.split(".")[-1] for name, _ in model.named_buffers()]
    assert NAME not in names and f"0.analog_module.{NAME}" in model.state_dict()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    optimizer = AnalogSGD(model.parameters(), lr=0.05)
    expected, layer = torch.zeros(0), cast(Any, model[0])
    for step in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
        averaged.update_parameters(model)
        now = layer.get_weights()[0]
        expected = now if step == 0 else 0.5 * expected + 0.5 * now
    torch.testing.assert_close(averaged.module[0].get_weights()[0], expected)
    assert not torch.allclose(expected, layer.get_weights()[0])
    for twin in (model, averaged.module):  # what the graphics processor computes with
        layer = cast(Any, twin.eval()[0])
        exact = layer(torch.eye(4)) - layer.bias
        torch.testing.assert_close(exact, layer.get_weights()[0].t())


def test_writes_to_trained_weights_are_uploaded() -> None:
    tile: Any = InferenceTile(3, 4, InferenceRPUConfig())
    tile.rpu_config.forward.is_perfect = True
    tile.to_backend("wgpu", needed_adapter())
    tile.eval()
    writes: list[Callable[[], Any]] = [
        lambda: tile.tile.get_weights(as_ref=True).fill_(0.1),
        lambda: setattr(tile.shared_weights, "data", torch.full((3, 4), 0.2)),
        lambda: tile.set_weights(torch.full((3, 4), 0.3)),
    ]
    for i, write in enumerate(writes):
        write()
        torch.testing.assert_close(tile(torch.eye(4)), torch.full((4, 3), 0.1 * (i + 1)))
    with torch.no_grad():
        tile.shared_weights.mul_(2.0)
    torch.testing.assert_close(tile(torch.eye(4)), torch.full((4, 3), 0.6))
    tile.to_backend("cpu")
    torch.testing.assert_close(tile(torch.eye(4)), torch.full((4, 3), 0.6))
