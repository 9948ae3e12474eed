"""Optimizers that hand the recorded vectors of analog layers to the tiles.

The weight of a pulsed tile has no gradient. Its backward pass records pairs of an input ``x`` and
an output gradient ``d`` in the tile's `AnalogContext`; one optimizer step turns all rows recorded
since the last one into a single update ``W -= lr * d^T x``, made of pulses, sample by sample. Hence
only the learning rate of an optimizer acts on pulsed weights, and ``maximize`` as its sign; moments
of Adam act on digital parameters alone. Options that would silently do nothing are refused.
"""

import copy
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from mho.exceptions import ArgumentError, ModuleError
from mho.optim import clearing, loss_scale  # noqa: F401  # torch drops pairs, and asks them
from mho.optim.after_step import work_of
from mho.optim.context import AnalogContext
from mho.optim.gathering import (
    Member,
    Round,
    check_all_have_replicas,
    is_pulsed_together,
    needs_agreement,
)
from mho.optim.joining import FollowingHook, JoinSettings, enter_step, place_of
from mho.optim.options import check_options, contexts_of
from mho.optim.param_groups import regroup
from mho.optim.place_in_model import layer_of
from mho.optim.replicas import common_stream
from mho.optim.trace import apply_trace, are_finite, gradient_norm, total_norm
from mho.simulator.parameters.arguments import (
    as_number,
    check_flag,
    check_function,
    check_mapping,
    check_not_negative,
)
from mho.simulator.parameters.checking import describe

P = ParamSpec("P")
OptimizerT = TypeVar("OptimizerT", bound="AnalogOptimizerMixin")
_Contexts = list[tuple[AnalogContext, dict[str, Any]]]
"""Contexts with their groups of parameters."""


