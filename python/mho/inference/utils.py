"""Programming and drift of all tiles of a model, whatever its root is."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol, runtime_checkable

from torch import nn
from tqdm import tqdm

from mho.exceptions import ModuleError, warn_caller
from mho.inference.noise.base import BaseNoiseModel
from mho.simulator.parameters.signatures import checked


@runtime_checkable
class ProgrammableModule(Protocol):
    """What programming and drift need of an analog module; layers stand above this module."""

    training: bool

    def program_analog_weights(
        self, noise_model: BaseNoiseModel | None = None, verbose: bool = False
    ) -> None:
        """Program the weights of all tiles below."""

    def drift_analog_weights(self, t_inference: float | str = 0.0) -> None:
        """Let the weights of all tiles below drift."""

    def can_drift(self) -> bool:
        """Return whether there are such tiles."""

    def _unchanged_on_error(self) -> AbstractContextManager[None]:
        """Return a block that puts all tiles below back if it raises."""


@checked
def program_analog_weights(
    model: nn.Module, noise_model: BaseNoiseModel | None = None, verbose: bool = False
) -> None:
    """Program the weights of all tiles of a model, each once.

    Warns if there are none.

    Args:
        model: Model with analog layers anywhere in it, in evaluation mode.
        noise_model: Noise of the programming, instead of that of the configurations.
        verbose: Show a progress bar over the analog layers, or over the tiles of an analog model.

    Raises:
        ModuleError: The model or one of its analog modules is in training mode.

    If anything raises, such as a noise model, no tile of the model has changed.
    """
    roots = _analog_roots(model, "program_analog_weights")
    if len(roots) == 1 and verbose:
        roots[0].program_analog_weights(noise_model, verbose)
        return
    with ExitStack() as blocks:
        for module in roots:
            blocks.enter_context(module._unchanged_on_error())
        for module in tqdm(roots, "programming", disable=not verbose, unit="layer"):
            module.program_analog_weights(noise_model)


@checked
def drift_analog_weights(model: nn.Module, t_inference: float | str = 0.0) -> None:
    """Let the weights of all tiles of a model drift, each once.

    Warns if there are none, or if none drifts.

    Args:
        model: Model with analog layers anywhere in it, in evaluation mode.
        t_inference: Time since programming in seconds, or text such as `"1 day"`.

    Raises:
        ArgumentError: The time is negative or none; nothing is changed.
        ModuleError: The model or one of its analog modules is in training mode, or devices have
            drifted for longer already.

    If anything raises, such as a noise model, no tile of the model has changed.
    """
    roots = _analog_roots(model, "drift_analog_weights")
    # Those without drift warn, which only matters if there are no others.
    drifting = [root for root in roots if root.can_drift()]
    with ExitStack() as blocks:
        for module in drifting:
            blocks.enter_context(module._unchanged_on_error())
        for module in drifting or roots:
            module.drift_analog_weights(t_inference)


def _analog_roots(model: nn.Module, caller: str) -> list[ProgrammableModule]:
    roots = list(_outermost(model, set()))
    if model.training or any(root.training for root in roots):
        raise ModuleError(f"{caller}: the model is in training mode; call model.eval() first")
    if not roots:
        warn_caller(
            f"{caller}: nothing has changed, the model has no analog layers; use the model that"
            " convert_to_analog has returned"
        )
    return roots


def _outermost(module: nn.Module, seen: set[int]) -> Iterator[ProgrammableModule]:
    if id(module) in seen:
        return
    seen.add(id(module))
    if isinstance(module, ProgrammableModule):
        yield module
        return
    for child in module.children():
        yield from _outermost(child, seen)
