"""Noise that does not depend on the conductance."""

import torch
from torch import Tensor

from mho.exceptions import ArgumentError
from mho.inference.converter.base import BaseConductanceConverter
from mho.inference.converter.single_pair import SinglePairConductanceConverter
from mho.inference.noise.base import BaseNoiseModel
from mho.inference.noise.conductance import (
    check_g_max,
    converter_g_max,
    polynomial,
    power_law_drift,
    program_with_spread,
    read_noise_growth,
    warn_of_two_ranges,
)
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.signatures import checked

_PROG_COEFF = (0.2, 0.0, 0.0)


@register_config_class
class StateIndependentNoiseModel(BaseNoiseModel):
    """Programming error, drift and read noise of one strength for all conductances."""

    g_max: float
    prog_coeff: list[float]
    prog_noise_scale: float
    drift_nu_mean: float
    drift_nu_std: float
    drift_scale: float
    t_0: float
    read_noise_scale: float
    t_read: float

    @checked
    def __init__(
        self,
        g_converter: BaseConductanceConverter | None = None,
        g_max: float | None = None,
        prog_coeff: list[float] | None = None,
        prog_noise_scale: float = 1.0,
        drift_nu_mean: float = 0.1,
        drift_nu_std: float = 0.05,
        drift_scale: float = 1.0,
        t_0: float = 20.0,
        read_noise_scale: float = 1.0,
        t_read: float = 250.0e-9,
        keep_conductances: bool = False,
    ) -> None:
        """Set the parameters.

        Args:
            g_converter: Conversion between weights and conductances, copied; a single pair by
                default.
            g_max: Largest conductance of that pair in microsiemens, 25 by default.
            prog_coeff: Polynomial of the programming error over the relative conductance in
                microsiemens, constant term first; 0.2 throughout by default.
            prog_noise_scale: Factor on the programming error.
            drift_nu_mean: Mean drift exponent.
            drift_nu_std: Spread of the drift exponent between devices.
            drift_scale: Factor on the drift exponents.
            t_0: Time between programming and the first moment with drift, in seconds.
            read_noise_scale: Factor on the read noise.
            t_read: Duration of a read, in seconds.
            keep_conductances: Let drift start from the conductances that programming arrived at,
                instead of from the programmed weights, converted anew.

        Raises:
            ArgumentError: `t_0` or `t_read` is not positive, or the range of the pair is not valid.
        """
        warn_of_two_ranges(g_converter, g_max)
        super().__init__(g_converter or SinglePairConductanceConverter(g_max), keep_conductances)
        self.g_max = converter_g_max(self.g_converter, g_max)
        self.prog_coeff = list(_PROG_COEFF if prog_coeff is None else prog_coeff)
        self.prog_noise_scale = prog_noise_scale
        self.drift_nu_mean = drift_nu_mean
        self.drift_nu_std = drift_nu_std
        self.drift_scale = drift_scale
        self.t_0 = t_0
        self.read_noise_scale = read_noise_scale
        self.t_read = t_read
        self.check_values()

    def check_values(self) -> None:
        """Check times and the conductance that it refers to; see the base class."""
        check_g_max(self.g_converter, self.g_max)
        if not (self.t_0 > 0.0 and self.t_read > 0.0):
            raise ArgumentError(
                f"t_0 and t_read: must be positive, got {self.t_0} and {self.t_read}"
            )

    @checked
    @torch.no_grad()
    def apply_programming_noise_to_conductance(self, g_target: Tensor) -> Tensor:
        """Return the conductances that programming arrives at.

        Args:
            g_target: Target conductances, in microsiemens.
        """
        sigma = polynomial(g_target / self.g_max, self.prog_coeff)
        return program_with_spread(g_target, sigma, self.prog_noise_scale)

    @checked
    @torch.no_grad()
    def generate_drift_coefficients(self, g_target: Tensor) -> Tensor:
        """Return the drift exponents of the devices.

        Args:
            g_target: Target conductances, in microsiemens.
        """
        nu = self.drift_nu_mean + self.drift_nu_std * torch.randn_like(g_target)
        return nu.abs() * self.drift_scale

    @checked
    @torch.no_grad()
    def apply_drift_noise_to_conductance(
        self, g_prog: Tensor, drift_noise_param: Tensor | None, t_inference: float
    ) -> Tensor:
        """Return conductances as they are read some time after programming.

        Args:
            g_prog: Programmed conductances, in microsiemens.
            drift_noise_param: Drift exponents; None is no drift.
            t_inference: Time between the first moment with drift and the read, in seconds.
        """
        t = t_inference + self.t_0
        if t <= 0.0:
            return g_prog.clamp(min=0.0)
        drifted = power_law_drift(g_prog, drift_noise_param, t / self.t_0)
        sigma = (drifted / self.g_max).abs() * read_noise_growth(t, self.t_read)
        noise = self.read_noise_scale * sigma * torch.randn_like(g_prog)
        return (drifted + noise).clamp(min=0.0)
