"""Direct calls of the functions of the core with tensors that are not what they should be.

A call raises an error or gives the answer that it gives for plain tensors of the same values. It
never crashes, and never writes beside the tensors that it is to write: each lies between canaries.
A refused call has written nothing.

Left out of what a tensor can be, each with why:

* Read-only memory where a call writes: torch does not know that a page cannot be written, and its
  own operations die in the same way.
* Subclasses that lie about their address or size: that is reading memory on purpose.
* Storage of the seed or the counter that is too small or shared, which only the package makes; the
  gate says so beside its check.
"""

import mmap
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fuzz.dice import Dice
from fuzz.snapshots import plain as plain_values
from fuzz.subjects import PULSED, edited
from mho import _core
from mho.exceptions import AihwkitException, ConfigError, InternalError
from mho.simulator import configs

Arguments = dict[str, Any]

CANARIES = 64
"""Elements before and behind each tensor."""

CALLS = 3
"""Calls of one case."""

# What numbers do not fit into the integers of the core, and what is of another type, is said by
# pyo3; memory that cannot be had by the interpreter.
EXPECTED = (AihwkitException, TypeError, ValueError, OverflowError, MemoryError)


class Arena:
    """Tensors between canaries."""

    def __init__(self) -> None:
        self._held: list[tuple[str, Tensor, bytes, int, int]] = []

    def put(self, name: str, values: Tensor) -> Tensor:
        """Return a tensor with these values that lies between canaries."""
        count = values.numel()
        around = torch.full((count + 2 * CANARIES,), 77).to(values.dtype)
        tensor = around[CANARIES : CANARIES + count].view(values.shape)
        tensor.copy_(values)
        size = values.element_size()
        start, end = CANARIES * size, (CANARIES + count) * size
        self._held.append((name, around, _bytes(around), start, end))
        return tensor

    def damages(self, written: set[str]) -> list[str]:
        """Return what was written that must not be written; nothing may be if the set is empty."""
        found = []
        for name, around, before, start, end in self._held:
            after = _bytes(around)
            if after[:start] != before[:start] or after[end:] != before[end:]:
                found.append(f"wrote beside {name}")
            if name not in written and after[start:end] != before[start:end]:
                found.append(f"wrote to {name}")
        return found


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().reshape(-1).view(torch.uint8).numpy().tobytes()


class Sub(Tensor):
    """Subclass that behaves as a tensor."""


