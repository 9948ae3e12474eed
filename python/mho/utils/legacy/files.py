"""Files that `torch.save` has written: archives, and the streams of torch before 1.6."""

import io
import os
import struct
import zipfile
from contextlib import ExitStack
from typing import IO, Any

import torch

from mho.exceptions import ArgumentError, StateError
from mho.utils.legacy.calls import Storage, storage_dtype
from mho.utils.legacy.machine import Machine

File = str | os.PathLike[str] | IO[bytes]

LARGEST_PICKLE = 128 * 2**20
"""Bytes of the pickle of a file, without the values of tensors; that of a tile has ten thousand."""

_MOST_ENTRIES = 1_000_000
_MAGIC = 0x1950A86A20F9469CFC6C  # of streams, as torch has it
_PROTOCOL = 1001


def read(file: File) -> Any:
    """Return the content of a file, in which objects are descriptions of themselves.

    Args:
        file: Path, or binary file that can be sought.

    Raises:
        ArgumentError: It is neither.
        OSError: It cannot be read.
        StateError: It is damaged, was not written by `torch.save`, or wants something that is not
            allowed.
    """
    with ExitStack() as stack:
        if isinstance(file, (str, os.PathLike)):
            stream: IO[bytes] = stack.enter_context(open(file, "rb"))
        elif callable(getattr(file, "read", None)) and callable(getattr(file, "seek", None)):
            stream = file
        else:
            raise ArgumentError(f"file: expected a path or binary file, got {type(file).__name__}")
        start = stream.tell()
        size = stream.seek(0, os.SEEK_END) - start
        stream.seek(start)
        head = stream.read(4)
        stream.seek(start)
        if head == b"PK\x03\x04":
            return _read_archive(stream, size)
        return _read_stream(stream, size)


def _read_archive(stream: IO[bytes], size: int) -> Any:
    try:
        with zipfile.ZipFile(stream) as archive:
            return _Archive(archive, size).read()
    except StateError:
        raise
    # Encrypted entries, offsets before the beginning and the like.
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, struct.error) as error:
        raise StateError(f"file: the archive is damaged: {error}") from error


class _Archive:
    """Archive with a pickle and the memory of each tensor as entries."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        entries = archive.infolist()
        # Entries may be compressed, or share bytes: then they are larger than the file.
        if len(entries) > _MOST_ENTRIES or any(e.compress_type for e in entries):
            raise StateError("file: has compressed entries, which torch.save does not write")
        if sum(entry.file_size for entry in entries) > size:
            raise StateError("file: entries are larger than the file")
        found = [e.filename for e in entries if e.filename.count("/") == 1]
        pickles = [name for name in found if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise StateError("file: is an archive, but not one that torch.save has written")
        self._archive, self._root = archive, pickles[0].removesuffix("data.pkl")
        self._names = {entry.filename: entry for entry in entries}
        if f"{self._root}constants.pkl" in self._names:
            raise StateError("file: holds a scripted model; save its state_dict() with torch.save")
        self._storages: dict[str, Storage] = {}

    def read(self) -> Any:
        if self._bytes("byteorder", b"little").strip() != b"little":
            raise StateError("file: was saved on a machine with another order of bytes")
        if self._names[f"{self._root}data.pkl"].file_size > LARGEST_PICKLE:
            raise StateError(f"file: its pickle has more than {LARGEST_PICKLE} bytes")
        content = self._bytes("data.pkl")
        return Machine(self._storage).run(io.BytesIO(content))

    def _bytes(self, name: str, default: bytes | None = None) -> bytes:
        full = f"{self._root}{name}"
        if full not in self._names:
            if default is None:
                raise StateError(f"file: lacks the entry {name}")
            return default
        return self._archive.read(self._names[full])

    def _storage(self, description: tuple[Any, ...]) -> Storage:
        dtype, key, number = _described(description)
        known = self._storages.get(key)
        if known is None:
            content = self._bytes(f"data/{key}")
            if len(content) != number * dtype.itemsize:
                raise StateError(f"file: entry data/{key} has not the {number} values it should")
            values = torch.empty(0, dtype=dtype, device="cpu")
            if number:
                values = torch.frombuffer(bytearray(content), dtype=dtype)
            known = self._storages[key] = Storage(values)
        return _checked(known, dtype, number, key)


def _read_stream(stream: IO[bytes], size: int) -> Any:
    if _plain(stream) != _MAGIC or _plain(stream) != _PROTOCOL:
        raise StateError("file: was not written by torch.save; save state_dict() with it")
    system = _plain(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise StateError("file: was saved on a machine with another order of bytes")
    memories = _Memories(size)
    content = Machine(memories.storage).run(stream)
    memories.fill(stream, _plain(stream))
    return content


class _Memories:
    """Memories of the tensors of a stream, whose values come after the pickle."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._storages: dict[str, Storage] = {}

    def storage(self, description: tuple[Any, ...]) -> Storage:
        dtype, key, number = _described(description[:5])
        if description[5:] not in ((), (None,)):
            raise StateError("file: has views of memory, which torch has not written since 0.4")
        if key not in self._storages:
            self._left -= number * dtype.itemsize
            if self._left < 0:
                raise StateError("file: tensors are larger than the file")
            self._storages[key] = Storage(torch.zeros(number, dtype=dtype, device="cpu"))
        return _checked(self._storages[key], dtype, number, key)

    def fill(self, stream: IO[bytes], keys: Any) -> None:
        if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(self._storages):
            raise StateError("file: is damaged: the list of memories does not fit the pickle")
        for key in map(str, keys):
            values = self._storages[key].values
            (number,) = struct.unpack("<q", _exactly(stream, 8))
            if number != values.numel():
                raise StateError(
                    f"file: memory {key} has not the {values.numel()} values it should"
                )
            if number:
                read = bytearray(_exactly(stream, number * values.dtype.itemsize))
                values.copy_(torch.frombuffer(read, dtype=values.dtype))


def _plain(stream: IO[bytes]) -> Any:
    def refuse(_: tuple[Any, ...]) -> Storage:
        raise StateError("file: is damaged")

    return Machine(refuse).run(stream)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    content = stream.read(count)
    if len(content) != count:
        raise StateError("file: is truncated")
    return content


def _described(description: tuple[Any, ...]) -> tuple[torch.dtype, str, int]:
    """Return type, key and number of elements of a memory; where it was does not matter."""
    if len(description) != 5:
        raise StateError("pickle: the memory of a tensor is described in another way")
    _, name, key, _, number = description
    if type(key) is not str or not key.isdecimal() or type(number) is not int or number < 0:
        raise StateError("pickle: the memory of a tensor is described in another way")
    return storage_dtype(name), key, number


def _checked(storage: Storage, dtype: torch.dtype, number: int, key: str) -> Storage:
    if storage.values.dtype is not dtype or storage.values.numel() != number:
        raise StateError(f"pickle: memory {key} is described in two ways")
    return storage
