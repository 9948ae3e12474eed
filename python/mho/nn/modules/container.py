"""Modules that hold analog layers."""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from mho.exceptions import ArgumentError, ModuleError
from mho.nn.conversion_table import register_analog
from mho.nn.modules.base import AnalogLayerBase
from mho.simulator.parameters.arguments import check_instance, check_mapping
from mho.simulator.state.transaction import unchanged_on_error

Weights = tuple[Tensor, Tensor | None]
ModuleT = TypeVar("ModuleT", bound=nn.Module)


class AnalogContainerBase(AnalogLayerBase):
    """Base of modules that hold analog layers; weights are read and written tile by tile."""

    IS_CONTAINER: ClassVar[bool] = True

    def get_weights(self, **kwargs: Any) -> OrderedDict[str, Weights]:  # type: ignore[override]
        """Return the weights of all tiles.

        Args:
            kwargs: ``apply_weight_scaling`` and ``realistic`` as in the tile.

        Returns:
            Weight ``[out, in]`` and bias ``[out]`` or None by name of the tile. The bias of a layer
            that is split over tiles belongs to no tile and is not among them.
        """
        return OrderedDict((name, tile.get_weights(**kwargs)) for name, tile in self._tiles())

    def get_pulse_counters(self) -> OrderedDict[str, Tensor]:  # type: ignore[override]
        """Return how many pulses every crosspoint of all tiles got, by name of the tile.

        Raises:
            ConfigError: The devices of a tile do not count pulses; the message names the field.
            TileError: A tile has no devices of the core.
        """
        return OrderedDict((name, tile.get_pulse_counters()) for name, tile in self._tiles())

    def set_weights(  # type: ignore[override]
        self, weights_dic: Mapping[str, Weights], **kwargs: Any
    ) -> None:
        """Write the weights of tiles.

        Args:
            weights_dic: Weight and bias by name of the tile, for all tiles.
            kwargs: ``apply_weight_scaling``, ``realistic``, ``weight_scaling_omega`` as in the
                tile.

        Raises:
            ModuleError: A tile is missing in the dictionary; nothing is changed.
        """
        tiles = list(self._tiles())
        check_mapping("weights_dic", weights_dic)
        missing = [name for name, _ in tiles if name not in weights_dic]
        if missing:
            raise ModuleError(f"weights_dic: no weights for tiles {', '.join(missing)}")
        with unchanged_on_error(tile for _, tile in tiles):
            for name, tile in tiles:
                weight, bias = _pair(name, weights_dic[name])
                tile.set_weights(weight, bias, **kwargs)


@register_analog(nn.Sequential)
class AnalogSequential(AnalogContainerBase, nn.Sequential):
    """Sequential container that knows about its analog layers.

    It takes what `torch.nn.Sequential` takes. Subclasses may define their own ``forward`` and use
    it as the base of any analog model.
    """

    @classmethod
    def from_digital(cls, module: nn.Sequential, *_: Any, **__: Any) -> "AnalogSequential":
        """Return an analog container with the same children, repeated ones included.

        Args:
            module: Digital container; not changed.
            _: Ignored, for the signature common to all layers.
            __: Ignored.

        Raises:
            ArgumentError: `module` is no `torch.nn.Sequential`.
        """
        check_instance("module", module, nn.Sequential)
        return _adopt(cls, module)

    @classmethod
    def to_digital(cls, module: "AnalogSequential", *_: Any, **__: Any) -> nn.Sequential:
        """Return a digital container with the same children.

        Args:
            module: Analog container; not changed.
            _: Ignored, for the signature common to all layers.
            __: Ignored.

        Raises:
            ArgumentError: `module` is no such container.
        """
        check_instance("module", module, AnalogSequential)
        return _adopt(nn.Sequential, module)


