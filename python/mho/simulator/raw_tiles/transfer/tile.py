"""Raw tile of a transfer compound: two arrays of the core, and the algorithm in Python."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ArgumentError, InputError
from mho.simulator.delegation import done_by
from mho.simulator.devices.cells.chopped_transfer import ChoppedTransferCompound
from mho.simulator.parameters.arguments import (
    check_flag,
    check_flags,
    check_index,
    check_not_negative,
    check_size,
)
from mho.simulator.parameters.enums import RPUDataType
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parameters.helpers import check_data_type
from mho.simulator.parameters.inference import WeightClipParameter
from mho.simulator.parameters.registry import register_tile_class
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.raw_tiles.core.tile import CoreTile
from mho.simulator.raw_tiles.rows import (
    batch_shape,
    check_pairs,
    check_tensor,
    from_rows,
    to_float_rows,
)
from mho.simulator.raw_tiles.transfer import algorithm, saved_state
from mho.simulator.raw_tiles.transfer.buffers import fresh_buffers
from mho.simulator.raw_tiles.transfer.inner import InnerTile, inner_configs
from mho.simulator.raw_tiles.transfer.support import check_config, check_layout
from mho.simulator.raw_tiles.weight_limits import check_limits, check_weights
from mho.simulator.state.header import Steps
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.ordinary import on_host, ordinary_tensors
from mho.simulator.state.plan import LoadPlan
from mho.simulator.state.tensor_group import TensorGroup

_INITIAL_LEARNING_RATE = 0.1
_INITIAL_RANGE = 0.1


@register_tile_class
class TransferSimulatorTile(SimulatorTile, TensorGroup):
    """Chopped or dynamic transfer between two arrays, as a readable reference.

    The algorithm itself is in `algorithm.py`. Here are the arrays: `grad_tile` of the first device
    gets the pulses of updates and is read with `transfer_forward`, `weight_tile` of the second one
    gets the transfers. Products see the sum of both, which for `gamma=0` is the second one.
    """

    grad_tile: InnerTile
    """Array that gradients are written to."""

    weight_tile: InnerTile
    """Array that holds the weight."""

    weight: Tensor
    """What products see, float32 `[out, in]`. It follows from both and is not saved."""

    hidden_weight: Tensor
    past_mean_weight: Tensor
    reference_weight: Tensor
    in_chopper: Tensor
    out_chopper: Tensor
    in_chopper_switched: Tensor
    current_update_idx: Tensor
    current_slice_indices: Tensor
    transfer_counter: Tensor
    input_error_averages: Tensor
    count_lr: Tensor

    @ordinary_tensors()
    def __init__(
        self, x_size: int, d_size: int, rpu_config: Any, dtype: RPUDataType = RPUDataType.FLOAT
    ) -> None:
        """Draw the devices of both arrays; draws three seeds from torch's generator.

        Args:
            x_size: Number of inputs.
            d_size: Number of outputs.
            rpu_config: Configuration of the tile; its device is the cell.
            dtype: Must be `RPUDataType.FLOAT`.

        Raises:
            ArgumentError: A size is not a positive integer.
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        super().__init__()
        self.x_size, self.d_size = check_size("x_size", x_size), check_size("d_size", d_size)
        check_data_type(dtype)
        check_config(rpu_config)
        self.learning_rate = _INITIAL_LEARNING_RATE
        self._take(rpu_config)
        fast, slow = inner_configs(rpu_config)
        with on_host():
            self.grad_tile = InnerTile(fast, self.d_size, self.x_size)
            self.weight_tile = InnerTile(slow, self.d_size, self.x_size)
            self.hold(fresh_buffers(self.cell, self.d_size, self.x_size))
            self.register_buffer("weight", torch.zeros(self.d_size, self.x_size), persistent=False)
        self.set_weights_uniform_random(-_INITIAL_RANGE, _INITIAL_RANGE)

    def _take(self, config: Any) -> None:
        self.config = config
        self.cell: ChoppedTransferCompound = config.device
        self.desired_bl: int = config.update.desired_bl

    def __repr__(self) -> str:
        """Return kind and size."""
        return self.get_brief_info()

    @property
    def arrays(self) -> tuple[InnerTile, InnerTile]:
        """Both arrays, the fast one first."""
        return self.grad_tile, self.weight_tile

    @property
    def slow(self) -> CoreTile:
        """Raw tile of the core that computes the products."""
        return self.weight_tile.tile

    # --- what the algorithm asks for --------------------------------------------------------------

    def granularity(self) -> tuple[float, float]:
        """Return the mean steps of the devices of both arrays."""
        return self.grad_tile.granularity(), self.weight_tile.granularity()

    def pulse(self, x: Tensor, d: Tensor, rate: float) -> None:
        """Do a pulsed update of the fast array; see `TransferArrays`."""
        self.grad_tile.update(x, d, rate)

    def read(self, line: int) -> Tensor:
        """Return a line of the fast array as an analog product reads it; see `TransferArrays`."""
        at = self._one_hot(line)
        raw = self.grad_tile.tile
        return (raw.forward(at) if self.cell.transfer_columns else raw.backward(at))[0]

    def write(self, line: int, error: Tensor, rate: float) -> None:
        """Do a pulsed update of a line of the slow array; see `TransferArrays`."""
        x, d = self._one_hot(line), error.reshape(1, -1)
        if not self.cell.transfer_columns:
            x, d = d, x
        self.weight_tile.update(x, d, rate)

    def _one_hot(self, line: int) -> Tensor:
        hot = torch.zeros(1, len(self.in_chopper), dtype=torch.float32, device="cpu")
        hot[0, line] = 1.0
        return hot

    def uniform(self, count: int) -> Tensor:
        """Return draws from `[0, 1)` of the own stream; see `TransferArrays`."""
        drawn = torch.empty(1, count, dtype=torch.float32, device="cpu")
        self._draw(drawn, 0.0, 1.0)
        return drawn[0]

    def _draw(self, values: Tensor, low: float, high: float) -> None:
        own: Any = self._buffers
        _core.uniform_weights(values, low, high, own[Names.SEED], own[Names.CALLS])

    def _reduce(self) -> None:
        fast, slow = self.grad_tile.weights, self.weight_tile.weights
        self.weight.copy_(algorithm.reduced(self, fast, slow))

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Put everything back, bit for bit, if the block raises; else the weight follows.

        For changes in several steps, between any two of which Python may raise `KeyboardInterrupt`.
        """
        holders = [(holder, dict(vars(holder))) for holder in self.changed_objects()]
        buffers = [(module._buffers, dict(module._buffers)) for module in self.modules()]
        tensors = [value for _, content in buffers for value in content.values()]
        saved = [(value, value.clone()) for value in tensors if value is not None]
        try:
            with torch.no_grad():
                yield
                self._reduce()
        except BaseException:
            for holder, attributes in holders:
                vars(holder).update(attributes)
            for registry, content in buffers:
                registry.clear()
                registry.update(content)
            with torch.no_grad():
                for value, old in saved:
                    value.copy_(old)
            raise

    @contextmanager
    def _update_undone_on_error(self) -> Iterator[None]:
        """Put back what updates change; the devices, most of the memory, are not copied."""
        own = [(value, value.clone()) for value in self._buffers.values() if value is not None]
        fast, slow = (array.tile.tensors for array in self.arrays)
        with torch.no_grad():
            try:
                with fast.undone_on_error(), slow.undone_on_error():
                    yield
            except BaseException:
                for value, old in own:
                    value.copy_(old)
                raise

    # --- configuration and state ------------------------------------------------------------------

    def follow(self, config: Any) -> None:
        """Follow a new configuration of the tile; see the base class."""
        self._take(config)
        for array, own in zip(self.arrays, inner_configs(config), strict=True):
            array.tile.follow(own)
        with torch.no_grad():
            self._reduce()

    def check(self, config: Any) -> None:
        """Refuse what the algorithm or the core cannot do; see the base class."""
        check_config(config)
        for array, own in zip(self.arrays, inner_configs(config), strict=True):
            array.check(own)

    def check_edit(self, config: Any) -> None:
        """Refuse an edit that asks for other devices; see the base class."""
        for array, own in zip(self.arrays, inner_configs(config), strict=True):
            array.tile.check_edit(own)

    def plan(
        self,
        entries: dict[str, Any],
        saved: Any,
        config: Any,
        saved_dw_min: Steps | None = None,
        foreign: bool = False,
        only_present: bool = False,
    ) -> LoadPlan:
        """Check its entries of a state; see the base class."""
        return saved_state.plan(self, entries, saved, config, only_present)

    def changed_objects(self) -> list[object]:
        """Return the objects beside its modules whose attributes calls replace."""
        return [found for array in self.arrays for found in array.tile.changed_objects()]

    def dump_extra(self) -> dict[str, Any]:
        """Return learning rate, buffers, and what both arrays return, as plain lists."""
        return saved_state.dump_extra(self)

    def load_extra(self, extra: dict[str, Any], strict: bool = False) -> None:
        """Restore what `dump_extra` returned.

        Args:
            extra: Output of `dump_extra`.
            strict: Raise on missing entries.

        Raises:
            StateError: An entry is missing, unknown or unusable; nothing is changed.
        """
        saved_state.load_extra(self, extra, strict)

    # --- products and updates ---------------------------------------------------------------------

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
            bias: Must be false.
            in_trans: Must be false.
            out_trans: Must be false.
            is_test: Evaluation mode.
            non_blocking: Accepted for compatibility.

        Raises:
            ConfigError: A bias or another layout is asked for.
            InputError: Wrong number of features or dtype.
        """
        self._check_layout(bias, in_trans, out_trans)
        rows = to_float_rows(x_input, self.x_size, False, "x_input")
        y = self.run_forward(rows, None, check_flag("is_test", is_test))[0]
        return from_rows(y, batch_shape(x_input, False), False)

    def backward(
        self,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return the transposed product, shape `[..., in]`.

        Args:
            d_input: Gradients of the outputs, shape `[..., out]`.
            bias: Must be false.
            in_trans: Must be false.
            out_trans: Must be false.
            non_blocking: Accepted for compatibility.

        Raises:
            ConfigError: A bias or another layout is asked for.
            InputError: Wrong number of features or dtype.
        """
        self._check_layout(bias, in_trans, out_trans)
        rows = to_float_rows(d_input, self.d_size, False, "d_input")
        with self.numbered() as call:
            y = self.run_backward(rows, call)
        return from_rows(y, batch_shape(d_input, False), False)

    def update(
        self,
        x_input: Tensor,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> None:
        """Update the fast array, and transfer a line of it if it is time to.

        Args:
            x_input: Inputs, shape `[..., in]`.
            d_input: Gradients of the outputs, shape `[..., out]`.
            bias: Must be false.
            in_trans: Must be false.
            out_trans: Must be false.
            non_blocking: Accepted for compatibility.

        Raises:
            ArgumentError: A value is not finite; nothing is changed.
            ConfigError: More than one transfer is due in this call, or a bias or another layout is
                asked for; nothing is changed.
            InputError: Wrong number of features or samples, or dtype; nothing is changed.
        """
        self._check_layout(bias, in_trans, out_trans)
        x = to_float_rows(x_input, self.x_size, False, "x_input")
        d = to_float_rows(d_input, self.d_size, False, "d_input")
        self.run_update(x, d, None)

    def _check_layout(self, bias: bool, in_trans: bool, out_trans: bool) -> None:
        check_layout(*check_flags(bias=bias, in_trans=in_trans, out_trans=out_trans))

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
        """Return the product of a batch of rows; see the base class."""
        seen = self.weight if weight is None else weight
        return self.slow.run_forward(rows, None, is_test, seen, want_mask, factors, offset)

    def run_backward(
        self, rows: Tensor, call: int, is_test: bool = False, weight: Tensor | None = None
    ) -> Tensor:
        """Return the transposed product of a batch of rows; see the base class."""
        return self.slow.run_backward(
            rows, call, is_test, self.weight if weight is None else weight
        )

    def run_update(self, x: Tensor, d: Tensor, bias_input: float | None) -> None:
        """Update with pairs of rows; see the base class. On any error nothing is changed.

        Raises:
            ArgumentError: A value is not finite.
            ConfigError: More than one transfer is due in this call.
            InputError: The shapes do not match.
        """
        check_pairs(x, d)
        if self.learning_rate == 0.0 or x.shape[0] == 0:
            return
        if not all_finite(x, d):
            raise ArgumentError("x_input, d_input: values must be finite; found NaN or infinity")
        algorithm.checked_period(self.cell, x.shape[0])
        with self._update_undone_on_error():
            algorithm.update(self, x, d, self.learning_rate)
            self._reduce()

    def numbered(self) -> AbstractContextManager[int]:
        """Return a context with the number of a new call; see the base class."""
        return self.slow.numbered()

    def get_learning_rate(self) -> float:
        """Return the learning rate."""
        return self.learning_rate

    def set_learning_rate(self, learning_rate: float | None) -> None:
        """Set the learning rate; None is ignored.

        Raises:
            ArgumentError: It is negative or not finite; the present one stays.
        """
        if learning_rate is not None:
            self.learning_rate = check_not_negative("learning_rate", learning_rate)

    # --- weights ----------------------------------------------------------------------------------

    def get_weights(self, as_ref: bool = False) -> Tensor:
        """Return the weights that products see, shape `[out, in]`.

        Args:
            as_ref: Return the live storage instead of a copy, for reading: it is written anew by
                each update.
        """
        return self.weight if check_flag("as_ref", as_ref) else self.weight.detach().clone()

    def set_weights(self, weight: Tensor) -> None:
        """Write the weights: all into the slow array, within its bounds; the rest starts anew.

        The fast array, the buffer, signs, averages and counters become those of a new tile.

        Args:
            weight: Shape `[out, in]`; any floating-point dtype and device.

        Raises:
            ArgumentError: A value is not finite in float32; nothing is changed.
            InputError: Wrong shape, or not real numbers.
        """
        new = check_weights(weight, (self.d_size, self.x_size))
        _, of_slow = algorithm.gammas(self.cell)
        with self.undone_on_error():
            self.grad_tile.tile.set_weights(torch.zeros_like(new))
            self.slow.set_weights(new / algorithm.single(of_slow))
            for name, value in fresh_buffers(self.cell, self.d_size, self.x_size, 0).items():
                if name not in (Names.SEED, Names.CALLS):
                    self.get_buffer(name).copy_(value)

    def set_weights_uniform_random(self, bmin: float, bmax: float) -> None:
        """Draw weights uniformly from `[bmin, bmax)` and write them.

        Raises:
            ArgumentError: The limits are not finite or not in order.
        """
        bmin, bmax = check_limits(bmin, bmax)
        with self.undone_on_error():
            drawn = torch.empty_like(self.weight)
            self._draw(drawn, bmin, bmax)
            self.set_weights(drawn)

    def clip_weights(self, weight_clipper_params: WeightClipParameter) -> None:
        """Clip the weights of both arrays; see the base class."""
        with self.undone_on_error():
            for array in self.arrays:
                array.tile.clip_weights(weight_clipper_params)

    remap_weights = done_by("slow", CoreTile.remap_weights)  # refuses: the devices are pulsed

    def decay_weights(self, alpha: float = 1.0) -> None:
        """Let the weights of both arrays decay once; see the base class."""
        with self.undone_on_error():
            for array in self.arrays:
                array.tile.decay_weights(alpha)

    def diffuse_weights(self) -> None:
        """Add one step of the random walk of the devices of both arrays."""
        with self.undone_on_error():
            for array in self.arrays:
                array.tile.diffuse_weights()

    def drift_weights(self, delta_t: float = 1.0) -> None:
        """Let the weights of both arrays drift; see the base class."""
        with self.undone_on_error():
            for array in self.arrays:
                array.tile.drift_weights(delta_t)

    def reset_columns(
        self, start_column_idx: int = 0, num_columns: int = 1, reset_prob: float = 1.0
    ) -> None:
        """Reset columns of the fast array; see the base class."""
        with self.undone_on_error():
            self.grad_tile.tile.reset_columns(start_column_idx, num_columns, reset_prob)

    def after_step(self, config: Any) -> bool:
        """Let the weights diffuse and decay if the devices do; returns whether they changed."""
        if not (self.cell.requires_diffusion() or self.cell.requires_decay()):
            return False
        with self.undone_on_error():
            for array, own in zip(self.arrays, inner_configs(config), strict=True):
                array.tile.after_step(own)
        return True

    def post_update_step(self) -> None:
        """Let the weights diffuse and decay if the devices do."""
        self.after_step(self.config)

    # --- hidden parameters ------------------------------------------------------------------------

    def get_hidden_parameter_names(self) -> list[str]:
        """Return the names: of both devices with their endings, of both weights, of the buffers.

        `hidden_weight` is the buffer, `past_mean_weight` the running mean of what was read, and
        `reference_weight` that mean at the last flip.
        """
        of_arrays = [
            f"{name}_{k}"
            for k, array in enumerate(self.arrays)
            for name in array.tile.get_hidden_parameter_names()
        ]
        return [*of_arrays, "fast_weight", "slow_weight", *self._planes()]

    def get_hidden_parameters(self) -> Tensor:
        """Return all of them, shape `[n, out, in]`."""
        of_arrays = [array.tile.get_hidden_parameters() for array in self.arrays]
        weights = [array.weights for array in self.arrays]
        return torch.cat([*of_arrays, torch.stack([*weights, *self._planes().values()])])

    def set_hidden_parameters(self, params: Tensor) -> None:
        """Write all of them; both weights are brought into the new bounds.

        Args:
            params: As returned by `get_hidden_parameters`.

        Raises:
            ArgumentError: A value is not finite, or bounds are crossed; nothing is changed.
            InputError: Wrong shape; nothing is changed.
        """
        check_tensor(params, "params")
        counts = [len(array.tile.get_hidden_parameter_names()) for array in self.arrays]
        planes = self._planes()
        shape = (sum(counts) + 2 + len(planes), self.d_size, self.x_size)
        if tuple(params.shape) != shape:
            raise InputError(f"params: expected shape {shape}, got {tuple(params.shape)}")
        values = params.detach().to("cpu", torch.float32)
        if not all_finite(values):
            raise ArgumentError("params: values must be finite")
        fast, slow, weights, own = torch.split(values, [*counts, 2, len(planes)])
        with self.undone_on_error():
            for array, device, weight in zip(self.arrays, (fast, slow), weights, strict=True):
                array.weights.copy_(weight)
                array.tile.set_hidden_parameters(device)
                array.note_step()
            for plane, value in zip(planes.values(), own, strict=True):
                plane.copy_(value)

    def _planes(self) -> dict[str, Tensor]:
        """Return views of the buffers that have a value per crosspoint, `[out, in]` each."""
        names = ("hidden_weight", "past_mean_weight", "reference_weight")
        buffers: dict[str, Any] = {name: self._buffers.get(name) for name in names}
        by_columns = self.cell.transfer_columns
        present = {name: value for name, value in buffers.items() if value is not None}
        return {name: value.t() if by_columns else value for name, value in present.items()}

    def get_hidden_update_index(self) -> int:
        """Return the index of the device that is updated, always the first one."""
        return 0

    def set_hidden_update_index(self, index: int) -> None:
        """Ignore the index: updates always reach the first device.

        Args:
            index: Accepted for compatibility.

        Raises:
            ArgumentError: There is no such device.
        """
        if not 0 <= check_index("index", index) < len(self.arrays):
            raise ArgumentError(f"index: expected 0 to {len(self.arrays) - 1}, got {index}")

    get_forward_parameters = done_by("slow", SimulatorTile.get_forward_parameters)
    set_forward_parameters = done_by("slow", SimulatorTile.set_forward_parameters)
    get_backward_parameters = done_by("slow", SimulatorTile.get_backward_parameters)
    set_backward_parameters = done_by("slow", SimulatorTile.set_backward_parameters)

    def get_pulse_counters(self) -> Tensor:
        """Return nothing: pulses are counted by each array, not for the cell as a whole."""
        return torch.empty(0, dtype=torch.int64, device="cpu")

    def get_x_size(self) -> int:
        """Return the number of inputs."""
        return self.x_size

    def get_d_size(self) -> int:
        """Return the number of outputs."""
        return self.d_size

    def get_brief_info(self) -> str:
        """Return kind, cell and size in one line."""
        return f"{type(self).__name__}[{type(self.cell).__name__}]({self.d_size},{self.x_size})"

    def get_meta_parameters(self) -> Any:
        """Return the cell."""
        return self.cell
