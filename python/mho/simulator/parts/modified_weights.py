"""What the passes of hardware-aware training see instead of the weights."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mho import _core
from mho.exceptions import ConfigError, warn_caller
from mho.optim.after_step import hears_of_all_steps
from mho.optim.context import AnalogContext
from mho.simulator.parameters.arguments import check_flag
from mho.simulator.parameters.enums import WeightModifierType
from mho.simulator.parameters.inference import WeightModifierParameter
from mho.simulator.parts.base import Part, PartOwner
from mho.simulator.parts.logical_weights import LogicalWeights
from mho.simulator.raw_tiles import modifier
from mho.simulator.state.entries import Entry
from mho.simulator.state.ordinary import ordinary_tensors

_NAME = "modified_weights"


class ModifiedTile(PartOwner, Protocol):
    """What modified weights need of their tile."""

    logical_weights: LogicalWeights
    modified_weights: Tensor | None
    analog_ctx: AnalogContext

    @property
    def modified(self) -> Any:
        """The part itself."""


class ModifiedWeights(Part):
    """Draws the weights that passes use from the weights that are trained, as `modifier` says.

    A tile of the core has them as a matrix of its own, drawn at the end of every optimizer step:
    the passes of a mini-batch, forward and backward, see one and the same chip. It is saved as it
    is, so that a resumed run goes on with the very weights, whatever machine it is on and however
    the modifier was edited; and it is no buffer, for it comes and goes, and what pairs the buffers
    of two models would pair others then. A raw tile in torch draws in its product instead.
    """

    _tile: ModifiedTile
    _refuses = False

    def __init__(self, tile: Any) -> None:
        """Remember the tile; see the base class."""
        super().__init__(tile)
        self._parsed: _core.WeightModifier | None = None
        self._hear_of_steps()

    def follow(self, config: Any) -> None:
        """Forget modified weights if nothing modifies them any more; see the base class."""
        self._parsed = None
        self._refuses = not self._tile.tile.differentiable and _draws_for_samples(config)
        self._hear_of_steps()
        if getattr(self._tile, _NAME, None) is None or not self._modifier().acts:
            self.forget()

    def entries(self, config: Any) -> dict[str, Entry]:
        """Return the entry of the matrix; see the base class."""
        tile = self._tile
        if tile.tile.differentiable:
            return {}
        matrix = (tile.out_size, tile.in_size + int(tile.analog_bias))
        return {_NAME: Entry((matrix,), required=False)}

    @ordinary_tensors()
    def store(self, name: str, value: Tensor | None) -> None:
        """Take over the matrix; see the base class."""
        is_used = value is not None and self._modifier().acts
        self._tile.modified_weights = value.clone() if is_used and value is not None else None

    def listed(self) -> dict[str, Tensor]:
        """Return the matrix for a saved state, if there is one."""
        matrix = self._tile.modified_weights
        return {} if matrix is None else {_NAME: matrix}

    def forget(self) -> None:
        """Drop what was drawn from earlier weights: passes use the weights until the next step."""
        self._tile.modified_weights = None

    def _hear_of_steps(self) -> None:
        params = getattr(self._tile.rpu_config, "modifier", None)
        # Not what the core reads of it, which takes longer than all else here.
        if params is not None and params.type is not WeightModifierType.NONE:
            hears_of_all_steps(self._tile)

    def after_step(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Draw anew from the present weights; see the base class."""
        if not self._tile.tile.differentiable and not self._refuses and self._modifier().acts:
            self._draw()
        return []

    @torch.no_grad()
    @ordinary_tensors()
    def _draw(self) -> None:
        tile = self._tile
        matrix = tile.modified_weights
        if matrix is None:
            # Of its own from the beginning: an interruption leaves weights that are not modified.
            matrix = tile.modified_weights = tile.tile.get_weights().detach()
        tile.tile.run_modifier(self._modifier(), matrix)

    def in_use(self, is_test: bool, weight: Tensor | None) -> Tensor | None:
        """Return the weights of a pass: the modified ones, or the given ones.

        Args:
            is_test: Evaluation mode.
            weight: What to return where a pass uses no modified weights.

        Raises:
            ConfigError: A pass in training would need a draw for each sample.
        """
        matrix = self._tile.modified_weights
        if matrix is None:
            if self._refuses and not is_test:
                raise ConfigError(_FOR_SAMPLES)
            return weight
        if is_test and not self._tile.rpu_config.modifier.enable_during_test:
            return weight
        return matrix

    def get_modified_weights(
        self, apply_weight_scaling: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Return copies of the modified weights and the bias on the host.

        Tiles of the core: what the passes of training use until the next step. Tiles that compute
        in torch: what the last pass used that modified the weights, `[batch, out_size, in_size]`
        with `modifier.per_batch_sample`; a pass in a compiled graph leaves none. Where nothing is
        modified, these are the weights themselves.

        Args:
            apply_weight_scaling: Multiply by the scales; otherwise raw weights are returned.

        Returns:
            Weights `[out_size, in_size]`, and the bias as `get_weights` returns it.
        """
        apply_weight_scaling = check_flag("apply_weight_scaling", apply_weight_scaling)
        raw: Any = self._tile.tile
        matrix = raw.modified_weights if raw.differentiable else self._tile.modified_weights
        logical = self._tile.logical_weights
        if matrix is None:
            return logical.get_weights(apply_weight_scaling)
        weight, bias = logical.of_raw(matrix, apply_weight_scaling)
        return weight.clone(), bias

    def _modifier(self) -> _core.WeightModifier:
        if self._parsed is None:
            config = self._tile.rpu_config
            params: WeightModifierParameter | None = getattr(config, "modifier", None)
            self._parsed = modifier.parsed(WeightModifierParameter() if params is None else params)
        return self._parsed


_FOR_SAMPLES = (
    "modifier.per_batch_sample: a tile of the core draws once for a mini-batch and refuses passes"
    " in training; use TorchInferenceRPUConfig, or set it to False"
)
_COARSE = (
    "modifier.res: a tile of the core takes it as the distance of two levels: above one it exceeds"
    " all weights, from two on they become zero. Only torch tiles take it as a number of levels;"
    " use 2 / res for as many"
)
_ROUNDING = (
    WeightModifierType.DISCRETIZE,
    WeightModifierType.DISCRETIZE_ADD_NORMAL,
    WeightModifierType.DOREFA,
)
_warned: set[str] = set()


def _draws_for_samples(config: Any) -> bool:
    params: WeightModifierParameter | None = getattr(config, "modifier", None)
    return (
        params is not None
        and params.per_batch_sample
        and params.type is not WeightModifierType.NONE
    )


def check_modifier(config: Any) -> None:
    """Check the modifier of a tile of the core.

    Draws for each sample are for training, so a tile that is only evaluated may carry the setting,
    as one does that takes over the weights and settings of a torch tile; a warning says so, once.

    Args:
        config: Configuration of an inference tile.

    Raises:
        ConfigError: A value is impossible; the message names the field.
    """
    params: WeightModifierParameter | None = getattr(config, "modifier", None)
    if params is None:
        return
    modifier.parsed(params)
    if _draws_for_samples(config):
        _warn_once(_FOR_SAMPLES)
    if params.res > 1.0 and params.type in _ROUNDING:
        _warn_once(_COARSE)


def _warn_once(message: str) -> None:
    if message not in _warned:
        warn_caller(message)
        _warned.add(message)
