"""Folders that are damaged, of other versions or made to mislead are refused."""

import json
import shutil
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mho.exceptions import AihwkitException, ArgumentError, ConfigError, StateError, TileError
from mho.nn import convert_to_analog, load_analog, save_analog
from mho.nn.saving.tensor_file import DTYPES, TensorFile, write
from mho.simulator.configs import (
    InferenceRPUConfig,
    QuantizedTorchInferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)

MAP, WEIGHTS = "analog_map.json", "model.safetensors"


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is not to be changed."""
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(6)  # before the one of each test; weights are within the bounds
    model = convert_to_analog(net(), SingleRPUConfig(), rules={"2": InferenceRPUConfig()})
    save_analog(model, folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(saved, tmp_path / "copy")
    return tmp_path / "copy"


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((folder / MAP).read_text())
    change(content)
    (folder / MAP).write_text(json.dumps(content))


def refused(folder: Path, message: str, **kwargs: Any) -> None:
    with pytest.raises((StateError, ConfigError), match=message):
        load_analog(folder, net, **kwargs)


def test_the_folder_itself_is_good(folder: Path) -> None:
    load_analog(folder, net)


@pytest.mark.parametrize("name", [MAP, WEIGHTS])
@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b"[1]", b"{" * 100_000])
def test_files_are_missing_or_something_else(folder: Path, name: str, content: Any) -> None:
    path = folder / name
    path.unlink() if content is None else path.write_bytes(content)
    refused(folder, rf"{name}: (is missing|cannot be read|is damaged|is truncated)", verify=False)


def test_folders_that_are_none(tmp_path: Path) -> None:
    refused(tmp_path / "nothing", "there is no such folder")
    refused(tmp_path, rf"{MAP}: is missing.*save_analog")
    with pytest.raises(ArgumentError, match=r"folder: expected str or a path"):
        load_analog(7, net)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format=2), "format 2 is not supported"),
        (lambda c: c.update(more=1), "expected the keys"),
        (lambda c: c.pop("files"), "files: must be an object"),
        (lambda c: c.update(files={}), "missing"),
        (lambda c: c.update(files={"../model.safetensors": "0"}), "no name of a file with weights"),
        (lambda c: c.update(files={"/etc/passwd": "0"}), "no name of a file with weights"),
        (lambda c: c.update(files={"sub/model.safetensors": "0"}), "no name of a file"),
        (lambda c: c.update(files={"model-00001-of-00001.safetensors\n": "0"}), "no name of a"),
        (lambda c: c["files"].update({"model-00001-of-00002.safetensors": "0"}), "cannot be read"),
        (lambda c: c["files"].update({WEIGHTS: "0"}), "its check sum"),
        (lambda c: c["files"].update({WEIGHTS: "x"}), "'x' is no check sum"),
        (lambda c: c["files"].update({WEIGHTS: 3}), "files: must be an object"),
        (lambda c: c.update(tied={"1.weight": "0.weight"}), "'0.weight' is in none of the files"),
        (lambda c: c.update(tied={"1.weight": "1.bias"}), "'1.weight' is tied, but in the files"),
        (lambda c: c.update(tied=[]), "tied: must be an object"),
        (lambda c: c.update(buffers=["nothing"]), "'nothing' is in none of the files"),
        (lambda c: c.update(buffers=["1.weight"]), r"missing \['1.weight'\]"),
        (lambda c: c.update(buffers="all"), "buffers: must be a list"),
        (lambda c: c.update(frozen=[3]), "frozen: must be a list"),
        (lambda c: c.update(frozen=["nothing"]), "the model has no parameter 'nothing'"),
        (lambda c: c["layers"].pop("0"), r"0: the model that was saved is another|no such module"),
        (lambda c: c["layers"]["0"].update(config=1), "analog_tile_config.*cannot load"),
        (lambda c: c["configs"][0]["params"].update(more=1), "has no field 'more'"),
    ],
)
def test_maps_that_are_damaged(folder: Path, change: Any, message: str) -> None:
    edit(folder, change)
    with pytest.raises(AihwkitException, match=message):
        load_analog(folder, net)


def test_constants_that_are_no_json(folder: Path) -> None:
    (folder / MAP).write_text((folder / MAP).read_text().replace('"format": 1', '"format": NaN'))
    refused(folder, "NaN is no JSON")


def test_every_flipped_bit_is_found(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    for at in (9, len(whole) // 2, len(whole) - 1):
        changed = bytearray(whole)
        changed[at] ^= 1
        (folder / WEIGHTS).write_bytes(changed)
        refused(folder, "is damaged|damaged or of another save|begin|truncated|unknown type")


def test_files_of_two_saves_are_refused(folder: Path, tmp_path: Path) -> None:
    save_analog(convert_to_analog(net(), InferenceRPUConfig()), tmp_path / "other")
    shutil.copy(tmp_path / "other" / WEIGHTS, folder / WEIGHTS)
    refused(folder, "of another save")


def test_files_that_were_changed_on_purpose(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["1.weight"] += 1
    save_file(tensors, folder / WEIGHTS)
    refused(folder, "of another save")
    loaded = load_analog(folder, net, verify=False)
    assert torch.equal(loaded[1].weight, tensors["1.weight"])


def test_names_that_are_missing_or_too_many(folder: Path) -> None:
    for change, message in (
        ({"1.weight": None}, r"1: .* missing \['1.weight'\]"),
        ({"1.more": torch.ones(1)}, r"1: .* unexpected \['1.more'\]"),
        ({"more": torch.ones(1)}, r"the model: .* unexpected \['more'\]"),
        ({"0.analog_module.analog_tile_seed": None}, "missing.*analog_tile_seed.*in layer '0"),
        ({"0.analog_module.more": torch.ones(1)}, "unexpected.*'more'.*in layer '0"),
        ({"1.weight": torch.ones(5)}, "size mismatch for 1.weight"),
        ({"2.analog_module.alpha": torch.ones(7)}, "alpha.*shape"),
        ({"1.weight": torch.ones(4, dtype=torch.complex64)}, "'1.weight' is torch.complex64 in"),
        ({"1.bias": torch.ones(4, dtype=torch.int64)}, "'1.bias' is torch.int64 in the files"),
        ({"2.analog_module.analog_tile_weights": torch.ones(2, 4, dtype=torch.int64)}, "float32"),
    ):
        tensors: dict[str, Any] = {**load_file(folder / WEIGHTS), **change}
        kept = {name: value for name, value in tensors.items() if value is not None}
        whole = (folder / WEIGHTS).read_bytes()
        save_file(kept, folder / WEIGHTS)
        with pytest.raises(AihwkitException, match=message):
            load_analog(folder, net, verify=False)
        (folder / WEIGHTS).write_bytes(whole)


@pytest.mark.parametrize(
    ("config", "entry"),
    [
        (TorchInferenceRPUConfig(), "tile.weight"),
        (QuantizedTorchInferenceRPUConfig(), "tile.weight"),
        (InferenceRPUConfig(), "analog_tile_weights"),
    ],
)
def test_values_that_do_not_fit_a_tile(config: Any, entry: str, tmp_path: Path) -> None:
    save_analog(convert_to_analog(nn.Linear(3, 2), config), tmp_path)
    whole = load_file(tmp_path / WEIGHTS)
    name = f"analog_module.{entry}"
    for value, message in (
        (torch.ones(5, 5), "shape|size mismatch"),
        (torch.full_like(whole[name], float("nan")), "finite"),
        (None, f"missing.*{entry}"),
    ):
        changed = {**whole, name: value}
        save_file({n: v for n, v in changed.items() if v is not None}, tmp_path / WEIGHTS)
        with pytest.raises(TileError, match=message):
            load_analog(tmp_path, lambda: nn.Linear(3, 2), verify=False)


# Every number of every type is one of these.
WIDE = torch.complex128

# --- files of tensors -----------------------------------------------------------------------------


def file_of(tmp_path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    count = struct.pack("<Q", len(text) if length is None else length)
    path = tmp_path / "model.safetensors"
    path.write_bytes(count + text + data)
    return path


def entry(dtype: str = "F32", shape: Any = (1,), begin: Any = 0, end: Any = 4) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"a": entry()}, b"123", "has 3 bytes of values, but its header tells of 4"),
        ({"a": entry()}, b"12345", "has 5 bytes of values"),
        ({"a": entry(begin=1, end=5)}, b"12345", "does not begin where"),
        ({"a": entry(), "b": entry(begin=2, end=6)}, b"123456", "does not begin where"),
        ({"a": entry(end=8)}, b"12345678", "has not as many bytes as its shape"),
        ({"a": entry(shape=(2**40, 2**40))}, b"1234", "has not as many bytes"),
        ({"a": entry(dtype="F12")}, b"1234", "unknown type 'F12'"),
        ({"a": entry(dtype="__class__")}, b"1234", "unknown type"),
        ({"a": entry(shape=(-1,))}, b"1234", "damaged at 'a'"),
        ({"a": entry(begin=-4, end=0)}, b"1234", "damaged at 'a'"),
        ({"a": entry(begin=True, end=4)}, b"1234", "damaged at 'a'"),
        ({"a": entry(shape=(1.0,))}, b"1234", "damaged at 'a'"),
        ({"a": {"dtype": "F32"}}, b"1234", "damaged at 'a'"),
        ({"a": 3}, b"1234", "damaged at 'a'"),
        (b'{"a": {}, "a": {}}', b"", "a name occurs twice"),
        (b"[]", b"", "no JSON object"),
        (b"{nothing}", b"", "header is damaged"),
    ],
)
def test_damaged_files(tmp_path: Path, header: Any, data: bytes, message: str) -> None:
    with pytest.raises(StateError, match=message):
        TensorFile(file_of(tmp_path, header, data))


@pytest.mark.parametrize("length", [0, 1, 10**6, 2**63, 2**64 - 1])
def test_impossible_lengths(tmp_path: Path, length: int) -> None:
    with pytest.raises(StateError, match="is truncated or no file of safetensors"):
        TensorFile(file_of(tmp_path, {"a": entry()}, b"1234", length))


def test_truth_values(tmp_path: Path) -> None:
    path = file_of(tmp_path, {"a": entry("BOOL", (2,), 0, 2)}, b"\1\2")
    with closing(TensorFile(path)) as file, pytest.raises(StateError, match="truth values"):
        file.read("a")


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a", {"a": torch.ones(100_000)})
    with closing(TensorFile(tmp_path / "a")) as file:
        (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-4])
        with pytest.raises(StateError, match="is truncated"):
            file.read("a")


def test_a_file_that_is_replaced_while_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a", {"a": torch.ones(100)})
    with closing(TensorFile(tmp_path / "a")) as file:
        write(tmp_path / "b", {"a": torch.zeros(100)})
        (tmp_path / "b").replace(tmp_path / "a")
        assert torch.equal(file.read("a"), torch.ones(100))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_types(dtype: torch.dtype, tmp_path: Path) -> None:
    """Also with the official library as reader and as writer."""
    values = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    tensors = {
        "a": values, "one": values[0, 1].clone(), "none": values[:0].clone(),
        "turned": values.t(), "odd": torch.ones(3, dtype=torch.int8), "b.c": values[1].clone(),
    }  # fmt: skip
    plain = {name: value.contiguous() for name, value in tensors.items()}

    def check(path: Path, checksum: int | None) -> None:
        with closing(TensorFile(path)) as file:
            assert checksum in (None, file.checksum()) and set(file.extents) == set(plain)
            for name, value in plain.items():
                read = file.read(name)
                assert read.dtype is value.dtype and read.shape == value.shape
                assert torch.equal(read.to(WIDE), value.to(WIDE))

    check(tmp_path / "ours", write(tmp_path / "ours", tensors))
    if dtype is torch.complex64:  # the library has it from a later version on than is required
        return
    official = load_file(tmp_path / "ours")
    assert all(torch.equal(official[n].to(WIDE), v.to(WIDE)) for n, v in plain.items())
    save_file(plain, tmp_path / "theirs")
    check(tmp_path / "theirs", None)
