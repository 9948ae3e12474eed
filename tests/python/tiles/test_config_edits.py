"""Changes of `tile.rpu_config` act from the next call on, or are refused; never nothing."""

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from golden import GoldenDevice
from mho.exceptions import ArgumentError, ConfigError, ModuleError, TileModuleError
from mho.inference.compensation.drift import PerColumnDriftCompensation
from mho.nn import AnalogLinear, AnalogLinearMapped, AnalogSequential, edit_config
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    IOParameters,
    PiecewiseStepDevice,
    QuantizedTorchInferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
)
from mho.simulator.digital_low_precision.range_estimators import AllMinMaxEstimator
from mho.simulator.parameters.enums import (
    BoundManagementType,
    NoiseManagementType,
    PulseType,
    RangeEstimators,
    WeightClipType,
)
from mho.simulator.parameters.quantization import ActivationQuantConfig
from mho.simulator.parameters.range_estimators import MSEEstimatorParams
from mho.simulator.tiles.custom import CustomRPUConfig
from unchanged import differences, everything

X = torch.linspace(-1.0, 1.0, 12).reshape(3, 4)


def quiet(config: Any) -> Any:
    """Configuration without noise, so that outputs can be compared."""
    directions = [config.forward]
    if not isinstance(config, TorchInferenceRPUConfig):  # gradients are those of autograd
        directions.append(config.backward)
    for io in directions:
        io.out_noise = io.inp_res = io.out_res = 0.0
    return config


CONFIGS: dict[str, Callable[[], Any]] = {
    "pulsed": lambda: quiet(SingleRPUConfig(device=SoftBoundsDevice())),
    "inference": lambda: quiet(InferenceRPUConfig()),
    "torch": lambda: quiet(TorchInferenceRPUConfig()),
    "custom": lambda: quiet(CustomRPUConfig()),
}
ARRAYS = [torch.ones(3), np.ones(3), torch.tensor(1.0), [torch.ones(3)]]


@pytest.fixture(params=CONFIGS)
def kind(request: pytest.FixtureRequest) -> str:
    """One of the kinds of tiles whose products are analog."""
    return str(request.param)


def built(kind: str, **fields: Any) -> Any:
    """Tile with fixed weights; fields of `forward` are set before it is built."""
    config = CONFIGS[kind]()
    for name, value in fields.items():
        setattr(config.forward, name, value)
    tile = config.tile_class(2, 4, config).eval()
    tile.tile.set_weights(torch.tensor([[0.1, -0.05, 0.02, 0.0], [0.04, 0.06, -0.1, 0.03]]))
    return tile


@pytest.mark.parametrize(
    ("name", "value"),
    [("out_scale", 2.0), ("inp_bound", 0.5), ("inp_res", 0.25), ("out_bound", 0.01)],
)
def test_edits_act_as_if_built_so(kind: str, name: str, value: float) -> None:
    fields = {
        "bound_management": BoundManagementType.NONE,
        "noise_management": NoiseManagementType.NONE,
    }
    edited, expected = built(kind, **fields), built(kind, **{**fields, name: value})
    before = edited(X)
    setattr(edited.rpu_config.forward, name, value)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            torch.testing.assert_close(edited(X), expected(X))
            assert not torch.allclose(edited(X), before)


def test_edits_act_on_backward_passes(kind: str) -> None:
    if kind == "torch":
        pytest.skip("gradients are those of autograd")
    tile = built(kind)
    x = X.clone().requires_grad_()
    tile(x).sum().backward()
    tile.analog_ctx.reset()
    tile.rpu_config.backward.out_scale = 2.0
    y = X.clone().requires_grad_()
    tile(y).sum().backward()
    torch.testing.assert_close(y.grad, 2.0 * x.grad)


def test_whole_objects_can_be_assigned(kind: str) -> None:
    tile = built(kind)
    before = tile(X)
    tile.rpu_config.forward = IOParameters(is_perfect=True)
    torch.testing.assert_close(tile(X), X @ tile.tile.get_weights().t())
    tile.rpu_config.forward.is_perfect = False
    tile.rpu_config.forward = quiet(CONFIGS[kind]()).forward
    torch.testing.assert_close(tile(X), before)
    # The new object belongs to the tile as the old one did, which no longer does.
    tile.rpu_config.forward.out_scale = 3.0
    torch.testing.assert_close(tile(X), 3.0 * before)


