"""Reading a checkpoint of aihwkit executes nothing, whatever the file says, and ends."""

import argparse
import collections
import copyreg
import io
import os
import pickle
import random
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aihwkit_cases import build
from aihwkit_files import MHO, file
from mho.exceptions import AihwkitException, ArgumentError, ConfigError, StateError
from mho.utils.legacy import load_aihwkit_state_dict, load_checkpoint, machine
from mho.utils.legacy.inert import Budget, Record


def archive(pickled: bytes, **entries: bytes) -> io.BytesIO:
    """Return a file as `torch.save` writes it, with any pickle and memories."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr("x/data.pkl", pickled)
        target.writestr("x/byteorder", "little")
        for key, value in entries.items():
            target.writestr(f"x/data/{key.removeprefix('at_')}", value)
    buffer.seek(0)
    return buffer


class Call:
    """Object whose pickle calls something."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._called = function, args

    def __reduce__(self) -> Any:
        return self._called


def pickled(value: Any, protocol: int = 2) -> bytes:
    return pickle.dumps(value, protocol)


def named(module: str, name: str) -> bytes:
    """Return the instruction that names something."""
    return f"c{module}\n{name}\n".encode()


def refused(content: bytes, match: str) -> None:
    """Check that a pickle is refused, as an archive and as a stream of old versions."""
    for source in (archive(content), io.BytesIO(head() + content + pickled([]))):
        with pytest.raises(StateError, match=match):
            load_checkpoint(source)


def head() -> bytes:
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    return b"".join(pickled(part) for part in (0x1950A86A20F9469CFC6C, 1001, system))


