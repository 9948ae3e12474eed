"""Public functions and classes that are no modules: absurd arguments, documented errors.

Everything that `public_names.json` promises is found by introspection. Each argument is replaced by
each absurd value, the others have a value that fits. What is raised must be an exception of the
package; objects that are called must be as before. `test_refused_calls.py` does the same to tiles
and layers.
"""

import copy
import dataclasses
import functools
import importlib
import inspect
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from enum import Enum
from io import StringIO
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mho
import mho.nn
from fuzz.values import absurd
from mho.exceptions import AihwkitException
from mho.inference import (
    CustomDriftPCMLikeNoiseModel,
    CustomPairConductanceConverter,
    DualPairConductanceConverter,
    GlobalDriftCompensation,
    HermesNoiseModel,
    NPairConductanceConverter,
    PCMLikeNoiseModel,
    ReRamCMONoiseModel,
    ReRamWan2022NoiseModel,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
    StateIndependentNoiseModel,
)
from mho.inference.calibration import InputRangeCalibrationType
from mho.inference.compensation.drift import (
    GlobalDriftCompensationWithExactReference,
    PerColumnDriftCompensation,
)
from mho.inference.converter.wpo.programme import Cube
from mho.nn import AnalogLinear, AnalogLSTMCell, AnalogSequential, analog_map
from mho.optim import AnalogAdam, AnalogOptimizer, AnalogSGD
from mho.optim.context import AnalogContext
from mho.simulator.configs import (
    ConstantStepDevice,
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    IOParameters,
    RPUDataType,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
    UpdateParameters,
)
from mho.simulator.digital_low_precision.quantizers import SymmetricUniformQuantizer
from mho.simulator.parameters.base import ConfigBase
from mho.simulator.parameters.inference import (
    WeightClipParameter,
    WeightModifierParameter,
    WeightRemapParameter,
)
from mho.simulator.parameters.quantization import (
    ActivationQuantConfig,
    QuantizationConfig,
    QuantizationMap,
    WeightQuantConfig,
)
from mho.simulator.tiles import InferenceTile
from mho.simulator.tiles.custom import CustomRPUConfig
from mho.utils.export import fusion_export
from unchanged import everything

OUT, IN = 3, 4
DATA = Path(__file__).parent / "data"
NAMES: dict[str, list[str]] = json.loads((DATA / "public_names.json").read_text())
PENDING: list[str] = json.loads((DATA / "pending_names.json").read_text())["modules"]
OWN = ["mho", "mho.nn", "mho.inference", "mho.optim", "mho.compat"]

DRIFT = {"g_lst": [0.0, 25.0], "nu_mean_lst": [0.1, 0.1], "nu_std_lst": [0.0, 0.0]}
CUBE = Cube((1.0,), 0.0, 25.0, True, 6, False, 0.1, 5.0, 0.0)
PAIR = CustomPairConductanceConverter([1.0], [[0.0, 25.0], [25.0, 0.0]])


def model(config: Any = InferenceRPUConfig) -> AnalogSequential:
    """Return a model of one layer in evaluation mode."""
    return AnalogSequential(AnalogLinear(IN, OUT, rpu_config=config())).eval()


def pulsed_tile() -> Any:
    """Return a tile without bias that takes pulses."""
    config = SingleRPUConfig(device=ConstantStepDevice())
    return config.tile_class(OUT, IN, config)


def pyplot() -> Any:
    """Return matplotlib, drawing nothing on a screen."""
    importlib.import_module("matplotlib").use("Agg")
    return importlib.import_module("matplotlib.pyplot")


# A value that fits, by the name of the argument.
@functools.cache
def evaluation() -> Any:
    """Return a result that comparisons can read."""
    data = [(torch.rand(2, IN), torch.zeros(2, dtype=torch.long))]
    return mho.evaluate(model(), data, n_programmings=2, progress=False)


