"""How tensors are spread over files of a limited size, and the index that tells which is where."""

import re
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from torch import Tensor

from mho.exceptions import ArgumentError
from mho.nn.saving.tensor_file import n_bytes
from mho.simulator.parameters.checking import describe

WHOLE = "model.safetensors"
"""Name of the file if there is one."""

INDEX = "model.safetensors.index.json"
"""Name of the index if there are several."""

_NAME = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
_UNITS = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip


def is_shard_name(name: Any) -> bool:
    """Return whether a text is the name of such a file, and no path that leads elsewhere.

    Args:
        name: Candidate.
    """
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def check_limit(limit: Any) -> int:
    """Return the largest size of a file in bytes.

    Args:
        limit: Number of bytes, or text such as ``"5GB"`` or ``"512MiB"``.

    Raises:
        ArgumentError: It is none, or not positive.
    """
    size = None
    if isinstance(limit, Integral) and not isinstance(limit, bool):
        size = int(limit)
    elif isinstance(limit, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", limit)
        if match and match[2].upper() in _UNITS:
            size = int(float(match[1]) * _UNITS[match[2].upper()])
    if size is None or size < 1:
        raise ArgumentError(
            "max_shard_size: expected a number of bytes or text such as '5GB', got"
            f" {describe(limit)}"
        )
    return size


def split(tensors: Mapping[str, Tensor], limit: int) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of each file, by its name.

    Args:
        tensors: Tensors by name, in the order in which they fill the files.
        limit: Largest size of the values of a file in bytes; a tensor that is larger than that has
            a file for itself.
    """
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in tensors.items():
        if parts[-1] and size + n_bytes(value) > limit:
            parts.append({})
            size = 0
        parts[-1][name] = value
        size += n_bytes(value)
    if len(parts) == 1:
        return {WHOLE: parts[0]}
    count = len(parts)
    return {f"model-{i:05}-of-{count:05}.safetensors": part for i, part in enumerate(parts, 1)}


def index_of(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Any]:
    """Return the content of the index.

    Args:
        parts: Tensors of each file.
    """
    total = sum(n_bytes(value) for part in parts.values() for value in part.values())
    places = {name: file for file, part in parts.items() for name in part}
    return {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