def test_a_deleted_field_has_its_default(kind: str) -> None:
    tile = built(kind, out_scale=2.0)
    before = tile(X)
    del tile.rpu_config.forward.out_scale
    torch.testing.assert_close(tile(X), 0.5 * before)


def test_a_whole_configuration_is_handed_to_replace_with(kind: str) -> None:
    tile, config = built(kind), CONFIGS[kind]()
    before = tile(X)
    config.forward.out_scale = 2.0
    tile.rpu_config = config
    torch.testing.assert_close(tile(X), 2.0 * before)
    config.forward.out_scale = 5.0  # it is a copy
    torch.testing.assert_close(tile(X), 2.0 * before)
    with pytest.raises(ArgumentError):
        tile.rpu_config = SingleRPUConfig


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("forward.out_noise", "much"),
        ("forward.out_nois", 0.1),
        ("forward", None),
        ("forward.inp_res", float("nan")),
        ("pre_post.input_range.init_value", "one"),
        ("mapping.weight_scaling_omega", "one"),
        ("other", 1),
    ],
)
def test_invalid_edits_are_refused_and_undone(kind: str, path: str, value: object) -> None:
    tile = built(kind)
    before = everything(tile)
    *steps, name = path.split(".")
    obj = tile.rpu_config
    for step in steps:
        obj = getattr(obj, step)
    with pytest.raises(ConfigError, match=name):
        setattr(obj, name, value)
    assert differences(before, everything(tile)) == []


@pytest.mark.parametrize(
    ("kind", "path", "value", "remedy"),
    [
        ("pulsed", "device.w_max", 0.3, "replace_with"),
        ("pulsed", "device", SoftBoundsDevice(w_max=0.1), "replace_with"),
        ("inference", "device", SoftBoundsDevice(), "replace_with"),
        ("pulsed", "mapping.max_input_size", 3, "replace_with"),
        ("torch", "mapping.digital_bias", False, "replace_with"),
        ("custom", "mapping.learn_out_scaling", True, "replace_with"),
        ("torch", "tile_class", object, "replace_with"),
        ("inference", "runtime.backend", "wgpu", "to_backend"),
    ],
)
def test_what_cannot_act_says_so(kind: str, path: str, value: object, remedy: str) -> None:
    tile = built(kind)
    before = everything(tile)
    *steps, name = path.split(".")
    obj = tile.rpu_config
    for step in steps:
        obj = getattr(obj, step)
    with pytest.raises(TileModuleError, match=remedy):
        setattr(obj, name, value)
    assert differences(before, everything(tile)) == []


def test_lists_are_watched() -> None:
    tile = SingleRPUConfig().tile_class(2, 2, SingleRPUConfig(device=PiecewiseStepDevice()))
    nodes = tile.rpu_config.device.piecewise_up
    before = list(nodes)
    for change in (
        lambda: nodes.append(1.0),
        lambda: nodes.__setitem__(0, 2.0),
        lambda: nodes.clear(),
        lambda: nodes.__iadd__([1.0]),
        lambda: nodes.pop(),
        lambda: nodes.insert(0, 3.0),
        lambda: nodes.extend([1.0]),
        lambda: nodes.__delitem__(0),
    ):
        with pytest.raises(TileModuleError, match="replace_with"):
            change()
        assert nodes == before
    for other in (copy.deepcopy(tile.rpu_config), pickle.loads(pickle.dumps(tile.rpu_config))):
        assert type(other.device.piecewise_up) is list
        other.device.piecewise_up.append(1.0)
        other.device.w_max = 0.2
        other.forward.out_noise = 0.3
    assert nodes == before and tile.rpu_config.forward.out_noise != 0.3