class Made:
    """A function of the core and good arguments for it."""

    def __init__(self, dice: Dice) -> None:
        self.dice, self.arena = dice, Arena()
        self.rows, self.columns = dice.randint(1, 6), dice.randint(1, 6)
        self.samples = dice.choice([0, 1, 2, 3, 17])
        self.spec = spec_of(dice, self.rows, self.columns)
        self.seed = self.arena.put("seed", torch.tensor([dice.seed_of()]))
        self.hidden = self._hidden()

    def tensor(self, name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return a tensor between canaries."""
        values = self.dice.normal(*shape, scale=0.2) if dtype.is_floating_point else None
        return self.arena.put(name, (torch.zeros(shape) if values is None else values).to(dtype))

    def matrix(self, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return a tensor with one number for each crosspoint."""
        return self.tensor(name, self.rows, self.columns, dtype=dtype)

    def _hidden(self) -> Arguments:
        planes = self.spec.construct(self.dice.seed_of())
        return {
            name: self.arena.put(
                name, torch.frombuffer(plane, dtype=torch.float32).view(self.rows, self.columns)
            )
            for name, plane in planes.items()
            if not isinstance(plane, float)
        }

    def weight(self) -> Tensor:
        """Return weights."""
        values = self.dice.uniform(self.rows, self.columns, low=-0.3, high=0.3)
        return self.arena.put("weight", values)

    def key(self) -> Arguments:
        """Return what numbers a call."""
        return {"seed": self.seed, "call": self.dice.randint(0, 2**40)}

    def numbers(self) -> Arguments:
        """Return what a call that changes the weights is numbered by."""
        calls = self.arena.put("calls", torch.tensor([self.dice.randint(0, 2**40)]))
        return {"seed": self.seed, "calls": calls}

    def cells(self) -> Arguments:
        """Return what operations on weights take first."""
        return {"spec": self.spec, "weight": self.weight(), "hidden": self.hidden}


def spec_of(dice: Dice, rows: int, columns: int) -> Any:
    """Return the parsed configuration of a random tile."""
    names = [*PULSED, "IdealDevice"]
    for _ in range(8):
        device = getattr(configs, dice.one(names))()
        if dice.chance(0.5) and hasattr(device, "drift"):
            device.drift.nu = 0.1
        config = edited(configs.SingleRPUConfig(device=device), dice, 4)
        try:
            return _core.TileSpec(config.core_json(), rows, columns)
        except ConfigError:
            continue
    return _core.TileSpec(configs.SingleRPUConfig().core_json(), rows, columns)


def _mvm(made: Made) -> Arguments:
    backward = made.dice.chance(0.5)
    sizes = (made.rows, made.columns) if backward else (made.columns, made.rows)
    lines = {
        name: made.arena.put(name, torch.frombuffer(values, dtype=torch.float32))
        for name, values in made.spec.construct_lines(backward, 7).items()
    }
    has_mask = made.dice.chance(0.5)
    mask = made.tensor("mask", made.samples, sizes[1], dtype=torch.uint8) if has_mask else None
    return {
        "spec": made.spec,
        "backward": backward,
        "x": made.tensor("x", made.samples, sizes[0]),
        "weight": made.weight(),
        "y": made.tensor("y", made.samples, sizes[1]),
        **made.key(),
        "is_test": made.dice.chance(0.5),
        "bias": None,
        "lines": lines or None,
        "mask": mask,
    }


def _pairs(made: Made) -> Arguments:
    return {
        "x": made.tensor("x", made.samples, made.columns),
        "d": made.tensor("d", made.samples, made.rows),
        "learning_rate": made.dice.choice([0.01, 0.1, 1.0]),
    }


def _update(made: Made) -> Arguments:
    counts = None
    if made.spec.counts_pulses:
        counts = made.tensor("counts", 2, made.rows, made.columns, dtype=torch.int64)
    numbers = made.numbers()
    return {**made.cells(), **_pairs(made), **numbers, "bias": None, "counts": counts}


def _pulse_counts(made: Made) -> Arguments:
    counts = made.matrix("counts", torch.int64)
    at = made.dice.randrange(max(1, made.samples))
    pairs = {**_pairs(made), **made.key()}
    return {"spec": made.spec, **pairs, "at": at, "counts": counts, "bias": None}


def _pulse_noise(made: Made) -> Arguments:
    out, index = made.matrix("out"), made.dice.randrange(2**20)
    return {"out": out, "columns": made.columns, **made.key(), "index": index}


def _hidden(made: Made) -> Arguments:
    return {"spec": made.spec, "hidden": made.hidden}


def _drift(made: Made) -> Arguments:
    cells = made.cells()
    state = {
        "current_t": made.arena.put("current_t", torch.zeros(1, dtype=torch.float64)),
        "t": made.arena.put("t", torch.zeros(made.rows, made.columns, dtype=torch.float64)),
        "w0": made.matrix("w0"),
        "previous_weights": made.arena.put("previous_weights", cells["weight"].clone()),
    }
    return {**cells, "state": state, "delta_t": 3.0, **made.numbers()}


def _uniform(made: Made) -> Arguments:
    return {"weight": made.weight(), "low": -0.1, "high": 0.2, **made.numbers()}


def _reset(made: Made) -> Arguments:
    where = {"start": made.dice.randrange(made.columns), "count": -1, "probability": 0.5}
    return {**made.cells(), **where, **made.numbers()}


def _forward(made: Made) -> Arguments:
    lines = {
        name: made.arena.put(name, torch.frombuffer(values, dtype=torch.float32))
        for name, values in made.spec.construct_lines(False, 7).items()
    }
    return {
        "spec": made.spec,
        "x": made.tensor("x", made.samples, made.columns),
        "weight": made.weight(),
        **made.numbers(),
        "is_test": made.dice.chance(0.5),
        "bias": None,
        "lines": lines or None,
        "want_mask": made.dice.chance(0.5),
        "factors": _factors(made),
        "offset": made.dice.choice([None, made.tensor("offset", made.rows)]),
    }


def _grid(made: Made, backward: bool) -> Arguments:
    """Two tiles in a row, whose products are summed."""
    given, wanted = (made.rows, made.columns) if backward else (made.columns, made.rows)
    x = made.tensor("x", made.samples, 2 * given)
    tiles = []
    for number in range(2):
        lines = {
            name: made.arena.put(name, torch.frombuffer(values, dtype=torch.float32))
            for name, values in made.spec.construct_lines(backward, 7).items()
        }
        call: Any = made.dice.randint(0, 2**40)
        if not backward:
            call = made.arena.put("calls", torch.tensor([call]))
        mask = None if backward else made.tensor("mask", made.samples, wanted, dtype=torch.uint8)
        factors = None if backward else _factors(made)
        weight = made.weight()
        tile = (made.spec, x, number * given, weight, made.seed, call, lines or None, mask, factors)
        tiles.append((tile,))
    sizes = {"samples": made.samples, "is_test": made.dice.chance(0.5)}
    if backward:
        return {"parts": tuple(tiles), **sizes}
    return {"parts": tuple(tiles), **sizes, "offset": made.tensor("offset", wanted)}


def _factors(made: Made) -> Any:
    sizes = made.dice.choice([(), (1,), (made.rows,), (1, made.rows)])
    return tuple(made.tensor(f"factor {i}", size) for i, size in enumerate(sizes)) or None


def _scaled(made: Made) -> Arguments:
    offset = made.dice.choice([None, made.tensor("offset", made.rows)])
    y = made.tensor("y", made.samples, made.rows)
    return {"y": y, "width": made.rows, "factors": _factors(made), "offset": offset}


def _entered(made: Made) -> Arguments:
    return {"x": made.tensor("x", made.samples, made.columns), "range": 0.5}


def _modified(made: Made) -> Arguments:
    text = '{"type": "PCMNoise", "std_dev": 1.0, "pdrop": 0.1, "pcm_t_inference": 10.0}'
    tensors = {"weight": made.weight(), "modified": made.matrix("modified")}
    modifier = _core.WeightModifier(text)
    return {"spec": made.spec, "modifier": modifier, **tensors, **made.numbers()}


FUNCTIONS: dict[str, tuple[Callable[[Made], Arguments], set[str]]] = {
    "mvm": (_mvm, {"y", "mask", "running_abs_max"}),
    "update": (_update, {"weight", "persistent_weights", "counts", "calls"}),
    "pulse_counts": (_pulse_counts, {"counts"}),
    "pulse_noise": (_pulse_noise, {"out"}),
    "clip_to_bounds": (
        lambda made: {**made.cells(), **made.numbers()},
        {"weight", "persistent_weights", "calls"},
    ),
    "enter_bounds": (Made.cells, {"weight", "persistent_weights"}),
    "check_hidden": (_hidden, set()),
    "check_state": (Made.cells, set()),
    "unexpected_dw_min": (_hidden, set()),
    "drift": (
        _drift,
        {"weight", "persistent_weights", "current_t", "t", "w0", "previous_weights", "calls"},
    ),
    "decay": (
        lambda made: {**made.cells(), "alpha": 1.0, **made.numbers()},
        {"weight", "persistent_weights", "calls"},
    ),
    "diffuse": (
        lambda made: {**made.cells(), **made.numbers()},
        {"weight", "persistent_weights", "calls"},
    ),
    "reset_columns": (_reset, {"weight", "persistent_weights", "calls"}),
    "clip_weights": (
        lambda made: {**made.cells(), "value": 0.1, **made.numbers()},
        {"weight", "persistent_weights", "calls"},
    ),
    "modify_weights": (_modified, {"modified", "calls"}),
    "uniform_weights": (_uniform, {"weight", "calls"}),
    "next_call": (lambda made: {"calls": made.arena.put("calls", torch.tensor([3]))}, {"calls"}),
    "forward": (_forward, {"calls", "running_abs_max"}),
    "forward_grid": (lambda made: _grid(made, False), {"calls", "mask", "running_abs_max"}),
    "backward_grid": (lambda made: _grid(made, True), {"running_abs_max"}),
    "all_finite": (lambda made: {"values": made.weight()}, set()),
    "enter_range": (_entered, set()),
    "scale_and_offset": (_scaled, {"y"}),
}
"""Functions of the core: their good arguments, and the tensors that they write."""

_NEEDS_GPU = "needs a graphics processor, and borrows through the same gate; test_gpu_residency.py"
LEFT_OUT = {
    "GpuTile": _NEEDS_GPU,
    "gpu_adapters": _NEEDS_GPU,
    "gpu_check": _NEEDS_GPU,
    "gpu_open": _NEEDS_GPU,
    "gpu_synchronize": _NEEDS_GPU,
    "TileSpec": "see `_constructed`, and test_random_parameters.py for its text",
    "Patches": "takes numbers; `unfold` borrows as all functions do, see test_conv_in_core.py",
    "WeightModifier": "takes a text and no memory",
    "default_config": "takes a name and no memory",
    "device_names": "takes nothing",
    "get_num_threads": "takes nothing",
    "join_openmp": "takes effect once in a process, when the package is imported",
    "thread_team": "takes nothing",
    "panic_in_next_update": "makes a kernel fail; tests of its own use it",
    "set_num_threads": "takes a number and no memory; sequences call it",
}
"""What is not among them, and why."""


def problems_of(seed: int) -> list[str]:
    """Call functions of the core; returns what is wrong.

    Args:
        seed: Seed.
    """
    dice = Dice(seed ^ 0xB0BDE4)
    problems = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(CALLS):
            problems += _called(dice) if dice.chance(0.95) else _constructed(dice)
    return problems


def _called(dice: Dice) -> list[str]:
    """Call one function with none, one or two changed arguments."""
    name = dice.one(list(FUNCTIONS))
    make, written = FUNCTIONS[name]
    made = Made(dice)
    arguments = make(made)
    done = [_changed(arguments, dice) for _ in range(dice.choice([0, 1, 1, 1, 2]))]
    plain = {key: canonical(value) for key, value in arguments.items()}
    what = f"{name}, {' and '.join(done) or 'as it should be'}"
    function: Any = getattr(_core, name)
    try:
        result = function(*arguments.values())
    except EXPECTED as error:
        problems = made.arena.damages(set())
        if isinstance(error, InternalError):
            problems.append(f"raised {error!r:.200}")
        if not done and not _may_refuse(name, made):
            problems.append(f"refused {error!r:.200}")
        return [f"{what}: {problem} ({error!r:.80})" for problem in problems]
    except BaseException as error:  # a panic is one
        if "item() cannot be called on meta" in str(error):  # asked for a number, torch says so
            return []
        return [f"{what}: raw {type(error).__name__}: {error!s:.200}"]
    found = made.arena.damages(written) + _other_answer(function, arguments, plain, result)
    return [f"{what}: {problem}" for problem in found]


def _may_refuse(name: str, made: Made) -> bool:
    """Whether a tile may lack what a function does, or a batch the sample."""
    lacks = {
        "drift": not made.spec.drifting,
        "pulse_counts": True,  # of devices without pulses, and kinds of pulses that are not counted
        "clip_weights": True,
    }
    return lacks.get(name, False)


def canonical(value: Any) -> Any:
    """Return plain tensors with the values of an argument; what has none is handed on."""
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(canonical(item) for item in value)
    if isinstance(value, Tensor) and _has_values(value):
        with torch._C.DisableTorchFunctionSubclass():
            copied = torch.empty(value.shape, dtype=value.dtype)
            return copied.copy_(value.detach().resolve_neg().resolve_conj())
    return value


def _has_values(value: Tensor) -> bool:
    """Whether torch can read a tensor: where storage is missing it would die."""
    if value.layout is not torch.strided or value.is_meta or value.is_quantized or value.is_nested:
        return False
    if type(value) not in (Tensor, torch.nn.Parameter, Sub):
        return False
    reach = sum(
        (size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True)
    )
    needed = (value.storage_offset() + reach + 1) * value.element_size()
    return value.numel() == 0 or needed <= value.untyped_storage().nbytes()


def _other_answer(function: Any, arguments: Arguments, plain: Arguments, result: Any) -> list[str]:
    """Return where the answer differs from that for plain tensors."""
    if not all(_has_values(value) for _, value in _tensors(arguments)):
        return []  # fake, empty or nested: nothing to compare, and no plain tensor of the values
    try:
        expected = function(*plain.values())
    except EXPECTED as error:
        return [f"was accepted, but not with plain tensors: {error!r:.200}"]
    if plain_values(result) != plain_values(expected):
        return [f"returned {result} instead of {expected}"]
    return [
        f"{key} is not what it is for plain tensors"
        for key, value in _tensors(arguments)
        if not _same(value, dict(_tensors(plain))[key])
    ]


def _same(one: Tensor, other: Tensor) -> bool:
    return _bytes(canonical(one)) == _bytes(canonical(other))


def _tensors(arguments: dict[Any, Any]) -> list[tuple[str, Tensor]]:
    found = []
    for name, value in arguments.items():
        if isinstance(value, Tensor):
            found.append((name, value))
        elif isinstance(value, (dict, tuple)):
            inner = value if isinstance(value, dict) else dict(enumerate(value))
            found += [(f"{name}.{key}", each) for key, each in _tensors(inner)]
    return found


def _changed(arguments: Arguments, dice: Dice) -> str:
    """Change one argument in place; returns what was done."""
    name = dice.one(list(arguments))
    value = arguments[name]
    if dice.chance(0.1):
        arguments[name] = dice.one(ABSURD)
        return f"{name} = {arguments[name]!r:.60}"
    if isinstance(value, dict):
        return f"{name}: {_changed_entry(value, dice)}"
    if isinstance(value, tuple) and value:
        entries: Arguments = dict(enumerate(value))
        done = _changed_entry(entries, dice)
        arguments[name] = tuple(entries.values())
        return f"{name}: {done}"
    if isinstance(value, Tensor) and _has_values(value):
        everything = [each for _, each in _tensors(arguments) if _has_values(each)]
        others = [each for each in everything if each is not value]
        way = dice.one(list(TENSORS))
        try:
            arguments[name] = TENSORS[way](value, others, dice)
        except NotImplementedError:  # torch cannot make it of sparse ones
            return f"{name} not {way}"
        return f"{name} {way}"
    if isinstance(value, (int, float, bool)) or value is None:
        arguments[name] = dice.one(NUMBERS)
        return f"{name} = {arguments[name]!r:.60}"
    if not isinstance(value, _core.TileSpec):
        return f"{name} twice"
    arguments[name] = spec_of(dice, dice.randint(1, 6), dice.randint(1, 6))
    return f"another {name}"


def _changed_entry(entries: Arguments, dice: Dice) -> str:
    if not entries or dice.chance(0.2):
        key: Any = dice.choice(["other", "weight", "max_bound", "", 3, None, "t\x00"])
        entries[key] = dice.choice([torch.zeros(3), 1, None])
        return f"with {key!r}"
    key = dice.one(list(entries))
    if dice.chance(0.3):
        del entries[key]
        return f"without {key!r}"
    inner = {key: entries[key]}
    done = _changed(inner, dice)
    entries[key] = inner[key]
    return done


ABSURD: list[Any] = [
    None, 0, -1, 10**30, 1.5, "text", b"bytes", [], [1.0], (), {}, object, np.zeros(3, np.float32),
    np.zeros((2, 2)), torch.float32, True, memoryview(b"abcd"), lambda: 0,
]  # fmt: skip
NUMBERS: list[Any] = [
    None, True, 0, 1, -1, 2, 7, 2**24, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, 10**400,
    -(2**63), 0.5, -0.5, 1e-45, 1e38, 1e39, 1e308, float("nan"), float("inf"), float("-inf"), "1",
    torch.tensor(1), np.float32(1.0), np.int64(3),
]  # fmt: skip


def _is_key(value: Tensor) -> bool:
    """Whether a tensor is a seed or a counter, see the module."""
    return value.dtype is torch.int64 and value.numel() == 1


def _overlapping(value: Tensor, others: list[Tensor], dice: Dice) -> Tensor:
    """Another tensor of the call in its place, or one that begins in its middle."""
    if not others or _is_key(value):
        return value
    other = dice.one(others)
    if dice.chance(0.3) or other.numel() < value.numel() or other.dtype is not value.dtype:
        return other
    flat = other.reshape(-1)
    start = dice.randint(0, flat.numel() - value.numel())
    return flat[start : start + value.numel()].view(value.shape)


def _resized(value: Tensor, others: list[Tensor], dice: Dice) -> Tensor:
    """Storage that is smaller than the shape."""
    if _is_key(value):
        return value
    copied = value.clone()
    nbytes = copied.untyped_storage().nbytes()
    copied.untyped_storage().resize_(dice.choice([0, nbytes // 2, max(0, nbytes - 1)]))
    return copied


def _misaligned(value: Tensor, others: list[Tensor], dice: Dice) -> Tensor:
    """An address that is no multiple of the size of an element."""
    memory = bytearray(value.numel() * value.element_size() + 16)
    if value.numel() == 0:
        return value
    shifted = torch.frombuffer(memory, dtype=value.dtype, count=value.numel(), offset=1)
    return shifted.view(value.shape)


def _negated(value: Tensor, others: list[Tensor], dice: Dice) -> Tensor:
    """A view that is negated when it is read."""
    if value.dtype is not torch.float32:
        return value
    return torch.complex(value, value).conj().imag


def _conjugated(value: Tensor, others: list[Tensor], dice: Dice) -> Tensor:
    if value.dtype is not torch.float32:
        return value
    return torch.complex(value, value).conj()


def _read_only(value: Tensor, others: list[Tensor], dice: Dice) -> Tensor:
    """Memory that cannot be written, see the module; only where nothing is written."""
    if value.numel() == 0 or value.dtype is not torch.float32:
        return value
    size = max(mmap.PAGESIZE, value.numel() * 4)
    memory = mmap.mmap(-1, size)
    memory[: value.numel() * 4] = _bytes(value.contiguous())
    return torch.frombuffer(memory, dtype=torch.float32, count=value.numel()).view(value.shape)


def _nested(value: Tensor, others: list[Tensor], dice: Dice) -> Tensor:
    return torch.nested.nested_tensor([value.reshape(-1), value.reshape(-1)[:1]])


def _fake(value: Tensor, others: list[Tensor], dice: Dice) -> Tensor:
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode().from_tensor(value.clone())


def _quantized(value: Tensor, others: list[Tensor], dice: Dice) -> Tensor:
    return torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8)


def _cast(value: Tensor, others: list[Tensor], dice: Dice) -> Tensor:
    types = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool]
    return value.to(dice.choice([*types, torch.uint8, torch.complex64, torch.float32]))


def _reshaped(value: Tensor, others: list[Tensor], dice: Dice) -> Tensor:
    ways: list[Callable[[], Tensor]] = [
        lambda: value[None],
        lambda: value.reshape(-1),
        lambda: value.reshape(-1)[:-1],
        lambda: torch.cat([value.reshape(-1), value.reshape(-1)]),
        lambda: value.new_zeros(0),
        lambda: value.new_zeros(()),
        lambda: value.new_zeros(0, 5),
        lambda: torch.cat([value, value[:1]]) if value.dim() else value,
    ]
    return dice.one(ways)()


def _strided(value: Tensor, others: list[Tensor], dice: Dice) -> Tensor:
    """The same values, or the same shape, with other strides."""
    if value.dim() == 0 or value.numel() == 0:
        return value
    ways: list[Callable[[], Tensor]] = [
        lambda: value.t() if value.dim() == 2 else value.flip(0),
        lambda: value.t().contiguous().t() if value.dim() == 2 else value,
        lambda: value[:1].expand(value.shape),
        lambda: value.repeat_interleave(2, -1)[..., ::2],
        lambda: value.new_zeros(1).expand(value.shape),
        lambda: (
            value.reshape(-1)[-1:].expand(value.numel()).view(value.shape)
            if value.numel() == 1
            else value.as_strided(value.shape, [0] * value.dim())
        ),
        lambda: torch.cat([value, value], -1)[..., : value.shape[-1]],
    ]
    return dice.one(ways)()


TENSORS: dict[str, Callable[[Tensor, list[Tensor], Dice], Any]] = {
    "of another type": _cast,
    "of another shape": _reshaped,
    "with other strides": _strided,
    "with a negative bit": _negated,
    "conjugated": _conjugated,
    "overlapping another one": _overlapping,
    "with too little storage": _resized,
    "misaligned": _misaligned,
    "in pages": _read_only,
    "nested": _nested,
    "fake": _fake,
    "quantized": _quantized,
    "on meta": lambda value, others, dice: value.to("meta"),
    "sparse": lambda value, others, dice: value.to_sparse() if value.dim() else value,
    "as a parameter": lambda value, others, dice: torch.nn.Parameter(value, requires_grad=False),
    "with a gradient": lambda value, others, dice: (
        value.detach().requires_grad_() if value.is_floating_point() else value
    ),
    "of a subclass": lambda value, others, dice: value.as_subclass(Sub),
    # NumPy has no bfloat16.
    "as an array": lambda value, others, dice: (
        value.float() if value.dtype is torch.bfloat16 else value
    ).numpy(force=True),
    "as a list": lambda value, others, dice: value.tolist(),
    "with values that are not finite": lambda value, others, dice: (
        torch.full_like(value, dice.choice([float("nan"), float("inf"), 3e38]))
        if value.is_floating_point()
        else value - 2**62
    ),
}
"""What a tensor can be instead."""

SIZES: list[Any] = [0, 1, -1, 2**16, 2**26, 2**31, 2**32, 2**40, 2**62, 2**63, 2**64, 1.5, None]


def _constructed(dice: Dice) -> list[str]:
    """Build the parsed configuration with sizes that nobody has, and draw its devices."""
    text = configs.SingleRPUConfig(device=getattr(configs, dice.one(PULSED))()).core_json()
    rows, columns = dice.one(SIZES), dice.one(SIZES)
    seed = dice.choice([0, -1, 2**62, 2**64, "1"])
    try:
        spec = _core.TileSpec(text, rows, columns)
        # What fits into memory takes its time, what cannot be had must say so.
        if rows * columns <= 2**16 or rows * columns >= 2**46:
            spec.construct(seed)
    except EXPECTED as error:
        if isinstance(error, InternalError):
            return [f"TileSpec({rows}, {columns}): {error!r:.200}"]
    except BaseException as error:
        return [f"TileSpec({rows}, {columns}): raw {type(error).__name__}: {error!s:.200}"]
    return []
