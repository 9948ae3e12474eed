"""What can be called on a subject: every public method of its objects, and what users do beside."""

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import mho
from fuzz.damage import damaged
from fuzz.dice import Dice
from fuzz.methods import QUESTIONS, arguments_of, public_methods
from fuzz.subjects import Subject, another, edited, nested
from fuzz.values import Place, bad, good
from mho.exceptions import AihwkitException
from mho.nn.conversion import convert_to_digital
from mho.optim.analog_optimizer import AnalogOptimizerMixin
from unchanged import bits

Result = tuple[str, Callable[[], Any]]
"""What a call is, in words, and the call."""


@dataclass(frozen=True)
class Call:
    """Something that can be called."""

    name: str
    prepare: Callable[[Subject, Dice, bool], Result]
    """Draws the arguments, absurd ones if the last argument says so."""

    also: tuple[type[BaseException], ...] = ()
    """Errors beside those of the package that it is documented to raise."""

    reads: bool = False
    """Whether it must leave everything as it is, when it is accepted too."""

    drops_trace: bool = False
    """Whether what was recorded is dropped when it raises."""

    absurd: bool = True
    """Whether there are absurd arguments."""

    weight: float = 1.0
    """How often it is chosen."""


def calls_of(subject: Subject) -> list[Call]:
    """Return everything that can be called on a subject, in an order that is always the same."""
    found = list(_used(subject))
    found += [_method(role, name) for role, name in _methods(subject)]
    return found


# What the rooms of the package say to each other: they hand on what was checked.
_RAW = (
    "forward", "backward", "update", "get_weights", "set_weights", "set_weights_uniform_random",
    "clip_weights", "remap_weights", "decay_weights", "diffuse_weights", "reset_columns",
    "drift_weights", "get_hidden_parameters", "get_hidden_parameter_names",
    "set_hidden_parameters", "get_forward_parameters", "set_forward_parameters",
    "get_backward_parameters", "set_backward_parameters", "get_learning_rate",
    "set_learning_rate", "get_pulse_counters", "dump_extra", "load_extra", "get_x_size",
    "get_d_size", "get_brief_info", "get_info", "get_meta_parameters",
)  # fmt: skip
# Closed loops of ten thousand products and updates, which take a second; `program_weights` with
# few iterations is among the methods of tiles.
_LONG = ("program_analog_weights",)
_READING = ("get_", "is_", "check_", "dump_", "named_", "analog_", "compatible_", "can_", "extra_")


def objects(subject: Subject, role: str) -> list[Any]:
    """Return the objects of a role."""
    if role == "tile":
        return subject.tiles()
    if role == "raw":
        return [tile.tile for tile in subject.tiles()]
    if role == "layer":
        return subject.layers()
    return subject.arrays() if role == "array" else [subject.module]


def _methods(subject: Subject) -> Iterator[tuple[str, str]]:
    roles = ["tile", "raw", "layer", "array"] + ["model"] * (subject.part in ("model", "wrapped"))
    inferring = subject.kind in ("inference", "torch")
    for role in roles:
        for obj in objects(subject, role)[:1]:
            names = public_methods(obj) if role != "raw" else [n for n in _RAW if hasattr(obj, n)]
            yield from ((role, name) for name in names if inferring or name not in _LONG)


