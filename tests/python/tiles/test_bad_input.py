"""Bad input is refused by name, before anything changes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mho import _core
from mho.exceptions import (
    AihwkitException,
    ArgumentError,
    ConfigError,
    CudaError,
    InputError,
    InternalError,
    TileError,
    TileModuleError,
)
from mho.nn import AnalogLinear, AnalogSequential, edit_config
from mho.simulator.configs import (
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.enums import PulseType, RPUDataType
from mho.simulator.tiles import (
    AnalogTile,
    CustomTile,
    InferenceTile,
    TileModuleArray,
    TorchInferenceTile,
)
from unchanged import differences, everything

NAN, INF = float("nan"), float("inf")


def snapshot(tile: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies of everything in the state but the call counter."""
    state = tile.state_dict()
    return {k: v.clone() for k, v in state.items() if not k.endswith("analog_tile_calls")}


def assert_unchanged(tile: torch.nn.Module, before: dict[str, torch.Tensor]) -> None:
    after = snapshot(tile)
    assert list(after) == list(before)
    for name, value in before.items():
        assert torch.equal(after[name], value), name


def bad(x: Any) -> Any:
    return pytest.param(x, id=repr(x)[:30].replace("\n", " "))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 5), "expected size 4"),
        (torch.zeros(5), "expected size 4"),
        (torch.zeros(2, 4, dtype=torch.float64), "float64"),
        (torch.zeros(2, 4, dtype=torch.int64), "int64"),
        (torch.zeros(2, 4, dtype=torch.complex64), "complex"),
        (torch.tensor(1.0), "one axis"),
        (None, "NoneType"),
        ([1.0, 2.0, 3.0, 4.0], "list"),
    ],
)
@pytest.mark.parametrize("grad", [False, True])
def test_forward_input(tiny_config: Any, x: Any, message: str, grad: bool) -> None:
    tile = tiny_config.tile_class(3, 4, tiny_config)
    before = snapshot(tile)
    with torch.set_grad_enabled(grad), pytest.raises(InputError, match=message):
        tile(x)
    assert issubclass(InputError, RuntimeError)
    assert_unchanged(tile, before)


@pytest.mark.parametrize(
    "pair",
    [
        (torch.zeros(2, 5), torch.zeros(2, 3)),
        (torch.zeros(2, 4), torch.zeros(2, 4)),
        (torch.zeros(2, 4), torch.zeros(3, 3)),
        (torch.zeros(2, 4).double(), torch.zeros(2, 3)),
        (torch.tensor([[NAN, 0, 0, 0]]), torch.ones(1, 3)),
        (torch.ones(1, 4), torch.tensor([[INF, 0, 0]])),
        (None, torch.zeros(2, 3)),
    ],
)
def test_update_input(tiny_config: Any, pair: Any) -> None:
    tile = tiny_config.tile_class(3, 4, tiny_config)
    before = snapshot(tile)
    for update in (tile.update, tile.tile.update):
        with pytest.raises((InputError, ArgumentError)):
            update(*pair)
    assert_unchanged(tile, before)


@pytest.mark.parametrize(
    ("weight", "error"),
    [
        (torch.zeros(3, 5), InputError),
        (torch.full((3, 4), NAN), ArgumentError),
        (torch.full((3, 4), INF), ArgumentError),
        (torch.zeros(3, 4, dtype=torch.complex64), InputError),
    ],
)
def test_set_weights(tiny_config: Any, weight: torch.Tensor, error: type[Exception]) -> None:
    tile = tiny_config.tile_class(3, 4, tiny_config, bias=True)
    before = snapshot(tile)
    with pytest.raises(error, match="weight"):
        tile.set_weights(weight, torch.ones(3))
    with pytest.raises(error, match="weight"):
        tile.tile.set_weights(weight)
    assert_unchanged(tile, before)
    with pytest.raises((InputError, ArgumentError), match="bias"):
        tile.set_weights(torch.zeros(3, 4), torch.tensor([NAN, 0, 0]))
    with pytest.raises(InputError, match="bias"):
        tile.set_weights(torch.zeros(3, 4), torch.zeros(4))
    assert_unchanged(tile, before)


def test_analog_bias_is_required() -> None:
    config = SingleRPUConfig()
    config.mapping.digital_bias = False
    tile = AnalogTile(3, 4, config, bias=True)
    with pytest.raises(ValueError, match="bias"):
        tile.set_weights(torch.zeros(3, 4))


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None, "3"])
def test_sizes(size: Any) -> None:
    with pytest.raises(ArgumentError, match="out_size"):
        AnalogTile(size, 4, SingleRPUConfig())
    with pytest.raises(ArgumentError, match="in_size"):
        TileModuleArray(3, size, SingleRPUConfig())


@pytest.mark.parametrize("config", [SingleRPUConfig, InferenceRPUConfig, TorchInferenceRPUConfig])
def test_arrays_beyond_all_memory(config: Any) -> None:
    """Before the first of the tiles is built: they would fill the memory one by one."""
    with pytest.raises(MemoryError, match=f"{2**40} x {2**41} weights"):
        TileModuleArray(2**40, 2**41, config())