@pytest.mark.parametrize("way", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_of_tiles_follow_their_own_configuration(kind: str, way: Any) -> None:
    tile = built(kind)
    other = way(tile)
    before = tile(X)
    other.rpu_config.forward.out_scale = 2.0
    torch.testing.assert_close(tile(X), before)
    torch.testing.assert_close(other(X), 2.0 * before)
    loaded = built(kind)
    loaded.load_state_dict(other.state_dict())
    torch.testing.assert_close(loaded(X), 2.0 * before)
    loaded.rpu_config.forward.out_scale = 4.0
    torch.testing.assert_close(loaded(X), 4.0 * before)


def test_an_object_in_two_tiles_changes_both(kind: str) -> None:
    first, second = built(kind), built(kind)
    before = first(X)
    io = quiet(CONFIGS[kind]()).forward
    first.rpu_config.forward = second.rpu_config.forward = io
    io.out_scale = 2.0
    torch.testing.assert_close(first(X), 2.0 * before)
    torch.testing.assert_close(second(X), 2.0 * before)


@pytest.mark.parametrize("kind", ["pulsed", "inference", "torch"])
def test_frozen_noise_follows_its_strength(kind: str) -> None:
    """The same lines, stronger: what was drawn is scaled, not drawn again."""
    tile = built(kind, out_noise=0.1, out_noise_std=0.5)
    first = tile.get_forward_parameters()["out_noise_values"]
    tile.rpu_config.forward.out_noise = 0.2
    torch.testing.assert_close(tile.get_forward_parameters()["out_noise_values"], 2.0 * first)
    tile.rpu_config.forward.inp_res = 0.1  # has nothing to do with it
    torch.testing.assert_close(tile.get_forward_parameters()["out_noise_values"], 2.0 * first)
    config = copy.deepcopy(tile.rpu_config)
    config.forward.out_noise = 0.1
    tile.replace_with(config)
    torch.testing.assert_close(tile.get_forward_parameters()["out_noise_values"], first)


@pytest.mark.parametrize("kind", ["pulsed", "inference", "torch"])
def test_compiled_tiles_follow_edits(kind: str) -> None:
    torch._dynamo.reset()  # graphs of other tests count against its limit
    tile = built(kind)
    compiled = torch.compile(tile, fullgraph=True, backend="aot_eager")
    before = tile(X)
    for scale in (1.0, 2.0, 3.0):
        tile.rpu_config.forward.out_scale = scale
        torch.testing.assert_close(compiled(X), scale * before)
    torch._dynamo.reset()


def test_digital_parts_follow() -> None:
    tile = built("inference")
    tile.rpu_config.pre_post.input_range.enable = True
    assert tile.input_range is not None
    tile.set_input_range(0.5)
    torch.testing.assert_close(tile(X), tile(X.clamp(-0.5, 0.5)))
    with pytest.raises(ConfigError, match="manage_output_clipping"):
        tile.rpu_config.forward.noise_management = NoiseManagementType.ABS_MAX
        tile.rpu_config.pre_post.input_range.manage_output_clipping = True
    tile.rpu_config.clip.type = WeightClipType.FIXED_VALUE
    tile.rpu_config.clip.fixed_value = 0.05
    tile.post_update_step()
    assert float(tile.tile.get_weights().abs().max()) < 0.0501
    tile.rpu_config.drift_compensation = PerColumnDriftCompensation()
    tile.program_weights()
    tile.drift_weights(100.0)
    assert tile.alpha.shape == (2,)


def model(**sizes: int) -> AnalogSequential:
    """Model with layers of one and of several tiles, and one that computes exactly."""
    config = quiet(InferenceRPUConfig())
    small = copy.deepcopy(config)
    small.mapping.max_input_size = small.mapping.max_output_size = 2
    return AnalogSequential(
        AnalogLinear(4, 3, rpu_config=config, bias=False),
        AnalogLinearMapped(3, 4, rpu_config=small, bias=False),
    ).eval()


def test_an_array_changes_all_its_tiles() -> None:
    net = model()
    array: Any = net[1].analog_module
    assert array.rpu_config == array.array[0][0].rpu_config
    before = net(X)
    array.rpu_config.forward.out_scale = 2.0
    scales = {tile.rpu_config.forward.out_scale for row in array.array for tile in row}
    assert scales == {2.0}
    torch.testing.assert_close(net(X), 2.0 * before)
    with pytest.raises(ConfigError, match="out_scale"):
        array.rpu_config.forward.out_scale = "two"
    torch.testing.assert_close(net(X), 2.0 * before)


def test_one_field_of_all_tiles() -> None:
    net = model()
    before = net(X)
    edit_config(net, "forward.out_scale", 2.0)
    torch.testing.assert_close(net(X), 4.0 * before)
    edit_config(net, "forward", quiet(InferenceRPUConfig()).forward)
    torch.testing.assert_close(net(X), before)
    edit_config(net, "noise_model.drift_scale", 0.0)
    assert all(tile.rpu_config.noise_model.drift_scale == 0.0 for tile in net.analog_tiles())
    tiles = list(net.analog_tiles())
    tiles[0].rpu_config.forward.out_scale = 3.0
    assert tiles[1].rpu_config.forward.out_scale == 1.0


@pytest.mark.parametrize(
    ("field", "value", "error", "message"),
    [
        ("forward.out_nois", 0.1, ConfigError, r"tile '0\..*forward\.out_noise"),
        ("forward.out_noise", "x", ConfigError, r"tile '0\.analog_module': forward\.out_noise"),
        ("noise_model.t_0", -1.0, ConfigError, "t_0"),
        ("device", SoftBoundsDevice(), TileModuleError, "replace_with"),
        (3, 0.1, ArgumentError, "field"),
    ],
)
def test_edits_of_all_tiles_are_all_or_none(
    field: Any, value: Any, error: Any, message: str
) -> None:
    net = model()
    before = everything(net)
    with pytest.raises(error, match=message):
        edit_config(net, field, value)
    assert differences(before, everything(net)) == []
    mixed = AnalogSequential(net, AnalogLinear(4, 2, rpu_config=FloatingPointRPUConfig()))
    before = everything(mixed)
    with pytest.raises(ConfigError, match=r"tile '1\.analog_module': forward"):
        edit_config(mixed, "forward.out_noise", 0.1)
    assert differences(before, everything(mixed)) == []


def test_attributes_that_only_some_objects_have_can_be_edited() -> None:
    net = torch.nn.Sequential(AnalogLinear(3, 2, rpu_config=InferenceRPUConfig()))
    model = net[0].analog_module.rpu_config.noise_model
    with pytest.raises(ConfigError, match=r"noise_model\.keep_conductances"):
        edit_config(net, "noise_model.keep_conductances", "yes")
    assert "keep_conductances" not in vars(model)
    edit_config(net, "noise_model.keep_conductances", True)
    net.eval()
    net[0].program_analog_weights()
    assert len(net[0].analog_module.programmed_conductances) == 2


@pytest.mark.parametrize("size", [0, 2])
def test_estimators_of_ranges_can_be_changed(size: int) -> None:
    """They are properties, which stand for two fields that only go together."""
    config = QuantizedTorchInferenceRPUConfig()
    config.act_quant_config = ActivationQuantConfig(n_bits=4)
    config.mapping.max_input_size = size
    layer = AnalogLinear(4, 3, rpu_config=config)
    layer(X)

    def found() -> list[Any]:
        quantizers = [tile._modules["act_quantizer"] for tile in layer.analog_tiles()]
        return [quantizer.range_estimator for quantizer in quantizers]

    layer.analog_module.rpu_config.act_quant_config.range_estimator = RangeEstimators.allminmax
    assert all(type(one) is AllMinMaxEstimator for one in found())
    layer(X)
    edit_config(layer, "act_quant_config.range_estimator", RangeEstimators.running_minmax)
    edit_config(layer, "act_quant_config.range_estimator_params.momentum", 0.25)
    assert {one.momentum for one in found()} == {0.25}
    living = layer.analog_module.rpu_config.act_quant_config
    living.range_estimator_params.momentum = 0.75
    assert {one.momentum for one in found()} == {0.75}
    before = everything(layer)
    with pytest.raises(ConfigError, match="range_estimator: expected RangeEstimators"):
        living.range_estimator = "MSE"
    with pytest.raises(ConfigError, match=r"range_estimator_params: .* needs RunningMinMax"):
        living.range_estimator_params = MSEEstimatorParams()
    with pytest.raises(ConfigError, match=r"did you mean 'act_quant_config\.range_estimator'"):
        edit_config(layer, "act_quant_config.range_estimatr", RangeEstimators.MSE)
    assert differences(before, everything(layer)) == []


def test_models_without_tiles_are_refused() -> None:
    with pytest.raises(ModuleError):
        edit_config(torch.nn.Linear(2, 2), "forward.out_noise", 0.1)
    bad: Any = 3
    with pytest.raises(ArgumentError):
        edit_config(bad, "forward.out_noise", 0.1)


def test_numbers_of_numpy_are_taken() -> None:
    config = SingleRPUConfig()
    config.update.desired_bl = np.int64(31)
    config.forward.out_noise = np.float32(0.5)
    config.forward.is_perfect = np.bool_(False)
    config.device.dw_min = np.longdouble(0.25)
    tile = config.tile_class(2, 2, config)
    assert type(tile.rpu_config.update.desired_bl) is int
    assert type(tile.rpu_config.device.dw_min) is float
    tile.rpu_config.forward.out_noise = np.float64(0.25)
    assert type(config).from_json(tile.rpu_config.to_json()) == tile.rpu_config


def test_none_is_the_choice_none() -> None:
    config = InferenceRPUConfig()
    config.modifier.type = None  # type: ignore[assignment]
    config.clip.type = None  # type: ignore[assignment]
    config.forward.bound_management = None  # type: ignore[assignment]
    assert config.forward.bound_management is BoundManagementType.NONE
    assert config.clip.type is WeightClipType.NONE
    config.tile_class(2, 2, config)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("value", ARRAYS, ids=["tensor", "array", "scalar", "list"])
def test_arrays_are_no_fields(kind: str, value: Any) -> None:
    """What compares element by element is refused as any other value of a wrong type."""
    layer = AnalogLinear(4, 3, rpu_config=CONFIGS[kind]())
    tile, before = layer.analog_module, everything(layer)
    for field in ("mapping.max_input_size", "forward.out_noise", "mapping.digital_bias"):
        with pytest.raises((ConfigError, TileModuleError), match=field.rpartition(".")[2]):
            edit_config(layer, field, value)
        holder, _, name = field.partition(".")
        with pytest.raises((ConfigError, TileModuleError), match=name):
            setattr(getattr(tile.rpu_config, holder), name, value)
        config = CONFIGS[kind]()
        setattr(getattr(config, holder), name, value)
        for replace in (tile.replace_with, layer.replace_rpu_config):
            with pytest.raises(ConfigError, match=name):
                replace(config)
    assert differences(before, everything(layer)) == []


@pytest.mark.parametrize("device", [SoftBoundsDevice(), GoldenDevice()], ids=["core", "python"])
@pytest.mark.parametrize("pulses", [True, False])
def test_devices_neither_come_nor_go(device: Any, pulses: bool) -> None:
    """Exact updates know no devices, whose parameters are drawn when a tile is built."""
    config = SingleRPUConfig(device=device)
    none, other = PulseType.NONE, PulseType.STOCHASTIC
    config.update.pulse_type = other if pulses else none
    layer = AnalogLinear(4, 3, rpu_config=config)
    update, before = layer.analog_module.rpu_config.update, everything(layer)
    with pytest.raises(TileModuleError, match=r"update\.pulse_type.*build a new tile"):
        update.pulse_type = none if pulses else other
    with pytest.raises(TileModuleError, match=r"update\.pulse_type"):
        edit_config(layer, "update.pulse_type", none if pulses else other)
    assert differences(before, everything(layer)) == []
    if pulses:
        update.pulse_type = PulseType.NONE_WITH_DEVICE
    layer.load_state_dict(layer.state_dict())


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("field", ["forward.out_bound", "forward.max_bm_factor"])
def test_huge_integers_are_refused(kind: str, field: str) -> None:
    layer = AnalogLinear(4, 3, rpu_config=CONFIGS[kind]())
    before = everything(layer)
    for value in (10**400, -(10**400), 10**5000):
        with pytest.raises(ConfigError, match=field):
            edit_config(layer, field, value)
    assert differences(before, everything(layer)) == []


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_cannot_be_copied_is_refused(kind: str) -> None:
    layer = AnalogLinear(4, 3, rpu_config=CONFIGS[kind]())
    before = everything(layer)
    for value in (threading.Lock(), (i for i in range(3))):
        with pytest.raises(ConfigError, match=r"forward\.out_noise.*cannot be copied"):
            edit_config(layer, "forward.out_noise", value)
    assert differences(before, everything(layer)) == []