def _method(role: str, name: str) -> Call:
    # torch itself reports names that do not match; these answer about any argument.
    also: tuple[type[BaseException], ...] = (RuntimeError,) if name == "load_state_dict" else ()
    if name in QUESTIONS:
        also = (Exception,)

    def prepare(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
        obj = dice.one(objects(subject, role))
        place = Place(subject, obj, _tile_of(subject, obj, dice), dice)
        called = obj if name == "__call__" else getattr(obj, name)
        given = _arguments(place, obj.forward if name == "__call__" else called, name, is_absurd)
        shown = ", ".join(f"{n}={_shown(v)}" for n, v in given.items())
        return f"{type(obj).__name__}.{name}({shown})", lambda: called(**given)

    return Call(f"{role}.{name}", prepare, also, _only_reads(name))


def _only_reads(name: str) -> bool:
    # Reading realistically counts calls, and a tile that answers by products is none that reads.
    return name.startswith(_READING) and name != "get_weights"


def _tile_of(subject: Subject, obj: Any, dice: Dice) -> Any:
    tiles = [t for t in subject.tiles() if t is obj or t.tile is obj]
    if not tiles and isinstance(obj, nn.Module):
        tiles = [m for m in obj.modules() if hasattr(m, "analog_ctx")]
    return dice.one(tiles)


def _arguments(place: Place, method: Any, name: str, is_absurd: bool) -> dict[str, Any]:
    parameters = arguments_of(method)
    given = {}
    for each, parameter in parameters.items():
        needed = parameter.default is parameter.empty or each in ("max_iter", "dic")
        if needed or place.dice.chance(0.4):
            given[each] = good(place, name, each)
    if given.get("realistic") and place.subject.kind not in ("inference", "torch"):
        del given["realistic"]  # as `_LONG`
    if is_absurd and parameters:
        chosen = place.dice.one(list(parameters))
        value = bad(place)
        if chosen != "realistic":
            given[chosen] = value
    return given


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        shape = "nested" if value.is_nested else list(value.shape)
        return f"{str(value.dtype)[6:]}{shape}"
    return f"{value!r:.60}"


def _used(subject: Subject) -> Iterator[Call]:
    """Yield what users do with a model beside calling its methods."""
    yield Call("pass", _pass, weight=12, absurd=False)
    yield Call("train or eval", _mode, absurd=False, weight=2)
    yield Call("requires_grad", _requires_grad, absurd=False)
    # torch itself refuses precisions of integers, and only that.
    yield Call("cast", _cast, (TypeError,), absurd=False)
    yield Call("keep", _keep, absurd=False, reads=True, weight=2)
    yield Call("load", _load, (RuntimeError,), weight=4)
    yield Call("copy", _copy, absurd=False, weight=2)
    yield Call("edit_config", _edit_config, weight=4)
    yield Call("assign field", _assign_field, weight=3)
    yield Call("assign config", _assign_config)
    yield Call("same_noise", _same_noise, weight=2)
    yield Call("fork_noise", _fork_noise)
    yield Call("manual_seed", _manual_seed, absurd=False)
    yield Call("set_num_threads", _set_num_threads)
    yield Call("assign tensor", _assign_tensor)
    # A placeholder refuses to be read with the error that torch raises for data that is not there.
    yield Call("context", _context, (RuntimeError,), weight=2)
    yield Call("look", _look, absurd=False, reads=True)
    if subject.layers():
        # torch's operations raise their own errors for what does not fit into a tensor.
        torchs = (RuntimeError, IndexError, OverflowError)
        yield Call("layer.weight", _weight_view, torchs, weight=3)
    if subject.optimizer is not None:
        yield Call("step", _step, absurd=False, drops_trace=True, weight=10)
        yield Call("closure", _closure, absurd=False, drops_trace=True)
        yield Call("scaled step", _scaled_step, absurd=False, drops_trace=True)
        yield Call("zero_grad", _zero_grad, absurd=False, weight=2)
        yield Call("load optimizer", _load_optimizer, absurd=False)
        if isinstance(subject.optimizer, AnalogOptimizerMixin):
            yield Call("optimizer", _optimizer, weight=4)
            if subject.kind not in ("inference", "torch"):
                # There torch makes the step, which takes NaN into the weights as torch does.
                yield Call("poisoned pass", _poisoned, absurd=False)


def _inputs(subject: Subject, dice: Dice) -> Tensor:
    shape = dice.choice([(), (1,), (2,), (3,), (2, 2), (0,), (dice.randint(1, 60),)])
    size = (subject.in_size, *shape) if subject.features_first() else (*shape, subject.in_size)
    scale = dice.choice([0.0, 0.01, 0.5, 1.0, 1.0, 4.0])
    return dice.normal(*size, scale=scale).to(subject.dtype())


def _pass(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    """Forward and backward, plain, without autograd, or recomputed."""
    x, module = _inputs(subject, dice), subject.module
    way = dice.choice(["plain", "plain", "plain", "no_grad", "checkpoint"])
    seed, wants = dice.seed_of(), dice.chance(0.7)

    def run() -> Any:
        given = x.clone().requires_grad_(wants and way != "no_grad")
        if way == "no_grad":
            with torch.no_grad():
                return module(given)
        y = checkpoint(module, given, use_reentrant=False) if way == "checkpoint" else module(given)
        if y.requires_grad:
            y.backward(Dice(seed).normal(*y.shape, scale=0.3).to(y.dtype))
        return y, given.grad

    return f"pass({way}, {_shown(x)})", run


def _poisoned(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    """Errors that are not finite; the step that follows must refuse them."""
    x, value = _inputs(subject, dice), dice.choice([float("nan"), float("inf")])

    def run() -> Any:
        y = subject.module(x)
        if y.requires_grad:
            y.backward(torch.full_like(y, value))

    return f"poisoned pass({value})", run


def _step(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    return "optimizer.step()", lambda: subject.optimizer.step()


def _closure(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    """A step that evaluates the model itself."""
    x, module, optimizer = _inputs(subject, dice), subject.module, subject.optimizer

    def loss() -> Tensor:
        optimizer.zero_grad()
        value: Tensor = module(x).float().square().sum()
        if value.requires_grad:
            value.backward()
        return value.detach()

    return f"optimizer.step(closure of {_shown(x)})", lambda: optimizer.step(loss)


def _scaled_step(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    """A step with a scaled loss, whose gradients may overflow."""
    x, module, optimizer = _inputs(subject, dice), subject.module, subject.optimizer
    scaler = torch.amp.GradScaler("cpu", init_scale=dice.choice([2.0, 1024.0, 1e38]))
    unscales = dice.chance(0.3)

    def run() -> Any:
        if subject.dtype() is torch.float16:
            return None  # torch scales losses for parameters of more than half precision only
        optimizer.zero_grad()
        value = module(x).float().square().sum()
        if not value.requires_grad:
            return None
        scaler.scale(value).backward()
        if all(p.grad is None for group in optimizer.param_groups for p in group["params"]):
            return None  # refused by torch, which sees digital gradients only
        if unscales:
            scaler.unscale_(optimizer)
            if isinstance(optimizer, AnalogOptimizerMixin):
                optimizer.unscale_analog(scaler)
        scaler.step(optimizer)
        scaler.update()
        return value.detach(), scaler.get_scale()

    return f"scaled step({_shown(x)}, {unscales})", run


def _zero_grad(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    to_none = dice.chance(0.7)
    return f"optimizer.zero_grad({to_none})", lambda: subject.optimizer.zero_grad(to_none)


def _load_optimizer(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    optimizer = subject.optimizer
    return "optimizer.load_state_dict(own)", lambda: optimizer.load_state_dict(
        optimizer.state_dict()
    )


def _optimizer(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    """One of the methods of analog optimizers."""
    optimizer, tile = subject.optimizer, subject.tiles()[0]
    place = Place(subject, tile, tile, dice)
    rate = dice.choice([0.0, 0.01, 0.5, 2.0])
    choices = {"set_learning_rate": (rate,), "clip_analog_norm": (dice.choice([0.1, 1.0, 100.0]),)}
    choices |= {"regroup_param_groups": ()}
    name = dice.one(list(choices))
    arguments = choices[name]
    if is_absurd:
        name = dice.choice(
            ["set_learning_rate", "clip_analog_norm", "unscale_analog", "load_state_dict"]
        )
        arguments = (bad(place),)
        if name == "clip_analog_norm" and dice.chance(0.5):
            arguments = (1.0, bad(place))
        huge = isinstance(arguments[0], float) and 1e30 < arguments[0] < float("inf")
        if name == "set_learning_rate" and huge:
            arguments = (-1.0,)  # what torch trains overflows as in torch
    shown = ", ".join(map(_shown, arguments))
    return f"optimizer.{name}({shown})", lambda: getattr(optimizer, name)(*arguments)


def _mode(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    training = dice.chance(0.5)
    module = dice.choice([subject.module, dice.one(subject.tiles())])
    return f"{type(module).__name__}.train({training})", lambda: module.train(training)


def _requires_grad(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    value = dice.chance(0.7)
    obj = dice.choice([subject.module, dice.one(subject.tiles()).analog_ctx])
    return f"{type(obj).__name__}.requires_grad_({value})", lambda: obj.requires_grad_(value)


def _cast(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    """Casts and moves of the whole module; some go nowhere."""
    options: list[Any] = [torch.float32, torch.float64, torch.float16, torch.bfloat16, "cpu"]
    options += ["meta", torch.complex64, torch.int64]
    to, module = dice.one(options), subject.module
    return f"{type(module).__name__}.to({to})", lambda: module.to(to)


def state_of(module: nn.Module) -> dict[str, Any]:
    """Return a copy of the state of a module."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def _keep(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    def run() -> None:
        subject.kept = state_of(subject.module)

    return "keep the state", run


def _load(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    """Load the present state or an earlier one, whole or damaged."""
    module, given = subject.module, subject.kept or state_of(subject.module)
    what = "state"
    if is_absurd:
        given, what = damaged(given, dice)
    strict = dice.chance(0.8)
    return f"load_state_dict({what}, {strict})", lambda: module.load_state_dict(given, strict)


def _copy(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    way = dice.choice(["deepcopy", "pickle", "torch.save"])

    def run() -> None:
        both = (subject.module, subject.optimizer)
        if way == "deepcopy":
            both = copy.deepcopy(both)
        elif way == "pickle":
            both = pickle.loads(pickle.dumps(both))
        else:
            file = io.BytesIO()
            torch.save(both, file)
            file.seek(0)
            both = torch.load(file, weights_only=False)
        subject.module, subject.optimizer = both

    return f"go on with a {way}", run


def _field(subject: Subject, dice: Dice, is_absurd: bool) -> tuple[str, Any]:
    config = dice.one(subject.tiles()).rpu_config
    name, owner, last = dice.one(list(nested(config)))
    value = getattr(owner, last)
    if not is_absurd:
        return name, another(value, dice)
    tile = subject.tiles()[0]
    return name, bad(Place(subject, tile, tile, dice))


def _edit_config(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    name, value = _field(subject, dice, is_absurd)
    if is_absurd and dice.chance(0.2):
        name = dice.choice(["", ".", "forward.", "no.field", "forward.out_noise.x", "__class__"])
    module = subject.module
    edit: Any = mho.nn.edit_config
    return f"edit_config({name!r}, {_shown(value)})", lambda: edit(module, name, value)


def _assign_field(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    tile = dice.one(subject.tiles())
    name, value = _field(subject, dice, is_absurd)

    def run() -> None:
        owner = tile.rpu_config
        *path, last = name.split(".")
        for each in path:
            owner = getattr(owner, each, None)
        if hasattr(owner, last):  # tiles may have other noise models by now
            setattr(owner, last, value)

    return f"tile.rpu_config.{name} = {_shown(value)}", run


def _assign_config(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    tile = dice.one(subject.tiles())
    place = Place(subject, tile, tile, dice)
    config = type(tile.rpu_config).from_json(tile.rpu_config.to_json())
    value = edited(config, dice, 3)
    if is_absurd and dice.chance(0.5):
        value = bad(place)
    elif is_absurd:
        _, owner, name = dice.one(list(nested(config)))
        vars(owner)[name] = bad(place)
    return "tile.rpu_config = config", lambda: setattr(tile, "rpu_config", value)


def _same_noise(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    tile = subject.tiles()[0]
    seed = bad(Place(subject, tile, tile, dice)) if is_absurd else dice.seed_of()
    x = _inputs(subject, dice)

    def run() -> Any:
        with mho.same_noise(subject.module, seed), torch.no_grad():
            first = subject.module(x)
        with mho.same_noise(subject.module, seed), torch.no_grad():
            second = subject.module(x)
        # In training, ranges and running scales follow the data, which is no noise.
        if not any(tile.training for tile in subject.tiles()):
            assert bits(first) == bits(second), "same_noise: the second product differs"
        return first, second

    return f"same_noise({_shown(seed)})", run


def _fork_noise(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    tile = subject.tiles()[0]
    worker = bad(Place(subject, tile, tile, dice)) if is_absurd else dice.randint(0, 9)
    return f"fork_noise({_shown(worker)})", lambda: mho.fork_noise(subject.module, worker)


def _manual_seed(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    seed = dice.seed_of()
    return f"torch.manual_seed({seed})", lambda: torch.manual_seed(seed) and None


def _set_num_threads(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    tile = subject.tiles()[0]
    threads = bad(Place(subject, tile, tile, dice)) if is_absurd else dice.randint(1, 3)

    def run() -> None:
        before = mho.get_num_threads()
        mho.set_num_threads(threads)
        mho.set_num_threads(before)

    return f"set_num_threads({_shown(threads)})", run


def _assign_tensor(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    """Scales and ranges that scripts assign."""
    tile = dice.one(subject.tiles())
    place = Place(subject, tile, tile, dice)
    names = [n for n in ("out_scaling_alpha", "input_range") if getattr(tile, n) is not None]
    name = dice.one(names or ["input_range"])
    value = place.vector() if name == "out_scaling_alpha" else dice.uniform(1, low=0.1, high=3.0)
    if is_absurd:
        tensors = [v for v in (bad(place) for _ in range(20)) if isinstance(v, Tensor)]
        value = tensors[0] if tensors else torch.zeros(0)
    return f"tile.{name} = {_shown(value)}", lambda: setattr(tile, name, value)


def _context(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    """The parameter that stands for the weights of a tile."""
    context = dice.one(subject.tiles()).analog_ctx
    name = dice.choice(["enable_placeholder", "enable_data_view", "enable_buffer", "get_data"])
    if is_absurd:
        tile = subject.tiles()[0]
        value = bad(Place(subject, tile, tile, dice))
        return f"context.data_view_mode = {_shown(value)}", lambda: setattr(
            context, "data_view_mode", value
        )

    def run() -> Any:
        result = getattr(context, name)()
        return result if name == "get_data" else None

    return f"context.{name}()", run


def _weight_view(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    """Reads and writes through the weight of a layer."""
    layer = dice.one(subject.layers())
    scale = dice.choice([0.1, 0.5])
    seed = dice.seed_of()

    def uniform() -> None:
        # The draw is that of torch's generator.
        nn.init.uniform_(layer.weight, -scale, scale)

    ways: dict[str, Callable[[], Any]] = {
        "read": lambda: layer.weight.detach().clone() * 2,
        "uniform_": uniform,
        "mul_": lambda: layer.weight.mul_(scale) is None,
        "first row": lambda: layer.weight[0].fill_(scale) is None,
        "copy_": lambda: (
            layer.weight.copy_(Dice(seed).normal(*layer.weight.shape, scale=scale)) is None
        ),
    }
    if is_absurd:
        tile = subject.tiles()[0]
        value = bad(Place(subject, tile, tile, dice))
        ways = {
            "fill_": lambda: layer.weight.fill_(value) is None,
            "assignment": lambda: setattr(layer, "weight", value),
        }
        if not isinstance(value, (int, float, Tensor)):
            del ways["fill_"]  # refused by torch before it comes here
    way = dice.one(list(ways))
    return f"layer.weight: {way}" + (f" {_shown(value)}" if is_absurd else ""), ways[way]


def _look(subject: Subject, dice: Dice, is_absurd: bool) -> Result:
    """What shows or converts a model and must not change it."""
    module = subject.module

    def convert() -> Any:
        digital = convert_to_digital(copy.deepcopy(module))
        return [value.clone() for value in digital.state_dict().values()]

    ways: dict[str, Callable[[], Any]] = {
        "repr": lambda: repr(module),
        "report": lambda: str(mho.nn.conversion_report(module)),
        "numbers": lambda: sum(p.numel() for p in module.parameters()),
        "dir": lambda: len([name for name in dir(module) if not name.startswith("__")]),
    }
    if subject.part != "tile":
        ways["to digital"] = convert
    way = dice.one(list(ways))
    return way, ways[way]


EXPECTED = (AihwkitException,)
"""Errors that everything may raise."""
