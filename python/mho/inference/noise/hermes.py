"""Noise of phase-change memory as measured on the Hermes chip."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.exceptions import ArgumentError, AssertedArgumentError
from mho.inference.converter.base import ZERO, BaseConductanceConverter
from mho.inference.converter.single_pair import SinglePairConductanceConverter
from mho.inference.noise.base import BaseNoiseModel
from mho.inference.noise.conductance import (
    check_g_max,
    converter_g_max,
    polynomial,
    power_law_drift,
    program_with_spread,
    read_noise_growth,
    warn_of_lone_reference,
    warn_of_two_ranges,
)
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.signatures import checked


@dataclass(frozen=True)
class _Fit:
    """Logarithm with limits below a relative conductance, polynomial above."""

    threshold: float
    slope: float
    offset: float
    low: float
    high: float
    coefficients: tuple[float, ...]

    def __call__(self, rho: Tensor) -> Tensor:
        logarithm = (self.slope * rho.clamp(min=ZERO).log() + self.offset).clamp(
            self.low, self.high
        )
        return torch.where(rho < self.threshold, logarithm, polynomial(rho, self.coefficients))


@dataclass(frozen=True)
class _Chip:
    """Fits for a number of devices per conductance."""

    g_max: float
    t_0: float
    prog_coeff: tuple[float, ...]
    drift_spread: _Fit
    read_noise: _Fit


_DRIFT_MEAN = _Fit(0.0945, -0.0387, -0.0182, 0.072, 0.13, (0.0736, -0.0126, -0.0436))
_CHIPS = {
    1: _Chip(
        g_max=10.35,
        t_0=200.0,
        prog_coeff=(0.15781817, 2.32443916, -2.16310839, 0.68841818),
        drift_spread=_Fit(0.3039, -0.0120, -0.0023, 0.0124, 0.04, (0.0104, 0.0116, -0.0165)),
        read_noise=_Fit(0.1591, -0.0078, 0.0038, 0.0179, 0.04, (0.0088, 0.0768, -0.1352, 0.0664)),
    ),
    2: _Chip(
        g_max=20.7,
        t_0=300.0,
        prog_coeff=(0.16603222, 4.71806468, -8.48101252, 4.68961419),
        drift_spread=_Fit(0.3055, -0.0117, -0.0057, 0.0091, 0.04, (0.0073, 0.0093, -0.0118)),
        read_noise=_Fit(0.16, -0.0117, -0.0069, 0.015, 0.04, (0.0123, 0.0211, -0.0280, 0.0069)),
    ),
}


@register_config_class
class HermesNoiseModel(BaseNoiseModel):
    """Programming error, drift and read noise of the phase-change memory of the Hermes chip.

    See Le Gallo et al., Nat. Electron. 6:680, 2023.
    """

    g_max: float
    num_devices: int
    prog_coeff: list[float]
    prog_coeff_g_max_reference: float
    t_0: float
    t_read: float
    prog_noise_scale: float
    read_noise_scale: float
    drift_scale: float

    @checked
    def __init__(
        self,
        prog_coeff: list[float] | None = None,
        g_converter: BaseConductanceConverter | None = None,
        num_devices: int = 2,
        g_max: float | None = None,
        t_read: float = 512.0e-9,
        t_0: float | None = None,
        prog_noise_scale: float = 1.0,
        read_noise_scale: float = 1.0,
        drift_scale: float = 1.0,
        prog_coeff_g_max_reference: float | None = None,
        keep_conductances: bool = False,
    ) -> None:
        """Set the parameters.

        Args:
            prog_coeff: Polynomial of the programming error over the relative conductance in
                microsiemens, constant term first; the measured one by default.
            g_converter: Conversion between weights and conductances, copied; a single pair by
                default.
            num_devices: Devices in parallel per conductance, 1 or 2.
            g_max: Largest conductance of the pair in microsiemens, 10.35 per device by default and
                at most.
            t_read: Duration of a read, in seconds.
            t_0: Time between programming and the first moment with drift in seconds, 200 or 300 by
                default.
            prog_noise_scale: Factor on the programming error.
            read_noise_scale: Factor on the read noise.
            drift_scale: Factor on the drift exponents.
            prog_coeff_g_max_reference: Largest conductance that own coefficients hold for in
                microsiemens, that of the converter by default.
            keep_conductances: Let drift start from the conductances that programming arrived at,
                instead of from the programmed weights, converted anew.

        Raises:
            AssertedArgumentError: `num_devices` is not 1 or 2, or `g_max` is larger than the
                devices allow.
            ArgumentError: A time or the reference is not positive, or the range of the pair is not
                valid.
        """
        if num_devices not in _CHIPS:
            raise AssertedArgumentError(f"num_devices: must be 1 or 2, got {num_devices}")
        chip = _CHIPS[num_devices]
        if g_max is not None and g_max > chip.g_max:
            raise AssertedArgumentError(f"g_max: must be at most {chip.g_max}, got {g_max}")
        pair_g_max = chip.g_max if g_max is None else g_max
        warn_of_two_ranges(g_converter, g_max)
        super().__init__(
            g_converter or SinglePairConductanceConverter(pair_g_max), keep_conductances
        )
        self.g_max = converter_g_max(self.g_converter, pair_g_max)
        self.num_devices = num_devices
        self.t_0 = chip.t_0 if t_0 is None else t_0
        if prog_coeff is None:
            warn_of_lone_reference(prog_coeff_g_max_reference, chip.g_max)
            self.prog_coeff_g_max_reference = chip.g_max
            self.prog_coeff = list(chip.prog_coeff)
        else:
            given = prog_coeff_g_max_reference
            self.prog_coeff_g_max_reference = self.g_max if given is None else given
            self.prog_coeff = list(prog_coeff)
        self.t_read = t_read
        self.prog_noise_scale = prog_noise_scale
        self.read_noise_scale = read_noise_scale
        self.drift_scale = drift_scale
        self.check_values()

    def check_values(self) -> None:
        """Check chip, times and the conductances that it refers to; see the base class."""
        reference = self.prog_coeff_g_max_reference
        check_g_max(self.g_converter, self.g_max, prog_coeff_g_max_reference=reference)
        if self.num_devices not in _CHIPS:
            raise ArgumentError(f"num_devices: must be 1 or 2, got {self.num_devices}")
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
        sigma = sigma * (self.g_max / self.prog_coeff_g_max_reference)
        return program_with_spread(g_target, sigma, self.prog_noise_scale)

    @checked
    @torch.no_grad()
    def generate_drift_coefficients(self, g_target: Tensor) -> Tensor:
        """Return the drift exponents of the devices.

        Args:
            g_target: Target conductances, in microsiemens.
        """
        rho = (g_target / self.g_max).abs().clamp(min=ZERO)
        spread = _CHIPS[self.num_devices].drift_spread(rho)
        return (_DRIFT_MEAN(rho) + spread * torch.randn_like(rho)).abs() * self.drift_scale

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
        strength = _CHIPS[self.num_devices].read_noise((g_prog / self.g_max).abs())
        sigma = drifted.abs() * strength * read_noise_growth(t, self.t_read)
        noise = self.read_noise_scale * sigma * torch.randn_like(g_prog)
        return (drifted + noise).clamp(min=0.0)