VALID: dict[str, Callable[[], Any]] = {
    "model": model,
    "averaged": model,
    "analog_model": model,
    "module": lambda: nn.Sequential(nn.Linear(IN, OUT)),
    "digital": lambda: nn.Linear,
    "embed_dim": lambda: IN,
    "num_heads": lambda: 2,
    "module_name": lambda: "name",
    "worker": lambda: 0,
    "seed": lambda: 1,
    "field": lambda: "forward.out_noise",
    "value": lambda: 0.1,
    "backend": lambda: "cpu",
    "threads": lambda: 1,
    "algorithm": lambda: "sgd",
    "device": ConstantStepDevice,
    "config": InferenceRPUConfig,
    "rpu_config": lambda: SingleRPUConfig(device=ConstantStepDevice()),
    "params": IOParameters,
    "data_type": lambda: RPUDataType.FLOAT,
    "analog_tile": pulsed_tile,
    "tile": lambda: InferenceTile(OUT, IN),
    "direction": lambda: np.ones(6),
    "w_nodes": lambda: np.linspace(-0.3, 0.3, 5),
    "w_trace": lambda: np.random.default_rng(1).normal(size=(6, OUT, IN)),
    "up_direction": lambda: True,
    "n_traces": lambda: 2,
    "axes": lambda: pyplot().figure().gca(),
    "is_mapped": lambda: True,
    "inputs": lambda: torch.rand(2, IN),
    "out_size": lambda: OUT,
    "in_size": lambda: IN,
    "x_size": lambda: IN,
    "d_size": lambda: OUT,
    "in_features": lambda: IN,
    "in_channels": lambda: IN,
    "out_channels": lambda: OUT,
    "kernel_size": lambda: 2,
    "input_size": lambda: IN,
    "hidden_size": lambda: OUT,
    "bias": lambda: True,
    "cell": lambda: AnalogLSTMCell,
    "out_features": lambda: OUT,
    "entries": list,
    "data": lambda: torch.zeros(OUT, IN),
    "f_lst": lambda: [1.0, 1.0],
    "g_lst": lambda: [[0.0, 25.0], [25.0, 0.0]],
    "custom_drift_model": lambda: dict(DRIFT),
    "weights": lambda: 0.1 * torch.randn(OUT, IN),
    "weight": lambda: 0.1 * torch.randn(OUT, IN),
    "conductances": lambda: [torch.rand(OUT, IN), torch.rand(OUT, IN)],
    "g_target": lambda: torch.rand(OUT, IN),
    "g_prog": lambda: torch.rand(OUT, IN),
    "drift_noise_param": lambda: torch.rand(OUT, IN),
    "drift_noise_parameters": lambda: [None, None],
    "t_inference": lambda: 100.0,
    "out_tensor": lambda: torch.randn(2, OUT),
    "forward_output": lambda: torch.randn(2, OUT),
    "ref_value": lambda: torch.tensor(1.0),
    "x_input": lambda: torch.randn(2, IN),
    "d_input": lambda: torch.randn(2, OUT),
    "values": lambda: torch.zeros(1),
    "learning_rate": lambda: 0.1,
    "alpha": lambda: 1.5,
    "bmin": lambda: -0.1,
    "bmax": lambda: 0.1,
    "clip": WeightClipParameter,
    "remap": WeightRemapParameter,
    "inp_weight": lambda: torch.zeros(OUT, IN),
    "modifier": WeightModifierParameter,
    "batch_size": lambda: 2,
    "weight_remap_params": WeightRemapParameter,
    "scales": lambda: torch.ones(OUT),
    "hook": lambda: len,
    "extra": dict,
    "text": lambda: SingleRPUConfig().to_json(),
    "tile_class_name": lambda: "AnalogTile",
    "max_norm": lambda: 1.0,
    "param_group": lambda: {"params": [nn.Parameter(torch.zeros(1))]},
    "scaler": lambda: torch.amp.GradScaler("cpu"),
    "state_dict": lambda: AnalogSGD(model().parameters(), lr=0.1).state_dict(),
    "optimizer_cls": lambda: torch.optim.Adam,
    "calibration_type": lambda: InputRangeCalibrationType.MAX,
    "dataloader": lambda: [torch.rand(2, IN)],
    "loader": lambda: [torch.rand(2, IN)],
    "conductance_data": lambda: fusion_export(model())[0],
    "g_converter_baseline": SinglePairConductanceConverter,
    "d": lambda: CUBE,
    "x": lambda: torch.full((CUBE.size,), 0.5),
    "x_g": lambda: torch.rand(6),
    "len_f_lst": lambda: 2,
    "symmetric": lambda: True,
    "span_of_each_pair": lambda: [1.0, 2.0],
    "ind": lambda: 0,
    "shape": lambda: [2, 2],
    "t_steps": lambda: [1.0],
    "test_weights": lambda: torch.randn(IN, OUT),
    "max_abs_weight_unitless": lambda: 1.0,
    "loss_baseline": lambda: 1.0,
    "loss_margin": lambda: 0.1,
    "matrix": lambda: 0.1 * torch.randn(OUT, IN),
    "step": lambda: lambda: None,
    "quantization_map": QuantizationMap,
    "quant_config": QuantizationConfig,
    "weight_quant_config": WeightQuantConfig,
    "act_quant_config": ActivationQuantConfig,
    "weight_quant": lambda: True,
    "act_quant": lambda: True,
    "tensor": lambda: torch.zeros(2),
    "org_model": lambda: nn.BatchNorm2d(2),
    "n_bits": lambda: 4,
    "cls": lambda: SymmetricUniformQuantizer,
    "d_tensor": lambda: torch.zeros(2, OUT, 1),
    "x_tensor": lambda: torch.zeros(2, IN, 1),
    "rules": dict,
    "analog_map": lambda: analog_map(model()),
    "evaluations": lambda: dict.fromkeys("ab", evaluation()),
}
# Arguments with a default that makes a call slow.
QUICK = {"n_steps": 20, "n_loops": 1, "n_pulses": 20, "max_iter": 1}

