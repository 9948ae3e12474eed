"""What a user meets: steps of training with operations of torch between layers, default layers."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from libraries import Library
from timing import Row, Work, measure

SIZES, BATCH = (784, 512, 512, 10), 64
STEPS = {"ConstantStep": "<= 1.6 torch", "SoftBounds": "<= 2.5 torch", "inference": "<= 1.3 torch"}


def config(library: Library, kind: str) -> object:
    """Return the configuration of one of the networks."""
    configs = library.configs
    if kind == "inference":
        return configs.InferenceRPUConfig()
    return configs.SingleRPUConfig(device=getattr(configs, f"{kind}Device")())


def network(library: Library | None, kind: str) -> nn.Sequential:
    """Return a network for handwritten digits; of digital layers without a library."""
    layers: list[nn.Module] = []
    for sizes in pairwise(SIZES):
        if library is None:
            layers += [nn.Linear(*sizes), nn.Sigmoid()]
        else:
            layer = library.nn.AnalogLinear(*sizes, rpu_config=config(library, kind))
            layers += [layer, nn.Sigmoid()]
    return nn.Sequential(*layers[:-1])


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> Work:
    """Return a function that trains with one batch."""
    x, target = torch.rand(BATCH, SIZES[0]), torch.randint(SIZES[-1], (BATCH,))

    def run() -> None:
        optimizer.zero_grad()
        cross_entropy(model(x), target).backward()
        optimizer.step()

    return run


def step_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time steps of training beside those of digital layers."""
    for kind, target in STEPS.items():
        digital = network(None, kind)
        works = {"torch": step(digital, torch.optim.SGD(digital.parameters(), lr=0.01))}
        for library in libraries:
            model = network(library, kind)
            optimizer = library.optim.AnalogSGD(model.parameters(), lr=0.01)
            works[library.name] = step(model, optimizer)
        name = f"step, {kind}, {'-'.join(map(str, SIZES))}, batch {BATCH}"
        yield Row(name, threads, measure(works), target)


def layer_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time the forward pass of a layer that is cut into tiles, as by default."""
    size, batch = 1024, 256
    x, digital = torch.rand(batch, size), nn.Linear(size, size)
    works: dict[str, Work] = {"torch": lambda: digital(x)}
    for library in libraries:
        layer = library.nn.AnalogLinear(size, size, rpu_config=config(library, "inference"))
        works[library.name] = lambda layer=layer: layer(x)
    with torch.no_grad():
        seconds = measure(works)
    yield Row(
        f"layer as by default, {size}x{size}, batch {batch}", threads, seconds, "<= 1.25 torch"
    )
