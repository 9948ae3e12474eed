"""States that were damaged on their way: entries of another kind, text that says other things."""

import copy
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fuzz.dice import Dice

State = dict[str, Any]

HEADERS: dict[str, Callable[[State], Any]] = {
    "foreign key": lambda h: h | {"other": 1},
    "foreign key instead of the format": lambda h: (
        {k: v for k, v in h.items() if k != "format"} | {"other": 1}
    ),
    "foreign key instead of the rate": lambda h: (
        {k: v for k, v in h.items() if k != "learning_rate"} | {"other": 1}
    ),
    "no configuration": lambda h: {k: v for k, v in h.items() if k != "rpu_config"} | {"a": 1},
    "no class": lambda h: {k: v for k, v in h.items() if k != "tile_class"} | {"a": 1},
    "no version": lambda h: {k: v for k, v in h.items() if k != "mho_version"} | {"a": 1},
    "class is a number": lambda h: h | {"tile_class": 3},
    "class is a list": lambda h: h | {"tile_class": ["AnalogTile"]},
    "configuration is a number": lambda h: h | {"rpu_config": 3},
    "configuration is none": lambda h: h | {"rpu_config": None},
    "format is a list": lambda h: h | {"format": [1]},
    "rate is text": lambda h: h | {"learning_rate": "0.1"},
    "rate is negative": lambda h: h | {"learning_rate": -1.0},
    "version is a number": lambda h: h | {"mho_version": 1},
    "a list": lambda h: list(h.items()),
    "nothing": lambda h: {},
}
"""Headers of a tile that no tile has written."""

VALUES: dict[str, Callable[[Tensor], Any]] = {
    "NaN": lambda v: torch.full_like(v, torch.nan) if v.is_floating_point() else v - 2**62,
    "infinity": lambda v: torch.full_like(v, torch.inf) if v.is_floating_point() else v.double(),
    "another rank": lambda v: v[None].repeat(2, *[1] * v.dim()),
    "another type": lambda v: v.to(torch.complex64),
    "text": lambda v: "text",
    "none": lambda v: None,
    "a number": lambda v: 3,
}
"""Entries that no tile has written, or only some."""


def header_of(entry: Tensor) -> Any:
    """Return the text of a header as objects."""
    return json.loads(bytes(entry.tolist()).decode())


def as_entry(header: Any) -> Tensor:
    """Return the entry with a header."""
    return as_bytes(json.dumps(header).encode())


def as_bytes(text: bytes) -> Tensor:
    """Return an entry with any bytes."""
    return torch.tensor(list(text), dtype=torch.uint8)


def damaged(state: State, dice: Dice) -> tuple[State, str]:
    """Return a damaged copy of a state, and what was done to it."""
    result, done = dict(state), []
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        if not result:
            break
        name = dice.one(list(result))
        way = dice.one(list(WAYS))
        done.append(f"{way} {name!r}")
        WAYS[way](result, name, dice)
    return result, " and ".join(done)


