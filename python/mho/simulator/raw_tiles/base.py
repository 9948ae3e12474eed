"""Interface of raw tiles."""

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import ConfigError, InputError, TileError
from mho.settings import check_backend, refused_backend
from mho.simulator.parameters.arguments import check_mapping
from mho.simulator.parameters.inference import WeightClipParameter, WeightRemapParameter
from mho.simulator.raw_tiles.rows import check_tensor
from mho.simulator.state.header import Steps
from mho.simulator.state.plan import LoadPlan


class SimulatorTile:
    """Interface of a raw tile: weights and products, without digital periphery.

    `forward` computes `x W^T`, `backward` computes `d W`, and `update` ideally `W -= lr d^T x`.
    Tensors have any number of batch axes; features are last, or first where the layout argument
    says so. Nothing tracks gradients unless the raw tile is differentiable.

    What differs between kinds is asked of them, not of their class; what one lacks, `TileError`.
    """

    differentiable: bool = False
    """Whether the product is ordinary torch code, whose gradients are those of autograd."""

    moves: bool = False
    """Whether it is a torch module: it moves and casts with its tile, and follows all edits."""

    planned_names: frozenset[str] = frozenset()
    """Entries of a state that `plan` reports, although torch would load them."""

    known_backends: tuple[str, ...] = ("cpu",)
    """Where its kernels can run."""

    backend: str = "cpu"
    """Where its kernels run."""

    kernels: object | None = None
    """Kernels of the core, None if it computes otherwise."""

    dw_min: Steps | None = None
    """Mean step of the devices, of each one of a cell; None if it is that of the configuration."""

    core_text: str | None = None
    """JSON text of the configuration of a tile of the core that does the same; None without any."""

    def connect(self, owner: nn.Module) -> None:
        """Find the state again after the module that owns it was copied.

        Args:
            owner: Module that owns the state.
        """

    def follow(self, config: Any) -> None:
        """Follow a new configuration of the tile, or that of a fresh one.

        Args:
            config: Configuration, checked.
        """

    def check(self, config: Any) -> None:
        """Refuse what it cannot do where it is.

        Args:
            config: Configuration that the tile is to have.

        Raises:
            ConfigError: An option is not supported; the message names the field.
        """

    def check_precision(self, config: Any, dtype: torch.dtype) -> None:
        """Refuse a precision that does not hold the numbers of a configuration.

        Raises:
            ConfigError: It does not; the message names the field.
        """

    def check_edit(self, config: Any) -> None:
        """Refuse a change of the configuration for which its state is not enough.

        Args:
            config: Configuration that the tile is to have, checked.

        Raises:
            TileModuleError: A field decides how a tile is built.
        """

    def open_backend(self) -> None:
        """Open the backend of a fresh tile, so that what it cannot do is refused at once.

        Raises:
            BackendError: There is no adapter, or too little memory.
            ConfigError: The tile has an option that the backend cannot do; the message names both.
        """

    def to_backend(self, backend: str, adapter: int | str | None = None) -> None:
        """Run the kernels elsewhere from now on; on any error they stay where they are.

        Args:
            backend: `"cpu"`, or another one of `known_backends`.
            adapter: Number or part of the name of an adapter, None for the default one.

        Raises:
            ArgumentError: The adapter is neither a number nor a name.
            BackendError: There is no such adapter, or too little memory.
            ConfigError: The backend is unknown, or the tile has an option that it cannot do; the
                message names both.
        """
        if check_backend(backend) not in self.known_backends:
            raise ConfigError(f"backend: {refused_backend(type(self).__name__, backend)}")

    def entries(self, config: Any) -> list[str]:
        """Return the names of its entries in the state of a tile; one ending in `.*` is a group.

        Args:
            config: Configuration of the tile.
        """
        return ["tile.*"]

    def plan(
        self,
        entries: dict[str, Any],
        saved: Any,
        config: Any,
        saved_dw_min: Steps | None = None,
        foreign: bool = False,
        only_present: bool = False,
    ) -> LoadPlan:
        """Check its entries of a state and take them out of a dictionary.

        Args:
            entries: Entries of the tile without prefix; its own are removed.
            saved: Configuration that the entries were written with.
            config: Configuration that the tile is to have.
            saved_dw_min: Mean step of the devices that was used instead of that of `saved`.
            foreign: Whether the entries are those of a tile that computes in torch.
            only_present: Whether entries of a device in Python may be absent: they are drawn then.

        Raises:
            ConfigError: A configuration is invalid.
            InputError: An entry has the wrong shape or dtype.
            TileError: The entries are those of another device.
        """
        # As a child of the tile it loads them itself, see `load_with_tile`.
        for name in [name for name in entries if name.startswith("tile.")]:
            del entries[name]
        return LoadPlan()

    def check_entries(self, entries: Mapping[str, Any]) -> None:
        """Check entries that are loaded after those of the tile, so that nothing is half-loaded.

        Args:
            entries: Entries of the tile without prefix.

        Raises:
            InputError: An entry has the wrong shape or is not finite.
        """

    def after_step(self, config: Any) -> bool:
        """Do what the devices do after every optimizer step; returns whether weights changed.

        Args:
            config: Configuration of the tile.
        """
        return False

    def forward(
        self,
        x_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        is_test: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return outputs, shape `[..., out]`.

        Args:
            x_input: Inputs, shape `[..., in]`.
            bias: Whether the last column is a bias, whose input of one is appended here.
            in_trans: Whether features are first in the input.
            out_trans: Whether features are first in the output.
            is_test: Evaluation mode.
            non_blocking: Accepted for compatibility.

        Raises:
            ArgumentError: A flag is no truth value.
            InputError: Wrong number of features, dtype or device.
        """
        raise NotImplementedError

    def backward(
        self,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return gradients of the inputs, shape `[..., in]`.

        Args:
            d_input: Gradients of the outputs, shape `[..., out]`.
            bias: Whether the last column is a bias, which is left out of the result.
            in_trans: Whether features are first in the argument.
            out_trans: Whether features are first in the result.
            non_blocking: Accepted for compatibility.

        Raises:
            ArgumentError: A flag is no truth value.
            InputError: Wrong number of features, dtype or device.
        """
        raise NotImplementedError

    def update(
        self,
        x_input: Tensor,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> None:
        """Update the weights with pairs of inputs and output gradients.

        Args:
            x_input: Inputs, shape `[..., in]`.
            d_input: Gradients of the outputs, shape `[..., out]`.
            bias: Whether the last column is a bias.
            in_trans: Whether features are first in the inputs.
            out_trans: Whether features are first in the gradients.
            non_blocking: Accepted for compatibility.
        """
        raise NotImplementedError

    def run_forward(
        self,
        rows: Tensor,
        bias_input: float | None,
        is_test: bool,
        weight: Tensor | None = None,
        want_mask: bool = False,
        factors: tuple[Tensor, ...] | None = None,
        offset: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, int]:
        """Return the product of a batch of rows, scaled and offset, for autograd.

        Args:
            rows: Inputs, shape `[batch, in]`.
            bias_input: Input of the bias column, None without one.
            is_test: Evaluation mode.
            weight: Raw weights to use instead of the own ones.
            want_mask: Also tell which outputs sit at the bound of the converter.
            factors: Of the outputs, one after another, shape `[1]` or `[out]` each.
            offset: Added to the outputs at last, shape `[out]`.

        Returns:
            Outputs `[batch, out]`, mask of clipped outputs (uint8, same shape) or None if none is,
            and the number of the call.
        """
        output = self.forward(rows, bias_input is not None, is_test=is_test)
        for factor in factors or ():
            output = output * factor
        return output if offset is None else output + offset, None, 0

    def enter_range(self, values: Tensor, magnitude: Tensor) -> Tensor:
        """Return inputs clipped to a range and divided by it.

        Args:
            values: Inputs, any shape.
            magnitude: Positive range, shape `[1]`.
        """
        return enter_range(values, magnitude)

    def run_backward(
        self, rows: Tensor, call: int, is_test: bool = False, weight: Tensor | None = None
    ) -> Tensor:
        """Return the transposed product of a batch of rows, for autograd.

        Args:
            rows: Gradients of the outputs, shape `[batch, out]`.
            call: Number of the forward call.
            is_test: Evaluation mode.
            weight: Raw weights to use instead of the own ones.

        Returns:
            Shape `[batch, in]`, without the bias column.
        """
        return self.backward(rows, self.has_bias_column())

    def run_update(self, x: Tensor, d: Tensor, bias_input: float | None) -> None:
        """Update the weights with pairs of rows.

        Args:
            x: Inputs, shape `[batch, in]`.
            d: Gradients of the outputs, shape `[batch, out]`.
            bias_input: Input of the bias column, None without one.
        """
        self.update(x, d, bias_input is not None)

    def run_rule(self, function: Any) -> None:
        """Let a function of a `RuleTile` act on the tile without samples, all or nothing.

        Args:
            function: Function.
        """
        raise TileError(f"run_rule: {type(self).__name__} has no rule; use a CustomCompound")

    def numbered(self) -> AbstractContextManager[int]:
        """Return a context with the number of a new call, for raw tiles that count them.

        A call that raises has not been one.
        """
        return nullcontext(0)

    def on_host(self, replaces_all: bool = False) -> AbstractContextManager[None]:
        """Return a context in which weights are read and written in the tensors of the host.

        Args:
            replaces_all: Nothing of the old weights is used.
        """
        return nullcontext()

    def changed_objects(self) -> list[object]:
        """Return the objects beside its modules whose attributes calls replace."""
        return [] if isinstance(self, nn.Module) else [self]

    def has_bias_column(self) -> bool:
        """Return whether the last column is a bias."""
        return False

    def get_brief_info(self) -> str:
        """Return one line with kind and size."""
        raise NotImplementedError

    def get_weights(self, as_ref: bool = False) -> Tensor:
        """Return the raw weights, shape `[out, in]`.

        Args:
            as_ref: Return the live storage instead of a copy.
        """
        raise NotImplementedError

    def set_weights(self, weight: Tensor) -> None:
        """Write the raw weights.

        Args:
            weight: Shape `[out, in]`.
        """
        raise NotImplementedError

    def get_x_size(self) -> int:
        """Return the number of columns."""
        raise NotImplementedError

    def get_d_size(self) -> int:
        """Return the number of rows."""
        raise NotImplementedError

    def get_named_hidden_parameters(self) -> "OrderedDict[str, Tensor]":
        """Return copies of the device parameters in their order, shape `[out, x_size]` each."""
        values = self.get_hidden_parameters()
        names = self.get_hidden_parameter_names()
        return OrderedDict((name, values[i].clone()) for i, name in enumerate(names))

    def set_named_hidden_parameters(self, ordered_parameters: Mapping[str, Tensor]) -> None:
        """Write the device parameters; the weights are clipped to the new bounds.

        Args:
            ordered_parameters: As returned by `get_hidden_parameters`; an empty mapping changes
                nothing.

        Persistent weights stay as given, and visible ones with their noise as they are. If the mean
        step contradicts `dw_min` of the configuration, a warning says so and the tile uses a
        `dw_min` of its own from then on.

        Raises:
            ArgumentError: A value is not finite, or bounds are crossed; nothing is changed.
            InputError: A shape is wrong; nothing is changed.
            TileError: Names or their order differ from those of the device; nothing is changed.
        """
        if not check_mapping("ordered_parameters", ordered_parameters):
            return
        names = self.get_hidden_parameter_names()
        if list(ordered_parameters) != names:
            raise TileError(f"hidden parameters: expected {names}, got {list(ordered_parameters)}")
        shape = (self.get_d_size(), self.get_x_size())
        for name, value in ordered_parameters.items():
            check_tensor(value, name)
            if tuple(value.shape) != shape:
                raise InputError(f"{name}: expected shape {shape}, got {tuple(value.shape)}")
        planes = [value.detach().to("cpu", torch.float32) for value in ordered_parameters.values()]
        self.set_hidden_parameters(torch.stack(planes))

    def get_hidden_update_index(self) -> int:
        """Return the index of the device of a unit cell that is updated."""
        raise self._lacks("hidden update index")

    def set_hidden_update_index(self, index: int) -> None:
        """Choose the device of a unit cell that is updated.

        Args:
            index: Index; single devices ignore it.
        """
        raise self._lacks("hidden update index")

    def get_forward_parameters(self) -> dict[str, Tensor]:
        """Return the frozen values per line of the product; empty tensors for those not in use."""
        raise self._lacks("forward parameters")

    def set_forward_parameters(
        self, /, dic: Mapping[str, Tensor] | None = None, **kwargs: Tensor
    ) -> None:
        """Write frozen values per line of the product.

        Args:
            dic: Values by name.
            kwargs: More values.

        Raises:
            ArgumentError: Unknown name, wrong length or a value that is not finite; nothing is
                changed.
        """
        raise self._lacks("forward parameters")

    def get_backward_parameters(self) -> dict[str, Tensor]:
        """Return the frozen values per line of the transposed product."""
        raise self._lacks("backward parameters")

    def set_backward_parameters(
        self, /, dic: Mapping[str, Tensor] | None = None, **kwargs: Tensor
    ) -> None:
        """Write frozen values per line of the transposed product.

        Args:
            dic: Values by name.
            kwargs: More values.

        Raises:
            ArgumentError: Unknown name, wrong length or a value that is not finite; nothing is
                changed.
        """
        raise self._lacks("backward parameters")

    def get_pulse_counters(self) -> Tensor:
        """Return how many pulses every crosspoint got, int64 `[2, out, x_size]`.

        Index 0 has those down (`x d > 0`), index 1 those up. Coincidences are counted whether or
        not the weight could follow.
        """
        raise self._lacks("pulse counters")

    def decay_weights(self, alpha: float = 1.0) -> None:
        """Let the weights decay once.

        Args:
            alpha: Number of calls it stands for.

        Raises:
            ArgumentError: It is negative or not finite; nothing is changed.
        """
        raise self._lacks("decay_weights")

    def diffuse_weights(self) -> None:
        """Add one step of the random walk of the devices."""
        raise self._lacks("diffuse_weights")

    def drift_weights(self, delta_t: float = 1.0) -> None:
        """Let the weights drift by the power law of the devices; without one nothing happens.

        The clock of a weight starts at the first call, and again at the call that finds it changed
        by anything else.

        Args:
            delta_t: Time since the last call, in the unit of `drift.t_0`.

        Raises:
            ArgumentError: It is negative or not finite; nothing is changed.
        """
        raise self._lacks("drift_weights")

    def reset_columns(
        self, start_column_idx: int = 0, num_columns: int = 1, reset_prob: float = 1.0
    ) -> None:
        """Reset columns to the reset value of the devices.

        Args:
            start_column_idx: First column.
            num_columns: Number of columns, wrapping around; a negative number means all.
            reset_prob: Probability of each crosspoint.

        Raises:
            ArgumentError: The column does not exist or the probability is outside `[0, 1]`.
        """
        raise self._lacks("reset_columns")

    def run_modifier(self, modifier: Any, modified: Tensor) -> None:
        """Write what a modifier makes of the weights, which stay.

        Args:
            modifier: Modifier, as `modifier.parsed` returns it.
            modified: Written, shape `[out, x_size]`.
        """
        raise self._lacks("run_modifier")

    def clip_weights(self, weight_clipper_params: WeightClipParameter) -> None:
        """Clip the weights in place.

        Args:
            weight_clipper_params: Kind and limits.

        Raises:
            ConfigError: The kind is not supported.
        """
        raise self._lacks("clip_weights")

    def remap_weights(self, weight_remap_params: WeightRemapParameter, scales: Tensor) -> Tensor:
        """Rescale the weights in place; scales times weights stay what they are.

        Args:
            weight_remap_params: Kind and limits.
            scales: Present scales, shape `[out]`.

        Returns:
            New scales, shape `[out]`.

        Raises:
            ConfigError: The kind or a limit is not supported.
        """
        raise self._lacks("remap_weights")

    def _lacks(self, what: str) -> TileError:
        return TileError(f"{what}: {type(self).__name__} does not compute in the core and has none")

    def get_hidden_parameters(self) -> Tensor:
        """Return the state of all crosspoints, shape `[n, out, in]`, empty if there is none."""
        return torch.empty(0, device="cpu")

    def get_hidden_parameter_names(self) -> list[str]:
        """Return the names of the planes of `get_hidden_parameters`."""
        return []

    def set_hidden_parameters(self, params: Tensor) -> None:
        """Write the state of all crosspoints.

        Args:
            params: As returned by `get_hidden_parameters`.

        Raises:
            InputError: They are no tensor.
            TileError: The tile has no such state.
        """
        check_tensor(params, "params")
        if params.numel() > 0:
            raise TileError(f"{type(self).__name__} has no hidden parameters")

    def get_learning_rate(self) -> float | None:
        """Return the raw learning rate."""
        raise NotImplementedError

    def set_learning_rate(self, learning_rate: float | None) -> None:
        """Set the raw learning rate; None is ignored."""
        raise NotImplementedError

    def dump_extra(self) -> dict[str, Any] | None:
        """Return further state, None if there is none."""
        return None

    def load_extra(self, extra: dict[str, Any], strict: bool = False) -> None:
        """Restore what `dump_extra` returned.

        Args:
            extra: Output of `dump_extra`.
            strict: Raise on missing entries.
        """

    def set_weights_uniform_random(self, bmin: float, bmax: float) -> None:
        """Draw the weights uniformly from `[bmin, bmax)`."""
        raise NotImplementedError

    def get_meta_parameters(self) -> Any:
        """Return the parameters the tile was built from."""
        raise NotImplementedError


def enter_range(values: Tensor, magnitude: Tensor) -> Tensor:
    """Return inputs clipped to a range and divided by it, by operations that graphs know.

    Args:
        values: Inputs, any shape.
        magnitude: Positive range, shape `[1]`.
    """
    return torch.clamp(values, -magnitude, magnitude) / magnitude
