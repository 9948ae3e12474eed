"""Data of an evaluation: which are taken, and in which order they come."""

import hashlib
import pickle
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader

from mho.evaluation.keys import key
from mho.evaluation.random_state import seed_everything
from mho.exceptions import ArgumentError
from mho.simulator.parameters.checking import describe


def check_source(data: Any) -> None:
    """Refuse what cannot be gone through again and again.

    Args:
        data: Batches, or a function that returns them.

    Raises:
        ArgumentError: It is an iterator, or neither.
    """
    if isinstance(data, Iterator):
        raise ArgumentError(
            "data: an iterator is empty after one pass; hand over the loader, a list of batches, or"
            " a function that returns one of them"
        )
    is_one_number = isinstance(data, Tensor) and not data.is_nested and data.dim() == 0
    if is_one_number or (not callable(data) and not hasattr(data, "__iter__")):
        raise ArgumentError(
            "data: expected a DataLoader, a list of batches or a function that returns one of them,"
            f" got {describe(data)}"
        )


def opened(data: Any, seed: int) -> Any:
    """Return the batches; a function is called, with random numbers of its own.

    Args:
        data: Batches, or a function that returns them.
        seed: Seed of the evaluation.

    Raises:
        ArgumentError: The function has returned no batches.
    """
    if hasattr(data, "__iter__") or not callable(data):
        return data
    seed_everything(key(seed, "data"))
    found = data()
    check_source(found)
    if not hasattr(found, "__iter__"):
        raise ArgumentError(f"data: the function must return batches, got {describe(found)}")
    return found


def first_batch(batches: Any) -> Any:
    """Return the first batch.

    Args:
        batches: Batches.

    Raises:
        ArgumentError: There is none.
    """
    for batch in batches:
        return batch
    raise ArgumentError("data: is empty")


def length(batches: Any) -> int | None:
    """Return the number of batches, None if nobody knows it.

    Args:
        batches: Batches.
    """
    try:
        return len(batches) if isinstance(batches, Sized) else None
    except TypeError:  # a loader of a stream has the method, and does not know
        return None


def is_shuffled(batches: Any) -> bool:
    """Return whether a loader draws the order of its samples.

    Args:
        batches: Batches.
    """
    return isinstance(batches, DataLoader) and any(True for _ in _samplers(batches))


@contextmanager
def same_order(batches: Any, seed: int) -> Iterator[None]:
    """Let loaders draw the same order in every block.

    Args:
        batches: Batches.
        seed: Seed of the evaluation.
    """
    samplers = list(_samplers(batches)) if isinstance(batches, DataLoader) else []
    own = batches.generator if isinstance(batches, DataLoader) else None
    used = [sampler.generator for sampler in samplers]
    kept = [(g, g.get_state()) for g in (own, *used) if isinstance(g, Generator)]
    number = key(seed, "order")
    for generator, _ in kept:
        generator.manual_seed(number)
    for sampler, generator in zip(samplers, used, strict=True):
        if generator is None:
            sampler.generator = torch.Generator().manual_seed(number)
    try:
        yield
    finally:
        for sampler, generator in zip(samplers, used, strict=True):
            sampler.generator = generator
        for generator, state in kept:
            generator.set_state(state)


def _samplers(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield the samplers of a loader that draw, each once."""
    inner = getattr(loader.batch_sampler, "sampler", None)
    found = {id(s): s for s in (loader.sampler, loader.batch_sampler, inner)}
    yield from (s for s in found.values() if s is not None and hasattr(s, "generator"))


def hash_of(value: Any) -> str:
    """Return the SHA-256 hash of a batch, as hexadecimal text.

    Args:
        value: Tensors, and lists and dictionaries of them; whatever else can be pickled.
    """
    digest = hashlib.sha256()
    for piece in _pieces(value):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        yield f"{plain.dtype}{tuple(plain.shape)}".encode()
        yield plain.reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name).encode()
            yield from _pieces(item)
    elif isinstance(value, (list, tuple)):
        yield f"{len(value)}".encode()
        for item in value:
            yield from _pieces(item)
    elif isinstance(value, (str, int, float, type(None))):
        yield repr(value).encode()
    else:
        yield pickle.dumps(value)
