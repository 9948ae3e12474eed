"""Tensors of a tile are ordinary ones, also where something is done inside `torch.inference_mode`.

A tensor that is made there can never be written in place outside of it, nor trained.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn


@contextmanager
def ordinary_tensors() -> Iterator[None]:
    """Make ordinary tensors inside the block, without recording; also a decorator."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def on_host() -> AbstractContextManager[Any]:
    """Return a block in which tensors are made on the host, whatever the default device is.

    Kernels compute there; and tensors on the meta device, on which large models are built, would
    have no values.
    """
    return nullcontext() if default_device().type == "cpu" else torch.device("cpu")


def default_device() -> torch.device:
    """Return where torch makes tensors: the default device, or that of a block around.

    Older versions of `torch.get_default_device` do not know of blocks.
    """
    return torch.empty(0).device


@ordinary_tensors()
def keep_ordinary(module: nn.Module) -> None:
    """Exchange tensors that were read from a file inside `torch.inference_mode`.

    Args:
        module: Module, with its children.
    """
    for part in module.modules():
        for name, buffer in part._buffers.items():
            if buffer is not None and buffer.is_inference():
                part._buffers[name] = buffer.clone()
        for name, parameter in part._parameters.items():
            if parameter is not None and parameter.is_inference():
                part._parameters[name] = nn.Parameter(parameter.clone(), parameter.requires_grad)
