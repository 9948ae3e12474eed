"""Inference tiles: hardware-aware training, programming and drift of the weights."""

from typing import Any

import torch
from torch import Tensor

from mho.exceptions import ConfigError, InputError, TileError
from mho.inference.noise.base import BaseNoiseModel
from mho.simulator.parameters.enums import (
    WeightClipType,
    WeightModifierType,
    WeightRemapType,
)
from mho.simulator.parameters.inference import WeightRemapParameter
from mho.simulator.raw_tiles import weight_limits
from mho.simulator.state.entries import Entry
from mho.simulator.tiles.periphery import TileWithPeriphery

_DRIFT = "drift_noise_parameters"


class InferenceTileWithPeriphery(TileWithPeriphery):
    """Tile whose weights follow a gradient in training and are programmed for inference.

    In evaluation mode outputs are multiplied by `alpha`, the factor of the drift compensation.
    """

    alpha: Tensor
    programmed_weights: Tensor | None
    drift_baseline: Tensor | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Build the tile with nothing programmed.

        Args:
            args: As for `TileWithPeriphery`.
            kwargs: As for `TileWithPeriphery`.
        """
        super().__init__(*args, **kwargs)
        self.register_buffer("alpha", torch.ones(1, dtype=torch.float32))
        self.register_buffer("programmed_weights", None)
        self.register_buffer("drift_baseline", None)
        self.drift_noise_parameters: list[Any] | None = None
        self.drift_readout_tensor: Tensor | None = None

    @classmethod
    def _stock(cls) -> type[TileWithPeriphery]:
        return InferenceTileWithPeriphery

    def _check_config(self, config: Any) -> None:
        super()._check_config(config)
        modifier = getattr(config, "modifier", None)
        if modifier is not None and modifier.type is not WeightModifierType.NONE:
            raise ConfigError(
                f"modifier.type: {modifier.type} is not supported yet; use WeightModifierType.NONE"
            )

    def _gradient_factor(self, forward: object) -> float:
        return float(getattr(forward, "out_scale", 1.0))

    def init_mapping_scales(self) -> None:
        """Add mapping scales of one if scaling or remapping asks for them."""
        super().init_mapping_scales()
        remap = getattr(self.rpu_config, "remap", None)
        if (
            self.mapping_scales is None
            and remap is not None
            and remap.type is not WeightRemapType.NONE
        ):
            self.mapping_scales = torch.ones(self.out_size, dtype=torch.float32)

    def post_forward(
        self, x_output: Tensor, dim: int, is_test: bool = False, ctx: Any = None
    ) -> Tensor:
        """Return outputs scaled back, and in evaluation mode corrected for drift.

        Args:
            x_output: Outputs of the array, features on axis `dim`.
            dim: Axis of the features.
            is_test: Evaluation mode.
            ctx: Not used.
        """
        x_output = super().post_forward(x_output, dim, is_test, ctx)
        if not is_test or self._compensation() is None:
            return x_output
        alpha = self._buffers["alpha"]
        assert alpha is not None
        if alpha.numel() == 1:
            # Before any drift the factor is 1, and a pass over all outputs for nothing. A graph
            # cannot depend on the value.
            needed = torch.compiler.is_compiling() or alpha.item() != 1.0
            return x_output * alpha if needed else x_output
        return x_output * alpha.view(self.get_tensor_view(x_output.dim(), dim))

    def _direct_eval(self, output: Tensor) -> None:
        if self._compensation() is not None:
            # One factor, or one per output, which stands on the last axis as it is.
            alpha: Any = self._buffers["alpha"]  # cheaper than the attribute
            output.mul_(alpha)

    def _graph_alpha(self, is_test: bool) -> Tensor | None:
        return self.alpha if is_test and self._compensation() is not None else None

    def _compensation(self) -> Any:
        return getattr(self.rpu_config, "drift_compensation", None)

    @torch.no_grad()
    def program_weights(  # type: ignore[override]
        self, from_reference: bool = True, noise_model: BaseNoiseModel | None = None
    ) -> None:
        """Program the weights with the errors of the noise model.

        Args:
            from_reference: Aim at the weights of the first programming; otherwise, or at the first
                one, at the present ones.
            noise_model: Model to use from now on.

        Raises:
            ConfigError: There is no noise model, or it is not one.
        """
        model = self._noise_model(noise_model)
        if not from_reference or self.reference_combined_weights is None:
            self.reference_combined_weights = self.tile.get_weights().cpu()
        reference = self.reference_combined_weights
        programmed, parameters = model.apply_programming_noise(reference.clone())
        self.programmed_weights = programmed.to(reference)
        self.drift_noise_parameters = list(parameters)
        self.tile.set_weights(self.programmed_weights)
        if self._compensation() is not None:
            baseline, self.drift_readout_tensor = self._compensation().init_baseline(self)
            self.drift_baseline = baseline
            self.alpha = torch.ones(1, dtype=self.alpha.dtype, device=self.alpha.device)

    def _noise_model(self, noise_model: BaseNoiseModel | None) -> BaseNoiseModel:
        model = (
            getattr(self.rpu_config, "noise_model", None) if noise_model is None else noise_model
        )
        if not isinstance(model, BaseNoiseModel):
            raise ConfigError(f"noise_model: expected a BaseNoiseModel, got {type(model).__name__}")
        if noise_model is not None:
            self.rpu_config.noise_model = noise_model
        return model

    @torch.no_grad()
    def drift_weights(self, t_inference: float = 0.0) -> None:
        """Set the weights to what is read some time after programming, and update `alpha`.

        The first call programs the weights if that was not done yet. Calls are independent: every
        one starts from the programmed weights.

        Args:
            t_inference: Time since programming in seconds.

        Raises:
            ConfigError: There is no noise model.
        """
        if self.programmed_weights is None or self.drift_noise_parameters is None:
            self.program_weights()
        assert self.programmed_weights is not None and self.drift_noise_parameters is not None
        drifted = self._noise_model(None).apply_drift_noise(
            self.programmed_weights.clone(), self.drift_noise_parameters, t_inference
        )
        self.tile.set_weights(drifted.to(self.programmed_weights))
        compensation = self._compensation()
        if compensation is not None and self.drift_baseline is not None:
            self._compensate(compensation, self.drift_baseline)

    def _compensate(self, compensation: Any, baseline: Tensor) -> None:
        if self.drift_readout_tensor is None:
            self.drift_readout_tensor = compensation.get_readout_tensor(self.drift_readout_size())
        output = self.drift_readout(self.drift_readout_tensor)
        self.alpha = compensation.apply(output, baseline).to(self.alpha)

    def drift_readout_size(self) -> int:
        """Return the number of input lines of the array, with that of an analog bias."""
        return self.tile.get_x_size()

    def drift_readout(self, readout_tensor: Tensor) -> Tensor:
        """Return the product of the bare array in evaluation mode, without any periphery.

        Args:
            readout_tensor: Inputs, shape `[batch, drift_readout_size()]`.

        Returns:
            Outputs, shape `[batch, out_size]`.
        """
        with torch.no_grad():
            return self.tile.forward(
                readout_tensor.to(self._get_tile_weights_ref()), False, is_test=True
            )

    def _forget_programming(self) -> None:
        super()._forget_programming()
        self.programmed_weights = self.drift_baseline = self.drift_noise_parameters = None
        if "alpha" in self._buffers:
            self.alpha = torch.ones(1, dtype=self.alpha.dtype, device=self.alpha.device)

    def post_update_step(self) -> None:
        """Do what follows every optimizer step: diffusion and decay, clipping, remapping."""
        super().post_update_step()
        config = self.rpu_config
        clip, remap = getattr(config, "clip", None), getattr(config, "remap", None)
        if clip is not None and clip.type is not WeightClipType.NONE:
            self._weights_edited()
            weight_limits.clip_(self._get_tile_weights_ref(), clip)
        if remap is not None and remap.type is not WeightRemapType.NONE:
            self._weights_edited()
            self._remap(remap)

    @torch.no_grad()
    def _remap(self, params: WeightRemapParameter) -> None:
        scales = self.get_scales()
        assert scales is not None  # init_mapping_scales adds them when remapping is on
        spread = scales.expand(self.out_size).clone()
        self.set_scales(weight_limits.remap_(self._get_tile_weights_ref(), params, spread))

    def _digital_entries(self, config: Any) -> dict[str, Entry]:
        matrix = (self.out_size, self.in_size + int(self.analog_bias))
        alpha: tuple[tuple[int, ...], ...] = ((1,), (), (self.out_size,))
        return {
            **super()._digital_entries(config),
            "alpha": Entry(alpha),
            "programmed_weights": Entry((matrix,), required=False),
            "drift_baseline": Entry(alpha, required=False),
        }

    def _store_digital(self, name: str, value: Tensor | None) -> None:
        super()._store_digital(name, value)
        if name == "drift_baseline":
            self.drift_readout_tensor = None

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for i, value in enumerate(self.drift_noise_parameters or []):
            if value is not None and not isinstance(value, Tensor):
                raise TileError(
                    f"{_DRIFT}.{i}: expected a tensor or None, got {type(value).__name__}"
                )
            # An empty tensor stands for a device that does not drift.
            destination[f"{prefix}{_DRIFT}.{i}"] = torch.empty(0) if value is None else value

    def _take_lists(self, entries: dict[str, Any]) -> Any:
        names = sorted(
            (n for n in entries if n.startswith(_DRIFT + ".")), key=lambda n: (len(n), n)
        )
        values = [entries.pop(name) for name in names]
        shape = (self.out_size, self.in_size + int(self.analog_bias))
        for name, value in zip(names, values, strict=True):
            if not isinstance(value, Tensor) or tuple(value.shape) not in ((0,), shape):
                raise InputError(f"{name}: expected a tensor of shape {shape}")

        def store() -> None:
            kept = [None if value.numel() == 0 else value.detach().clone() for value in values]
            self.drift_noise_parameters = kept or None

        return store
