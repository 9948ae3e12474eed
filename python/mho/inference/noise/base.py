"""Interface of the noise of programmed weights, and how its parts are put together."""

import copy
from typing import Any

import torch
from torch import Tensor

from mho.exceptions import ArgumentError, ConfigError, TileError
from mho.inference.converter.base import BaseConductanceConverter
from mho.inference.converter.single_pair import SinglePairConductanceConverter
from mho.simulator.parameters.arguments import is_dense
from mho.simulator.parameters.attribute_config import AttributeConfig
from mho.simulator.parameters.checking import describe, join
from mho.simulator.parameters.signatures import checked


class BaseNoiseModel(AttributeConfig):
    """Noise of programmed weights: an error when written, drift and noise when read.

    A subclass says what happens to conductances; this class converts weights to conductances and
    back. What the methods of the subclass return has to be finite and of the shape that they got,
    or `TileError` names the method. Random numbers come from torch's generator.
    """

    g_converter: BaseConductanceConverter
    """Conversion between weights and conductances."""

    # An attribute of objects that differ from it only: saved configurations stay what they are.
    keep_conductances: bool = False
    """Whether drift starts from the conductances that programming arrived at.

    Otherwise it starts from the programmed weights, converted anew: the error of the idle device of
    a pair moves to the other one, and the largest weight gets the largest conductance. Decided when
    weights are programmed.
    """

    @checked
    def __init__(
        self,
        g_converter: BaseConductanceConverter | None = None,
        keep_conductances: bool = False,
    ) -> None:
        """Set the conversion.

        Args:
            g_converter: Conversion between weights and conductances, copied;
                `SinglePairConductanceConverter()` by default.
            keep_conductances: Let drift start from the conductances that programming arrived at,
                instead of from the programmed weights, converted anew.
        """
        chosen = SinglePairConductanceConverter() if g_converter is None else g_converter
        self.g_converter = copy.deepcopy(chosen)
        if keep_conductances:
            self.keep_conductances = True

    def check(self, path: str = "") -> None:
        """Check the attributes, and that there is a conversion; see the base class."""
        if not hasattr(self, "g_converter"):
            raise ConfigError(
                f"{join(path, 'g_converter')}: {type(self).__name__} has none; call"
                " super().__init__() in its constructor"
            )
        super().check(path)

    def __str__(self, exclude_keys: list[str] | None = None, keys: list[str] | None = None) -> str:
        """Return the class with its attributes.

        Args:
            exclude_keys: Attributes to leave out.
            keys: Attributes to show, all by default.
        """
        shown = [
            f"{name}={value}"
            for name, value in vars(self).items()
            if name not in (exclude_keys or ()) and (keys is None or name in keys)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    @checked
    @torch.no_grad()
    def apply_noise(self, weights: Tensor, t_inference: float) -> Tensor:
        """Return weights that were programmed and then read once.

        Args:
            weights: Target weights, shape `[out, in]`.
            t_inference: Time between programming and reading in seconds; zero or less is
                programming only.
        """
        targets, params = conductances_of(self.g_converter, weights)
        read = [self._program_and_read(g_target, t_inference) for g_target in targets]
        return weights_of(self.g_converter, read, params)

    @checked
    @torch.no_grad()
    def apply_programming_noise(self, weights: Tensor) -> tuple[Tensor, list[Any]]:
        """Return weights as they were programmed.

        Args:
            weights: Target weights, shape `[out, in]`.

        Returns:
            The programmed weights, and the drift parameters of each device of a weight.
        """
        programmed, drift_parameters, params = self.program_devices(weights)
        return weights_of(self.g_converter, programmed, params), drift_parameters

    @checked
    @torch.no_grad()
    def program_devices(self, weights: Tensor) -> tuple[list[Tensor], list[Any], dict[str, Any]]:
        """Return the conductances that programming of weights arrives at.

        Args:
            weights: Target weights, shape `[out, in]`.

        Returns:
            Conductances in microsiemens and drift parameters, one of each per device of a weight,
            and what converts conductances back to weights.
        """
        targets, params = conductances_of(self.g_converter, weights)
        programmed, drift_parameters = [], []
        for g_target in targets:
            programmed.append(self._programmed(g_target))
            drift_parameters.append(self._drift_parameter(g_target))
        return programmed, drift_parameters, params

    @checked
    @torch.no_grad()
    def read_devices(
        self,
        weights: Tensor,
        conductances: list[Tensor],
        drift_noise_parameters: list[Any],
        t_inference: float,
    ) -> Tensor:
        """Return weights as they are read some time after their devices were programmed.

        Args:
            weights: Target weights of the programming, shape `[out, in]`: they decide how
                conductances are weights.
            conductances: As returned by `program_devices`.
            drift_noise_parameters: As returned by `program_devices`.
            t_inference: Time between programming and reading, in seconds.

        Raises:
            ArgumentError: The number of parameters is not that of the devices of a weight.
        """
        _, params = conductances_of(self.g_converter, weights)
        read = self._read(conductances, drift_noise_parameters, t_inference)
        return weights_of(self.g_converter, read, params)

    @checked
    @torch.no_grad()
    def apply_drift_noise(
        self, weights: Tensor, drift_noise_parameters: list[Any], t_inference: float
    ) -> Tensor:
        """Return programmed weights as they are read some time later.

        The programmed weights are converted anew, so that the largest of them has the largest
        conductance.

        Args:
            weights: Programmed weights, shape `[out, in]`.
            drift_noise_parameters: As returned by `apply_programming_noise`.
            t_inference: Time between programming and reading, in seconds.

        Raises:
            ArgumentError: The number of parameters is not that of the devices of a weight.
        """
        programmed, params = conductances_of(self.g_converter, weights)
        read = self._read(programmed, drift_noise_parameters, t_inference)
        return weights_of(self.g_converter, read, params)

    @checked
    def generate_drift_coefficients(self, g_target: Tensor) -> Tensor | None:
        """Return what decides how each device drifts after this programming, None if nothing does.

        A number, and what broadcasts to the shape of `g_target`, becomes a value for each device.

        Args:
            g_target: Target conductances, in microsiemens.
        """
        return None

    @checked
    def apply_programming_noise_to_conductance(self, g_target: Tensor) -> Tensor:
        """Return the conductances that programming arrives at.

        Args:
            g_target: Target conductances, in microsiemens.
        """
        raise NotImplementedError(
            f"{type(self).__name__} lacks apply_programming_noise_to_conductance"
        )

    @checked
    def apply_drift_noise_to_conductance(
        self, g_prog: Tensor, drift_noise_param: Tensor | None, t_inference: float
    ) -> Tensor:
        """Return conductances as they are read some time after programming.

        Args:
            g_prog: Programmed conductances, in microsiemens.
            drift_noise_param: As returned by `generate_drift_coefficients`.
            t_inference: Time between programming and reading, in seconds.
        """
        raise NotImplementedError(f"{type(self).__name__} lacks apply_drift_noise_to_conductance")

    def _read(
        self, programmed: list[Tensor], drift_noise_parameters: list[Any], t_inference: float
    ) -> list[Tensor]:
        if len(drift_noise_parameters) != len(programmed):
            raise ArgumentError(
                f"drift_noise_parameters: expected {len(programmed)}, one per device of a weight,"
                f" got {len(drift_noise_parameters)}"
            )
        return [
            self._drifted(g_prog, drift_parameter, t_inference)
            for g_prog, drift_parameter in zip(programmed, drift_noise_parameters, strict=True)
        ]

    def _program_and_read(self, g_target: Tensor, t_inference: float) -> Tensor:
        g_prog = self._programmed(g_target)
        if t_inference <= 0:
            return g_prog
        return self._drifted(g_prog, self._drift_parameter(g_target), t_inference)

    # The methods of subclasses get copies, which they may change in place.

    def _programmed(self, g_target: Tensor) -> Tensor:
        value = self.apply_programming_noise_to_conductance(g_target.clone())
        return self._conductances("apply_programming_noise_to_conductance", value, g_target)

    def _drift_parameter(self, g_target: Tensor) -> Any:
        """Return one value per device; what is one for all of them is spread out."""
        value = self.generate_drift_coefficients(g_target.clone())
        if isinstance(value, (int, float)):
            value = g_target.new_tensor(value)
        if not isinstance(value, Tensor) or value.shape == g_target.shape:
            return value
        try:
            return value.expand(g_target.shape).clone()
        except RuntimeError:
            raise TileError(
                f"{type(self).__name__}.generate_drift_coefficients: must return one value per"
                f" device, shape {tuple(g_target.shape)}, or None; got shape {tuple(value.shape)}"
            ) from None

    def _drifted(self, g_prog: Tensor, drift_parameter: Any, t_inference: float) -> Tensor:
        if isinstance(drift_parameter, Tensor):
            drift_parameter = drift_parameter.clone()
        value = self.apply_drift_noise_to_conductance(g_prog.clone(), drift_parameter, t_inference)
        return self._conductances("apply_drift_noise_to_conductance", value, g_prog)

    def _conductances(self, method: str, value: Any, like: Tensor) -> Tensor:
        return _checked_result(f"{type(self).__name__}.{method}", value, like.shape, "conductances")


def conductances_of(
    g_converter: BaseConductanceConverter, weights: Tensor
) -> tuple[list[Tensor], dict[str, Any]]:
    """Return what a conversion makes of weights, if it can be conductances.

    Args:
        g_converter: Conversion, maybe of a user.
        weights: Weights of a tile, shape `[out, in]`.

    Raises:
        TileError: It is something else.
    """
    name = f"{type(g_converter).__name__}.convert_to_conductances"
    value: Any = g_converter.convert_to_conductances(weights.clone())
    if not (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[0], (list, tuple))
        and value[0]
        and isinstance(value[1], dict)
    ):
        raise TileError(
            f"{name}: must return a list of conductances, one tensor per device of a weight, and a"
            f" dictionary of what brings them back; got {describe(value)}"
        )
    targets, params = value
    return [_checked_result(name, g, weights.shape, "conductances") for g in targets], params


def weights_of(
    g_converter: BaseConductanceConverter, conductances: list[Tensor], params: dict[str, Any]
) -> Tensor:
    """Return what a conversion makes of conductances, if it can be weights.

    Args:
        g_converter: Conversion, maybe of a user.
        conductances: One tensor per device of a weight, in microsiemens.
        params: As returned by `conductances_of`.

    Raises:
        TileError: It is something else.
    """
    name = f"{type(g_converter).__name__}.convert_back_to_weights"
    value = g_converter.convert_back_to_weights(conductances, params)
    return _checked_result(name, value, conductances[0].shape, "weights")


def _checked_result(name: str, value: Any, shape: torch.Size, what: str) -> Tensor:
    """Return what a method of a user has returned, if it fits."""
    if not (isinstance(value, Tensor) and value.is_floating_point() and is_dense(value)):
        raise TileError(f"{name}: must return a tensor of {what}, got {describe(value)}")
    if value.shape != shape:
        raise TileError(
            f"{name}: must return {what} of shape {tuple(shape)}, got {tuple(value.shape)}"
        )
    if not bool(torch.isfinite(value).all()):
        raise TileError(f"{name}: must return finite {what}; found NaN or infinity")
    return value