@pytest.mark.parametrize("cls", [AnalogTile, InferenceTile, TorchInferenceTile, TileModuleArray])
def test_configuration_in_place_of_a_flag(cls: Any) -> None:
    config = TorchInferenceRPUConfig() if cls is TorchInferenceTile else InferenceRPUConfig()
    if cls is AnalogTile:
        config = SingleRPUConfig()
    with pytest.raises(ArgumentError, match=r"bias: .*rpu_config="):
        cls(3, 4, config, config)
    with pytest.raises(ArgumentError, match=r"rpu_config: IdealDevice is only a part.*rpu_config="):
        cls(3, 4, IdealDevice())
    if cls is not TileModuleArray:
        with pytest.raises(ArgumentError, match=r"in_trans: .*rpu_config="):
            cls(3, 4, config, False, IdealDevice())


def test_configurations() -> None:
    with pytest.raises(ArgumentError, match="give an instance"):
        AnalogTile(3, 4, SingleRPUConfig)  # type: ignore[arg-type]
    for change, message in BAD_CONFIGS:
        config = SingleRPUConfig()
        change(config)
        with pytest.raises(ConfigError, match=message):
            AnalogTile(3, 4, config)


def _set(path: str, value: Any) -> Callable[[Any], None]:
    def change(config: Any) -> None:
        *parents, name = path.split(".")
        for parent in parents:
            config = getattr(config, parent)
        setattr(config, name, value)

    return change


BAD_CONFIGS = [
    (_set("forward.out_nois", 1.0), "out_nois"),
    (_set("forwrad", 1.0), "forwrad"),
    (_set("forward.out_noise", NAN), "forward.out_noise"),
    (_set("device.dw_min", "small"), "device.dw_min"),
    (_set("device.dw_min", True), "device.dw_min"),
    (_set("update.desired_bl", 1.5), "update.desired_bl"),
    (_set("runtime.data_type", RPUDataType.DOUBLE), "runtime.data_type"),
    (_set("runtime.backend", "tpu"), "runtime.backend"),
]


def test_inference_configurations() -> None:
    config = InferenceRPUConfig()
    config.device = SingleRPUConfig().device
    config.update.pulse_type = PulseType.STOCHASTIC_COMPRESSED
    with pytest.raises(ConfigError, match=r"update\.pulse_type"):
        InferenceTile(3, 4, config)


def test_later_changes_of_the_config_have_no_effect() -> None:
    config = SingleRPUConfig()
    tile = AnalogTile(3, 4, config)
    config.mapping.weight_scaling_omega = 7.0
    assert tile.rpu_config.mapping.weight_scaling_omega == 0.0


def test_cuda() -> None:
    tile = AnalogTile(3, 4, SingleRPUConfig())
    with pytest.raises(CudaError):
        tile.cuda()
    with pytest.raises(TileModuleError, match="meta"):
        torch.nn.Sequential(tile).to("meta")
    assert tile.cpu() is tile


def test_hidden_parameters() -> None:
    tile = AnalogTile(3, 4, SingleRPUConfig())
    before, hidden = snapshot(tile), tile.get_hidden_parameters()
    assert list(hidden)[:4] == ["max_bound", "min_bound", "dwmin_up", "dwmin_down"]
    swapped = dict(reversed(list(hidden.items())))
    with pytest.raises(TileError, match="hidden"):
        tile.set_hidden_parameters(swapped)
    with pytest.raises((InputError, RuntimeError)):
        tile.set_hidden_parameters({k: v[:, :2] for k, v in hidden.items()})
    with pytest.raises(ArgumentError):
        tile.set_hidden_parameters({k: v * NAN for k, v in hidden.items()})
    tile.set_hidden_parameters({})
    assert_unchanged(tile, before)


def test_hidden_parameters_take_effect() -> None:
    """A plane that was constant may get values, and the weights follow the new bounds."""
    tile = AnalogTile(3, 4, SingleRPUConfig())
    hidden = tile.get_hidden_parameters()
    hidden["max_bound"] = torch.full((3, 4), 0.01)
    hidden["reset_bias"] = torch.rand(3, 4)
    tile.set_hidden_parameters(hidden)
    assert tile.get_weights()[0].max() <= 0.01
    again = tile.get_hidden_parameters()
    for name, value in hidden.items():
        assert torch.equal(again[name], value), name
    assert "analog_tile_hidden.reset_bias" in tile.state_dict()
    hidden["reset_bias"] = torch.zeros(3, 4)
    tile.set_hidden_parameters(hidden)
    assert "analog_tile_hidden.reset_bias" not in tile.state_dict()


