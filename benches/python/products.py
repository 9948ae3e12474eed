"""Products: forward and backward of tiles, and the latency of a layer."""

from collections.abc import Iterator

import torch
from torch.nn.functional import linear

from libraries import Library
from timing import Row, Work, measure

SIZES = ((1024, 256, "<= 1.25 torch"), (512, 128, ""), (256, 32, "<= 2 torch"))


def tile(library: Library, kind: str, size: int) -> torch.nn.Module:
    """Return a square tile with default non-idealities: ``"inference"`` or ``"pulsed"``."""
    if kind == "inference":
        return library.tiles.InferenceTile(size, size, library.configs.InferenceRPUConfig())
    return library.tiles.AnalogTile(size, size, library.configs.SingleRPUConfig())


def forward_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time the forward product against ``torch.nn.functional.linear``."""
    for kind in ("inference", "pulsed"):
        for size, batch, target in SIZES:
            x, weight = torch.randn(batch, size), 0.1 * torch.randn(size, size)
            works: dict[str, Work] = {"torch": lambda x=x, weight=weight: linear(x, weight)}
            for library in libraries:
                module = tile(library, kind, size).eval()
                works[library.name] = lambda module=module, x=x: module(x)
            with torch.no_grad():
                seconds = measure(works)
            yield Row(
                f"forward, {kind} tile, {size}x{size}, batch {batch}", threads, seconds, target
            )


def backward_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time the backward product of a pulsed tile against the transposed product of torch."""
    for size, batch, target in SIZES:
        d, weight = 0.01 * torch.randn(batch, size), 0.1 * torch.randn(size, size)
        works: dict[str, Work] = {"torch": lambda d=d, weight=weight: d @ weight}
        for library in libraries:
            module = tile(library, "pulsed", size)
            works[library.name] = lambda module=module, d=d: module.backward(d)
        with torch.no_grad():
            seconds = measure(works)
        yield Row(f"backward, pulsed tile, {size}x{size}, batch {batch}", threads, seconds, target)


def latency_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time one vector through ``AnalogLinear`` under ``no_grad``."""
    x, digital = torch.randn(1, 256), torch.nn.Linear(256, 256, bias=False)
    for kind in ("inference", "pulsed"):
        works: dict[str, Work] = {"torch": lambda: digital(x)}
        for library in libraries:
            configs = library.configs
            config = (
                configs.InferenceRPUConfig() if kind == "inference" else configs.SingleRPUConfig()
            )
            layer = library.nn.AnalogLinear(256, 256, bias=False, rpu_config=config).eval()
            works[library.name] = lambda layer=layer: layer(x)
        with torch.no_grad():
            seconds = measure(works)
        yield Row(f"AnalogLinear, {kind}, 256x256, batch 1", threads, seconds, "<= 15 us")