CALLS = {
    "os.system": Call(os.system, "touch {path}"),
    "builtins.eval": Call(eval, "open('{path}', 'w')"),
    "builtins.exec": Call(exec, "open('{path}', 'w')"),
    "builtins.open": Call(open, "{path}", "w"),
    "builtins.getattr": Call(getattr, "x", "upper"),
    "pathlib.Path": Call(Path, "{path}"),
    "torch.load": Call(torch.load, "{path}"),
    "torch.hub.load": Call(torch.hub.load, "x/y", "z"),
    "torch.storage._load_from_bytes": Call(torch.storage._load_from_bytes, b"x"),
    "numpy.load": Call(np.load, "{path}"),
    "operator.attrgetter": Call(__import__("operator").attrgetter, "x"),
    "functools.partial": Call(__import__("functools").partial, print),
    "importlib.import_module": Call(__import__("importlib").import_module, "antigravity"),
    "collections.namedtuple": Call(collections.namedtuple, "x", "y"),
    "copyreg.add_extension": Call(copyreg.add_extension, "os", "system", 1),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_calls(name: str, protocol: int, tmp_path: Path) -> None:
    target = tmp_path / "made"
    call = CALLS[name]
    function, args = call.__reduce__()
    args = tuple(a.format(path=target) if isinstance(a, str) else a for a in args)
    content = pickled({"model": [Call(function, *args)]}, protocol)
    refused(content, rf"{name.split('.')[-1]}|instruction|{name.split('.')[0]}")
    assert not target.exists() and "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (named("os", "system") + b"(S'x'\ntR.", "os.system"),
        (named("os", "system") + b")\x81.", "os.system"),
        (named("os", "system") + b".", "os.system"),
        (named("__builtin__", "eval") + b"(X\x01\x00\x00\x001tR.", "builtins.eval"),
        (named("subprocess", "Popen") + b"(X\x01\x00\x00\x00xt\x81.", "subprocess.Popen"),
        (named("somewhere", "Popen") + b"(X\x01\x00\x00\x00xt\x81.", "somewhere.Popen with arg"),
        (named("somewhere", "run") + b")R.", "calls somewhere.run"),
        (named("torch.nn", "Linear") + b"(K\x01K\x01tR.", "calls torch.nn.Linear"),
        (named("copy_reg", "_reconstructor") + b")R.", "copyreg._reconstructor"),
        (named("copy_reg", "__newobj__") + b")R.", "copyreg.__newobj__"),
        (named("copy_reg", "__newobj_ex__") + b")R.", "copyreg.__newobj_ex__"),
        (b"(ios\nsystem\n.", "instruction INST"),
        (b"(" + named("x", "y") + b"o.", "instruction OBJ"),
        (named("x", "y") + b")}\x92.", "instruction NEWOBJ_EX"),
        (b"\x82\x01.", "instruction EXT1"),
        (b"P0\n.", "instruction PERSID"),
        (b"I1\n.", "instruction INT"),
        (b"V1\n.", "instruction UNICODE"),
        (b"\x8b\x01\x00\x00\x00\x01.", "instruction LONG4"),
        (b"\x97.", "instruction NEXT_BUFFER"),
        (named("x", "y") + b"}b.", "sets the state of x.y"),
        (b"]}b.", "sets the state of an object of type list"),
        (b"}}b.", "sets the state of an object of type dict"),
        (b"K\x01}b.", "sets the state of an object of type int"),
        (named("x", "y") + b")\x81K\x01b.", "the state of x.y is no dictionary"),
        (named("x", "y") + b")\x81}K\x01K\x02sb.", "the state of x.y is no dictionary"),
        (named("x", "y") + b")\x81}}}\x87b.", "the state of x.y is no dictionary"),
        (
            named("collections", "OrderedDict") + b")R}X\x09\x00\x00\x00__class__K\x01sb.",
            "a dictionary has attributes",
        ),
        (
            named("builtins", "getattr") + named("torch", "hub") + b"X\x01\x00\x00\x00x\x86R.",
            "takes x of",
        ),
        (named("builtins", "getattr") + b"X\x01\x00\x00\x00xX\x01\x00\x00\x00y\x86R.", "getattr"),
        (named("x y", "z") + b".", "is no name"),
        (named("x", "y.__class__[0]") + b".", "is no name"),
        (b"X\x01\x00\x00\x00xK\x01\x93.", "a name is no text"),
        (b"K\x01Q.", "refers to something outside"),
        (b"K\x01)R.", "calls an object of type int"),
        (b"]}a)R.", "calls an object of type list"),
        (b"K\x01K\x01a.", "appended to an object of type int"),
        (named("x", "y") + b")\x81K\x01a.", "appended to x.y"),
        (named("x", "y") + b")\x81K\x01K\x01s.", "put into x.y"),
        (b"}]K\x01s.", "keys of a dictionary are list"),
        (b"\x8f(]\x90.", "items of a set are list"),
        (b"h\x01.", "is damaged"),
        (b"a.", "is damaged"),
        (b"t.", "is damaged"),
        (b"\x85.", "lacks items"),
        (b".", "is damaged"),
        (b"", "truncated|damaged"),
        (b"\xff.", "is damaged"),
        (b"X\xff\xff\xff\xffx.", "is damaged"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fx.", "is damaged"),
    ],
)
def test_instructions(content: bytes, match: str) -> None:
    refused(content, match)


def test_setstate_is_not_called() -> None:
    """Objects with methods of their own are descriptions that nobody asks."""
    content = named("somewhere", "Net") + b")\x81}X\x01\x00\x00\x00aK\x01sb."
    (found,) = [load_checkpoint(archive(content))]
    assert isinstance(found, Record) and found.attributes == {"a": 1}
    assert repr(found) == "<somewhere.Net in a pickle, not made>"


def test_namespaces_are_left_as_descriptions() -> None:
    found = load_checkpoint(archive(pickled({"args": argparse.Namespace(lr=0.1), "epoch": 3})))
    assert found["epoch"] == 3 and found["args"].attributes == {"lr": 0.1}


def test_nothing_is_imported() -> None:
    before = set(sys.modules)
    load_checkpoint(archive(named("somewhere_else", "x.y") + b")\x81."))
    load_checkpoint(file("whole_model"))
    new = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not new & {"somewhere_else", "aihwkit"}


# --- depth and size -------------------------------------------------------------------------------


def test_deep_nesting() -> None:
    for content in (b"]" * 20_000 + b"a" * 19_999 + b".", b")" + b"\x85" * 20_000 + b"."):
        refused(content, "nested more than")


def test_values_that_contain_themselves() -> None:
    refused(b"]q\x00h\x00a.", "contain themselves")
    refused(b"}q\x00X\x01\x00\x00\x00xh\x00s.", "contain themselves")


def test_one_value_many_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty levels of two references each: a walk over all paths would take days."""
    monkeypatch.setattr(Budget, "VISITS", 10_000)
    level = (b"]q%c(h%ch%ce" % (at + 1, at, at) for at in range(40))
    refused(b"](K\x01]eq\x00" + b"".join(level) + b".", "in more than 10000 containers")


def test_keys_whose_hash_takes_for_ever() -> None:
    level = (b"h%ch%c\x86q%c" % (at, at, at + 1) for at in range(60))
    refused(b")q\x00" + b"".join(level) + b"}h<K\x01s.", "keys of a dictionary are tuple")


def storage(kind: str, key: str, number: bytes) -> bytes:
    text = struct.pack("<I", len(key)) + key.encode()
    return (
        b"(X\x07\x00\x00\x00storage" + named("torch", kind) + b"X" + text
        + b"X\x03\x00\x00\x00cpu" + number + b"tQ"
    )  # fmt: skip


def number(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def tensor(memory: bytes, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    sizes = b"(" + b"".join(map(number, size)) + b"t" + b"(" + b"".join(map(number, stride)) + b"t"
    rebuild = named("torch._utils", "_rebuild_tensor_v2")
    rest = b"\x89" + named("collections", "OrderedDict") + b")R"
    return rebuild + b"(" + memory + number(offset) + sizes + rest + b"tR"


FOUR = storage("FloatStorage", "0", number(4))


def test_tensors_are_read() -> None:
    values = struct.pack("<4f", 1, 2, 3, 4)
    source = archive(tensor(FOUR, 1, (3,), (1,)) + b".", at_0=values)
    assert load_checkpoint(source).tolist() == [2.0, 3.0, 4.0]
    source = archive(tensor(FOUR, 0, (2, 2), (1, 2)) + b".", at_0=values)
    assert load_checkpoint(source).tolist() == [[1.0, 3.0], [2.0, 4.0]]
    source = archive(tensor(FOUR, 9, (0, 2), (9, 9)) + b".", at_0=values)
    assert load_checkpoint(source).shape == (0, 2)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (tensor(storage("FloatStorage", "0", number(10**12)), 0, (1,), (1,)), "has not the"),
        (tensor(storage("DoubleStorage", "0", number(4)), 0, (1,), (1,)), "has not the"),
        (tensor(storage("FloatStorage", "7", number(4)), 0, (1,), (1,)), "lacks the entry data/7"),
        (tensor(storage("FloatStorage", "../x", number(4)), 0, (1,), (1,)), "in another way"),
        (tensor(storage("FloatStorage", "0", number(-4)), 0, (1,), (1,)), "in another way"),
        (tensor(storage("QInt8Storage", "0", number(4)), 0, (1,), (1,)), "has the type"),
        (tensor(FOUR, 0, (5,), (1,)), "beyond the 4 elements"),
        (tensor(FOUR, 4, (1,), (1,)), "beyond the 4 elements"),
        (tensor(FOUR, -1, (1,), (1,)), "from 0 to"),
        (tensor(FOUR, 0, (2,), (-1,)), "from 0 to"),
        (tensor(FOUR, 0, (-1,), (1,)), "from 0 to"),
        (tensor(FOUR, 0, (2,), (2**61,)), "beyond the 4 elements"),
        (tensor(FOUR, 0, (2**62,), (0,)), "from 0 to"),
        (tensor(FOUR, 0, (10**12,), (0,)), "has 4 of them in the file"),
        (tensor(FOUR, 0, (2, 2), (1,)), "do not fit"),
        (tensor(FOUR, 0, (1,) * 70, (1,) * 70), "sizes of a tensor"),
        (tensor(b"K\x01", 0, (1,), (1,)), "has no memory"),
        (FOUR + b"0" + storage("FloatStorage", "0", number(3)), "described in two ways"),
        (FOUR + b"0" + storage("IntStorage", "0", number(4)), "described in two ways"),
    ],
)
def test_memory_of_tensors(content: bytes, match: str) -> None:
    with pytest.raises(StateError, match=match):
        load_checkpoint(archive(content + b".", at_0=struct.pack("<4f", 1, 2, 3, 4)))


def test_memory_of_old_streams() -> None:
    content = tensor(storage("FloatStorage", "0", number(10**12)), 0, (1,), (1,)) + b"."
    tracemalloc.start()
    with pytest.raises(StateError, match="larger than the file"):
        load_checkpoint(io.BytesIO(head() + content))
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    body = head() + tensor(FOUR, 0, (4,), (1,)) + b"."
    good = body + pickled(["0"]) + struct.pack("<q4f", 4, 1, 2, 3, 4)
    assert load_checkpoint(io.BytesIO(good)).tolist() == [1, 2, 3, 4]
    for cut in range(len(body), len(good)):
        with pytest.raises(StateError):
            load_checkpoint(io.BytesIO(good[:cut]))
    with pytest.raises(StateError, match="does not fit the pickle"):
        load_checkpoint(io.BytesIO(body + pickled(["1"]) + bytes(24)))
    with pytest.raises(StateError, match="has not the 4 values"):
        load_checkpoint(io.BytesIO(body + pickled(["0"]) + struct.pack("<q", 2**60)))


@pytest.mark.parametrize("code", ["O", "O8", "V4", "S9", "M8", "c8"])
def test_arrays_of_objects(code: str) -> None:
    text = struct.pack("<I", len(code)) + code.encode()
    content = named("numpy", "dtype") + b"(X" + text + b"\x89\x88tR."
    refused(content, "only real numbers")


def test_arrays_are_read() -> None:
    values = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.float32(0.5),
        "c": np.asfortranarray(np.eye(2, 3)),
    }
    for protocol in (2, 4):
        found = load_checkpoint(archive(pickled(values, protocol)))
        assert np.array_equal(found["a"], values["a"]) and found["b"] == 0.5
        assert np.array_equal(found["c"], values["c"])
    with pytest.raises(StateError, match="another order of bytes"):
        load_checkpoint(archive(pickled(np.zeros(3, ">f4"))))
    with pytest.raises(StateError, match="only real numbers"):
        load_checkpoint(archive(pickled(np.array([None]))))


# --- files ----------------------------------------------------------------------------------------


def test_compressed_and_overlapping_entries() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("x/data.pkl", b"]" * 10**6)
    buffer.seek(0)
    with pytest.raises(StateError, match="compressed"):
        load_checkpoint(buffer)
    source = archive(b"N.", **{f"at_{i}": b"" for i in range(3)}, at_big=bytes(5000))
    content = bytearray(source.getvalue())
    with zipfile.ZipFile(source) as opened:
        offsets = {entry.filename: entry.header_offset for entry in opened.infolist()}
        start = opened.start_dir  # type: ignore[attr-defined]
    # Each small entry of the directory now claims the bytes of the large one.
    at = start
    while content[at : at + 4] == b"PK\x01\x02":
        size = struct.unpack_from("<3H", content, at + 28)
        struct.pack_into("<2I", content, at + 20, 5000, 5000)
        struct.pack_into("<I", content, at + 42, offsets["x/data/big"])
        at += 46 + sum(size)
    with pytest.raises(StateError, match="larger than the file"):
        load_checkpoint(io.BytesIO(bytes(content)))


def test_other_files(tmp_path: Path) -> None:
    state = {"weight": torch.ones(2)}
    with pytest.raises(StateError, match=r"was not written by torch.save"):
        load_checkpoint(io.BytesIO(pickled(1)))
    with pytest.raises(StateError, match="_load_from_bytes"):
        load_checkpoint(io.BytesIO(pickled(state)))
    with pytest.raises(StateError, match=r"damaged|truncated"):
        load_checkpoint(io.BytesIO(b"\x00text"))
    with pytest.raises(StateError, match="damaged"):
        load_checkpoint(io.BytesIO(b""))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr("x.txt", "x")
    buffer.seek(0)
    with pytest.raises(StateError, match=r"not one that torch.save has written"):
        load_checkpoint(buffer)
    scripted = archive(b"N.")
    with zipfile.ZipFile(scripted, "a") as target:
        target.writestr("x/constants.pkl", b"N.")
    scripted.seek(0)
    with pytest.raises(StateError, match="scripted model"):
        load_checkpoint(scripted)
    big = io.BytesIO()
    with zipfile.ZipFile(big, "w") as target:
        target.writestr("x/data.pkl", b"N.")
        target.writestr("x/byteorder", "big")
    big.seek(0)
    with pytest.raises(StateError, match="order of bytes"):
        load_checkpoint(big)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "absent.pt")
    with pytest.raises(ArgumentError, match="path or binary file"):
        load_checkpoint(3)  # type: ignore[arg-type]
    torch.save(state, tmp_path / "state.pt")
    assert torch.equal(load_checkpoint(str(tmp_path / "state.pt"))["weight"], torch.ones(2))


def test_truncated_and_changed_files() -> None:
    """Whatever happens to a file, it is read or refused with an error of mho."""
    random.seed(0)
    content = file("soft_bounds").getvalue()
    for _ in range(60):
        cut = random.randrange(len(content))
        with pytest.raises(AihwkitException):
            load_checkpoint(io.BytesIO(content[:cut]))
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        (name,) = [n for n in source.namelist() if n.endswith("data.pkl")]
        good = source.read(name)
        rest = {n.rpartition("/")[2]: source.read(n) for n in source.namelist() if "/data/" in n}
    entries = {f"at_{key}": value for key, value in rest.items()}
    outcomes = set()
    for _ in range(300):
        changed = bytearray(good)
        for _ in range(random.randint(1, 4)):
            changed[random.randrange(len(changed))] = random.randrange(256)
        outcomes.add(outcome(archive(bytes(changed), **entries)))
    assert {"StateError", "ConfigError"} <= outcomes
    for _ in range(100):
        changed = bytearray(content)
        for _ in range(random.randint(1, 4)):  # lengths and offsets of entries are at the end
            changed[random.randrange(len(changed) - 1500, len(changed))] = random.randrange(256)
        outcome(io.BytesIO(bytes(changed)))


def outcome(source: io.BytesIO) -> str:
    """Read a file; all other errors than those of mho are raised."""
    try:
        load_checkpoint(source)
    except AihwkitException as error:
        return type(error).__name__
    return "read"


def test_nothing_of_a_hostile_file_reaches_a_model() -> None:
    model, _ = build(MHO, "soft_bounds")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = {"0.analog_module.analog_tile_state": Call(os.system, "true")}
    with pytest.raises(StateError, match="system"):
        load_aihwkit_state_dict(model, archive(pickled(state)))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_choices_that_are_none() -> None:
    kind = named("aihwkit.simulator.parameters.enums", "NoiseManagementType")
    with pytest.raises(ConfigError, match="NoiseManagementType of mho has no 'x'"):
        load_checkpoint(archive(kind + b"X\x01\x00\x00\x00x\x85R."))
    member = named("builtins", "getattr") + kind + b"X\x07\x00\x00\x00ABS_MAX\x86R."
    assert load_checkpoint(archive(member)) is MHO.NoiseManagementType.ABS_MAX
    member = member.replace(b"X\x07\x00\x00\x00ABS_MAX", b"X\x09\x00\x00\x00__class__")
    with pytest.raises(ConfigError, match="has no '__class__'"):
        load_checkpoint(archive(member))


# --- one value, named again and again -------------------------------------------------------------


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def refused_early(content: bytes, match: str) -> None:
    """Check that a pickle is refused before it has taken memory that its length does not."""
    source = archive(content)
    tracemalloc.start()
    try:
        with pytest.raises((StateError, ConfigError), match=match):
            load_checkpoint(source)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


LONG = text("x" * 2**20)
MANY = b"]q\x00(" + b"N" * 2**16 + b"e0"
KEYS = b"}q\x00(" + b"".join(text(str(at)) + b"N" for at in range(2**14)) + b"u0"
PAIRS = b"](K\x01K\x02\x86q\x01" + b"h\x01" * 2**16 + b"eq\x000"
COPIES = {
    "bytes": (LONG + b"q\x000", named("_codecs", "encode") + b"h\x00X\x06\x00\x00\x00latin1\x86R"),
    "sets": (MANY, named("builtins", "set") + b"h\x00\x85R"),
    "pairs": (PAIRS, named("collections", "OrderedDict") + b"h\x00\x85R"),
    "attributes": (KEYS, named("somewhere", "X") + b")\x81h\x00b"),
}  # fmt: skip


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_limited(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand copies of a megabyte would be a hundred gigabytes."""
    monkeypatch.setattr(machine, "MOST_COPIED", 2**24)
    make, copy = COPIES[kind]
    refused_early(make + b"](" + copy * 200 + b"e.", "copies values")


@pytest.mark.parametrize(
    ("make", "use", "match"),
    [
        (text("x" * 2**17) + b"q\x000", b"}(h\x00K\x01u", "keys of a dictionary have more"),
        (b"(" + b"N" * 100 + b"tq\x000", b"}(h\x00K\x01u", "keys of a dictionary are tuple"),
        (text("x" * 2000) + b"q\x000", b"h\x00h\x00\x93", "is no name"),
        (b"(" + b"K\x01" * 100 + b"tq\x000", named("torch", "Size") + b"h\x00\x85R", "sizes of a"),
    ],
)
def test_what_is_looked_at_is_short(make: bytes, use: bytes, match: str) -> None:
    """Each instruction takes as long as what it names, and may name it a million times."""
    refused(make + b"](" + use + b"e.", match)


def config_with(make: bytes, value: bytes) -> bytes:
    """Return the pickle of a configuration with a value a thousand times."""
    name = named("aihwkit.simulator.configs.configs", "InferenceRPUConfig")
    return make + name + b")\x81}X\x01\x00\x00\x00x](" + value * 1000 + b"esb."


def test_configurations_do_not_multiply_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget, "CONTENT", 2**24)
    refused_early(config_with(LONG + b"q\x000", b"h\x00"), "so often")