def _is_dense(value: Any) -> bool:
    """Whether an entry is a tensor with values in rows, to which more can be done."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta


def _remove(state: State, name: str, dice: Dice) -> None:
    del state[name]


def _rename(state: State, name: str, dice: Dice) -> None:
    head, _, tail = name.rpartition(".")
    prefix = f"{head}." if head else ""
    other = dice.choice(
        [f"{prefix}other", f"x.{name}", f"module.{name}", tail, f"{name}.0", f"{prefix}weight", ""]
    )
    state[other] = state.pop(name)


def _add(state: State, name: str, dice: Dice) -> None:
    head = name.rpartition(".")[0]
    others = [
        "other", "bias", "alpha", "mapping_scales", "input_range", "analog_ctx", "shared_weights",
        "analog_tile_state", "analog_tile_hidden.other", "analog_tile_drift.t",
        "analog_tile_forward.out_noise_values", "drift_noise_parameters.3", "tile.weight",
        "analog_tile_pulse_counters", "out_scaling_alpha", "programmed_weights",
    ]  # fmt: skip
    state[f"{head}.{dice.one(others)}" if head else dice.one(others)] = state[name]


def _swap(state: State, name: str, dice: Dice) -> None:
    other = dice.one(list(state))
    state[name], state[other] = state[other], state[name]


def _shape(state: State, name: str, dice: Dice) -> None:
    value = state[name]
    if not _is_dense(value):
        return
    ways: list[Callable[[], Tensor]] = [
        lambda: value[None],
        lambda: value.reshape(-1)[:-1],
        lambda: torch.cat([value.reshape(-1), value.reshape(-1)]),
        lambda: value.reshape(-1),
        lambda: value.t() if value.dim() == 2 else value[None, None],
        lambda: value.new_zeros(0),
        lambda: value.reshape(-1)[:1].reshape(()) if value.numel() else value[None],
    ]
    state[name] = dice.one(ways)()


def _dtype(state: State, name: str, dice: Dice) -> None:
    if _is_dense(state[name]):
        types = [torch.float16, torch.float64, torch.int64, torch.int32, torch.bool, torch.uint8]
        state[name] = state[name].to(dice.choice([*types, torch.complex64, torch.bfloat16]))


def _number(state: State, name: str, dice: Dice) -> None:
    """Put a number somewhere into an entry that the devices, or nobody, can have."""
    value = state[name]
    if not _is_dense(value) or value.numel() == 0 or value.is_complex():
        return
    floats = [torch.nan, torch.inf, -torch.inf, 1e6, -1e6, 3e38, 0.0, -1.0, 1e-45]
    # 2**62 calls are the most that a tile takes over: one more makes them too many.
    integers = [-1, 0, 2**31, 2**61, 2**62 + 1, 2**63 - 1, -(2**63)]
    new = value.clone().reshape(-1)
    if value.is_floating_point():
        number: Any = dice.choice(floats)
        new[dice.randrange(len(new))] = number
    elif value.dtype is torch.int64:
        new[dice.randrange(len(new))] = dice.choice(integers)
    else:
        new[dice.randrange(len(new))] = dice.randrange(2)
    state[name] = new.reshape(value.shape)


def _value(state: State, name: str, dice: Dice) -> None:
    if _is_dense(state[name]):
        state[name] = VALUES[dice.one(list(VALUES))](state[name])


def _place(state: State, name: str, dice: Dice) -> None:
    """Hold the same values otherwise."""
    value = state[name]
    if not _is_dense(value):
        return
    ways: list[Callable[[], Any]] = [
        lambda: value.to("meta"),
        lambda: value.to_sparse() if value.dim() else value,
        lambda: value.tolist(),
        lambda: value.float().numpy(force=True),
        lambda: torch.nn.Parameter(value, requires_grad=False),
        lambda: value.expand(3, *value.shape)[1],
        lambda: value.repeat_interleave(2, 0)[::2] if value.dim() else value,
    ]
    state[name] = dice.one(ways)()


def _headers(state: State) -> list[str]:
    return [
        name
        for name, value in state.items()
        if name.endswith("analog_tile_config")
        and isinstance(value, Tensor)
        and value.dtype is torch.uint8
        and value.dim() == 1
        and _is_dense(value)
    ]


def _header(state: State, name: str, dice: Dice) -> None:
    names = _headers(state)
    if names:
        name = dice.one(names)
        with_header(state, name, HEADERS[dice.one(list(HEADERS))])


def with_header(state: State, name: str, change: Callable[[Any], Any]) -> None:
    """Change a header, if it can be read."""
    try:
        header = header_of(state[name])
    except (ValueError, UnicodeDecodeError):
        return
    if isinstance(header, dict):
        state[name] = as_entry(change(header))


def _text(state: State, name: str, dice: Dice) -> None:
    """Cut, flip or repeat bytes of a header."""
    names = _headers(state)
    if not names:
        return
    name = dice.one(names)
    text = bytearray(state[name].tolist())
    at = dice.randrange(len(text) + 1)
    way = dice.randrange(4)
    if way == 0:
        text = text[:at]
    elif way == 1 and text:
        text[at % len(text)] = dice.randrange(256)
    elif way == 2:
        text = text + text
    else:
        text[at:at] = dice.choice([b"}", b'"', b"\xff\xfe", b"NaN", b"[" * 50, b"[" * 100_000])
    state[name] = as_bytes(bytes(text))


WRONG: list[Any] = [
    None, True, 0, -1, 2, 1.5, 1e400, -1e30, 10**30, "text", "", [], [1], {}, {"a": 1}, "NONE",
    {"type": "PCMLikeNoiseModel"}, "AnalogTile", [[]], {"params": {}},
]  # fmt: skip


def _inside(state: State, name: str, dice: Dice) -> None:
    """Change the configuration in a header: another type, a field that is not there, a swap."""
    names = _headers(state)
    if names:
        with_header(state, dice.one(names), lambda header: changed_inside(header, dice))


def changed_inside(header: Any, dice: Dice) -> Any:
    """Return objects read from JSON text with one of them changed, in any depth."""
    header = copy.deepcopy(header)
    text = header.get("rpu_config")
    try:
        config = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return header
    containers = [node for node in _nodes(config) if node]
    if not containers:
        return header
    node = dice.one(containers)
    key: Any = dice.one(list(node)) if isinstance(node, dict) else dice.randrange(len(node))
    way = dice.randrange(4)
    if way == 0:
        del node[key]
    elif way == 1 and isinstance(node, dict):
        node[dice.choice(["other", "check", "__class__", "to_wire", "type"])] = dice.one(WRONG)
    elif way == 2 and isinstance(node, dict):
        other = dice.one(list(node))
        node[key], node[other] = node[other], node[key]
    else:
        node[key] = dice.one(WRONG)
    header["rpu_config"] = json.dumps(config) if isinstance(text, str) else config
    return header


def _nodes(value: Any) -> list[Any]:
    found = [value] if isinstance(value, (dict, list)) else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    for each in inner:
        found += _nodes(each)
    return found


WAYS: dict[str, Callable[[State, str, Dice], None]] = {
    "remove": _remove,
    "rename": _rename,
    "add beside": _add,
    "swap": _swap,
    "reshape": _shape,
    "cast": _dtype,
    "change a number of": _number,
    "replace": _value,
    "hold otherwise": _place,
    "change a header, not": _header,
    "change the bytes of a header, not": _text,
    "change a configuration, not": _inside,
}
"""What can happen to a state. The last three choose among its headers."""
