"""Programming error, relaxation and read noise of CMO/HfOx resistive memory."""

import math

import torch
from torch import Tensor

from mho.exceptions import ArgumentError, warn_caller
from mho.inference.converter.single_device import SingleDeviceConductanceConverter
from mho.inference.noise.base import BaseNoiseModel
from mho.inference.noise.conductance import check_g_max, read_noise_growth
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.signatures import checked

_COEFFICIENTS = {0.2: (0.00081107, 0.00106879), 2.0: (0.0112185391, 0.01129027418)}
_DEFAULT_RANGE = 2e-2
_DECAY = {"mean": (-0.08900206,), "std": (0.04201137, 0.41183342)}
_READ = {"K": 0.0277316483, "t_read": 1e-6}


@register_config_class
class ReRamCMONoiseModel(BaseNoiseModel):
    """Noise of bidirectional devices programmed with a verify loop.

    See Falcone et al., "All-in-one analog AI hardware", Adv. Funct. Mater., 2025.
    """

    g_converter: SingleDeviceConductanceConverter
    g_max: float
    g_min: float
    coeff_dict: dict[float, list[float]]
    decay_dict: dict[str, list[float]]
    read_dict: dict[str, float]
    prog_noise_scale: float
    read_noise_scale: float
    drift_scale: float
    acceptance_range: float

    @checked
    def __init__(
        self,
        coeff_dict: dict[float, list[float]] | None = None,
        g_max: float | None = None,
        g_min: float | None = None,
        prog_noise_scale: float = 1.0,
        read_noise_scale: float = 1.0,
        drift_scale: float = 1.0,
        decay_dict: dict[str, list[float]] | None = None,
        read_dict: dict[str, float] | None = None,
        acceptance_range: float = _DEFAULT_RANGE,
        keep_conductances: bool = False,
    ) -> None:
        """Set the parameters.

        Args:
            coeff_dict: For each acceptance range in percent the programming error as offset in
                microsiemens and slope over the target conductance.
            g_max: Largest conductance in microsiemens, 88.199997 by default.
            g_min: Smallest conductance in microsiemens, 9 by default.
            prog_noise_scale: Factor on the programming error.
            read_noise_scale: Factor on the read noise.
            drift_scale: Factor on the relaxation.
            decay_dict: Relaxation over the logarithm of time: slope of the `mean`, slope and offset
                of the `std`.
            read_dict: Strength `K` of the read noise and duration `t_read` of a read in seconds.
            acceptance_range: Acceptance range of the verify loop in percent: 2 is two percent. The
                smallest of the table if it has no such entry, as for the default; a warning says so
                for other values.
            keep_conductances: Let drift start from the conductances that programming arrived at,
                instead of from the programmed weights, converted anew.

        Raises:
            ArgumentError: A table lacks an entry, or the limits are negative or not in order.
        """
        super().__init__(SingleDeviceConductanceConverter(g_max, g_min), keep_conductances)
        self.g_max = self.g_converter.g_max
        self.g_min = self.g_converter.g_min
        table = _COEFFICIENTS if coeff_dict is None else coeff_dict
        self.coeff_dict = {float(key): list(value) for key, value in table.items()}
        decay = _DECAY if decay_dict is None else decay_dict
        self.decay_dict = {key: list(value) for key, value in decay.items()}
        self.read_dict = dict(_READ if read_dict is None else read_dict)
        self.prog_noise_scale = prog_noise_scale
        self.read_noise_scale = read_noise_scale
        self.drift_scale = drift_scale
        self.acceptance_range = acceptance_range
        self.check_values()
        if acceptance_range not in (_DEFAULT_RANGE, *self.coeff_dict):
            warn_caller(
                f"acceptance_range: the table has none of {acceptance_range} percent; taking"
                f" {min(self.coeff_dict)} of {sorted(self.coeff_dict)} percent"
            )

    @checked
    @torch.no_grad()
    def apply_programming_noise_to_conductance(self, g_target: Tensor) -> Tensor:
        """Return the conductances that programming arrives at.

        Args:
            g_target: Target conductances, in microsiemens.
        """
        key = self.acceptance_range
        offset, slope = self.coeff_dict[key if key in self.coeff_dict else min(self.coeff_dict)]
        sigma = offset + slope * g_target
        return g_target + self.prog_noise_scale * sigma * torch.randn_like(g_target)

    @checked
    @torch.no_grad()
    def apply_drift_noise_to_conductance(
        self, g_prog: Tensor, drift_noise_param: Tensor | None, t_inference: float
    ) -> Tensor:
        """Return conductances as they are read some time after programming.

        Args:
            g_prog: Programmed conductances, in microsiemens.
            drift_noise_param: Not used.
            t_inference: Time between programming and reading in seconds; zero or less returns what
                was programmed.
        """
        if t_inference <= 0.0:
            return g_prog
        log_t = math.log(t_inference)
        (mean_slope,), (std_slope, std_offset) = self.decay_dict["mean"], self.decay_dict["std"]
        shift = mean_slope * log_t * self.drift_scale
        spread = (std_slope * log_t + std_offset) * self.drift_scale
        relaxed = g_prog + shift + spread * torch.randn_like(g_prog)
        growth = read_noise_growth(t_inference, self.read_dict["t_read"])
        # The logarithm of a conductance below one microsiemens would make the read noise negative
        # or NaN.
        sigma = self.read_dict["K"] * relaxed.clamp(min=1.0).log10() * growth
        read = relaxed + self.read_noise_scale * sigma * torch.randn_like(g_prog)
        return read.clamp(self.g_min, self.g_max)

    def check_values(self) -> None:
        """Check the tables and the limits of the devices; see the base class."""
        check_g_max(self.g_converter, self.g_max)
        if self.g_min != self.g_converter.g_min:
            raise ArgumentError(
                f"g_min: is {self.g_min}, but that of g_converter {self.g_converter.g_min};"
                " build the noise model anew"
            )
        if not self.coeff_dict or any(len(value) != 2 for value in self.coeff_dict.values()):
            raise ArgumentError(
                "coeff_dict: needs offset and slope for at least one acceptance range"
            )
        lengths = {key: len(value) for key, value in self.decay_dict.items()}
        if lengths != {"mean": 1, "std": 2}:
            raise ArgumentError("decay_dict: needs one value under 'mean' and two under 'std'")
        if not {"K", "t_read"} <= self.read_dict.keys() or not self.read_dict["t_read"] > 0.0:
            raise ArgumentError("read_dict: needs 'K' and a positive 't_read'")
