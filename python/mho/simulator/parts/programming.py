"""Programming, drift and drift compensation of inference tiles."""

import copy
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, ConfigError, InputError, TileError
from mho.inference.noise.base import BaseNoiseModel, weights_of
from mho.simulator.parameters.arguments import check_flag
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.times import check_time
from mho.simulator.parts.base import Part, PartOwner
from mho.simulator.parts.modified_weights import ModifiedWeights
from mho.simulator.parts.reference_weights import ReferenceWeights
from mho.simulator.raw_tiles.rows import check_tensor
from mho.simulator.state.entries import Entry, assign
from mho.simulator.state.ordinary import ordinary_tensors
from mho.simulator.state.transaction import unchanged_on_error

_PARAMETERS = "drift_noise_parameters"
_CONDUCTANCES = "programmed_conductances"
_WEIGHTS = "programmed_weights"
_BASELINE = "drift_baseline"

_ROUNDING = 0.01
"""What casts do to weights, relative to the largest one: in bfloat16 twice a half of 2^-8."""


class DriftingTile(PartOwner, Protocol):
    """What programming needs of its tile."""

    reference_weights: ReferenceWeights
    modified: ModifiedWeights
    drift_noise_parameters: list[Any] | None
    programmed_conductances: list[Any] | None
    drift_readout_tensor: Tensor | None
    compensated_by: Any
    programmed_by: Any


class _Numbered(list[Any]):
    """List whose items are attributes as well.

    `torch.distributed.checkpoint` looks each entry of a state up in the model, part by part.
    """

    def __getattr__(self, name: str) -> Any:
        if name.isdecimal() and int(name) < len(self):
            return self[int(name)]
        raise AttributeError(f"{name!r}: there are {len(self)} items")


def _there(values: list[Any] | None, device: torch.device | None) -> list[Any]:
    """Return the tensors of a list on a device: lists do not move with a tile."""
    return [
        value.to(device) if device is not None and isinstance(value, Tensor) else value
        for value in values or ()
    ]


