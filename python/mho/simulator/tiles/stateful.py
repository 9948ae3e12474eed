"""Saving and loading of tiles as modules, and exchange of their configuration."""

from typing import Any

from torch import Tensor, nn

from mho.exceptions import InputError, TileModuleError
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.mapping import MappableRPU
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.state.entries import Entry
from mho.simulator.state.header import encode_header
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.plan import commit
from mho.simulator.tiles import loading
from mho.simulator.tiles.base import SimulatorTileWrapper, TileModuleBase


class StatefulTile(nn.Module, SimulatorTileWrapper, TileModuleBase):
    """Module with a configuration and a raw tile whose state is loaded all or not at all.

    Subclasses tell by the methods at the top what their state has beyond the raw tile.
    """

    tile: SimulatorTile
    rpu_config: Any
    use_bias: bool
    digital_bias: bool
    load_rpu_config: bool
    strict_rpu_config_check: bool

    def _check_config(self, config: Any) -> None:
        """Refuse what this kind of tile does not support with a ConfigError naming the field."""

    def _reconfigure(self) -> None:
        """Follow a new configuration with what it adds or removes."""
        self._prepare()

    def _digital_entries(self, config: Any) -> dict[str, Entry]:
        """Return what digital entries a saved state with a configuration has."""
        return {}

    def _take_lists(self, entries: dict[str, Any]) -> Any:
        """Take elements of lists out of a state; returns the step that stores them."""
        return lambda: None

    def _store_digital(self, name: str, value: Tensor | None) -> None:
        """Write a checked digital entry; None where the state has none."""

    def _prepare(self) -> None:
        """Compute what depends on the configuration; called after every change of it."""

    def set_load_rpu_config_state(
        self, load_rpu_config: bool | None, strict_rpu_config_check: bool | None = None
    ) -> None:
        """Choose what loading a state does with the configuration saved in it.

        Args:
            load_rpu_config: Take it over; None keeps the present choice.
            strict_rpu_config_check: Otherwise require that its class fits; None keeps the present
                choice.
        """
        if load_rpu_config is not None:
            self.load_rpu_config = load_rpu_config
        if strict_rpu_config_check is not None:
            self.strict_rpu_config_check = strict_rpu_config_check

    def compatible_with(self, rpu_config: RPUConfigBase) -> tuple[bool, str | None]:
        """Return whether the tile could have a configuration, and if not why.

        Args:
            rpu_config: Configuration.
        """
        mine = self.rpu_config
        if self.strict_rpu_config_check and not (
            isinstance(mine, type(rpu_config)) or isinstance(rpu_config, type(mine))
        ):
            return False, f"class {type(rpu_config).__name__} does not fit {type(mine).__name__}"
        if not isinstance(mine, MappableRPU) or not isinstance(rpu_config, MappableRPU):
            return True, None
        if not mine.mapping.compatible_with(rpu_config.mapping):
            return False, "mapping differs in more than weight scaling"
        return True, None

    def replace_with(self, rpu_config: RPUConfigBase) -> None:
        """Give the tile another configuration and keep its state.

        Args:
            rpu_config: Configuration, copied.

        Raises:
            ConfigError: The configuration is invalid.
            TileError: The state does not fit the new device.
            TileModuleError: The configuration does not fit the tile; nothing is changed.
        """
        fits, why = self.compatible_with(rpu_config)
        if not fits:
            raise TileModuleError(f"rpu_config: {why}")
        loading.replace_config(self, rpu_config)

    @staticmethod
    def get_analog_state_name(prefix: str) -> str:
        """Return the key in a state dictionary that tells a tile from other modules.

        Args:
            prefix: Prefix of the tile.
        """
        return prefix + Names.CONFIG

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in (Names.CONTEXT, Names.SHARED_WEIGHTS):
            destination.pop(prefix + name, None)
        destination[prefix + Names.CONFIG] = encode_header(
            type(self).__name__,
            self.rpu_config,
            self.tile.get_learning_rate(),
            getattr(self.tile, "dw_min", None),
        )

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        for hook in self._load_state_dict_pre_hooks.values():
            hook(
                state_dict,
                prefix,
                local_metadata,
                strict,
                missing_keys,
                unexpected_keys,
                error_msgs,
            )
        plan = loading.plan_load(self, state_dict, prefix)
        missing_keys.extend(prefix + name for name in plan.missing)
        unexpected_keys.extend(prefix + name for name in plan.unexpected)
        commit(plan)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load a state in place; on any error nothing is changed.

        Args:
            state_dict: State of the tile.
            strict: Whether missing and unexpected names are an error.
            assign: Ignored, the tensors of a tile are always written in place.

        Returns:
            Missing and unexpected names, as in torch.

        Raises:
            RuntimeError: `strict` is set and a name is missing or unexpected.
            TileError: An entry does not fit the tile.
        """
        missing, unexpected = self.check_state_dict(state_dict)
        if strict and (missing or unexpected):
            raise InputError(
                f"state_dict: does not fit {type(self).__name__}; missing {missing}, unexpected"
                f" {unexpected}"
            )
        return super().load_state_dict(state_dict, strict=strict)

    def check_state_dict(self, state_dict: Any, prefix: str = "") -> tuple[list[str], list[str]]:
        """Check entries of a state dictionary without loading them.

        Args:
            state_dict: State of a model.
            prefix: Prefix of this tile in it.

        Returns:
            Names of missing and of unexpected entries, without prefix.

        Raises:
            TileError: The entries do not fit the tile.
        """
        plan = loading.plan_load(self, state_dict, prefix)
        return plan.missing, plan.unexpected

    def get_analog_state(self) -> dict[str, Any]:
        """Return weights, hidden parameters, configuration and learning rate, all copied."""
        return loading.analog_state(self)