class AnalogWrapper(AnalogContainerBase):
    """Makes any module an analog container: ``AnalogWrapper(model)``.

    The result is an instance of a generated class that derives from `AnalogWrapper` and from the
    class of the module. It takes over all attributes of the module, which must not be used any
    further; names in the state dict do not change. It can be pickled and copied.
    """

    SUBCLASSES: ClassVar[dict[type[nn.Module], type["AnalogWrapper"]]] = {}
    """Generated classes by class of the module."""

    def __new__(cls, module: nn.Module | None = None, **_: Any) -> "AnalogWrapper":
        """Return the wrapped module; a module that is wrapped already is returned as it is.

        Args:
            module: Module to wrap.

        Raises:
            ArgumentError: ``module`` is not a module.
        """
        if not isinstance(module, nn.Module):
            hint = ""
            if cls is not AnalogWrapper:
                hint = (
                    f"; {cls.__name__} wraps a model that is there: build it by its own class and"
                    " convert_to_analog, or load what save_analog has saved with load_analog"
                )
            raise ArgumentError(
                f"module: must be a torch.nn.Module, got {type(module).__name__}{hint}"
            )
        if isinstance(module, AnalogWrapper):
            return module
        wrapper = object.__new__(_wrapper_class(type(module)))
        wrapper.__dict__ = module.__dict__
        return wrapper

    def __init__(self, module: nn.Module) -> None:
        """Do nothing, since the wrapped module is initialised.

        Args:
            module: The wrapped module.
        """

    def __reduce__(self) -> tuple[Any, ...]:
        # The generated class cannot be found by name; the class that it was generated for can.
        state = getattr(self, "__getstate__", lambda: self.__dict__)()
        return _rebuild_wrapper, (_wrapped_class(self),), state

    @classmethod
    def from_digital(cls, module: nn.Module, *_: Any, **__: Any) -> "AnalogWrapper":
        """Return the wrapped module.

        Args:
            module: Module to wrap; must not be used any further.
            _: Ignored, for the signature common to all layers.
            __: Ignored.
        """
        return cls(module)

    @classmethod
    def to_digital(cls, module: "AnalogWrapper", *_: Any, **__: Any) -> nn.Module:
        """Return an instance of the original class that takes over all attributes.

        Args:
            module: Wrapped module; must not be used any further.
            _: Ignored, for the signature common to all layers.
            __: Ignored.

        Raises:
            ArgumentError: `module` is no wrapped module.
        """
        check_instance("module", module, AnalogWrapper)
        original = object.__new__(_wrapped_class(module))
        original.__dict__ = module.__dict__
        return original


def original_class(module: nn.Module) -> type[nn.Module]:
    """Return the class of a module; of a wrapped one the class that was wrapped.

    Args:
        module: Module.
    """
    return _wrapped_class(module) if isinstance(module, AnalogWrapper) else type(module)


def _pair(name: str, value: object) -> Weights:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ArgumentError(f"weights_dic[{name!r}]: expected weight and bias, got {value!r}")
    weight, bias = value
    return weight, bias


def _adopt(cls: type[ModuleT], module: nn.Module) -> ModuleT:
    """Return an instance of a class with copies of the registries of a module and the same content.

    Unlike the constructor this keeps entries that occur twice, hooks and the training mode. What
    `module.compile()` leaves calls the old module, and stays there.
    """
    adopted = cls.__new__(cls)
    adopted.__dict__ = {
        name: copy.copy(value) if isinstance(value, dict) else value
        for name, value in vars(module).items()
        if name != "_compiled_call_impl"
    }
    return adopted


def _wrapper_class(cls: type[nn.Module]) -> type[AnalogWrapper]:
    # Keyed by the class, since two models of the same name are different models.
    if cls not in AnalogWrapper.SUBCLASSES:
        AnalogWrapper.SUBCLASSES[cls] = type(
            f"AnalogWrapper{cls.__name__}",
            (AnalogWrapper, cls),
            {"__module__": cls.__module__, "__doc__": cls.__doc__},
        )
    return AnalogWrapper.SUBCLASSES[cls]


def _wrapped_class(module: AnalogWrapper) -> type[nn.Module]:
    bases: tuple[Any, ...] = type(module).__bases__
    wrapped: type[nn.Module] = bases[1]
    return wrapped


def _rebuild_wrapper(cls: type[nn.Module]) -> AnalogWrapper:
    """Return an empty wrapper of a class, to be filled by unpickling or copying."""
    return object.__new__(_wrapper_class(cls))