class Programming(Part):
    """Replaces the weights by what the noise model makes of them, at programming and later.

    In evaluation mode outputs are multiplied by `alpha`, the factor of the drift compensation.
    """

    _tile: DriftingTile

    def register(self) -> None:
        """Prepare a fresh tile, in which nothing is programmed."""
        self._tile.drift_noise_parameters = None
        self._tile.drift_readout_tensor = None

    def follow(self, config: Any) -> None:
        """Add what programming needs; see the base class."""
        if "alpha" not in self._tile._buffers:
            self._tile.register_buffer("alpha", self._filled(1, 1.0))
            self._tile.register_buffer(_WEIGHTS, None)
            self._tile.register_buffer(_BASELINE, None)

    def entries(self, config: Any) -> dict[str, Entry]:
        """Return the entries of programming and drift; see the base class."""
        tile = self._tile
        matrix = (tile.out_size, tile.in_size + int(tile.analog_bias))
        alpha: tuple[tuple[int, ...], ...] = ((1,), (), (tile.out_size,))
        return {
            "alpha": Entry(alpha),
            _WEIGHTS: Entry((matrix,), required=False),
            _BASELINE: Entry(alpha, required=False),
            # An empty tensor stands for a device that does not drift.
            f"{_PARAMETERS}.*": Entry(((0,), *self._parameter_shapes()), required=False),
            f"{_CONDUCTANCES}.*": Entry((matrix,), required=False),
        }

    def _parameter_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of drift parameters: one per device, row or column, or one for all."""
        rows, columns = self._tile.out_size, self.drift_readout_size()
        return (rows, columns), (rows, 1), (1, columns), (1,), ()

    def store(self, name: str, value: Tensor | None) -> None:
        """Take over an entry; see the base class."""
        listing, _, index = name.partition(".")
        if index:
            kept = None if value is None or value.numel() == 0 else value.clone()
            before = getattr(self._tile, listing) or []
            setattr(self._tile, listing, None if index == "*" else _Numbered([*before, kept]))
        elif value is None:
            self._tile._buffers[name] = None
        else:
            assign(self._tile, name, value)
        if name == _BASELINE:
            self._tile.drift_readout_tensor = self._tile.compensated_by = None
        elif name == _WEIGHTS:
            self._tile.programmed_by = None  # a file does not tell

    def listed(self) -> dict[str, Tensor]:
        """Return the entries of a saved state that are no buffers.

        Raises:
            TileError: A noise model has drawn something that no state can have.
        """
        entries = {}
        shapes = self._parameter_shapes()
        listed = [(_PARAMETERS, i, value) for i, value in enumerate(self._parameters())]
        listed += [(_CONDUCTANCES, i, value) for i, value in enumerate(self._conductances())]
        for listing, i, value in listed:
            name = f"{listing}.{i}"
            if value is not None and not isinstance(value, Tensor):
                raise TileError(f"{name}: expected a tensor or None, got {type(value).__name__}")
            if value is not None and (
                not value.is_floating_point() or tuple(value.shape) not in (*shapes, (0,))
            ):
                raise TileError(
                    f"{name}: a state has floating-point numbers of shape"
                    f" {' or '.join(map(str, shapes))}, but the noise model has drawn"
                    f" {value.dtype} {tuple(value.shape)}"
                )
            entries[name] = torch.empty(0, device="cpu") if value is None else value
        return entries

    @ordinary_tensors()
    def program_weights(
        self, from_reference: bool = True, noise_model: BaseNoiseModel | None = None
    ) -> None:
        """Program the weights with the errors of the noise model.

        Args:
            from_reference: Aim at the weights of the first programming; otherwise, or at the first
                one, at the present ones.
            noise_model: Model to use from now on, kept as it is: tiles that are programmed with one
                object share it, and what is changed in it.

        Raises:
            ConfigError: There is no noise model, or it is not one.
        """
        from_reference = check_flag("from_reference", from_reference)
        model = self._noise_model(noise_model)
        with unchanged_on_error([cast(nn.Module, self._tile)]):
            self._program(from_reference, model)

    def _program(self, from_reference: bool, model: BaseNoiseModel) -> None:
        tile, buffers = self._tile, self._tile._buffers
        vars(tile.rpu_config)["noise_model"] = model  # checked, and nothing else follows it
        reference = tile.reference_weights.aim(from_reference)
        if model.keep_conductances:
            conductances, parameters, params = model.program_devices(reference.clone())
            programmed = weights_of(model.g_converter, conductances, params)
            tile.programmed_conductances = _Numbered(conductances)
        else:
            programmed, parameters = model.apply_programming_noise(reference.clone())
            tile.programmed_conductances = None
        weights = programmed.to(reference)
        buffers[_WEIGHTS] = weights
        tile.drift_noise_parameters = _Numbered(parameters)
        tile.programmed_by = copy.deepcopy(model)
        tile.tile.set_weights(weights)
        buffers[_BASELINE] = tile.compensated_by = None
        tile.modified.forget()
        compensation = self._compensation()
        if compensation is not None:
            self._take_baseline(compensation)
        self._reset_factor()

    def _take_baseline(self, compensation: Any) -> None:
        """Read out the weights, which are those that were programmed."""
        tile = self._tile
        baseline, tile.drift_readout_tensor = compensation.init_baseline(tile)
        tile._buffers[_BASELINE] = self._per_output(compensation, "readout", baseline)
        tile.compensated_by = copy.deepcopy(compensation)

    def _per_output(self, compensation: Any, method: str, value: Any) -> Tensor:
        """Return what a method of a compensation has returned, if it can be factors of outputs."""
        name, out_size = f"{type(compensation).__name__}.{method}", self._tile.out_size
        if not isinstance(value, Tensor):
            raise TileError(f"{name}: must return a tensor, got {describe(value)}")
        if value.shape not in ((), (1,), (out_size,)):
            raise TileError(
                f"{name}: must return one number, or one for each of the {out_size} outputs; got"
                f" shape {tuple(value.shape)}"
            )
        if not bool(torch.isfinite(value).all()):
            raise TileError(
                f"{name}: must return finite numbers, found NaN or infinity; is a readout zero?"
            )
        return value

    def _noise_model(self, noise_model: BaseNoiseModel | None) -> BaseNoiseModel:
        config = self._tile.rpu_config
        model = getattr(config, "noise_model", None) if noise_model is None else noise_model
        if not isinstance(model, BaseNoiseModel):
            raise ConfigError(f"noise_model: expected a BaseNoiseModel, got {type(model).__name__}")
        model.check("noise_model")
        return model

    @ordinary_tensors()
    def drift_weights(self, t_inference: float | str = 0.0) -> None:
        """Set the weights to what is read some time after programming, and update `alpha`.

        The first call programs the weights if that was not done yet. Calls are independent: every
        one starts from the programmed weights.

        Args:
            t_inference: Time since programming in seconds, or text such as `"1 day"`.

        Raises:
            ArgumentError: The time is negative or none; nothing is changed.
            ConfigError: There is no noise model.
            TileError: The weights were programmed with devices of another kind than those of the
                noise model, or converted to their conductances in another way; or a state had
                conductances without the weights that they were programmed for.
        """
        t_inference = check_time("t_inference", t_inference)
        with unchanged_on_error([cast(nn.Module, self._tile)]):
            self._drift(t_inference)

    def _drift(self, t_inference: float) -> None:
        tile, buffers = self._tile, self._tile._buffers
        if buffers[_WEIGHTS] is None or tile.drift_noise_parameters is None:
            self._program(True, self._noise_model(None))
        programmed = buffers[_WEIGHTS]
        assert programmed is not None
        compensation = self._compensation()
        if compensation is not None and not self._has_baseline_of(compensation):
            # The configuration had another compensation, or none, when the weights were programmed.
            tile.tile.set_weights(programmed)
            self._take_baseline(compensation)
        drifted = self._drifted(programmed, self._noise_model(None), t_inference)
        tile.tile.set_weights(drifted.to(programmed))
        tile.modified.forget()
        if compensation is not None:
            self._compensate(compensation)

    def _drifted(self, programmed: Tensor, model: BaseNoiseModel, t_inference: float) -> Tensor:
        """Return the weights as they are read."""
        self._check_kind(model)
        parameters = self._parameters(programmed.device)
        conductances = self._conductances(programmed.device)
        if not conductances:
            return model.apply_drift_noise(programmed.clone(), parameters, t_inference)
        if not self._tile.reference_weights.is_kept():
            raise TileError(
                "programmed_conductances: the weights that they were programmed for are missing;"
                " call program_weights"
            )
        target = self._tile.reference_weights.aim(True)
        self._check_conversion(model, target, conductances, programmed)
        return model.read_devices(target.clone(), conductances, parameters, t_inference)

    def _check_kind(self, model: BaseNoiseModel) -> None:
        """Refuse a model that takes the drift parameters of another one for its own."""
        known = self._tile.programmed_by
        if known is None or isinstance(model, type(known)) or isinstance(known, type(model)):
            return
        raise TileError(
            f"noise_model: the weights were programmed with {type(known).__name__}, and"
            f" {type(model).__name__} has other devices; call program_weights"
        )

    def _check_conversion(
        self, model: BaseNoiseModel, target: Tensor, conductances: list[Any], programmed: Tensor
    ) -> None:
        """Refuse a conversion by which the kept conductances are other weights than those."""
        converter = model.g_converter
        _, params = converter.convert_to_conductances(target.clone())
        try:
            found = converter.convert_back_to_weights(conductances, params)
            error = float((found.to(programmed) - programmed).abs().max())
            fits = error <= _ROUNDING * float(programmed.abs().max())
        except ArgumentError:  # another number of devices
            fits = False
        if not fits:
            raise TileError(
                "noise_model.g_converter: the conductances that are kept were programmed with"
                " another one; call program_weights"
            )

    def _parameters(self, device: torch.device | None = None) -> list[Any]:
        return _there(self._tile.drift_noise_parameters, device)

    def _conductances(self, device: torch.device | None = None) -> list[Any]:
        return _there(self._tile.programmed_conductances, device)

    def _has_baseline_of(self, compensation: Any) -> bool:
        if self._tile._buffers[_BASELINE] is None:
            return False
        # A baseline from a file has no name; the shape tells factors per tile and per output apart.
        known = self._tile.compensated_by
        return known == compensation if known is not None else self._fits(compensation)

    def _fits(self, compensation: Any) -> bool:
        tile = self._tile
        baseline = tile._buffers[_BASELINE]
        assert baseline is not None
        sizes = (self.drift_readout_size(), tile.out_size)
        some = compensation.readout(torch.ones(sizes, dtype=torch.float32, device="cpu"))
        return bool(some.numel() == baseline.numel())

    def _compensate(self, compensation: Any) -> None:
        tile = self._tile
        if tile.drift_readout_tensor is None:
            tile.drift_readout_tensor = compensation.get_readout_tensor(self.drift_readout_size())
        output = self.drift_readout(tile.drift_readout_tensor)
        baseline = tile._buffers[_BASELINE]
        factor = self._per_output(compensation, "apply", compensation.apply(output, baseline))
        tile._buffers["alpha"] = factor.to(self._factor())

    def drift_readout_size(self) -> int:
        """Return the number of input lines of the array, with that of an analog bias."""
        return self._tile.tile.get_x_size()

    def drift_readout(self, readout_tensor: Tensor) -> Tensor:
        """Return the product of the bare array in evaluation mode, without any periphery.

        Args:
            readout_tensor: Inputs, shape `[batch, drift_readout_size()]`.

        Returns:
            Outputs, shape `[batch, out_size]`.
        """
        check_tensor(readout_tensor, "readout_tensor")
        lines = self.drift_readout_size()
        if readout_tensor.ndim != 2 or readout_tensor.shape[1] != lines:
            raise InputError(
                f"readout_tensor: expected shape [batch, {lines}], got"
                f" {tuple(readout_tensor.shape)}; get_readout_tensor of the drift compensation is"
                " told the number of input lines, with that of an analog bias"
            )
        with torch.no_grad():
            rows = readout_tensor.to(self._tile._get_tile_weights_ref())
            return self._tile.tile.forward(rows, False, is_test=True)

    def output_factor(self) -> Tensor | None:
        """Return the factor on outputs in evaluation, `[1]` or `[out_size]`; None without one."""
        return None if self._compensation() is None else self._tile._buffers["alpha"]

    @ordinary_tensors()
    def undo_drift(self) -> None:
        """Set the weights to what was programmed, as if they had not drifted since.

        Raises:
            TileError: Nothing is programmed.
        """
        programmed = self._tile._buffers[_WEIGHTS]
        if programmed is None:
            raise TileError("programmed_weights: nothing is programmed; call program_weights")
        self._tile.tile.set_weights(programmed)
        self._tile.modified.forget()
        self._reset_factor()

    def forget(self) -> None:
        """Drop what belongs to earlier weights."""
        self._tile.reference_weights.forget()
        self._tile._buffers[_WEIGHTS] = self._tile._buffers[_BASELINE] = None
        self._tile.drift_noise_parameters = self._tile.programmed_conductances = None
        self._reset_factor()

    def _factor(self) -> Tensor:
        alpha = self._tile._buffers["alpha"]
        assert alpha is not None  # there is one from the construction on
        return alpha

    @ordinary_tensors()
    def _reset_factor(self) -> None:
        old = self._factor()
        self._tile._buffers["alpha"] = torch.ones(1, dtype=old.dtype, device=old.device)

    def _compensation(self) -> Any:
        return getattr(self._tile.rpu_config, "drift_compensation", None)
