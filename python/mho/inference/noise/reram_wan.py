"""Relaxation of resistive memory in the NeuRRAM chip."""

import torch
from torch import Tensor

from mho.exceptions import ArgumentError
from mho.inference.converter.base import BaseConductanceConverter
from mho.inference.converter.single_pair import SinglePairConductanceConverter
from mho.inference.noise.base import BaseNoiseModel
from mho.inference.noise.conductance import (
    check_g_max,
    check_targets,
    converter_g_max,
    polynomial,
    warn_of_two_ranges,
)
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.signatures import checked

_COEFFICIENTS = {
    1.0: (0.348, 16.030, -43.853, 45.393, -16.815),
    86400.0: (0.701, 22.086, -50.773, 47.095, -16.458),
    172800.0: (0.782, 20.274, -43.507, 37.062, -11.934),
}


@register_config_class
class ReRamWan2022NoiseModel(BaseNoiseModel):
    """Spread of the conductances around their targets at the times it was measured.

    See Wan et al., Nature 608:504, 2022.
    """

    g_max: float
    coeff_dic: dict[float, list[float]]
    noise_scale: float
    coeff_g_max_reference: float

    @checked
    def __init__(
        self,
        coeff_dic: dict[float, list[float]] | None = None,
        g_converter: BaseConductanceConverter | None = None,
        g_max: float | None = None,
        noise_scale: float = 1.0,
        coeff_g_max_reference: float | None = None,
        keep_conductances: bool = False,
    ) -> None:
        """Set the parameters.

        Args:
            coeff_dic: For each time in seconds the polynomial of the spread over the relative
                conductance in microsiemens, constant term first; measured at 1 s, 1 d and 2 d by
                default.
            g_converter: Conversion between weights and conductances, copied; a single pair by
                default.
            g_max: Largest conductance of that pair in microsiemens, 25 by default.
            noise_scale: Factor on the spread.
            coeff_g_max_reference: Largest conductance that the coefficients hold for in
                microsiemens, that of the converter by default.
            keep_conductances: Keep the targets in the scale of the programmed weights, instead of
                converting the programmed weights anew.

        Raises:
            ArgumentError: The range of the pair is not valid, the reference is not positive, or
                there are no times.
        """
        warn_of_two_ranges(g_converter, g_max)
        super().__init__(g_converter or SinglePairConductanceConverter(g_max), keep_conductances)
        self.g_max = converter_g_max(self.g_converter, g_max)
        table = _COEFFICIENTS if coeff_dic is None else coeff_dic
        self.coeff_dic = {float(t): list(coefficients) for t, coefficients in table.items()}
        self.noise_scale = noise_scale
        given = coeff_g_max_reference
        self.coeff_g_max_reference = self.g_max if given is None else given
        self.check_values()

    def check_values(self) -> None:
        """Check times and the conductances that it refers to; see the base class."""
        reference = self.coeff_g_max_reference
        check_g_max(self.g_converter, self.g_max, coeff_g_max_reference=reference)
        if not self.coeff_dic:
            raise ArgumentError("coeff_dic: needs coefficients for at least one time")

    @checked
    @torch.no_grad()
    def apply_programming_noise_to_conductance(self, g_target: Tensor) -> Tensor:
        """Return the conductances at the earliest time of the table.

        Args:
            g_target: Target conductances, in microsiemens.
        """
        return self._spread(g_target, min(self.coeff_dic))

    @checked
    @torch.no_grad()
    def generate_drift_coefficients(self, g_target: Tensor) -> Tensor:
        """Return the targets, around which conductances spread at any time.

        Args:
            g_target: Target conductances, in microsiemens.
        """
        return g_target

    @checked
    @torch.no_grad()
    def apply_drift_noise_to_conductance(
        self, g_prog: Tensor, g_target: Tensor | None, t_inference: float
    ) -> Tensor:
        """Return conductances spread anew around their targets.

        Args:
            g_prog: Programmed conductances, which do not matter.
            g_target: Target conductances, in microsiemens.
            t_inference: Time between programming and reading in seconds, one of the table.

        Raises:
            ArgumentError: The time is not in the table, or there are no targets.
        """
        if t_inference not in self.coeff_dic:
            raise ArgumentError(
                f"t_inference: no coefficients for {t_inference} s; use one of"
                f" {sorted(self.coeff_dic)}"
            )
        if g_target is None:
            raise ArgumentError("g_target: needs the target conductances")
        return self._spread(g_target, t_inference)

    def _spread(self, g_target: Tensor, time: float) -> Tensor:
        check_targets(g_target)
        sigma = polynomial(g_target / self.g_max, self.coeff_dic[time])
        sigma = sigma * (self.g_max / self.coeff_g_max_reference)
        return (g_target + self.noise_scale * sigma * torch.randn_like(g_target)).clamp(min=0.0)
