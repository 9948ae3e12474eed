"""Input ranges from data: exact values, what stays of a calibration, and what an error leaves."""

import contextlib
import copy
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import mho
from mho.exceptions import ArgumentError, ConfigError, InputError, ModuleError
from mho.inference.calibration import InputRangeCalibrationType, calibrate_input_ranges
from mho.inference.calibration.observers import CachedQuantile, quantile_of
from mho.nn import AnalogLinear, AnalogSequential
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.enums import BoundManagementType, NoiseManagementType

Kind = InputRangeCalibrationType
MOVING = [Kind.MOVING_STD, Kind.MOVING_QUANTILE]
PERFECT = [Kind.MAX, Kind.CACHE_QUANTILE]


def batches(count: int = 6, rows: int = 32, size: int = 5) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(rows, size, generator=generator) for _ in range(count)]


def config_of(cls: Any = InferenceRPUConfig, enable: bool = True, **fields: Any) -> Any:
    config = cls()
    config.forward.noise_management = NoiseManagementType.NONE
    config.forward.bound_management = BoundManagementType.NONE
    config.pre_post.input_range.enable = enable
    for name, value in fields.items():
        setattr(config.pre_post.input_range, name, value)
    return config


def layer_of(config: Any) -> AnalogLinear:
    return AnalogLinear(5, 4, rpu_config=config)


def tile_of(model: Any) -> Any:
    return next(model.analog_tiles())


def range_of(model: Any) -> float:
    return float(tile_of(model).input_range.item())


def pairs(data: list[Tensor]) -> Iterator[tuple[tuple[Tensor], dict[str, Any]]]:
    return iter([((x,), {}) for x in data])


def expected(kind: Kind, data: list[Tensor], quantile: float, alpha: float) -> float:
    if kind is Kind.MAX:
        return float(torch.cat(data).abs().max())
    if kind is Kind.CACHE_QUANTILE:
        return float(torch.quantile(torch.cat(data).flatten(), quantile))
    if kind is Kind.MOVING_QUANTILE:
        return sum(float(torch.quantile(x.flatten(), quantile)) for x in data) / len(data)
    return sum(alpha * float(x.std()) for x in data) / len(data)


@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig, SingleRPUConfig])
@pytest.mark.parametrize("enable", [True, False])
@pytest.mark.parametrize("kind", [*MOVING, *PERFECT])
def test_ranges_are_those_of_the_data(kind: Kind, enable: bool, cls: Any) -> None:
    data = batches()
    layer = layer_of(config_of(cls, enable))
    calibrate_input_ranges(layer, kind, pairs(data), quantile=0.9)
    assert range_of(layer) == pytest.approx(expected(kind, data, 0.9, 3.0), rel=1e-5)
    if kind is Kind.MAX:
        assert range_of(layer) == expected(kind, data, 0.9, 3.0)


@pytest.mark.parametrize("kind", [*MOVING, *PERFECT])
def test_what_stays_of_a_calibration(kind: Kind) -> None:
    config = config_of(enable=False, init_from_data=7, manage_output_clipping=True)
    config.forward.noise_management = NoiseManagementType.ABS_MAX
    layer = layer_of(config).train()
    tile = tile_of(layer)
    calibrate_input_ranges(layer, kind, pairs(batches()), std_alpha=2.0)
    params, forward = tile.rpu_config.pre_post.input_range, tile.rpu_config.forward
    assert params.enable and not params.learn_input_range
    assert params.init_from_data == 0 and params.init_std_alpha == 2.0
    assert forward.noise_management is NoiseManagementType.NONE
    assert not forward.is_perfect and params.manage_output_clipping
    if kind in PERFECT:
        assert params.init_value == pytest.approx(range_of(layer))
        assert params.calibration_info == kind.value
    else:
        assert params.init_value == 3.0 and params.calibration_info is None
    assert layer.training and tile.training
    assert not tile._forward_pre_hooks
    # What follows does not move the range any more.
    before = range_of(layer)
    layer(10 * torch.randn(8, 5))
    assert range_of(layer) == before


def test_learned_range_stays_the_same_parameter() -> None:
    layer = layer_of(config_of())
    parameter = tile_of(layer).input_range
    calibrate_input_ranges(layer, Kind.MAX, pairs(batches()))
    assert tile_of(layer).input_range is parameter and parameter.requires_grad


def test_std_alpha_is_that_of_the_configuration_by_default() -> None:
    layer = layer_of(config_of(init_std_alpha=1.5))
    data = batches()
    calibrate_input_ranges(layer, Kind.MOVING_STD, pairs(data))
    assert range_of(layer) == pytest.approx(expected(Kind.MOVING_STD, data, 1.0, 1.5), rel=1e-5)


