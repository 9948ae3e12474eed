"""Optimizers that hand the recorded vectors of analog layers to the tiles.

The weight of a pulsed tile has no gradient. Its backward pass records pairs of an input ``x`` and
an output gradient ``d`` in the tile's `AnalogContext`; one optimizer step turns all rows recorded
since the last one into a single update ``W -= lr * d^T x``, made of pulses, sample by sample. Hence
only the learning rate of an optimizer acts on pulsed weights: momentum, weight decay and moments of
Adam do not.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

import torch
from torch.optim import SGD, Adam, Optimizer

from mho.exceptions import ArgumentError
from mho.optim.context import AnalogContext
from mho.optim.param_groups import regroup
from mho.optim.trace import apply_trace
from mho.simulator.parameters.arguments import check_not_negative

OptimizerT = TypeVar("OptimizerT", bound="AnalogOptimizerMixin")


class AnalogOptimizerMixin(Optimizer):
    """Adds the update of analog tiles to a torch optimizer; stands before it among the bases.

    A context with ``requires_grad=False`` is frozen: rows recorded for it are dropped.
    """

    def regroup_param_groups(self, *_: Any) -> None:
        """Give every analog context a parameter group of its own, at the end of the groups.

        Calling it is optional. A new group inherits the options of the group that the context comes
        from; groups that become empty vanish. The tiles learn the rate of their group at once.

        Args:
            _: Ignored; scripts pass the model.
        """
        self.param_groups[:] = regroup(self.param_groups)
        for context, learning_rate in self._contexts():
            if learning_rate is not None:
                context.analog_tile.set_learning_rate(float(learning_rate))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, those recorded for analog tiles included.

        Args:
            set_to_none: As in torch, for ordinary parameters.
        """
        super().zero_grad(set_to_none)
        for context, _ in self._contexts():
            context.reset()

    def step(self, closure: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        """Update the ordinary parameters, then the tiles; then run the after-step work of tiles.

        A tile without recorded rows, frozen, or with a learning rate of zero keeps its weights;
        decay, diffusion, clipping and remapping happen after each step in all tiles.

        Args:
            closure: As in torch: clears the gradients, evaluates the model and returns the loss.
            kwargs: Passed to the step of the torch optimizer.

        Returns:
            What the torch optimizer returns.

        Raises:
            ArgumentError: A learning rate is negative or not finite; nothing is changed. Or a
                recorded vector contains NaN or infinity; that tile is unchanged.
        """
        for _, learning_rate in self._contexts():
            _check(learning_rate)
        result = self._digital_step(closure, **kwargs)
        contexts = list(self._contexts())
        with torch.no_grad():
            for context, learning_rate in contexts:
                apply_trace(context, learning_rate)
            for context, _ in contexts:
                context.analog_tile.post_update_step()
        return result

    def set_learning_rate(self, learning_rate: float = 0.1) -> None:
        """Set the learning rate of all groups and of their tiles.

        Args:
            learning_rate: The new rate.

        Raises:
            ArgumentError: It is negative or not finite; nothing is changed.
        """
        _check(learning_rate)
        for group in self.param_groups:
            group["lr"] = learning_rate
        for context, _ in self._contexts():
            context.analog_tile.set_learning_rate(float(learning_rate))

    def __deepcopy__(self: OptimizerT, memo: dict[int, Any]) -> OptimizerT:
        """Copy the optimizer together with the tiles it updates.

        Copy model and optimizer in one call, ``deepcopy((model, optimizer))``, to keep them
        connected.
        """
        for context, _ in self._contexts():
            copy.deepcopy(context.analog_tile, memo)
        copied: OptimizerT = object.__new__(type(self))
        memo[id(self)] = copied
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied

    def _contexts(self) -> Iterator[tuple[AnalogContext, Any]]:
        """Yield every analog context with the learning rate of its group."""
        for group in self.param_groups:
            for parameter in group["params"]:
                # Unlike isinstance, which for parameters asks a metaclass written in Python.
                if issubclass(type(parameter), AnalogContext):
                    yield parameter, group.get("lr")

    def _digital_step(self, closure: Callable[[], Any] | None, **kwargs: Any) -> Any:
        """Run the step of the torch optimizer without its profiling wrapper.

        torch wraps ``step`` of every class that was instantiated, and the wrapper runs the step
        hooks. Ours is wrapped already; going through the parent's wrapper would run each hook
        twice.
        """
        parent = super().step
        if getattr(parent, "hooked", False):
            return parent.__func__.__wrapped__(self, closure, **kwargs)  # type: ignore[attr-defined]
        return parent(closure, **kwargs)


class AnalogSGD(AnalogOptimizerMixin, SGD):
    """Stochastic gradient descent for models with analog layers; arguments as `torch.optim.SGD`."""


class AnalogAdam(AnalogOptimizerMixin, Adam):
    """Adam for the digital parameters of analog models; arguments as `torch.optim.Adam`.

    Pulsed weights follow plain stochastic gradient descent with the same learning rate.
    """


class AnalogOptimizer(AnalogOptimizerMixin, Optimizer):
    """Analog version of any torch optimizer.

    Example: ``AnalogOptimizer(torch.optim.RMSprop, model.parameters(), lr=0.1)``.

    The instance belongs to a class that derives from this one and from the given optimizer class,
    so schedulers accept it. It can be pickled and copied.
    """

    SUBCLASSES: ClassVar[dict[type[Optimizer], type["AnalogOptimizer"]]] = {}
    """Generated classes by optimizer class."""

    def __new__(cls, optimizer_cls: type[Optimizer], *_: Any, **__: Any) -> "AnalogOptimizer":
        """Create an instance of the class generated for ``optimizer_cls``.

        Args:
            optimizer_cls: Subclass of `torch.optim.Optimizer`.

        Raises:
            ArgumentError: ``optimizer_cls`` is no such class.
        """
        return object.__new__(cls._class_for(optimizer_cls))

    def __init__(self, optimizer_cls: type[Optimizer], *args: Any, **kwargs: Any) -> None:
        """Initialise the torch optimizer.

        Args:
            optimizer_cls: Subclass of `torch.optim.Optimizer`.
            args: Passed to it, the parameters first.
            kwargs: Passed to it.
        """
        super().__init__(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._optimizer_class(),), self.__getstate__()

    @classmethod
    def _class_for(cls, optimizer_cls: type[Optimizer]) -> type["AnalogOptimizer"]:
        if not (isinstance(optimizer_cls, type) and issubclass(optimizer_cls, Optimizer)):
            raise ArgumentError(
                f"optimizer_cls: must be a subclass of torch.optim.Optimizer, got {optimizer_cls!r}"
            )
        # Keyed by the class, since two optimizers of the same name are different optimizers.
        if optimizer_cls not in AnalogOptimizer.SUBCLASSES:
            AnalogOptimizer.SUBCLASSES[optimizer_cls] = type(
                f"AnalogOptimizer{optimizer_cls.__name__}",
                (AnalogOptimizer, optimizer_cls),
                {"__module__": optimizer_cls.__module__, "__doc__": optimizer_cls.__doc__},
            )
        return AnalogOptimizer.SUBCLASSES[optimizer_cls]

    def _optimizer_class(self) -> type[Optimizer]:
        bases: tuple[type[Optimizer], ...] = type(self).__bases__
        return bases[1]


def _check(learning_rate: Any) -> None:
    if learning_rate is not None:
        check_not_negative("lr", learning_rate)


def _rebuild(optimizer_cls: type[Optimizer]) -> AnalogOptimizer:
    """Return an empty analog optimizer, to be filled by unpickling."""
    return AnalogOptimizer.__new__(AnalogOptimizer, optimizer_cls)
