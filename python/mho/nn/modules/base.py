"""What all analog layers and containers have in common."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mho.exceptions import ModuleError, TileModuleError, short_traceback, warn_caller
from mho.inference.noise.base import BaseNoiseModel
from mho.nn.modules import ddp, loading
from mho.simulator.parameters.arguments import check_flag, check_function, check_rpu_config
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.times import check_time
from mho.simulator.parts.device_drift import check_drift, drift_to, drifts
from mho.simulator.parts.logical_weights import check_shape
from mho.simulator.state.plan import deferred_commits
from mho.simulator.state.transaction import unchanged_on_error
from mho.simulator.tiles.inference import InferenceTileWithPeriphery
from mho.simulator.tiles.moving import check_move
from mho.simulator.tiles.periphery import TileWithPeriphery

if TYPE_CHECKING:
    _Mixin = nn.Module
else:
    # A plain mix-in may stand before or behind the module class among the bases.
    _Mixin = object

LayerT = TypeVar("LayerT", bound="AnalogLayerBase")


class AnalogLayerBase(_Mixin):
    """Mix-in for modules that contain analog tiles, directly or further below."""

    IS_CONTAINER: ClassVar[bool] = False
    """Whether the module only holds analog layers instead of being one."""

    STANDS_FOR_LAYER: ClassVar[bool] = False
    """Whether a container takes the place of one digital module, with its hooks and attributes."""

    OWN_ENTRIES: ClassVar[tuple[str, ...]] = ("analog_module",)
    """Attributes that a digital layer in the place of this one does not have."""

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse `torch.jit.script`, which asks every module below a model by this method.

        Raises:
            ModuleError: Always.
        """
        raise ModuleError(
            f"torch.jit.script: cannot compile {type(self).__name__}; use torch.compile or"
            " torch.export"
        )

    def digital_entries(self) -> Collection[str]:
        """Return names of entries of the digital layer in whose place it is, which it has not."""
        return ()

    def analog_tiles(self) -> Iterator[TileWithPeriphery]:
        """Yield every tile at or below this module once."""
        for _, tile in self.named_analog_tiles():
            yield tile

    def named_analog_tiles(self) -> Iterator[tuple[str, TileWithPeriphery]]:
        """Yield dotted name and tile of every tile at or below this module."""
        for name, module in self.named_modules():
            if isinstance(module, TileWithPeriphery):
                yield name, module

    def analog_layers(self) -> Iterator["AnalogLayerBase"]:
        """Yield every analog layer at or below this module, without containers."""
        for _, layer in self.named_analog_layers():
            yield layer

    def named_analog_layers(self) -> Iterator[tuple[str, "AnalogLayerBase"]]:
        """Yield dotted name and layer of every analog layer, without containers."""
        for name, module in self.named_analog_modules():
            if not module.IS_CONTAINER:
                yield name, module

    def analog_modules(self) -> Iterator["AnalogLayerBase"]:
        """Yield every analog layer and container at or below this module."""
        for _, module in self.named_analog_modules():
            yield module

    def named_analog_modules(self) -> Iterator[tuple[str, "AnalogLayerBase"]]:
        """Yield dotted name and module of every analog layer and container."""
        for name, module in self.named_modules():
            if isinstance(module, AnalogLayerBase):
                yield name, module

    def apply_to_analog_layers(self: LayerT, fn: Callable[["AnalogLayerBase"], Any]) -> LayerT:
        """Call a function on every analog layer.

        Args:
            fn: Function of the layer.

        Returns:
            This module.

        Raises:
            ArgumentError: It is no function.
        """
        check_function("fn", fn)
        for layer in self.analog_layers():
            fn(layer)
        return self

    def apply_to_analog_tiles(self: LayerT, fn: Callable[[TileWithPeriphery], Any]) -> LayerT:
        """Call a function on every tile.

        Args:
            fn: Function of the tile.

        Returns:
            This module.

        Raises:
            ArgumentError: It is no function.
        """
        check_function("fn", fn)
        for tile in self.analog_tiles():
            fn(tile)
        return self

    def analog_tile_count(self) -> int:
        """Return the number of tiles."""
        return sum(1 for _ in self.analog_tiles())

    def get_analog_tile_devices(self) -> list[torch.device]:
        """Return the device of every tile."""
        return [tile.device for tile in self.analog_tiles()]

    def unregister_parameter(self, param_name: str) -> None:
        """Remove a parameter; the attribute stays and is None.

        Args:
            param_name: Name of the parameter.

        Raises:
            ModuleError: There is no parameter of this name.
        """
        known = isinstance(param_name, str) and getattr(self, param_name, None)
        if not isinstance(known, nn.Parameter):
            raise ModuleError(f"{param_name!r}: {type(self).__name__} has no such parameter")
        delattr(self, param_name)
        setattr(self, param_name, None)

    @short_traceback
    def set_weights(self, weight: Tensor, bias: Tensor | None = None, **kwargs: Any) -> None:
        """Write the weights of the layer to its tiles.

        Args:
            weight: Weights in logical units, ``[out_features, in_features]``.
            bias: Bias ``[out_features]``; a digital bias stays as it is without. A layer without
                one takes no notice of it.
            kwargs: ``apply_weight_scaling``, ``realistic``, ``weight_scaling_omega`` as in the
                tile.

        Raises:
            ModuleError: The module has no tiles of its own.
            InputError: Shape, type or a value does not fit; nothing is changed.
        """
        module, shape = self._analog_module(), self._weight_shape()
        if shape is not None:
            check_shape(weight, shape)
        module.set_weights(weight, bias, **kwargs)

    def _weight_shape(self) -> tuple[int, ...] | None:
        """Return the shape of the logical weights, None if only the tile knows it."""
        return None

    def get_weights(self, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Return the weights of the layer.

        Args:
            kwargs: ``apply_weight_scaling`` and ``realistic`` as in the tile.

        Returns:
            Copies of weight ``[out_features, in_features]`` and bias ``[out_features]`` or None, on
            CPU.

        Raises:
            ModuleError: The module has no tiles of its own.
        """
        weights: tuple[Tensor, Tensor | None] = self._analog_module().get_weights(**kwargs)
        return weights

    @short_traceback
    def get_pulse_counters(self) -> Tensor:
        """Return how many pulses every crosspoint of the layer got since it was built.

        Returns:
            int64 ``[2, out_features, in_features]``, with the column of an analog bias behind;
            index 0 has pulses down, index 1 those up.

        Raises:
            ConfigError: The devices do not count pulses; the message names the field to set.
            ModuleError: The module has no tiles of its own.
            TileError: The tiles have no devices of the core.
        """
        counters: Tensor = self._analog_module().get_pulse_counters()
        return counters

    @short_traceback
    def load_state_dict(  # type: ignore[override]
        self,
        state_dict: Mapping[str, Any],
        strict: bool = True,
        load_rpu_config: bool | None = None,
        strict_rpu_config_check: bool | None = None,
        assign: bool = False,
    ) -> Any:
        """Load parameters, buffers and the state of all tiles in place.

        Args:
            state_dict: As returned by ``state_dict()``.
            strict: Whether missing and unexpected names are an error.
            load_rpu_config: Whether tiles adopt the stored configuration (initially yes) or keep
                theirs; the choice stays in force for later calls that leave it out.
            strict_rpu_config_check: Whether a stored configuration that is not adopted must be of
                the same family (initially yes); stays in force as well.
            assign: Must be False, tiles are loaded in place.

        Returns:
            Missing and unexpected names, as in torch.

        Raises:
            ArgumentError: ``assign`` is True.
            TileError: The state of a tile does not fit; nothing is changed.
            RuntimeError: Names or shapes do not fit; nothing is changed. It is an InputError that
                says what to do if the state is that of a digital or of a wrapped model.
        """
        state_dict, strict = loading.prepare(state_dict, strict, assign)
        if strict:
            loading.check_origin(self, state_dict)
        tiles = list(self.analog_tiles())
        with loading.all_or_nothing(self, tiles):
            for tile in tiles:
                tile.set_load_rpu_config_state(load_rpu_config, strict_rpu_config_check)
            return super().load_state_dict(state_dict, strict=strict)

    @short_traceback
    def prepare_for_ddp(self) -> None:
        """Prepare for training by several processes; see `mho.nn.prepare_for_ddp`.

        Wrapping a model in `torch.nn.parallel.DistributedDataParallel` does it as well.

        Raises:
            ModuleError: A class of tiles does not support it, or those of the processes differ.
        """
        ddp.prepare_for_ddp(self)

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> list[str]:
        """What torch must not synchronise, for which it asks when it wraps the module."""
        return [*ddp.ignored_names(self), *self.__dict__.get("_more_to_ignore", ())]

    @_ddp_params_and_buffers_to_ignore.setter
    def _ddp_params_and_buffers_to_ignore(self, names: Iterable[str]) -> None:
        self.__dict__["_more_to_ignore"] = list(names)

    @short_traceback
    def drift_analog_weights(self, t_inference: float | str = 0.0) -> None:
        """Let the weights of all tiles drift to a point in time.

        Inference tiles follow the noise model of their configuration: those that were never
        programmed are programmed first, and every call starts from the programmed weights. Devices
        of other tiles drift by their own power law, if they have one (`drift`); their time runs
        forward only, and starts anew when they are programmed. Tiles without drift stay as they
        are; if there are no others, a warning says so.

        Args:
            t_inference: Time since programming in seconds, or text such as ``"1 day"``.

        Raises:
            ArgumentError: The time is negative or none; nothing is changed.
            ModuleError: The module is in training mode, or the devices of a tile have drifted for
                longer already; nothing is changed.
        """
        self._require_eval("drift_analog_weights")
        time = check_time("t_inference", t_inference)
        tiles: list[tuple[str, Any]] = list(self._tiles())
        devices = [(name, tile) for name, tile in tiles if drifts(tile)]
        for name, tile in devices:
            check_drift(name, tile, time)
        if not self.can_drift():
            warn_caller(
                "drift_analog_weights: no tile has changed, their devices do not drift; give them"
                " drift parameters, or use an inference configuration"
            )
        programmed = [tile for _, tile in tiles if isinstance(tile, InferenceTileWithPeriphery)]
        changed: list[Any] = [*programmed, *(tile for _, tile in devices)]
        with unchanged_on_error(changed):
            for tile in programmed:
                tile.drift_weights(time)
            for _, tile in devices:
                drift_to(tile, time)

    def can_drift(self) -> bool:
        """Return whether the weights of a tile at or below this module drift."""
        return any(
            isinstance(tile, InferenceTileWithPeriphery) or drifts(tile)
            for tile in self.analog_tiles()
        )

    @short_traceback
    def program_analog_weights(
        self, noise_model: BaseNoiseModel | None = None, verbose: bool = False
    ) -> None:
        """Program the weights of all tiles, with the errors of a real programming.

        Args:
            noise_model: Model of the programming noise for inference tiles; it replaces the one of
                the configuration. None takes that one.
            verbose: Show a progress bar over the tiles.

        Raises:
            ModuleError: The module is in training mode, or a noise model is given although there
                are tiles that are programmed with pulses.
        """
        self._require_eval("program_analog_weights")
        tiles = list(self._tiles())
        silent = not check_flag("verbose", verbose)
        pulsed = [n for n, tile in tiles if not isinstance(tile, InferenceTileWithPeriphery)]
        if pulsed and noise_model is not None:
            raise ModuleError(
                f"noise_model: tile {pulsed[0]!r} is programmed with pulses of its devices;"
                " leave the noise model out"
            )
        chosen = {} if noise_model is None else {"noise_model": noise_model}
        with unchanged_on_error(tile for _, tile in tiles):
            for _, tile in tqdm(tiles, "programming", disable=silent, unit="tile"):
                tile.program_weights(**chosen)

    def _unchanged_on_error(self) -> AbstractContextManager[None]:
        """Return a block that puts all tiles at or below this module back if it raises."""
        return unchanged_on_error(self.analog_tiles())

    @short_traceback
    def remap_analog_weights(self, weight_scaling_omega: float | None = 1.0) -> None:
        """Scale the weights of all tiles anew; logical weights stay the same.

        Args:
            weight_scaling_omega: Largest absolute tile weight afterwards; None takes the configured
                one.
        """
        tiles = [tile for _, tile in self._tiles()]
        with unchanged_on_error(tiles):
            for tile in tiles:
                tile.remap_weights(weight_scaling_omega=weight_scaling_omega)

    @short_traceback
    def replace_rpu_config(self, rpu_config: RPUConfigBase) -> None:
        """Give all tiles another configuration and keep their weights.

        Args:
            rpu_config: New configuration; each tile gets a copy.

        Raises:
            ArgumentError: It is no configuration.
            ConfigError: It is invalid; the message names the field. No tile is changed.
            TileModuleError: The configuration does not fit a tile; no tile is changed.
        """
        tiles = list(self.named_analog_tiles())
        check_rpu_config(rpu_config).check()
        for name, tile in tiles:
            fits, message = tile.compatible_with(rpu_config)
            if not fits:
                raise TileModuleError(f"rpu_config: does not fit tile {name!r}: {message}")
        with deferred_commits():
            for _, tile in tiles:
                tile.replace_with(rpu_config)

    def to_backend(self: LayerT, backend: str, adapter: int | str | None = None) -> LayerT:
        """Run the kernels of all tiles elsewhere from now on; on any error none has moved.

        Args:
            backend: ``"cpu"`` or ``"wgpu"``.
            adapter: Number or part of the name of an adapter, see `mho.backends`.

        Returns:
            This module.

        Raises:
            BackendError: There is no such adapter, or too little memory.
            ConfigError: A tile cannot run there; the message names the option.
        """
        moved: list[tuple[TileWithPeriphery, str]] = []
        try:
            for tile in self.analog_tiles():
                moved.append((tile, tile.backend))
                tile.to_backend(backend, adapter)
        except Exception:
            for tile, old in moved[:-1]:
                tile.to_backend(old)
            raise
        return self

    def _apply(self: LayerT, fn: Any, recurse: bool = True) -> LayerT:
        """Follow a move or cast; a tile that cannot refuses before anything has moved.

        Raises:
            TileModuleError: A tile cannot be moved or cast so.
        """
        for tile in self.analog_tiles() if recurse else ():
            check_move(tile, fn)
        moved: LayerT = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return moved

    def extra_repr(self) -> str:
        """Return the text of the digital layer with the name of the configuration added."""
        return self._with_config_name(super().extra_repr())

    def _tiles(self) -> Iterator[tuple[str, Any]]:
        """Yield names and tiles; what a tile can do beyond being a module is up to its class."""
        yield from self.named_analog_tiles()

    def _with_config_name(self, text: str) -> str:
        tile = next(self.analog_tiles(), None)
        if not text or tile is None:
            return text
        return f"{text}, {type(tile.rpu_config).__name__}"

    def _analog_module(self) -> Any:
        module = self._modules.get("analog_module")
        if module is None:
            raise ModuleError(
                f"{type(self).__name__} has no analog_module; use the weights of its layers instead"
            )
        return module

    def _require_eval(self, method: str) -> None:
        if self.training:
            raise ModuleError(f"{method}: the module is in training mode; call eval() first")