def test_moving_types_count_max_samples_batches() -> None:
    layer, data = layer_of(config_of()), batches()
    calibrate_input_ranges(layer, Kind.MOVING_STD, pairs(data), max_samples=2)
    wanted = expected(Kind.MOVING_STD, data[:2], 1.0, 3.0)
    assert range_of(layer) == pytest.approx(wanted, rel=1e-5)


def test_quantile_one_of_moving_is_the_largest_absolute_value() -> None:
    layer, data = layer_of(config_of()), [-x.abs() for x in batches()]
    calibrate_input_ranges(layer, Kind.MOVING_QUANTILE, pairs(data), quantile=1.0)
    wanted = sum(float(x.abs().max()) for x in data) / len(data)
    assert range_of(layer) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("kind", [Kind.MOVING_QUANTILE, Kind.CACHE_QUANTILE])
def test_absolute_quantile_covers_both_tails(kind: Kind) -> None:
    layer, data = layer_of(config_of()), batches()
    calibrate_input_ranges(layer, kind, pairs(data), quantile=0.8, absolute=True)
    wanted = expected(kind, [x.abs() for x in data], 0.8, 3.0)
    assert range_of(layer) == pytest.approx(wanted, rel=1e-5)


def test_rows_of_zeros_do_not_count() -> None:
    data = batches(1)
    padded = [torch.cat([torch.zeros(100, 5), data[0]]), torch.zeros(8, 5)]
    layer = layer_of(config_of())
    calibrate_input_ranges(layer, Kind.MOVING_STD, pairs(padded))
    assert range_of(layer) == pytest.approx(expected(Kind.MOVING_STD, data, 1.0, 3.0), rel=1e-5)


def test_cache_draws_all_rows_alike() -> None:
    """Kept rows are a uniform sample: each of ten batches has a tenth of them."""
    torch.manual_seed(5)
    counts = torch.zeros(10)
    for _ in range(200):
        cache = CachedQuantile(20, 0.5, False)
        for i in range(10):
            cache.observe(torch.full((40, 1), float(i)))
        assert cache._rows is not None and len(cache._rows) == 20
        counts += torch.bincount(cache._rows.flatten().long(), minlength=10)
    # 4000 rows: 400 of each batch, hypergeometric standard deviation below 19.
    assert ((counts - 400).abs() < 5 * 19).all()


@pytest.mark.parametrize("quantile", [0.001, 0.37, 0.5, 0.99995, 1.0])
def test_quantiles_are_those_of_torch(quantile: float) -> None:
    values = torch.randn(5001, generator=torch.Generator().manual_seed(1))
    assert quantile_of(values, quantile) == pytest.approx(float(torch.quantile(values, quantile)))
    assert quantile_of(values[:1], quantile) == float(values[0])


def test_quantiles_of_many_values() -> None:
    """Older versions of torch take no more than 2^24."""
    values = torch.arange(2**24 + 2, dtype=torch.float32)
    assert quantile_of(values, 0.5) == pytest.approx((2**24 + 1) / 2)


