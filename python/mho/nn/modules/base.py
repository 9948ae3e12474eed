"""What all analog layers and containers have in common."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn

from mho.exceptions import ModuleError, TileModuleError
from mho.inference.noise.base import BaseNoiseModel
from mho.nn.modules import ddp, loading
from mho.simulator.parameters.arguments import check_rpu_config
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.state.plan import deferred_commits
from mho.simulator.state.transaction import unchanged_on_error
from mho.simulator.tiles.inference import InferenceTileWithPeriphery
from mho.simulator.tiles.module import TileModule

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

    def analog_tiles(self) -> Iterator[TileModule]:
        """Yield every tile at or below this module once."""
        for _, tile in self.named_analog_tiles():
            yield tile

    def named_analog_tiles(self) -> Iterator[tuple[str, TileModule]]:
        """Yield dotted name and tile of every tile at or below this module."""
        for name, module in self.named_modules():
            if isinstance(module, TileModule):
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
        """
        for layer in self.analog_layers():
            fn(layer)
        return self

    def apply_to_analog_tiles(self: LayerT, fn: Callable[[TileModule], Any]) -> LayerT:
        """Call a function on every tile.

        Args:
            fn: Function of the tile.

        Returns:
            This module.
        """
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

    def set_weights(self, weight: Tensor, bias: Tensor | None = None, **kwargs: Any) -> None:
        """Write the weights of the layer to its tiles.

        Args:
            weight: Weights in logical units, ``[out_features, in_features]`` or any shape of the
                same number of elements.
            bias: Bias ``[out_features]``; a digital bias stays as it is without.
            kwargs: ``apply_weight_scaling``, ``realistic``, ``weight_scaling_omega`` as in the
                tile.

        Raises:
            ModuleError: The module has no tiles of its own.
            InputError: Shape, type or a value does not fit; nothing is changed.
        """
        self._analog_module().set_weights(weight, bias, **kwargs)

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
            RuntimeError: Names or shapes do not fit; nothing is changed.
        """
        state_dict, strict = loading.prepare(state_dict, strict, assign)
        tiles = list(self.analog_tiles())
        with loading.all_or_nothing(self, tiles):
            for tile in tiles:
                tile.set_load_rpu_config_state(load_rpu_config, strict_rpu_config_check)
            return super().load_state_dict(state_dict, strict=strict)

    def prepare_for_ddp(self) -> None:
        """Prepare for wrapping in `torch.nn.parallel.DistributedDataParallel`.

        Trained weights and digital parameters are synchronised; what belongs to one process is not:
        the contexts and the positions of the random streams. If a process group is initialised,
        every rank moves to its own random streams, so that noise is independent between ranks.

        Raises:
            ModuleError: A tile keeps its weights from torch, so gradients cannot be averaged.
        """
        ddp.prepare(self, self.named_analog_tiles())

    def drift_analog_weights(self, t_inference: float = 0.0) -> None:
        """Let the weights of all inference tiles drift; other tiles are left alone.

        Tiles that were never programmed are programmed first.

        Args:
            t_inference: Time since programming in seconds.

        Raises:
            ModuleError: The module is in training mode.
        """
        self._require_eval("drift_analog_weights")
        tiles = [t for t in self.analog_tiles() if isinstance(t, InferenceTileWithPeriphery)]
        with unchanged_on_error(cast(list[nn.Module], tiles)):
            for tile in tiles:
                tile.drift_weights(t_inference)

    def program_analog_weights(self, noise_model: BaseNoiseModel | None = None) -> None:
        """Program the weights of all tiles, with the errors of a real programming.

        Args:
            noise_model: Model of the programming noise for inference tiles; it replaces the one of
                the configuration. None takes that one.

        Raises:
            ModuleError: The module is in training mode, or a noise model is given although there
                are tiles that are programmed with pulses.
        """
        self._require_eval("program_analog_weights")
        tiles = list(self._tiles())
        if noise_model is None:
            with unchanged_on_error(tile for _, tile in tiles):
                for _, tile in tiles:
                    tile.program_weights()
            return
        pulsed = [n for n, tile in tiles if not isinstance(tile, InferenceTileWithPeriphery)]
        if pulsed:
            raise ModuleError(
                f"noise_model: tile {pulsed[0]!r} is programmed with pulses of its devices;"
                " leave the noise model out"
            )
        with unchanged_on_error(tile for _, tile in tiles):
            for _, tile in tiles:
                tile.program_weights(noise_model=noise_model)

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

    def replace_rpu_config(self, rpu_config: RPUConfigBase) -> None:
        """Give all tiles another configuration and keep their weights.

        Args:
            rpu_config: New configuration; each tile gets a copy.

        Raises:
            TileModuleError: The configuration does not fit a tile; no tile is changed.
        """
        tiles = list(self.named_analog_tiles())
        check_rpu_config(rpu_config)
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
        moved: list[tuple[TileModule, str]] = []
        try:
            for tile in self.analog_tiles():
                moved.append((tile, tile.backend))
                tile.to_backend(backend, adapter)
        except Exception:
            for tile, old in moved[:-1]:
                tile.to_backend(old)
            raise
        return self

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
