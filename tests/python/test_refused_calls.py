"""One rule for all public methods: a call that raises has changed nothing, and says why.

Every method of every tile and layer is called with absurd values for each of its arguments. What
it raises must be an exception of the package, and all state must be as before, bit for bit.
"""

import copy
import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

import pytest
import torch
from torch import nn

from fuzz.methods import QUESTIONS, arguments_of, public_methods
from fuzz.values import absurd
from mho.exceptions import AihwkitException, ArgumentError, InputError, TileModuleError
from mho.inference.noise.pcm import PCMLikeNoiseModel
from mho.nn import AnalogLinear, AnalogLinearMapped, AnalogSequential
from mho.simulator.configs import (
    ConstantStepDevice,
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.enums import NoiseManagementType
from mho.simulator.parameters.inference import WeightClipParameter, WeightRemapParameter
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.tiles import (
    AnalogTile,
    CustomTile,
    FloatingPointTile,
    InferenceTile,
    TorchInferenceTile,
)
from mho.simulator.tiles.array import TileModuleArray
from mho.simulator.tiles.custom import CustomRPUConfig
from mho.simulator.tiles.periphery import TileWithPeriphery
from unchanged import differences, everything

OUT, IN = 3, 4


def rich() -> Any:
    """Pulsed tile with everything that can be switched on."""
    device = SoftBoundsDevice(write_noise_std=0.1, lifetime=10.0, diffusion=0.01, count_pulses=True)
    device.drift.nu = 0.1
    config = SingleRPUConfig(device=device)
    config.mapping.weight_scaling_omega = 0.5
    config.mapping.weight_scaling_columnwise = True
    config.mapping.learn_out_scaling = True
    config.pre_post.input_range.enable = True
    config.forward.out_noise_std = 0.2
    config.forward.noise_management = NoiseManagementType.AVERAGE_ABS_MAX
    return config


def ranged(cls: type[Any]) -> Any:
    """Inference with scales and an input range."""
    config = cls()
    config.mapping.weight_scaling_omega = 0.8
    config.pre_post.input_range.enable = True
    return config


CONFIGS: dict[str, Callable[[], Any]] = {
    "pulsed": lambda: SingleRPUConfig(device=ConstantStepDevice()),
    "rich pulsed": rich,
    "floating point": FloatingPointRPUConfig,
    "inference": lambda: ranged(InferenceRPUConfig),
    "torch": lambda: ranged(TorchInferenceRPUConfig),
    "custom": CustomRPUConfig,
}

VALID: dict[str, Callable[[], Any]] = {
    "x_input": lambda: torch.randn(2, IN),
    "d_input": lambda: torch.randn(2, OUT),
    "x_output": lambda: torch.randn(2, OUT),
    "d_output": lambda: torch.randn(2, IN),
    "readout_tensor": lambda: torch.eye(IN),
    "weight": lambda: 0.1 * torch.randn(OUT, IN),
    "combined_weights": lambda: 0.1 * torch.randn(OUT, IN),
    "values": lambda: torch.randn(2, OUT),
    "value": lambda: 1.5,
    "alpha": lambda: 1.5,
    "scales": lambda: 1.5,
    "mapping_scales": lambda: 1.5,
    "dim": lambda: -1,
    "x_dim": lambda: -1,
    "d_dim": lambda: -1,
    "ndim": lambda: 2,
    "learning_rate": lambda: 0.1,
    "verbose": lambda: 1,
    "index": lambda: 0,
    "backend": lambda: "cpu",
    "load_rpu_config": lambda: True,
    "param_name": lambda: "bias",
    "fn": lambda: id,
    "clip": WeightClipParameter,
    "remap": WeightRemapParameter,
    "bmin": lambda: -0.1,
    "bmax": lambda: 0.1,
    "x": lambda: torch.randn(2, IN),
    "split_max_size": lambda: 2,
    "size": lambda: 4,
    "prefix": lambda: "",
    "x_size": lambda: IN,
    # Given by a function of the module.
    "state_dict": lambda: {},
    "ordered_parameters": lambda: {},
    "extra": lambda: {},
    "rpu_config": lambda: None,
    "indices": lambda: torch.zeros(1),
    "image_sizes": lambda: [1],
    "weights_dic": lambda: {},
    "config": lambda: None,
    "params": lambda: torch.empty(0),
}


# torch itself reports names that do not match.
ALSO = {"load_state_dict": (RuntimeError,)}

# What is accepted repeats updates, which takes its time.
LOOPS = {"max_iter", "realistic"}
PROGRAMS = "program_analog_weights"


def has_truth(value: Any) -> bool:
    """Whether a value counts as true or false."""
    try:
        return bool(value) or True
    except (RuntimeError, ValueError):
        return False


def calls(method: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield calls with one absurd argument each."""
    target = method.forward if name == "__call__" else method
    parameters = arguments_of(target)
    for chosen in parameters:
        for value in absurd(OUT, IN):
            given = {
                other: VALID[other]()
                for other, parameter in parameters.items()
                if other != chosen and parameter.default is inspect.Parameter.empty
            }
            if (chosen in LOOPS and has_truth(value)) or (name == PROGRAMS and value is None):
                continue
            few = {"max_iter": 1} if "max_iter" in parameters else {}
            yield chosen, {**few, **given, chosen: value}


def broken_rules(module: nn.Module, obj: Any, name: str) -> list[str]:
    """Call a method of a part of a module in every absurd way; what went wrong."""
    problems = []
    state = copy.deepcopy(module)
    before = everything(module)
    method = obj if name == "__call__" else getattr(obj, name)
    for chosen, arguments in calls(method, name):
        accepted = False
        what = f"{type(obj).__name__}.{name}({chosen}={arguments[chosen]!r:.60})"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                method(**arguments)
            accepted = True
        except (AihwkitException, *ALSO.get(name, ())):
            pass
        except Exception as error:
            if name not in QUESTIONS:
                problems.append(f"{what}: raw {type(error).__name__}: {error!s:.100}")
        changed = differences(before, everything(module))
        if changed and not accepted:
            problems.append(f"{what}: raised and changed {changed}")
        if changed:  # what an accepted call did is undone: every call starts from the same state
            module.load_state_dict(state.state_dict())
            restore(module, state)
            before = everything(module)
    return problems


def restore(module: nn.Module, state: nn.Module) -> None:
    """Undo what a state does not hold."""
    for (_, mine), (_, other) in zip(module.named_modules(), state.named_modules(), strict=True):
        mine.train(other.training)
        if isinstance(mine, TileWithPeriphery):
            mine.analog_ctx.reset()


def built(kind: str) -> AnalogSequential:
    """Model whose second layer is made of several tiles, after some use."""
    config = CONFIGS[kind]()
    small = copy.deepcopy(config)
    small.mapping.max_input_size = small.mapping.max_output_size = 2
    model = AnalogSequential(
        AnalogLinear(IN, OUT, rpu_config=config), AnalogLinearMapped(OUT, OUT, rpu_config=small)
    )
    model(torch.randn(2, IN)).sum().backward()
    for tile in model.analog_tiles():
        tile.analog_ctx.reset()
    return model.eval()


def parts_of(model: AnalogSequential) -> dict[str, tuple[nn.Module, Any]]:
    """What is called: one of each class, and what it belongs to."""
    first, second = cast(Any, model[0]), cast(Any, model[1])
    return {
        "tile": (first.analog_module, first.analog_module),
        "layer": (first, first),
        "array": (second.analog_module, second.analog_module),
        "model": (model, model),
    }


FAST = {("tile", "rich pulsed"), ("tile", "inference"), ("tile", "torch"), ("array", "pulsed")}
CALLED = [
    pytest.param(kind, part, marks=() if (part, kind) in FAST else pytest.mark.slow)
    for kind in CONFIGS
    for part in ("tile", "layer", "array", "model")
]


@pytest.mark.parametrize(("kind", "part"), CALLED)
def test_calls_that_raise_change_nothing(kind: str, part: str) -> None:
    model = built(kind)
    module, obj = parts_of(model)[part]
    problems = []
    for name in public_methods(obj):
        problems += broken_rules(module, obj, name)
    assert problems == []


def test_the_parts_are_what_they_are_called() -> None:
    model = built("inference")
    assert isinstance(parts_of(model)["array"][1], TileModuleArray)


@register_config_class
class Late(PCMLikeNoiseModel):
    """Noise model that fails when time has passed, or on the second tile."""

    fails_at = 0

    def apply_drift_noise_to_conductance(self, *arguments: Any) -> torch.Tensor:
        Late.fails_at -= 1
        if Late.fails_at == 0:
            raise ValueError("t_inference: not for this model")
        return super().apply_drift_noise_to_conductance(*arguments)


@pytest.mark.parametrize("kind", ["inference", "torch"])
@pytest.mark.parametrize("tile", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1,), ()])
def test_a_noise_model_that_fails_has_not_programmed(
    kind: str, tile: int, shape: tuple[int, ...]
) -> None:
    model = built(kind)
    state = model.state_dict()
    # A factor of the drift compensation may be a scalar, as some checkpoints have it.
    names = [name for name in state if name.endswith(".alpha")]
    model.load_state_dict({**state, **{name: state[name].reshape(shape) for name in names}})
    for each in model.analog_tiles():
        each.rpu_config.noise_model = Late()
    before = everything(model)
    Late.fails_at = 1 + 2 * tile  # two devices per weight
    with pytest.raises(ValueError, match="not for this model"):
        model.drift_analog_weights(100.0)
    assert differences(before, everything(model)) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["x_input", "d_input"])
def test_a_refused_update_is_no_call(value: float, name: str) -> None:
    tile = cast(Any, built("pulsed")[0]).analog_module
    before = everything(tile)
    given = {"x_input": torch.ones(2, IN), "d_input": torch.ones(2, OUT)}
    given[name][1, 1] = value
    with pytest.raises(ArgumentError):
        tile.update(**given)
    assert differences(before, everything(tile)) == []


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("omega", [float("nan"), float("inf"), 1e-45])
def test_omegas_without_scales_are_refused(kind: str, omega: float) -> None:
    tile = cast(Any, built(kind)[0]).analog_module
    before = everything(tile)
    weight = torch.full((OUT, IN), 1e3)
    with pytest.raises(ArgumentError, match="weight_scaling_omega"):
        tile.set_weights(weight, torch.ones(OUT), weight_scaling_omega=omega)
    with pytest.raises(ArgumentError, match="weight_scaling_omega"):
        tile.remap_weights(omega if omega != 1e-45 else float("nan"))
    assert differences(before, everything(tile)) == []


def test_huge_starts_of_programming_are_refused_or_stay_finite() -> None:
    tile = cast(Any, built("floating point")[0]).analog_module
    before = everything(tile)
    with pytest.raises(ArgumentError):
        tile.program_weights(w_init=3e38)
    assert differences(before, everything(tile)) == []


NO_FLAGS: list[Any] = [torch.zeros(2, 2), "text", 1.5, [], {}, nn.Linear(2, 2)]


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("method", ["forward", "backward", "update"])
@pytest.mark.parametrize("flag", ["bias", "in_trans", "out_trans"])
def test_raw_tiles_check_their_flags(kind: str, method: str, flag: str) -> None:
    tile = cast(Any, built(kind)[0]).analog_module
    before = everything(tile)
    rows = {"forward": (IN,), "backward": (OUT,), "update": (IN, OUT)}[method]
    for value in NO_FLAGS:
        with pytest.raises(AihwkitException, match=r"in_trans|bias|out_trans|update"):
            getattr(tile.tile, method)(*(torch.ones(2, size) for size in rows), **{flag: value})
    assert differences(before, everything(tile)) == []
    if method != "update":  # torch tiles have none
        getattr(tile.tile, method)(*(torch.ones(2, size) for size in rows), **{flag: None})


@pytest.mark.parametrize("kind", CONFIGS)
def test_raw_tiles_check_other_arguments(kind: str) -> None:
    tile = cast(Any, built(kind)[0]).analog_module
    raw, before = tile.tile, everything(tile)
    for value in NO_FLAGS:
        with pytest.raises(ArgumentError, match="as_ref"):
            raw.get_weights(as_ref=value)
        if isinstance(value, torch.Tensor):
            continue
        with pytest.raises(AihwkitException):
            raw.set_hidden_parameters(value)
        with pytest.raises(AihwkitException, match="clip"):
            raw.clip_weights(value)
        with pytest.raises(AihwkitException, match="remap"):
            raw.remap_weights(value, torch.ones(OUT))
    for scales in (
        1.0,
        torch.full((OUT,), math.inf),
        torch.full((OUT,), math.nan),
        torch.ones(OUT + 1),
    ):
        with pytest.raises(AihwkitException, match=r"scales|remap"):
            raw.remap_weights(WeightRemapParameter(), scales)
    assert differences(before, everything(tile)) == []


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("prefix", [None, 1, 1.5, [], b"a"])
def test_prefixes_of_states_are_text(kind: str, prefix: Any) -> None:
    tile = cast(Any, built(kind)[0]).analog_module
    with pytest.raises(ArgumentError, match="prefix"):
        tile.check_state_dict(tile.state_dict(), prefix)


@pytest.mark.parametrize("kind", ["pulsed", "inference", "torch"])
def test_one_learned_scale_does_not_become_many(kind: str) -> None:
    config = CONFIGS[kind]()
    config.mapping.learn_out_scaling = True
    tile = AnalogLinear(IN, OUT, rpu_config=config).analog_module
    before = everything(tile)
    with pytest.raises(ArgumentError, match=r"alpha.*out_scaling_columnwise"):
        tile.set_learned_out_scales(torch.ones(OUT))
    with pytest.raises(ArgumentError, match="alpha"):
        tile.out_scaling_alpha = torch.ones(OUT)
    assert differences(before, everything(tile)) == []
    tile.set_learned_out_scales(0.5)
    assert tile.get_learned_out_scales().tolist() == [0.5]


@pytest.mark.parametrize("view", [[], "text", 3, (2, 2), object(), [None]])
def test_arrays_check_the_view_of_their_outputs(view: Any) -> None:
    array = cast(Any, built("pulsed")[1]).analog_module
    before = everything(array)
    with pytest.raises(InputError, match="tensor_view"):
        array(torch.ones(2, OUT), tensor_view=view)
    assert differences(before, everything(array)) == []
    assert array(torch.ones(2, OUT), tensor_view=(1, -1)).shape == (2, OUT)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("where", ["meta", torch.complex64])
@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
def test_moves_that_a_tile_refuses_move_nothing(kind: str, where: Any) -> None:
    """Not the digital layers before it either."""
    model = AnalogSequential(nn.Linear(IN, IN), AnalogLinear(IN, OUT, rpu_config=CONFIGS[kind]()))
    model(torch.ones(1, IN)).sum().backward()
    before = everything(model)
    for module in (model, model[1], cast(Any, model[1]).analog_module):
        with pytest.raises(TileModuleError, match=r"cannot be (moved|cast) to"):
            module.to(where)
        assert differences(before, everything(model)) == []
    assert model.double()(torch.ones(1, IN).double()).dtype is torch.float64


CONSTRUCTORS: list[Any] = [
    AnalogTile, FloatingPointTile, InferenceTile, TorchInferenceTile, CustomTile, TileModuleArray,
]  # fmt: skip


@pytest.mark.parametrize("cls", CONSTRUCTORS)
def test_constructors_refuse_absurd_arguments(cls: Any) -> None:
    needed = {"out_size": OUT, "in_size": IN}
    if cls is TileModuleArray:
        needed["rpu_config"] = cast(Any, SingleRPUConfig())
    for name in inspect.signature(cls).parameters:
        if name == "kwargs":
            continue
        for value in absurd(OUT, IN):
            with suppress(AihwkitException):
                cls(**{**needed, name: value})


@pytest.mark.parametrize("config", [SingleRPUConfig, InferenceRPUConfig])
@pytest.mark.parametrize(
    "field", ["tile_class", "tile_array_class", "mapping", "forward", "device", "runtime"]
)
def test_layers_refuse_absurd_configurations(config: Any, field: str) -> None:
    for value in absurd(OUT, IN):
        if value is int:  # a class: what it builds is up to it
            continue
        chosen = config()
        setattr(chosen, field, value)
        with suppress(AihwkitException):
            AnalogLinear(IN, OUT, rpu_config=chosen)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64])
def test_a_range_follows_floating_point_numbers_only(dtype: torch.dtype) -> None:
    config = InferenceRPUConfig()
    config.pre_post.input_range.enable = True
    tile: Any = AnalogLinear(IN, OUT, rpu_config=config).analog_module
    before = everything(tile)
    with pytest.raises(InputError, match="values: expected floating-point"):
        tile.apply_input_range(torch.ones(6, IN).to(dtype), update_from_data=True)
    assert differences(before, everything(tile)) == []