class Two(nn.Module):
    """Layers whose inputs differ by a factor, in a root that is not analog."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.first = AnalogLinear(5, 5, bias=False, rpu_config=config)
        self.second = AnalogLinear(5, 3, bias=False, rpu_config=config)
        self.first.set_weights(100.0 * torch.eye(5))

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        y: Tensor = self.second(scale * self.first(x))
        return y


@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
@pytest.mark.parametrize("enable", [True, False])
def test_nothing_is_clipped_while_a_perfect_calibration_looks(enable: bool, cls: Any) -> None:
    """The second layer sees outputs of inputs that are beyond the range that the first one had."""
    model, data = Two(config_of(cls, enable, init_value=0.1)), batches()
    calibrate_input_ranges(model, Kind.MAX, pairs(data))
    largest = float(torch.cat(data).abs().max())
    assert model.first.analog_module.input_range.item() == largest
    assert model.second.analog_module.input_range.item() == pytest.approx(100 * largest, rel=1e-5)


def test_what_a_loader_may_yield() -> None:
    x = batches(1)[0]
    target = torch.zeros(len(x))
    for item in (
        x,
        (x, target),
        [x],
        [x, target, target],
        ((x,), {}),
        ([x], {"scale": 1.0}),
        (x, {}),
        {"x": x},
        {"x": x, "scale": 1.0},
    ):
        model = Two(config_of())
        calibrate_input_ranges(model, Kind.MAX, [item])
        assert model.first.analog_module.input_range.item() == float(x.abs().max())
    loader = DataLoader(TensorDataset(torch.cat(batches()), torch.zeros(6 * 32)), batch_size=16)
    model = Two(config_of())
    calibrate_input_ranges(model, Kind.MAX, loader)
    assert model.first.analog_module.input_range.item() == float(torch.cat(batches()).abs().max())
    for bad in (3, "x", (), None):
        with pytest.raises(ArgumentError, match="dataloader"):
            calibrate_input_ranges(Two(config_of()), Kind.MAX, [bad])


def test_block_is_the_same_as_the_function() -> None:
    data = batches()
    one, two = Two(config_of(enable=False)), Two(config_of(enable=False))
    two.load_state_dict(one.state_dict())
    calibrate_input_ranges(one, Kind.MAX, data)
    with mho.calibrate(two, Kind.MAX) as ranges:
        assert ranges == {}
        assert not two.training and not torch.is_grad_enabled()
        for x in data:
            two(x)
    assert two.training and torch.is_grad_enabled()
    names = ["first.analog_module", "second.analog_module"]
    assert list(ranges) == names
    for name in names:
        assert ranges[name] == pytest.approx(two.get_submodule(name).input_range.item())
        assert ranges[name] == pytest.approx(one.get_submodule(name).input_range.item())


def test_block_takes_quantiles_of_a_cache_by_default() -> None:
    layer, data = layer_of(config_of()), batches()
    with mho.calibrate(layer):
        for x in data:
            layer(x)
    wanted = expected(Kind.CACHE_QUANTILE, data, 0.99995, 3.0)
    assert range_of(layer) == pytest.approx(wanted, rel=1e-5)
    assert tile_of(layer).rpu_config.pre_post.input_range.calibration_info == "CacheQuantile"


def test_none_does_nothing() -> None:
    layer = layer_of(config_of(enable=False))
    calibrate_input_ranges(layer, Kind.NONE, iter([]))
    with mho.calibrate(layer, Kind.NONE) as ranges:
        assert layer.training
    assert ranges == {} and tile_of(layer).input_range is None


def test_tiles_of_an_array_have_their_own_ranges() -> None:
    config = config_of()
    config.mapping.max_input_size = 3
    layer = AnalogLinear(5, 4, rpu_config=config)
    x = torch.tensor([[1.0, 2.0, 3.0, 40.0, 50.0]])
    calibrate_input_ranges(layer, Kind.MAX, [x])
    assert [tile.input_range.item() for tile in layer.analog_tiles()] == [3.0, 50.0]  # type: ignore[arg-type]


def test_features_first() -> None:
    config = config_of()
    tile = config.tile_class(2, 3, config, in_trans=True)
    tile.set_weights(torch.ones(2, 3))
    x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    calibrate_input_ranges(tile, Kind.MOVING_STD, [x])
    assert tile.input_range.item() == pytest.approx(3.0)  # 3 std(1, 2, 3): the zeros are a vector


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    layer = layer_of(config_of(TorchInferenceRPUConfig)).to(dtype)
    data = [x.to(dtype) for x in batches()]
    calibrate_input_ranges(layer, Kind.MAX, data)
    assert range_of(layer) == float(torch.cat(data).abs().max())


def state_of(model: nn.Module) -> Any:
    tiles = [m for m in model.modules() if hasattr(m, "rpu_config") and hasattr(m, "tile")]
    content = {name: value.clone() for name, value in model.state_dict().items()}
    content = {n: v for n, v in content.items() if not n.endswith("calls")}  # products are calls
    return (
        content,
        [copy.deepcopy(tile.rpu_config) for tile in tiles],
        [m.training for m in model.modules()],
        [len(m._forward_pre_hooks) for m in model.modules()],
        [id(p) for p in model.parameters()],
    )


def assert_same(before: Any, after: Any) -> None:
    assert before[0].keys() == after[0].keys()
    for name, value in before[0].items():
        assert torch.equal(value, after[0][name]), name
    assert before[1:] == after[1:]


class Interruption(Exception):
    """Comes from the code of a user."""


@pytest.mark.parametrize("kind", [*MOVING, *PERFECT])
@pytest.mark.parametrize("enable", [True, False])
@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
def test_error_in_the_block_leaves_everything_as_it_was(cls: Any, enable: bool, kind: Kind) -> None:
    config = config_of(cls, enable, init_from_data=3, init_value=0.7)
    config.forward.noise_management = NoiseManagementType.ABS_MAX
    model = nn.Sequential(layer_of(config), nn.ReLU(), AnalogLinear(4, 2, rpu_config=config))
    model[2].eval()
    before = state_of(model)
    with pytest.raises(Interruption), mho.calibrate(model, kind, std_alpha=2.0):
        model(batches(1)[0])
        raise Interruption
    assert_same(before, state_of(model))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
@pytest.mark.parametrize("fails", [False, True])
def test_a_chip_keeps_the_noise_of_its_lines(cls: Any, fails: bool) -> None:
    """Frozen values of the outputs, which perfect products do without."""
    config = config_of(cls)
    config.forward.out_noise, config.forward.out_noise_std = 0.1, 0.5
    layer = layer_of(config)
    raw = tile_of(layer).tile
    before = raw.get_forward_parameters()["out_noise_values"]
    with contextlib.suppress(ZeroDivisionError), mho.calibrate(layer, Kind.MAX):
        layer(batches()[0])
        if fails:
            raise ZeroDivisionError
    assert len(before) == 4 and torch.equal(
        raw.get_forward_parameters()["out_noise_values"], before
    )
    layer.analog_module.rpu_config.forward.is_perfect = True
    layer.analog_module.rpu_config.forward.out_noise = 0.2
    layer.analog_module.rpu_config.forward.is_perfect = False
    torch.testing.assert_close(raw.get_forward_parameters()["out_noise_values"], 2.0 * before)


def test_no_copies_are_made_of_a_model_that_is_calibrated() -> None:
    """A copy would stay in the block: perfect, with a range that follows all of its inputs."""
    model, data = nn.Sequential(layer_of(config_of())), batches()
    with mho.calibrate(model, Kind.MAX):
        model(data[0])
        for make in (copy.deepcopy, pickle.dumps):
            with pytest.raises(ModuleError, match=r"calibrate: tile '0\.analog_module' is being"):
                make(model)
    assert range_of(model[0]) == expected(Kind.MAX, data[:1], 1.0, 3.0)
    copied = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    copied(10.0 * data[0])
    assert range_of(copied[0]) == range_of(model[0])


def test_a_range_that_is_switched_off_in_the_block_is_an_error() -> None:
    layer, state = layer_of(config_of()), layer_of(config_of(enable=False)).state_dict()
    with pytest.raises(ArgumentError, match="switched off while it was calibrated"):
        with mho.calibrate(layer):
            layer.load_state_dict(state)
            layer(batches()[0])


def test_inputs_that_are_not_finite_are_refused() -> None:
    layer = layer_of(config_of(enable=False))
    before = state_of(layer)
    with pytest.raises(ArgumentError, match="tile 'analog_module': inputs must be finite"):
        calibrate_input_ranges(layer, Kind.MAX, [torch.full((2, 5), torch.nan)])
    assert_same(before, state_of(layer))


def test_inputs_that_are_no_tensors_are_refused_by_the_layer() -> None:
    layer = layer_of(config_of(enable=False))
    with pytest.raises(InputError, match="expected a tensor, got dict"):
        calibrate_input_ranges(layer, Kind.MAX, [({"x": torch.ones(2, 5)},)])
    assert tile_of(layer).input_range is None


@pytest.mark.parametrize("data", [[], [torch.zeros(3, 5)]])
@pytest.mark.parametrize("kind", [*MOVING, *PERFECT])
def test_no_inputs_at_all(kind: Kind, data: list[Tensor]) -> None:
    layer = layer_of(config_of(enable=False))
    before = state_of(layer)
    with pytest.raises(ArgumentError, match="no tile has seen inputs"):
        calibrate_input_ranges(layer, kind, data)
    assert_same(before, state_of(layer))


def test_quantile_of_zero_is_refused() -> None:
    layer = layer_of(config_of(enable=False))
    x = torch.zeros(10, 5)
    x[:, 0] = 1.0
    before = state_of(layer)
    with pytest.raises(ArgumentError, match=r"quantile: that of the inputs .* is 0"):
        calibrate_input_ranges(layer, Kind.CACHE_QUANTILE, [x], quantile=0.5)
    assert_same(before, state_of(layer))


def test_tile_without_inputs_stays_and_is_named() -> None:
    model = Two(config_of(enable=False))
    with pytest.warns(UserWarning, match="'second.analog_module' saw no inputs"):
        with mho.calibrate(model, Kind.MAX) as ranges:
            model.first(batches(1)[0])
    assert list(ranges) == ["first.analog_module"]
    second: Any = model.second.analog_module
    assert second.input_range is None
    assert second.rpu_config == config_of(enable=False)


@pytest.mark.parametrize(
    ("kind", "argument"),
    [
        (Kind.MAX, {"quantile": 0.9}),
        (Kind.MAX, {"max_samples": 10}),
        (Kind.MAX, {"absolute": True}),
        (Kind.MOVING_STD, {"quantile": 0.9}),
        (Kind.MOVING_STD, {"absolute": True}),
        (Kind.CACHE_QUANTILE, {"std_alpha": 2.0}),
        (Kind.MOVING_QUANTILE, {"std_alpha": 2.0}),
        (Kind.MAX, {"std_alpha": 2.0}),
    ],
)
def test_arguments_of_other_types_are_named(kind: Kind, argument: dict[str, Any]) -> None:
    (name,) = argument
    ranges = []
    for given in ({}, argument):
        torch.manual_seed(3)
        model = AnalogSequential(AnalogLinear(5, 3, rpu_config=InferenceRPUConfig()))
        data = [torch.randn(20, 5) for _ in range(3)]
        if given:
            with pytest.warns(UserWarning, match=rf"^{name}: has no effect .* {kind.name}"):
                calibrate_input_ranges(model, kind, data, **given)
        else:
            calibrate_input_ranges(model, kind, data)
        ranges += [float(tile.input_range) for tile in model.analog_tiles()]
    assert ranges[0] == ranges[1]


def test_only_layers_with_a_range() -> None:
    on, off = config_of(), config_of(enable=False)
    model = AnalogSequential(layer_of(on), AnalogLinear(4, 3, rpu_config=off))
    data = batches()
    calibrate_input_ranges(model, Kind.MAX, data, force_all_layers=False)
    first, second = model.analog_tiles()
    assert first.input_range.item() == float(torch.cat(data).abs().max())  # type: ignore[arg-type]
    assert second.input_range is None and second.rpu_config == off
    managed = config_of()
    managed.forward.noise_management = NoiseManagementType.ABS_MAX
    model = AnalogSequential(layer_of(on), AnalogLinear(4, 3, rpu_config=managed))
    before = state_of(model)
    with pytest.raises(ConfigError, match=r"'1\.analog_module': forward\.noise_management"):
        calibrate_input_ranges(model, Kind.MAX, data, force_all_layers=False)
    assert_same(before, state_of(model))


@pytest.mark.parametrize("force", [True, False])
def test_models_without_ranges(force: bool) -> None:
    for model in (nn.Linear(5, 4), AnalogLinear(5, 4, rpu_config=FloatingPointRPUConfig())):
        with pytest.raises(ArgumentError, match="has no analog tiles with an input range"):
            calibrate_input_ranges(model, Kind.MAX, batches(), force_all_layers=force)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quantile", 0.0),
        ("quantile", 1.1),
        ("quantile", "a"),
        ("max_samples", 0),
        ("max_samples", 2.5),
        ("std_alpha", 0.0),
        ("std_alpha", -1.0),
        ("force_all_layers", 3),
        ("calibration_type", "Max"),
        ("model", 3),
    ],
)
def test_impossible_arguments(name: str, value: Any) -> None:
    layer = layer_of(config_of())
    arguments: Any = {"model": layer, "calibration_type": Kind.MAX, "dataloader": []}
    before = state_of(layer)
    with pytest.raises(ArgumentError, match=name):
        calibrate_input_ranges(**{**arguments, name: value})
    assert_same(before, state_of(layer))


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    layer = layer_of(config_of())
    calibrate_input_ranges(layer, Kind.MAX, batches(3))
    assert capsys.readouterr().err == ""
    calibrate_input_ranges(layer, Kind.MAX, batches(3), verbose=True)
    assert re.search(r"calibrating: 100%.*3/3", capsys.readouterr().err)


def test_compiled_models_are_calibrated() -> None:
    """Graphs have no hooks: inside of the block the model runs as it is written."""
    if not hasattr(torch.compiler, "set_stance"):
        pytest.skip("needs torch 2.6")
    layer, data = layer_of(config_of()), batches()
    compiled = torch.compile(layer, backend="eager")
    compiled(data[0])
    calibrate_input_ranges(compiled, Kind.MAX, data)
    assert range_of(layer) == float(torch.cat(data).abs().max())


def test_saved_with_the_model() -> None:
    layer = layer_of(config_of(enable=False))
    calibrate_input_ranges(layer, Kind.MAX, batches())
    other = layer_of(config_of(enable=False))
    other.load_state_dict(layer.state_dict())
    assert range_of(other) == range_of(layer)
    assert tile_of(other).rpu_config.pre_post.input_range.calibration_info == "Max"
