"""The workload of a model for other tools."""

import csv
import io
import re
from pathlib import Path
from typing import Any

from mho.exceptions import ArgumentError
from mho.utils.hardware_cost.counts import LayerCounts
from mho.utils.hardware_cost.execution import LayerRun

FORMATS = ("accelforge", "csv")
# Analog weights have no bits; those of a slice by default.
_WEIGHT_BITS = 8


def workload_text(layers: list[LayerCounts], runs: list[LayerRun], format: str) -> str:
    """Return the workload of the analog layers of a pass.

    Args:
        layers: Counts of all layers.
        runs: What they did, in the same order.
        format: `"accelforge"` is YAML with an einsum for each executed analog layer, in the form
            that AccelForge reads; `"csv"` are the counts of all layers.

    Raises:
        ArgumentError: The format is another one.
    """
    if format not in FORMATS:
        raise ArgumentError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
    return _csv(layers) if format == "csv" else _accelforge(layers, runs)


def write_workload(path: str | Path, text: str) -> None:
    """Write a workload.

    Args:
        path: File, written anew.
        text: Content.
    """
    Path(path).write_text(text, encoding="utf-8")


def _csv(layers: list[LayerCounts]) -> str:
    rows = [layer.to_dict() for layer in layers]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _accelforge(layers: list[LayerCounts], runs: list[LayerRun]) -> str:
    lines = ["workload:", "  einsums:"]
    for layer, run in zip(layers, runs, strict=True):
        if layer.tiles and layer.mvms:
            lines += _einsum(layer, run)
    return "\n".join(lines) + "\n"


def _einsum(layer: LayerCounts, run: LayerRun) -> list[str]:
    """Return the lines of one layer: a matrix product, or a convolution of two axes."""
    name = re.sub(r"\W", "_", layer.name) or layer.layer_class
    name = f"L{name}" if name[0].isdigit() else name
    tensors = {"output": f"{name}_out", "input": f"{name}_in", "weight": f"{name}_w"}
    expression, shape = _form(layer, run.module, tensors)
    first = layer.tiles[0].precision
    bits = {"output": first.bits_out, "input": first.bits_in, "weight": _WEIGHT_BITS}
    sizes = ", ".join(f"0 <= {axis} < {size}" for axis, size in shape.items())
    return [
        f'  - einsum: "{expression}"',
        f"    iteration_space_shape: [{sizes}]",
        f"    renames: {{{', '.join(f'{k}: {v}' for k, v in tensors.items())}}}",
        "    tensor_accesses:",
        *(f"    - {{name: {tensors[k]}, bits_per_value: {n}}}" for k, n in bits.items()),
    ]


def _form(layer: LayerCounts, module: Any, tensors: dict[str, str]) -> tuple[str, dict[str, int]]:
    """Return einsum and sizes of the axes."""
    out, in_, weight = tensors["output"], tensors["input"], tensors["weight"]
    is_plain = (
        len(getattr(module, "kernel_size", ())) == 2
        and module.groups == 1
        and not module.transposed
    )
    if not is_plain or layer.output_shape is None:
        rows = sum(tile.out_size for tile in layer.tiles)
        columns = layer.weights // rows
        return f"{out}[n, o] = {in_}[n, i] * {weight}[i, o]", {
            "n": layer.mvms, "i": columns, "o": rows
        }  # fmt: skip
    (p, q), (r, s) = layer.output_shape[-2:], module.kernel_size
    (up, left), (dr, ds) = module.stride, module.dilation
    terms = [
        f"H: p*{up} + r{'' if dr == 1 else f'*{dr}'}",
        f"W: q*{left} + s{'' if ds == 1 else f'*{ds}'}",
    ]
    expression = f"{out}[n, m, p, q] = {in_}[n, c, {', '.join(terms)}] * {weight}[m, c, r, s]"
    sizes = {
        "n": layer.mvms // (p * q), "m": module.out_channels, "c": module.in_channels,
        "p": p, "q": q, "r": r, "s": s,
    }  # fmt: skip
    return expression, sizes