class AnalogOptimizerMixin(Optimizer):
    """Adds the update of analog tiles to a torch optimizer; stands before it among the bases.

    A context with ``requires_grad=False`` is frozen: rows recorded for it are dropped. Tiles get
    the learning rate of their group when the optimizer is built, and at every step.

    ``torch.amp.GradScaler`` works: errors recorded from a scaled loss are divided by its scale, and
    a step with infinities, in gradients or errors, is skipped as a whole and reduces it. After
    ``scaler.unscale_(optimizer)``, which divides digital gradients only, call `unscale_analog`.

    Where several processes train a model (`prepare_for_ddp`), a step gathers the pairs of all of
    them, so that each process makes the same pulses. All of them must take each step, and
    `clip_analog_norm`, together; what is refused in one of them is refused in all.
    """

    # What GradScaler asks for: it leaves scale and infinities to `step`, as attributes.
    _step_supports_amp_scaling = True
    steps_tiles = True
    """Whether steps include the work of tiles after a step."""

    grad_scale: Tensor | None
    found_inf: Tensor | None
    _is_being_built: bool = False
    _errors_are_unscaled: bool = False
    _round: Round = Round()
    _join_config: Any = JoinSettings()
    _divides_by_active: bool = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Build the torch optimizer and give the tiles their learning rate.

        Args:
            args: Of the torch optimizer, the parameters first.
            kwargs: Of the torch optimizer.

        Raises:
            ArgumentError: A learning rate is not finite, or an option of a group with pulsed
                weights has no meaning for them: momentum, dampening, nesterov, weight_decay.
        """
        self._is_being_built = True
        try:
            super().__init__(*args, **kwargs)
        finally:
            del self._is_being_built
        self._adopt()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, and give its tiles their learning rate.

        Args:
            param_group: As in torch.

        Raises:
            ArgumentError: As for the constructor; the optimizer is as before.
        """
        super().add_param_group(param_group)
        if self._is_being_built:
            return
        try:
            self._check_options()
        except ArgumentError:
            self.param_groups.pop()
            raise
        self._adopt()

    def load_state_dict(self, state_dict: Any) -> None:
        """Load a state, and give the tiles the learning rates in it.

        Args:
            state_dict: As in torch.

        Raises:
            ArgumentError: As for the constructor, or it is no state of an optimizer; nothing is
                changed.
        """
        for group, saved in zip(self.param_groups, _saved_groups(state_dict), strict=False):
            check_options({**group, **saved, "params": group["params"]})
        super().load_state_dict(state_dict)
        self._adopt()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, which steps the copied tiles."""
        super().__setstate__(state)
        if hasattr(self, "param_groups"):
            for context, _ in self._contexts():
                context.be_stepped_by(self)

    def regroup_param_groups(self, *_: Any) -> None:
        """Give every analog context a parameter group of its own, at the end of the groups.

        Calling it is optional. A new group inherits the options of the group that the context comes
        from; groups that become empty vanish. The tiles learn the rate of their group at once.

        Args:
            _: Ignored; scripts pass the model.
        """
        self.param_groups[:] = regroup(self.param_groups)
        self._adopt()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, those recorded for analog tiles included.

        Args:
            set_to_none: As in torch, for ordinary parameters.
        """
        super().zero_grad(set_to_none)
        self._drop_records()

    def step(self, closure: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        """Update the ordinary parameters, then the tiles; then run the after-step work of tiles.

        A tile without recorded rows, frozen, or with a learning rate of zero keeps its weights;
        decay, diffusion, clipping and remapping happen after each step in all tiles.

        Args:
            closure: As in torch: clears the gradients, evaluates the model and returns the loss.
            kwargs: Passed to the step of the torch optimizer.

        Returns:
            What the torch optimizer returns; None if `GradScaler` found infinities.

        Raises:
            ArgumentError: A learning rate is negative or not finite, an option has no meaning for
                pulsed weights, `closure` is no function, or errors are still scaled (see
                `unscale_analog`); nothing is changed. Or a recorded vector contains NaN or
                infinity; nothing is changed, except by the closure, and everything recorded is
                dropped. In all processes that train the tiles, if it is so in one of them.
            ModuleError: The processes that train the tiles hold different tiles or weights, or are
                to step with different rates; nothing is changed, except by the closure.
        """
        if closure is not None:
            check_function("closure", closure)
        self._round = Round()
        try:
            self._check_options()
            found_inf: Tensor | None = getattr(self, "found_inf", None)
            if found_inf is None:
                return self._step(closure, 1.0, **kwargs)
            return self._scaled_step(float(found_inf), **kwargs)
        except BaseException as error:
            if isinstance(error, Exception):
                self._round.fail(self._members(), error)
            # torch deletes them after a step only, and would multiply scales in the next one.
            self.__dict__.pop("grad_scale", None)
            self.__dict__.pop("found_inf", None)
            raise

    def _scaled_step(self, found_inf: float, **kwargs: Any) -> Any:
        """Make a step with what a `GradScaler` has left at the optimizer."""
        scale = getattr(self, "grad_scale", None)
        pulsed = (context for context, _ in self._contexts() if not context.use_torch_update)
        recorded = any(context.has_gradient() for context in pulsed)
        if scale is None and recorded and not self._errors_are_unscaled:
            raise ArgumentError(
                "grad_scale: unscale_() of the scaler has divided the digital gradients only; call"
                " unscale_analog(scaler) of the optimizer after it"
            )
        if found_inf != 0.0:
            self._drop_records()
            return None
        inverse = 1.0 if scale is None else 1.0 / float(scale)
        if inverse != 1.0:
            self._scale_gradients(inverse)
        factor = 1.0 if self._errors_are_unscaled else inverse
        # The fused kernels of torch would divide once more; the scaler deletes both afterwards.
        self.grad_scale = self.found_inf = None
        return self._step(None, factor, **kwargs)

    @torch.no_grad()
    def _scale_gradients(self, factor: float) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)

    def _step(self, closure: Callable[[], Any] | None, factor: float, **kwargs: Any) -> Any:
        contexts = list(self._contexts())
        if closure is None:
            self._check_records(contexts)
        is_rehearsed = self._is_rehearsed()
        self._drop_assigned(contexts)
        if closure is None and not is_rehearsed:
            self._agree(factor)
        # An error in a closure is no reason to wait for the others, who wait for its gradients.
        self._round.is_over = True
        result = self._digital_step(closure, **kwargs)
        if is_rehearsed:
            return result
        if closure is not None:
            self._round.is_over = False
            contexts = list(self._contexts())  # it may have added groups
            self._check_records(contexts)
            self._agree(factor)
        with torch.no_grad():
            try:
                for context, group in contexts:
                    rate = group.get("lr")
                    if rate is not None:
                        context.analog_tile.set_learning_rate(float(rate))
                    unused = 0.0 if rate is not None and rate == 0 else None
                    with common_stream(context):
                        apply_trace(context, unused, -factor if group.get("maximize") else factor)
            except BaseException:
                self._drop_records()
                raise
            for context, _ in contexts:
                work_of(context.analog_tile, self)
        self._errors_are_unscaled = False
        return result

    def _members(self, factor: float = 1.0) -> list[Member]:
        """Return the tiles about which processes agree before a step."""
        return [
            Member(
                context,
                float(context.analog_tile.get_learning_rate() if rate is None else rate),
                -factor if group.get("maximize") else factor,
            )
            for context, group in self._contexts()
            if needs_agreement(context)
            for rate in (group.get("lr"),)
        ]

    def _agree(self, factor: float) -> None:
        """Gather the pairs of all processes, where there are several; see `Round.agree`."""
        members = self._members(factor)
        if not members:
            return
        self._round.is_over = True  # ranks without data would not hear of an error
        enter_step(self, members)
        self._round.is_over = False
        check_all_have_replicas(context for context, _ in self._contexts())
        self._round.agree(members, divides_by_active=self._divides_by_active)

    def _follow_others(self) -> None:
        """Take part in a step of other processes, for which this one has no data.

        Ordinary parameters stay: torch copies them from the process that had data longest.
        """
        members = self._members()
        with torch.no_grad():
            for member in Round().agree(members, True, self._divides_by_active):
                context = member.context
                if context.use_torch_update:
                    continue
                context.analog_tile.set_learning_rate(member.rate)
                with common_stream(context):
                    apply_trace(context, 0.0 if member.rate == 0.0 else None, member.factor)
                work_of(context.analog_tile, self)

    def join_hook(self, **kwargs: Any) -> FollowingHook:
        """Return what a process does that has run out of data, for `Join([model, optimizer])`.

        Args:
            kwargs: ``divide_by_initial_world_size`` (True) as for the model; others are ignored.
        """
        self._divides_by_active = not kwargs.get("divide_by_initial_world_size", True)
        return FollowingHook(self._follow_others)

    @property
    def join_process_group(self) -> Any:
        """Process group of the pulsed tiles, for `Join`."""
        return place_of(self._members())[0]

    @property
    def join_device(self) -> torch.device:
        """Where the process group takes tensors, for `Join`."""
        return place_of(self._members())[1]

    def _is_rehearsed(self) -> bool:
        """Return whether a step is only to make the state of the optimizer.

        Before it saves or loads, `torch.distributed.checkpoint` gives all parameters gradients of
        zeros and takes a step with learning rates of zero. No device may decay in it.
        """
        if any(group.get("lr") != 0 for group in self.param_groups):
            return False
        parameters = [p for group in self.param_groups for p in group["params"] if p.requires_grad]
        return all(p.grad is not None and not p.grad.count_nonzero() for p in parameters)

    @staticmethod
    def _drop_assigned(contexts: _Contexts) -> None:
        """Drop gradients of zeros that were assigned to pulsed weights, and refuse others."""
        for context, _ in contexts:
            gradient = None if context.use_torch_update else context.assigned_gradient()
            if gradient is None:
                continue
            if bool(gradient.count_nonzero()):
                raise ArgumentError(
                    f"{layer_of(context.analog_tile)}: pulsed weights have no gradient, and one"
                    " that is assigned cannot act on them; use update(x, d) of the tile"
                )
            context.drop_gradient()

    def _check_records(self, contexts: _Contexts) -> None:
        """Refuse recorded vectors that no tile can use, before anything is changed by them."""
        used = [context for context, group in contexts if _is_used(context, group)]
        if are_finite(used):
            return
        wrong = next(context for context in used if not are_finite([context]))
        self._drop_records()
        raise ArgumentError(
            f"{layer_of(wrong.analog_tile)}: recorded inputs and gradients must be finite; found"
            " NaN or infinity. What was recorded for this step is dropped"
        )

    def _drop_records(self) -> None:
        self._errors_are_unscaled = False
        for context, _ in self._contexts():
            context.reset()

    def unscale_analog(self, scaler: Any) -> None:
        """Divide the errors recorded by analog layers by the scale of a `torch.amp.GradScaler`.

        Only needed after ``scaler.unscale_(optimizer)``, that is, before gradients are clipped.

        Args:
            scaler: Scaler of the loss.

        Raises:
            ArgumentError: It is no scaler, or they have been divided since the last step.
        """
        if not callable(getattr(scaler, "is_enabled", None)) or isinstance(scaler, type):
            raise ArgumentError(f"scaler: expected a GradScaler, got {describe(scaler)}")
        if not scaler.is_enabled():
            return
        if self._errors_are_unscaled:
            raise ArgumentError("scaler: unscale_analog was called already since the last step")
        for context, _ in self._contexts():
            context.scale_errors(1.0 / float(scaler.get_scale()))
        self._errors_are_unscaled = True

    def clip_analog_norm(
        self, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
    ) -> Tensor:
        """Scale the errors recorded by pulsed layers so that their gradient has a limited norm.

        `torch.nn.utils.clip_grad_norm_` sees digital parameters and inference tiles only. This is
        its counterpart for pulsed tiles: the gradient of a tile is the sum of ``d^T x`` over all
        recorded rows, and the norm is that of all tiles of the optimizer together. Processes that
        train the tiles together call it together: the rows are those of all of them.

        Args:
            max_norm: Largest norm.
            norm_type: Order of the norm; may be infinity.
            error_if_nonfinite: Raise if the norm is NaN or infinity.

        Returns:
            The norm before clipping, a scalar.

        Raises:
            ArgumentError: An argument is negative or NaN; nothing is changed.
            ModuleError: Processes that train the tiles together do not fit, as in `step`; or they
                are in a block of `Join`.
            RuntimeError: The norm is not finite and `error_if_nonfinite` is set.
        """
        limit = check_not_negative("max_norm", max_norm)
        order = math.inf if isinstance(norm_type, str) and norm_type == "inf" else norm_type
        order = as_number(order)
        if not order > 0.0:
            raise ArgumentError(f"norm_type: must be positive, got {describe(norm_type)}")
        error_if_nonfinite = check_flag("error_if_nonfinite", error_if_nonfinite)
        together = [m for m in self._members() if is_pulsed_together(m.context)]
        if together and self._join_config.enable:
            raise ModuleError("clip_analog_norm: ranks without data cannot follow it; leave Join")
        if together:
            Round().agree(together)
        contexts = [context for context, _ in self._contexts() if _is_pulsed(context)]
        total = total_norm([gradient_norm(context, order) for context in contexts], order)
        if error_if_nonfinite and not math.isfinite(total):
            raise RuntimeError(f"the norm of order {order} of the analog gradients is {total}")
        # The same guard against zero as that of torch, so that both clip by the same factor.
        factor = limit / (total + 1e-6)
        if factor < 1.0 or math.isnan(factor):
            for context in contexts:
                context.scale_errors(factor)
        return torch.tensor(total, device="cpu")

    def set_learning_rate(self, learning_rate: float = 0.1) -> None:
        """Set the learning rate of all groups and of their tiles.

        Args:
            learning_rate: The new rate.

        Raises:
            ArgumentError: It is no number, negative or not finite; nothing is changed.
        """
        check_not_negative("learning_rate", learning_rate)
        for group in self.param_groups:
            group["lr"] = learning_rate
        self._adopt()

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

    def _contexts(self) -> Iterator[tuple[AnalogContext, dict[str, Any]]]:
        """Yield every analog context with its group."""
        for group in self.param_groups:
            for context in contexts_of(group):
                yield context, group

    def _check_options(self) -> None:
        for group in self.param_groups:
            check_options(group)

    def _adopt(self) -> None:
        """Give the tiles the learning rates of their groups; their traces are ours now."""
        self._check_options()
        for context, group in self._contexts():
            context.be_stepped_by(self)
            if group.get("lr") is not None:
                context.analog_tile.set_learning_rate(float(group["lr"]))

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