def test_configurations_do_not_multiply_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget, "CONTENT", 2**24)
    memory = storage("FloatStorage", "0", number(2**14))
    make = tensor(memory, 0, (2**14,), (1,)) + b"q\x000"
    source = archive(config_with(make, b"h\x00"), at_0=bytes(2**16))
    with pytest.raises((StateError, ConfigError), match="so often"):
        load_checkpoint(source)


def test_names_do_not_multiply_prefixes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long name of a module stands before the names of all that is in it."""
    monkeypatch.setattr(Budget, "CONTENT", 2**20)
    module = named("torch.nn", "Module") + b")\x81q\x01"
    inner = b"}(" + b"".join(text(str(at)) + b"K\x01" for at in range(1000)) + b"u"
    leaf = module + b"}(" + text("_modules") + b"}" + text("_parameters") + inner + b"ub"
    children = b"}(" + text("x" * 2**14) + leaf + b"u"
    root = module + b"}(" + text("_modules") + children + text("_parameters") + b"}ub"
    refused(root + b".", "so often")


def test_objects_are_translated_once() -> None:
    """What is named twice is one object, and takes the time of one."""
    name = named("aihwkit.simulator.parameters.io", "IOParameters")
    first, second = load_checkpoint(archive(b"](" + name + b")\x81q\x00h\x00e."))
    assert first is second


def test_texts_longer_than_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\x8d" + (2**60).to_bytes(8, "little") + b"x.")
    with pytest.raises(StateError, match="damaged"):
        load_checkpoint(path)
