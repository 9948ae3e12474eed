"""Files in the format of safetensors, written and read one tensor at a time.

Eight bytes hold the length of a header (little endian), the header is a JSON object with type,
shape and range of bytes of each tensor, and the values follow without gaps
(https://github.com/huggingface/safetensors). Nothing in a file is executed, and there is a second
copy of one tensor at a time at most.
"""

import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mho.exceptions import StateError
from mho.simulator.state.ordinary import ordinary_tensors

_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "C64": "complex64",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
DTYPES: dict[str, torch.dtype] = {
    code: getattr(torch, name) for code, name in _NAMES.items() if hasattr(torch, name)
}
"""Types of torch by the names that the format has for them."""

_CODES = {dtype: code for code, dtype in DTYPES.items()}
METADATA = "__metadata__"
"""Name in the header that is no tensor."""

_LENGTH = 8
_LARGEST_HEADER = 100_000_000
"""Bytes; the limit of the format."""
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Extent:
    """Where a tensor is in a file."""

    dtype: torch.dtype
    """Its type."""

    shape: tuple[int, ...]
    """Its shape."""

    begin: int
    """First byte, counted from the end of the header."""

    end: int
    """First byte after it."""


def can_hold(value: Tensor) -> bool:
    """Return whether the format has the type of a tensor.

    Args:
        value: Tensor.
    """
    return value.dtype in _CODES


def n_bytes(value: Tensor) -> int:
    """Return how many bytes a tensor takes in a file.

    Args:
        value: Tensor.
    """
    return value.numel() * value.element_size()


def write(path: Path, tensors: Mapping[str, Tensor]) -> int:
    """Write a file.

    Args:
        path: File, made or overwritten.
        tensors: Dense tensors on any device by name, of types that the format has.

    Returns:
        CRC-32 of the file.
    """
    # Large elements first, so that each tensor begins at a multiple of the size of its elements.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {METADATA: {"format": "pt"}}
    begin = 0
    for name in names:
        value = tensors[name]
        end = begin + n_bytes(value)
        header[name] = {
            "dtype": _CODES[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)
    checksum = 0
    with path.open("wb") as file:
        for part in (len(text).to_bytes(_LENGTH, "little"), text):
            file.write(part)
            checksum = zlib.crc32(part, checksum)
        for name in names:
            values = _bytes_of(tensors[name])
            file.write(values)
            checksum = zlib.crc32(values, checksum)
    return checksum


class TensorFile:
    """A file that is open for reading; tensors are read when they are asked for.

    It is the same one until it is closed, also if another one gets its name meanwhile.
    """

    def __init__(self, path: Path) -> None:
        """Open a file and read its header.

        Args:
            path: File.

        Raises:
            StateError: It is missing, truncated or of another format.
        """
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise StateError(f"{path}: cannot be read: {error.strerror or error}") from error
        try:
            size = self._file.seek(0, os.SEEK_END)
            self._file.seek(0)
            length = int.from_bytes(self._file.read(_LENGTH), "little")
            if not 2 <= length <= min(_LARGEST_HEADER, size - _LENGTH):
                raise StateError(f"{path}: is truncated or no file of safetensors")
            self._start = _LENGTH + length
            header = _parsed(path, self._file.read(length))
            self.extents = _extents(path, header, size - self._start)
            """Where each tensor is, by name."""
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def checksum(self) -> int:
        """Return the CRC-32 of the file."""
        checksum = 0
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
        return checksum

    def read(self, name: str) -> Tensor:
        """Return a tensor, with memory of its own on the host.

        Args:
            name: Its name.

        Raises:
            StateError: The file has been cut meanwhile, or a truth value is none.
        """
        extent = self.extents[name]
        with ordinary_tensors():
            raw = torch.empty(extent.end - extent.begin, dtype=torch.uint8, device="cpu")
            self._file.seek(self._start + extent.begin)
            _read_into(self._file, raw.numpy().data, self.path)
            if extent.dtype is torch.bool and bool((raw > 1).any()):
                raise StateError(f"{self.path}: {name!r} has truth values other than 0 and 1")
            return raw.view(extent.dtype).reshape(extent.shape)


def _bytes_of(value: Tensor) -> memoryview:
    plain = value.detach().to("cpu").contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().data


def _read_into(file: BinaryIO, view: memoryview, path: Path) -> None:
    while len(view):
        count = file.readinto(view[:_CHUNK])  # type: ignore[attr-defined]
        if not count:
            raise StateError(f"{path}: is truncated")
        view = view[count:]


def _parsed(path: Path, text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode(), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise StateError(f"{path}: the header is damaged: {error}") from error
    if not isinstance(header, dict):
        raise StateError(f"{path}: the header is damaged: it is no JSON object")
    header.pop(METADATA, None)
    return header


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _extents(path: Path, header: Mapping[str, Any], size: int) -> dict[str, Extent]:
    """Return where the tensors are, which together are all of the file."""
    found = dict(_each_extent(path, header))
    at = 0
    for name, extent in sorted(found.items(), key=lambda item: (item[1].begin, item[1].end)):
        if extent.begin != at:
            raise StateError(f"{path}: {name!r} does not begin where the tensor before it ends")
        at = extent.end
    if at != size:
        raise StateError(f"{path}: has {size} bytes of values, but its header tells of {at}")
    return found


def _each_extent(path: Path, header: Mapping[str, Any]) -> Iterator[tuple[str, Extent]]:
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise StateError(f"{path}: the header is damaged at {name!r}")
        dtype = DTYPES.get(str(entry["dtype"]))
        if dtype is None:
            raise StateError(f"{path}: {name!r} has an unknown type {entry['dtype']!r}")
        shape, offsets = entry["shape"], entry["data_offsets"]
        if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
            raise StateError(f"{path}: the header is damaged at {name!r}")
        begin, end = offsets
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise StateError(f"{path}: {name!r} has not as many bytes as its shape {shape} needs")
        yield name, Extent(dtype, tuple(shape), begin, end)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)