# They get names of operations from torch, or what tiles and optimizers have checked.
INTERNAL = {
    "raise_if_readonly_write_target", "raise_readonly_error", "is_inplace_operation",
    "be_stepped_by", "hold_gathered",
    "store", "scale_errors", "connect", "create", "follow", "check", "plan",
    "check_entries", "product", "run_forward", "run_backward", "run_update", "run_modifier",
    "to_wire",
    "enter_range", "check_edit", "check_precision",
    "compatible_with", "loss_fxn", "stop_criterion",
}  # fmt: skip
# They read and write files, and have tests of their own with broken ones.
FILES = {
    "load_aihwkit_optimizer_state", "load_aihwkit_state_dict", "load_analog", "load_checkpoint",
    "read_rpu_configs", "save_analog",
}  # fmt: skip
# Abstract, made by what stands above, or those of torch with own names.
NO_CONSTRUCTORS = {
    "TileModule", "TileWithPeriphery", "AnalogFunction", "InputRangeForward", "UniformQuantize",
    "AnalogTile", "FloatingPointTile", "ContextTile", "Pair", "Backend", "ReportEntry",
    "ImportReport",
    "ThreadTeam", "TransferTrace", "ConvertedGRU", "ConvertedGRUCell", "ConvertedLSTM",
    "ConvertedLSTMCell", "ConvertedRNN", "ConvertedRNNCell", "ModularRNN", "LSTMState",
    "QuantConv2d", "QuantEmbedding", "QuantLayerNorm", "QuantLinear",
}  # fmt: skip
# What such an argument does when it is called is up to it.
CALLED = {
    "device", "io_parameters", "up_parameters", "specific_rpu_config_fun", "tile_module_class",
    "closure", "fn", "step", "data", "metric",
}  # fmt: skip


def public(kind: Callable[[Any], bool]) -> dict[str, Any]:
    """Return the promised objects of a kind, each once, by the last part of its name."""
    found: dict[int, tuple[str, Any]] = {}
    for module in [*(name for name in NAMES if name not in PENDING), *OWN]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # a former place of others
            there = importlib.import_module(module)
        for name in sorted({*NAMES.get(module, []), *getattr(there, "__all__", [])}):
            value = getattr(there, name, None)
            if kind(value):
                found.setdefault(id(value), (name, value))
    return dict(sorted(found.values()))


def is_plain_class(value: Any) -> bool:
    """Return whether something is a class whose constructor checks its arguments."""
    return (
        inspect.isclass(value)
        and not issubclass(value, (BaseException, Enum, ConfigBase, torch.optim.Optimizer))
        and value.__name__ not in NO_CONSTRUCTORS
    )


FUNCTIONS = public(
    lambda value: isinstance(value, FunctionType) and value.__name__ not in INTERNAL | FILES
)
CLASSES = public(is_plain_class)


