"""The parameter that stands for the analog weights of a tile in optimizers."""

import warnings
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError
from mho.optim.place_in_model import layer_of
from mho.optim.replicas import CommonStream, Replicas
from mho.optim.weight_view import (
    PlaceholderDataView,
    ReadOnlyWeightView,
    is_metadata_operation,
    operation_name,
    plain,
    raise_if_readonly_write_target,
    raise_placeholder_error,
)
from mho.simulator.parameters.enums import AnalogContextDataViewMode
from mho.simulator.parameters.signatures import check_real

__all__ = [
    "AnalogContext",
    "AnalogContextDataViewMode",
    "ContextTile",
    "Pair",
    "PlaceholderDataView",
    "ReadOnlyWeightView",
    "raise_if_readonly_write_target",
]

_LONG_TRACE = 500
# Backward passes after which a trace that no optimizer will ever apply is reported. More than one
# pass is usual where gradients are accumulated by hand.
_PASSES_ALONE = 3
# Asked for in every step, several times: values that do not depend on the view.
_GET_GRAD: Any = vars(torch._C.TensorBase)["grad"].__get__
_GET_REQUIRES_GRAD: Any = vars(torch._C.TensorBase)["requires_grad"].__get__


class PatchesOfImages(Protocol):
    """What the inputs of a tile are of images."""

    def rows(self, images: Tensor) -> Tensor:
        """Return the inputs, `[N, positions, in]`, of images `[N, C, *sizes]`."""


class Pair(NamedTuple):
    """What one call of a tile leaves for its update.

    A convolution leaves its images, which are many times smaller than their patches.
    """

    x: Tensor
    """Inputs as the array saw them, shape `[..., in]`; with patches the images `[N, C, *sizes]`."""

    d: Tensor
    """Gradients of the outputs, shape `[..., out]`; with patches `[N, out, positions]`."""

    bias: float | None
    """Input of the analog bias column; None without one."""

    patches: PatchesOfImages | None = None
    """What the inputs are of images; None if they are there as they are."""

    def with_rows(self) -> "Pair":
        """Return the same with inputs `[..., in]` and gradients `[..., out]`."""
        if self.patches is None:
            return self
        return Pair(self.patches.rows(self.x), self.d.transpose(1, 2), self.bias)


class TrainedTile(Protocol):
    """What a parameter needs of the tile whose weights it trains."""

    analog_ctx: Any

    def trained_parameter(self) -> nn.Parameter | None:
        """Return the parameter by which torch trains the weights."""


# By the identity of parameters, which are ordinary ones and are copied and pickled as such.
_TRAINED: "weakref.WeakValueDictionary[int, TrainedTile]" = weakref.WeakValueDictionary()


def stands_for(parameter: nn.Parameter, tile: TrainedTile) -> None:
    """Remember that a parameter holds the weights of a tile, so that optimizers find the tile.

    Args:
        parameter: Parameter.
        tile: Tile; it is not kept alive.
    """
    _TRAINED[id(parameter)] = tile


def context_of(parameter: Any) -> "AnalogContext | None":
    """Return the context of the tile whose weights a parameter stands for, None if there is none.

    Args:
        parameter: Parameter of a model: a context, or the trained weights of an inference tile.
    """
    # Unlike isinstance, which for parameters asks a metaclass written in Python.
    if issubclass(type(parameter), AnalogContext):
        context: AnalogContext = parameter
        return context
    tile = _TRAINED.get(id(parameter))
    if tile is None or tile.trained_parameter() is not parameter:
        return None
    return tile.analog_ctx  # type: ignore[no-any-return]