def test_arguments_of_operations() -> None:
    tile = AnalogTile(3, 4, SingleRPUConfig())
    before = snapshot(tile)
    calls: list[Callable[[], Any]] = [
        lambda: tile.reset_columns(7),
        lambda: tile.reset(1.5),
        lambda: tile.set_learning_rate(-1.0),
        lambda: tile.set_learning_rate(NAN),
        lambda: tile.tile.set_weights_uniform_random(1.0, 0.0),
        lambda: tile.set_forward_parameters(unknown=torch.zeros(3)),
        lambda: tile.set_forward_parameters(v_offset=torch.zeros(9)),
        lambda: tile.set_mapping_scales(torch.zeros(3)),
        lambda: tile.load_extra({"unknown": [1]}),
        lambda: tile.set_input_range(1.0),
    ]
    for call in calls:
        with pytest.raises(AihwkitException):
            call()
    assert_unchanged(tile, before)


def test_panic_in_a_kernel_leaves_the_tile_as_it_was() -> None:
    tile = AnalogTile(30, 40, SingleRPUConfig())
    before = snapshot(tile)
    _core.panic_in_next_update()
    with pytest.raises(InternalError):
        tile.update(torch.randn(9, 40), torch.randn(9, 30))
    assert_unchanged(tile, before)
    tile.update(torch.randn(9, 40), torch.randn(9, 30))
    assert not torch.equal(snapshot(tile)["analog_tile_weights"], before["analog_tile_weights"])


def test_strided_and_negated_views_are_read_right() -> None:
    tile = InferenceTile(3, 4, InferenceRPUConfig(forward=IOParameters(is_perfect=True)))
    weight = torch.randn(3, 4)
    tile.set_weights(weight)
    negated = torch.randn(5, 4, dtype=torch.complex64).conj().imag
    assert negated.is_neg()
    for x in (
        torch.randn(4, 5).t(),
        torch.randn(5, 8)[:, ::2],
        torch.randn(4).expand(5, 4),
        negated,
    ):
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                torch.testing.assert_close(tile(x), x.resolve_neg() @ weight.t())


@pytest.mark.parametrize("field", ["w_max_dtod", "w_max", "dw_min", "reset_dtod"])
def test_devices_beyond_float32_are_refused(field: str) -> None:
    config = SingleRPUConfig(device=SoftBoundsDevice(**{field: 3e38}))
    with pytest.raises(ConfigError, match=rf"device\.{field}: .*at most 1e15"):
        AnalogTile(8, 8, config)


@pytest.mark.parametrize("field", ["w_read_asymmetry_dtod", "out_noise_std"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_lines_beyond_float32_are_refused(direction: str, field: str) -> None:
    """When a tile is built, when its configuration is edited, and when a state is loaded."""
    config = SingleRPUConfig()
    setattr(getattr(config, direction), field, 3e38)
    with pytest.raises(ConfigError, match=rf"{direction}\.{field}: .*at most 1e15"):
        AnalogTile(8, 8, config)
    tile = AnalogTile(8, 8)
    before = everything(tile)
    with pytest.raises(ConfigError, match=rf"{direction}\.{field}: .*at most 1e15"):
        setattr(getattr(tile.rpu_config, direction), field, 3e38)
    with pytest.raises(ConfigError, match=rf"{direction}\.{field}: .*at most 1e15"):
        tile.replace_with(config)
    with pytest.raises(ConfigError, match=rf"{direction}\.{field}: .*at most 1e15"):
        edit_config(tile, f"{direction}.{field}", 3e38)
    assert differences(before, everything(tile)) == []


@pytest.mark.parametrize("spread", [3e38, 1e38])
def test_lines_of_torch_tiles_beyond_their_precision_are_refused(spread: float) -> None:
    config = TorchInferenceRPUConfig()
    config.forward.out_noise, config.forward.out_noise_std = 1.0, spread
    with pytest.raises(ConfigError, match=r"forward\.out_noise_std.*float32"):
        TorchInferenceTile(4, 4, config)
    tile = TorchInferenceTile(4, 4)
    before = everything(tile)
    tile.rpu_config.forward.out_noise = 1.0
    with pytest.raises(ConfigError, match=r"forward\.out_noise_std.*float32"):
        tile.rpu_config.forward.out_noise_std = spread
    tile.rpu_config.forward.out_noise = 0.06
    assert differences(before, everything(tile)) == []


@pytest.mark.parametrize("cls", [AnalogTile, InferenceTile, TorchInferenceTile, CustomTile])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_are_refused(cls: Any) -> None:
    tile, nested = cls(2, 3), torch.nested.nested_tensor([torch.ones(3), torch.ones(2)])
    before = everything(tile)
    for call in (
        lambda: tile(nested),
        lambda: tile.set_weights(nested),
        lambda: tile.update(nested, nested),
        lambda: tile.load_state_dict(dict.fromkeys(tile.state_dict(), nested)),
        lambda: AnalogSequential(nn.Linear(2, 2), AnalogLinear(2, 2)).load_state_dict(
            {"a": nested}
        ),
    ):
        with pytest.raises(TileError):
            call()
    with pytest.raises(ArgumentError):
        tile.set_scales(nested)
    assert differences(before, everything(tile)) == []