def raw_problems(
    label: str,
    function: Callable[..., Any],
    around: Callable[[], Any] = lambda: None,
    allowed: tuple[type[BaseException], ...] = (),
) -> list[str]:
    """Call a function with each absurd value of each argument; what was no documented error.

    Args:
        label: Name of the function in messages.
        function: Function.
        around: Called before and after each call that raises; the results must be equal.
        allowed: What it may raise besides exceptions of the package.
    """
    problems = []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in variadic and name not in ("self", "path")
    }
    for chosen in parameters:
        for value in absurd(OUT, IN):
            if chosen in CALLED and callable(value):
                continue
            given = {name: QUICK[name] for name in parameters if name in QUICK}
            for name, parameter in parameters.items():
                if parameter.default is inspect.Parameter.empty and name != chosen:
                    given[name] = VALID[name]()  # a name without one is to be added there
            before = around()
            try:
                with warnings.catch_warnings(), redirect_stdout(StringIO()):
                    warnings.simplefilter("ignore")
                    function(**{**given, chosen: value})
                continue
            except (AihwkitException, *allowed):
                pass
            except Exception as error:
                problems.append(
                    f"{label}({chosen}={value!r:.50}): raw {type(error).__name__}: {error!s:.100}"
                )
            if around() != before:
                problems.append(f"{label}({chosen}={value!r:.50}): raised and changed something")
    return problems


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Undo what accepted calls do to the process."""
    threads, backend = mho.get_num_threads(), mho.get_backend()
    yield
    mho.set_num_threads(threads)
    mho.set_backend(backend)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    function = FUNCTIONS[name]
    if function.__module__.startswith("mho.utils.visualization"):
        pytest.importorskip("matplotlib")
        plt = pyplot()
        monkeypatch.setattr("mho.utils.visualization_web.DEVICES", ())
        monkeypatch.setattr("mho.utils.visualization.devices.MIN_PULSES", 10)
        monkeypatch.setattr("mho.utils.visualization.devices.estimate_n_steps", lambda _: 20)
        called = lambda **given: (function(**given), plt.close("all"))  # noqa: E731
        called.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        assert raw_problems(name, called) == []
    elif name == "same_noise":

        def inside(model: Any, seed: Any) -> None:
            with function(model, seed):
                pass

        assert raw_problems(name, inside) == []
    elif name == "calibrate":

        def block(**given: Any) -> None:
            with function(**given):
                given["model"](torch.rand(2, IN))

        block.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        assert raw_problems(name, block) == []
    elif name.startswith("fusion_"):
        monkeypatch.chdir(tmp_path)
        params = fusion_export(model())[1]
        monkeypatch.setitem(VALID, "params", lambda: params)
        assert raw_problems(name, function, allowed=(OSError, RuntimeError)) == []
    else:
        assert raw_problems(name, function) == []


@pytest.mark.parametrize("name", CLASSES)
def test_constructors(name: str) -> None:
    assert raw_problems(name, CLASSES[name]) == []


OBJECTS: dict[str, Callable[[], Any]] = {
    "PCMLikeNoiseModel": PCMLikeNoiseModel,
    "CustomDriftPCMLikeNoiseModel": lambda: CustomDriftPCMLikeNoiseModel(DRIFT),
    "HermesNoiseModel": HermesNoiseModel,
    "ReRamWan2022NoiseModel": ReRamWan2022NoiseModel,
    "ReRamCMONoiseModel": ReRamCMONoiseModel,
    "StateIndependentNoiseModel": StateIndependentNoiseModel,
    "SinglePairConductanceConverter": SinglePairConductanceConverter,
    "SingleDeviceConductanceConverter": SingleDeviceConductanceConverter,
    "NPairConductanceConverter": lambda: NPairConductanceConverter([1.0, 1.0]),
    "DualPairConductanceConverter": lambda: DualPairConductanceConverter([1.0, 1.0]),
    "CustomPairConductanceConverter": lambda: copy.deepcopy(PAIR),
    "GlobalDriftCompensation": GlobalDriftCompensation,
    "GlobalDriftCompensationWithExactReference": GlobalDriftCompensationWithExactReference,
    "PerColumnDriftCompensation": PerColumnDriftCompensation,
    "SingleRPUConfig": SingleRPUConfig,
    "InferenceRPUConfig": InferenceRPUConfig,
    "TorchInferenceRPUConfig": TorchInferenceRPUConfig,
    "FloatingPointRPUConfig": FloatingPointRPUConfig,
    "CustomRPUConfig": CustomRPUConfig,
    "IOParameters": IOParameters,
    "UpdateParameters": UpdateParameters,
    "ConstantStepDevice": ConstantStepDevice,
}


def own_methods(cls: type) -> list[str]:
    """Return the names of public methods that the package defines."""
    return sorted(
        {
            name
            for base in cls.__mro__
            if base.__module__.startswith("mho.")
            for name, value in vars(base).items()
            if inspect.isfunction(value) and not name.startswith("_") and name not in INTERNAL
        }
    )


@pytest.mark.parametrize("kind", OBJECTS)
def test_methods_of_models_and_configurations(kind: str) -> None:
    made = OBJECTS[kind]()
    problems = []
    for name in own_methods(type(made)):
        # Converters are told by the parameters that they returned themselves.
        VALID["params"] = lambda: {"scale_ratio": torch.tensor(1.0), "f_lst": [1.0]}
        problems += raw_problems(f"{kind}.{name}", getattr(made, name), lambda: repr(made))
    assert problems == []


TILES = [
    SingleRPUConfig, FloatingPointRPUConfig, InferenceRPUConfig, TorchInferenceRPUConfig,
    CustomRPUConfig,
]  # fmt: skip


@pytest.mark.parametrize("config", TILES)
def test_methods_of_raw_tiles(config: Any) -> None:
    tile: Any = AnalogLinear(IN, OUT, bias=False, rpu_config=config()).analog_module
    raw, problems = tile.tile, []
    for name in own_methods(type(raw)):
        problems += raw_problems(
            f"{type(raw).__name__}.{name}",
            getattr(raw, name),
            lambda: everything(tile),
        )
    assert problems == []


@pytest.mark.parametrize("config", [SingleRPUConfig, InferenceRPUConfig])
def test_methods_of_contexts(config: Any) -> None:
    tile: Any = AnalogLinear(IN, OUT, rpu_config=config()).analog_module
    context, problems = tile.analog_ctx, []
    for name in own_methods(AnalogContext):
        problems += raw_problems(name, getattr(context, name), lambda: everything(tile))
    assert problems == []


# Errors of the optimizers of torch about their own options stay those of torch.
OF_TORCH = (TypeError, ValueError, KeyError, IndexError, RuntimeError)


@pytest.mark.parametrize("config", [SingleRPUConfig, InferenceRPUConfig])
def test_methods_of_optimizers(config: Any) -> None:
    analog = model(config)
    problems = []
    for name in own_methods(AnalogSGD):
        optimizer = AnalogSGD(analog.parameters(), lr=0.1)
        allowed = OF_TORCH if name in ("add_param_group", "zero_grad") else ()

        def state(optimizer: Any = optimizer) -> Any:
            return everything(analog), [dict(group, params=0) for group in optimizer.param_groups]

        problems += raw_problems(name, getattr(optimizer, name), state, allowed)
    assert problems == []


@pytest.mark.parametrize("analog", [AnalogSGD, AnalogAdam])
def test_options_of_optimizers_are_refused_as_by_torch(analog: Any) -> None:
    plain = {AnalogSGD: torch.optim.SGD, AnalogAdam: torch.optim.Adam}[analog]
    for option in inspect.signature(plain).parameters:
        for value in absurd(OUT, IN):
            raised = []
            for cls in (plain, analog):
                given = {"params": [nn.Parameter(torch.zeros(1))], option: value}
                try:
                    cls(**given)
                    raised.append(None)
                except AihwkitException:
                    raised.append(AihwkitException)
                except Exception as error:
                    raised.append(type(error))
            torch_raised, own = raised
            assert own is torch_raised or own is AihwkitException, f"{option}={value!r:.50}"


def test_optimizer_classes_are_checked() -> None:
    for value in absurd(OUT, IN):
        with pytest.raises(AihwkitException):
            AnalogOptimizer(value, model().parameters(), lr=0.1)


def placed() -> Iterator[tuple[str, Any]]:
    """Yield every object in configurations that tiles can be built from."""
    for config in TILES:
        yield config.__name__, (config, ())
        for field in dataclasses.fields(config):
            if dataclasses.is_dataclass(getattr(config(), field.name)):
                yield f"{config.__name__}.{field.name}", (config, (field.name,))


PLACED = dict(placed())


@pytest.mark.parametrize("where", PLACED)
def test_fields_of_configurations(where: str) -> None:
    make, path = PLACED[where]
    problems = []
    names = [f.name for f in dataclasses.fields(getattr(make(), path[0]) if path else make())]
    for name in names:
        for value in absurd(OUT, IN):
            if isinstance(value, type) or callable(value):  # what a class builds is up to it
                continue
            config = make()
            setattr(getattr(config, path[0]) if path else config, name, value)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    AnalogLinear(IN, OUT, rpu_config=config)
            except AihwkitException:
                continue
            except Exception as error:
                problems.append(
                    f"{where}.{name}={value!r:.50}: raw {type(error).__name__}: {error!s:.80}"
                )
    assert problems == []


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: PCMLikeNoiseModel(gmax=10.0), "PCMLikeNoiseModel: .*'gmax'; did you mean 'g_max'"),  # type: ignore[call-arg]
        (lambda: mho.same_noise(seeds=1), "same_noise: .*'model'$"),
        (lambda: mho.inference.drift_analog_weights(), "drift_analog_weights: .*'model'$"),
    ],
)
def test_calls_that_python_refuses_name_the_function(call: Any, match: str) -> None:
    with pytest.raises(TypeError, match=match):
        call()