class ContextTile(Protocol):
    """What a context needs of its tile."""

    analog_ctx: Any
    in_size: int

    def get_weights(self) -> tuple[Tensor, Tensor | None]:
        """Return logical weights `[out, in]` and bias."""

    def get_brief_info(self) -> str:
        """Return one line with kind and size."""

    def trained_parameter(self) -> nn.Parameter | None:
        """Return the parameter by which torch trains the weights, None if devices are pulsed."""

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Move or cast the tile."""

    def _get_tile_weights_ref(self) -> Tensor:
        """Return the live raw weights."""


def _check_tile(tile: Any) -> None:
    if not hasattr(tile, "_get_tile_weights_ref"):
        raise ArgumentError(f"analog_tile: expected a tile, got {type(tile).__name__}")


class AnalogContext(nn.Parameter):
    """Parameter of an analog tile: the handle by which optimizers find it, and its trace.

    Its storage is that of the raw tile weights, its shape that of the logical weights `[out_size,
    in_size]`. It never has a gradient: pairs of tile inputs and output gradients are collected in
    `analog_input` and `analog_grad_output`, and an analog optimizer turns them into pulses.

    What its values are depends on `data_view_mode`: `DATA_VIEW` (default) shows the logical weights
    read-only, `PLACEHOLDER` refuses to be read, `BUFFER` is an independent tensor that starts at
    zero.

    Where torch trains the weights through a parameter of its own, the context is no parameter of
    the model; it has the `requires_grad` of that one.
    """

    analog_tile: Any
    use_torch_update: bool
    use_indexed: bool

    replicas: Replicas | None = None
    """Processes that train the tile together, None if this one does so alone."""

    common_stream: CommonStream | None = None
    """What all of them draw from where the weights change."""

    gathered: int = 0
    """Number of the first pairs of the trace that are those of all of them."""

    batches_seen_everywhere: float = 0.0
    """Number of batches that the input range has followed in each of them."""

    @staticmethod
    def __new__(
        cls, analog_tile: ContextTile, parameter: nn.Parameter | None = None
    ) -> "AnalogContext":
        """Wrap the live weights of a tile, or a parameter that holds them, `[out, x_size]`.

        Raises:
            ArgumentError: `analog_tile` is no tile.
        """
        _check_tile(analog_tile)
        if parameter is not None:
            check_real("parameter", parameter)
            if parameter.dim() != 2:
                raise ArgumentError(f"parameter: expected [out, in], got {tuple(parameter.shape)}")
        raw = analog_tile._get_tile_weights_ref() if parameter is None else parameter.data
        requires_grad = True if parameter is None else parameter.requires_grad
        if analog_tile.trained_parameter() is not None:
            requires_grad = False  # it is that of the trained parameter, see below
        logical = raw.detach()[:, : analog_tile.in_size]
        return torch.Tensor._make_subclass(cls, logical, requires_grad)

    def __init__(self, analog_tile: ContextTile, parameter: nn.Parameter | None = None) -> None:
        """Start with an empty trace.

        Args:
            analog_tile: Tile.
            parameter: As in `__new__`.
        """
        self.analog_tile = analog_tile
        self.use_torch_update = False
        self.use_indexed = False
        # Only ever appended to and cut off in front, each in one step of the interpreter, so that
        # a backward pass in another thread and a step of an optimizer do not disturb each other.
        self._pairs: list[Pair] = []
        self._optimizers: tuple[Callable[[], Any], ...] = ()
        self._passes = 0
        self._last_pass: int | None = None
        self._mode = AnalogContextDataViewMode.DATA_VIEW
        self._buffer: Tensor | None = None
        self._warned = False

    @property
    def analog_input(self) -> tuple[Tensor, ...]:
        """Inputs of the trace, shape `[..., in]` each."""
        return tuple(pair.with_rows().x for pair in self.pairs())

    @property
    def analog_grad_output(self) -> tuple[Tensor, ...]:
        """Gradients of the outputs of the trace, shape `[..., out]` each."""
        return tuple(pair.with_rows().d for pair in self.pairs())

    def pairs(self) -> list[Pair]:
        """Return the trace, oldest pair first."""
        return self._pairs[:]

    def take_pairs(self) -> list[Pair]:
        """Return the trace and drop it; what is stored meanwhile stays for the next time."""
        taken = self._pairs[:]
        del self._pairs[: len(taken)]
        self._passes = self.gathered = 0
        return taken

    def clear_pairs(self) -> None:
        """Drop the trace as gradients are dropped, by whoever: its passes were not applied."""
        del self._pairs[: len(self._pairs)]
        self.gathered = 0

    def hold_gathered(self, pairs: list[Pair], count: int) -> None:
        """Hold pairs of all processes in place of those of this one that they were made of.

        Args:
            pairs: Pairs of all processes.
            count: Number of pairs of this one, behind those that are gathered already.
        """
        self._pairs[self.gathered : self.gathered + count] = pairs
        self.gathered += len(pairs)

    def scale_errors(self, factor: float) -> None:
        """Multiply the gradients of the outputs in the trace by a factor.

        Args:
            factor: Factor.
        """
        present = self._pairs[:]
        # Not in place: autograd may still use the tensors.
        self._pairs[: len(present)] = [pair._replace(d=pair.d * factor) for pair in present]

    def move_pairs(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Follow a move or cast of the tile with the trace, as gradients do in torch.

        Args:
            fn: Maps a tensor to a moved or cast one.
        """
        present = self._pairs[:]
        self._pairs[: len(present)] = [
            pair._replace(x=fn(pair.x), d=fn(pair.d)) for pair in present
        ]

    def be_stepped_by(self, optimizer: Any) -> None:
        """Remember an optimizer that applies the trace; those before it may step as well.

        Args:
            optimizer: Analog optimizer; it is not kept alive.
        """
        others = (one for one in self._optimizers if one() not in (None, optimizer))
        self._optimizers = (*others, weakref.ref(optimizer))

    @property
    def data_view_mode(self) -> AnalogContextDataViewMode:
        """What the values of the parameter are; can be set by member, value or name."""
        return self._mode

    @data_view_mode.setter
    def data_view_mode(self, mode: AnalogContextDataViewMode | str) -> None:
        self._mode = _as_mode(mode)
        is_buffer = self._mode is AnalogContextDataViewMode.BUFFER
        self._buffer = self.new_zeros(self.shape) if is_buffer else None

    def enable_placeholder(self) -> "AnalogContext":
        """Refuse reading; returns the context."""
        self.data_view_mode = AnalogContextDataViewMode.PLACEHOLDER
        return self

    def enable_data_view(self) -> "AnalogContext":
        """Show the logical weights, read-only; returns the context."""
        self.data_view_mode = AnalogContextDataViewMode.DATA_VIEW
        return self

    def enable_buffer(self) -> "AnalogContext":
        """Be an independent tensor of zeros that can be written; returns the context."""
        self.data_view_mode = AnalogContextDataViewMode.BUFFER
        return self

    def set_indexed(self, value: bool = True) -> None:
        """Tell whether inputs are images with an index table instead of rows.

        Args:
            value: New state.
        """
        self.use_indexed = value

    def get_data(self) -> Tensor:
        """Return the values of the active view, detached, shape `[out_size, in_size]`.

        Raises:
            RuntimeError: The context is a placeholder.
        """
        if self._mode is AnalogContextDataViewMode.PLACEHOLDER:
            raise_placeholder_error("get_data")
        if self._buffer is not None:
            return self._buffer.detach()
        weights: Tensor = self.analog_tile.get_weights()[0]
        return weights.to(self.dtype)

    def store(
        self,
        x_input: Tensor,
        d_input: Tensor,
        bias_input: float | None = None,
        patches: PatchesOfImages | None = None,
    ) -> None:
        """Append a pair to the trace, which holds the tensors themselves.

        Args:
            x_input: Inputs as the array saw them, shape `[..., in]`, or images.
            d_input: Gradients of the outputs, shape `[..., out]`, or `[N, out, positions]`.
            bias_input: Input of the analog bias column; None without one.
            patches: What the inputs are of the images.
        """
        if all(one() is None for one in self._optimizers):
            self._count_pass()
        self._pairs.append(Pair(x_input, d_input, bias_input, patches))
        if len(self._pairs) > _LONG_TRACE and not self._warned:
            self._warned = True
            warnings.warn(
                f"{self!r} has collected over {_LONG_TRACE} pairs of inputs and gradients"
                " without an update; train analog layers with an optimizer of mho.optim",
                stacklevel=2,
            )

    def _count_pass(self) -> None:
        """Keep the traces of the last passes only, and say so, where nobody applies them."""
        this_pass = torch._C._current_graph_task_id()
        if this_pass == self._last_pass and this_pass >= 0:
            return  # a layer that is used several times in one pass
        self._last_pass = this_pass
        self._passes += 1
        if self._passes < _PASSES_ALONE:
            return
        # Before the warning, which may be an error.
        del self._pairs[:]
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{layer_of(self.analog_tile)}: {_PASSES_ALONE} backward passes, and no optimizer"
                " of mho.optim holds its weights, which therefore stay as they are;"
                " build AnalogSGD from model.parameters() after the conversion, or freeze the layer"
                " with requires_grad_(False). Only the gradients of the last pass are kept",
                stacklevel=3,
            )

    def reset(self, analog_tile: ContextTile | None = None) -> None:
        """Drop the trace.

        Args:
            analog_tile: Tile that the context belongs to from now on.

        Raises:
            ArgumentError: It is no tile.
        """
        if analog_tile is not None:
            _check_tile(analog_tile)
        self.take_pairs()
        if analog_tile is not None:
            self.analog_tile = analog_tile
            analog_tile.analog_ctx = self

    def has_gradient(self) -> bool:
        """Return whether the trace holds a pair."""
        return len(self._pairs) > 0

    def is_trained(self) -> bool:
        """Return `requires_grad`, in a third of the time that asking for it takes."""
        trained = self._trained()
        with torch._C.DisableTorchFunctionSubclass():
            return (self if trained is None else trained).requires_grad

    def assigned_gradient(self) -> Tensor | None:
        """Return `grad`, in the same way; autograd never makes one."""
        with torch._C.DisableTorchFunctionSubclass():
            return self.grad

    def cuda(self, device: Any = None) -> "AnalogContext":  # type: ignore[override]
        """Move the tile to a CUDA device; returns the context.

        Args:
            device: Device.
        """
        self.analog_tile.cuda(device)
        return self

    def cpu(self) -> "AnalogContext":  # type: ignore[override]
        """Move the tile to the host; returns the context."""
        self.analog_tile.cpu()
        return self

    def to(self, *args: Any, **kwargs: Any) -> "AnalogContext":
        """Move or cast the tile; returns the context.

        Args:
            args: As for `torch.nn.Module.to`.
            kwargs: As for `torch.nn.Module.to`.
        """
        self.analog_tile.to(*args, **kwargs)
        return self

    def _raw_data(self) -> Tensor:
        """Return the raw weights of the tile with all columns, sharing its storage."""
        raw: Tensor = self.analog_tile._get_tile_weights_ref()
        return raw

    def __repr__(self) -> str:  # type: ignore[override]
        """Return kind and size of the tile."""
        return f"AnalogContext of {self.analog_tile.get_brief_info()}"

    def __copy__(self) -> nn.Parameter:
        """Return an ordinary parameter with the raw weights; a tile makes its own context."""
        return nn.Parameter(self._raw_data().detach(), self.requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Parameter:
        """Return an ordinary parameter with a copy of the weights; a tile makes its own context."""
        if id(self) not in memo:
            memo[id(self)] = nn.Parameter(self._raw_data().detach().clone(), self.requires_grad)
        copied: nn.Parameter = memo[id(self)]
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle as the context of the tile: an optimizer pickled with its model keeps it."""
        return getattr, (self.analog_tile, "analog_ctx")

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run operations on the active view."""
        if func == _GET_GRAD or func == _GET_REQUIRES_GRAD:
            trained = args[0]._trained() if func == _GET_REQUIRES_GRAD else None
            with torch._C.DisableTorchFunctionSubclass():
                return func(args[0] if trained is None else trained)
        kwargs = kwargs or {}
        name = operation_name(func)
        if getattr(func, "__name__", "") in ("__get__", "__set__") and name == "data":
            return _data(args[0], is_get=func.__name__ == "__get__")
        if name == "grad" and isinstance(args[0], AnalogContext):
            args[0]._take_gradient(*args[1:])
            return None
        if _changes_requires_grad(func, name) and isinstance(args[0], AnalogContext):
            return args[0]._set_requires_grad(*args[1:], **kwargs)
        if is_metadata_operation(func) or _starts_a_pass(func):
            with torch._C.DisableTorchFunctionSubclass():
                result = func(*args, **kwargs)
            return _guard_detached(args[0], name, result)
        if name == "__setitem__" and isinstance(args[0], AnalogContext):
            raise RuntimeError(
                "__setitem__: an analog context cannot be assigned; use set_weights of the layer"
            )
        raise_if_readonly_write_target(name, args, kwargs, _is_readonly)
        reading = lambda value: _values(value, name)  # noqa: E731
        return func(*plain(args, reading), **plain(kwargs, reading))

    def _take_gradient(self, gradient: Tensor | None = None) -> None:
        """Hold a gradient from now on; None, or deleting it, clears what was recorded."""
        if gradient is None:
            self.clear_pairs()
        with torch._C.DisableTorchFunctionSubclass():
            self.grad = gradient

    def drop_gradient(self) -> None:
        """Drop a gradient that somebody has assigned, and keep what is recorded."""
        with torch._C.DisableTorchFunctionSubclass():
            self.grad = None

    def _trained(self) -> nn.Parameter | None:
        tile = self.__dict__.get("analog_tile")
        trained: nn.Parameter | None = None if tile is None else tile.trained_parameter()
        return trained

    def _set_requires_grad(self, requires_grad: bool = True) -> "AnalogContext":
        if self._trained() is None:
            with torch._C.DisableTorchFunctionSubclass():
                self.requires_grad = requires_grad
        follow = getattr(self.analog_tile, "_follow_requires_grad", None)
        if follow is not None:
            follow(requires_grad)
        return self


def _starts_a_pass(func: Callable[..., Any]) -> bool:
    return func is torch.autograd.grad or func is torch.autograd.backward


def _changes_requires_grad(func: Callable[..., Any], name: str) -> bool:
    return name == "requires_grad_" or (name == "requires_grad" and func.__name__ == "__set__")


def _as_mode(mode: AnalogContextDataViewMode | str) -> AnalogContextDataViewMode:
    if isinstance(mode, AnalogContextDataViewMode):
        return mode
    for member in AnalogContextDataViewMode:
        if isinstance(mode, str) and (mode == member.value or mode.upper() == member.name):
            return member
    known = ", ".join(member.name for member in AnalogContextDataViewMode)
    raise ArgumentError(f"data_view_mode: expected one of {known}, got {mode!r}")


def _data(context: AnalogContext, is_get: bool) -> Tensor:
    if not is_get:
        raise RuntimeError(
            "data: cannot be assigned on an analog context; use set_weights of the layer. Wrappers"
            " that shard a model leave its analog parameters out (ignored_states)"
        )
    if context._mode is AnalogContextDataViewMode.DATA_VIEW:
        return ReadOnlyWeightView(context.get_data())
    if context._buffer is not None:
        return context._buffer
    with torch._C.DisableTorchFunctionSubclass():
        return PlaceholderDataView(context.detach())


def _guard_detached(context: Any, name: str, result: Any) -> Any:
    if name != "detach" or not isinstance(context, AnalogContext):
        return result
    return context.data


def _is_readonly(value: Any) -> bool:
    if not isinstance(value, AnalogContext):
        return False
    if value._mode is AnalogContextDataViewMode.PLACEHOLDER:
        return False  # refused as a read, with the better hint
    return value._buffer is None


def _values(value: Tensor, name: str) -> Tensor:
    if not isinstance(value, AnalogContext):
        return value
    if value._mode is AnalogContextDataViewMode.PLACEHOLDER:
        raise_placeholder_error(name)
    return value.get_data()
