"""Noise of phase-change memory."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from mho.exceptions import ArgumentError, AssertedArgumentError
from mho.inference.converter.base import ZERO, BaseConductanceConverter
from mho.inference.converter.single_pair import SinglePairConductanceConverter
from mho.inference.noise.base import BaseNoiseModel
from mho.inference.noise.conductance import (
    check_g_max,
    converter_g_max,
    interpolate,
    polynomial,
    power_law_drift,
    program_with_spread,
    read_noise_growth,
    warn_of_lone_reference,
    warn_of_two_ranges,
)
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.signatures import checked

_PROG_COEFF = (0.26348, 1.9650, -1.1731)
_PROG_COEFF_G_MAX = 25.0


@register_config_class
class PCMLikeNoiseModel(BaseNoiseModel):
    r"""Programming error, drift and read noise of doped Ge2Sb2Te5 devices.

    With the relative conductance $\rho = g / g_{max}$ the programming error has the standard
    deviation $\sum_i c_i \rho^i$, conductances drift as $(t / t_0)^{-\nu}$ with exponents drawn
    from a normal distribution that depends on $\rho$, and read noise grows with the logarithm of
    time (Nandakumar et al., ICECS 2019; Joshi et al., Nat. Commun. 11:2473, 2020).
    """

    g_max: float
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
        g_max: float | None = None,
        t_read: float = 250.0e-9,
        t_0: float = 20.0,
        prog_noise_scale: float = 1.0,
        read_noise_scale: float = 1.0,
        drift_scale: float = 1.0,
        prog_coeff_g_max_reference: float | None = None,
        keep_conductances: bool = False,
    ) -> None:
        """Set the parameters.

        Args:
            prog_coeff: Polynomial of the programming error over the relative conductance in
                microsiemens, constant term first; the published one by default.
            g_converter: Conversion between weights and conductances, copied; a single pair by
                default.
            g_max: Largest conductance of that pair in microsiemens, 25 by default; a given
                converter has its own.
            t_read: Duration of a read, in seconds.
            t_0: Time between programming and the first moment with drift, in seconds.
            prog_noise_scale: Factor on the programming error.
            read_noise_scale: Factor on the read noise.
            drift_scale: Factor on the drift exponents.
            prog_coeff_g_max_reference: Largest conductance that own coefficients hold for in
                microsiemens, that of the converter by default.
            keep_conductances: Let drift start from the conductances that programming arrived at,
                instead of from the programmed weights, converted anew.

        Raises:
            ArgumentError: A time or the reference is not positive, or the range of the pair is not
                valid.
        """
        warn_of_two_ranges(g_converter, g_max)
        super().__init__(g_converter or SinglePairConductanceConverter(g_max), keep_conductances)
        self.g_max = converter_g_max(self.g_converter, g_max)
        if prog_coeff is None:
            warn_of_lone_reference(prog_coeff_g_max_reference, _PROG_COEFF_G_MAX)
            self.prog_coeff_g_max_reference = _PROG_COEFF_G_MAX
            self.prog_coeff = list(_PROG_COEFF)
        else:
            given = prog_coeff_g_max_reference
            self.prog_coeff_g_max_reference = self.g_max if given is None else given
            self.prog_coeff = list(prog_coeff)
        self.t_0 = t_0
        self.t_read = t_read
        self.prog_noise_scale = prog_noise_scale
        self.read_noise_scale = read_noise_scale
        self.drift_scale = drift_scale
        PCMLikeNoiseModel.check_values(self)

    def check_values(self) -> None:
        """Check times and the conductances that it refers to; see the base class."""
        reference = self.prog_coeff_g_max_reference
        check_g_max(self.g_converter, self.g_max, prog_coeff_g_max_reference=reference)
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
        log_rho = (g_target / self.g_max).abs().clamp(min=ZERO).log()
        mean = (-0.0155 * log_rho + 0.0244).clamp(0.049, 0.1)
        spread = (-0.0125 * log_rho - 0.0059).clamp(0.008, 0.045)
        return (mean + spread * torch.randn_like(g_target)).abs() * self.drift_scale

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
        strength = 0.0088 / (g_prog / self.g_max).abs().pow(0.65).clamp(min=1e-3)
        sigma = strength.clamp(max=0.2) * read_noise_growth(t, self.t_read)
        noise = drifted.abs() * self.read_noise_scale * sigma * torch.randn_like(g_prog)
        return (drifted + noise).clamp(min=0.0)


@register_config_class
class CustomDriftPCMLikeNoiseModel(PCMLikeNoiseModel):
    """Phase-change memory whose drift exponents are interpolated between given values."""

    custom_drift_model: dict[str, list[float]]

    @checked
    def __init__(
        self,
        custom_drift_model: Mapping[str, Sequence[float]],
        prog_coeff: list[float] | None = None,
        g_converter: BaseConductanceConverter | None = None,
        g_max: float | None = None,
        t_read: float = 250.0e-9,
        t_0: float = 20.0,
        prog_noise_scale: float = 1.0,
        read_noise_scale: float = 1.0,
        drift_scale: float = 1.0,
        prog_coeff_g_max_reference: float | None = None,
        keep_conductances: bool = False,
    ) -> None:
        """Set the parameters.

        Args:
            custom_drift_model: Ascending conductances in microsiemens under `g_lst`, and mean and
                spread of the drift exponent at each under `nu_mean_lst` and `nu_std_lst`; at least
                two values each.
            prog_coeff: As in `PCMLikeNoiseModel`.
            g_converter: As in `PCMLikeNoiseModel`.
            g_max: As in `PCMLikeNoiseModel`.
            t_read: As in `PCMLikeNoiseModel`.
            t_0: As in `PCMLikeNoiseModel`.
            prog_noise_scale: As in `PCMLikeNoiseModel`.
            read_noise_scale: As in `PCMLikeNoiseModel`.
            drift_scale: As in `PCMLikeNoiseModel`.
            prog_coeff_g_max_reference: As in `PCMLikeNoiseModel`.
            keep_conductances: As in `PCMLikeNoiseModel`.

        Raises:
            AssertedArgumentError: The drift model is not valid.
            ArgumentError: The conductances of the converter leave the range of the drift model.
        """
        super().__init__(
            prog_coeff,
            g_converter,
            g_max,
            t_read,
            t_0,
            prog_noise_scale,
            read_noise_scale,
            drift_scale,
            prog_coeff_g_max_reference,
            keep_conductances,
        )
        _check_drift_model(custom_drift_model)
        self.custom_drift_model = {key: list(custom_drift_model[key]) for key in _DRIFT_KEYS}
        self.check_values()

    def check_values(self) -> None:
        """Check the drift model and the range of its conductances; see the base class."""
        super().check_values()
        _check_drift_model(self.custom_drift_model)
        lowest, highest = self.custom_drift_model["g_lst"][0], self.custom_drift_model["g_lst"][-1]
        g_min = getattr(self.g_converter, "g_min", 0.0)
        if not lowest <= g_min <= self.g_max <= highest:
            raise ArgumentError(
                f"g_lst: covers {lowest} to {highest} microsiemens but the converter uses {g_min}"
                f" to {self.g_max}; extend the list"
            )

    @checked
    @torch.no_grad()
    def generate_drift_coefficients(self, g_target: Tensor) -> Tensor:
        """Return the drift exponents of the devices.

        Args:
            g_target: Target conductances, in microsiemens.
        """
        nodes = g_target.new_tensor(self.custom_drift_model["g_lst"])
        mean = interpolate(g_target, nodes, self.custom_drift_model["nu_mean_lst"])
        spread = interpolate(g_target, nodes, self.custom_drift_model["nu_std_lst"])
        return (mean + spread * torch.randn_like(g_target)).abs() * self.drift_scale


_DRIFT_KEYS = ("g_lst", "nu_mean_lst", "nu_std_lst")


def _check_drift_model(model: Mapping[str, Sequence[float]]) -> None:
    missing = [key for key in _DRIFT_KEYS if key not in model]
    if missing:
        raise AssertedArgumentError(f"custom_drift_model: lacks {', '.join(missing)}")
    lists = [model[key] for key in _DRIFT_KEYS]
    if len({len(values) for values in lists}) != 1 or len(lists[0]) < 2:
        raise AssertedArgumentError("custom_drift_model: the lists need one length of at least 2")
    if not all(value >= 0.0 for values in lists for value in values):
        raise AssertedArgumentError("custom_drift_model: values must not be negative")
    g_lst = lists[0]
    if not all(low < high for low, high in pairwise(g_lst)):
        raise AssertedArgumentError("custom_drift_model: g_lst must be ascending")