def _saved_groups(state_dict: Any) -> list[Mapping[str, Any]]:
    """Return the groups of parameters in the state of an optimizer."""
    state = check_mapping("state_dict", state_dict)
    groups = state.get("param_groups")
    if (
        not isinstance(state.get("state"), Mapping)
        or not isinstance(groups, list)
        or not all(isinstance(group, Mapping) and "params" in group for group in groups)
    ):
        raise ArgumentError("state_dict: is not what state_dict() of an optimizer returned")
    return groups


def _with_signature_of(init: Callable[P, None]) -> Callable[P, None]:
    """Return the constructor of the mix-in with the signature of a torch optimizer."""

    @functools.wraps(init)
    def built(*args: P.args, **kwargs: P.kwargs) -> None:
        AnalogOptimizerMixin.__init__(*args, **kwargs)  # type: ignore[arg-type]

    return built


class AnalogSGD(AnalogOptimizerMixin, SGD):
    """Stochastic gradient descent for models with analog layers; arguments as `torch.optim.SGD`.

    Momentum, dampening, nesterov and weight decay are refused for groups with pulsed weights.
    """

    __init__ = _with_signature_of(SGD.__init__)


class AnalogAdam(AnalogOptimizerMixin, Adam):
    """Adam for the digital parameters of analog models; arguments as `torch.optim.Adam`.

    Pulsed weights follow plain stochastic gradient descent with the same learning rate; weight
    decay is refused for their groups.
    """

    __init__ = _with_signature_of(Adam.__init__)


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


def _is_used(context: AnalogContext, group: dict[str, Any]) -> bool:
    """Return whether a step applies what a context has recorded, if anything."""
    if context.use_torch_update or not context.has_gradient():
        return False
    return context.is_trained() and bool(group.get("lr") != 0)


def _is_pulsed(context: AnalogContext) -> bool:
    return context.requires_grad and not context.use_torch_update


def _rebuild(optimizer_cls: type[Optimizer]) -> AnalogOptimizer:
    """Return an empty analog optimizer, to be filled by unpickling."""
    return AnalogOptimizer.__new__(AnalogOptimizer, optimizer_cls)
