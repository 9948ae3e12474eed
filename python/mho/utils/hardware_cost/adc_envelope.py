"""Energy of a conversion as a bound of the best published converters."""

from mho.exceptions import ArgumentError
from mho.simulator.parameters.signatures import checked
from mho.utils.hardware_cost.quantity import Quantity

MARGIN = 10.0
"""Energy of a usual converter over that of the best ones."""

_SPAN = (5.0, 50.0)
_SOURCE = "B. Murmann, ADC Performance Survey 1997-2025, revision 2025-06-09, mean of the five best"


@checked
def adc_envelope(enob: float, rate: float) -> float:
    """Return the least energy of a conversion, in joule.

    The larger one of two bounds: Walden's, energy by level, and Schreier's, energy by power of the
    noise; both rise with the rate beyond a corner. Fitted to the five best converters of the survey
    of B. Murmann (revision 2025-06-09). It is a bound of single converters: published ones with 5.5
    to 9.5 effective bits are above it by 4.7 (the best) to 50 (the median).

    Args:
        enob: Effective number of bits.
        rate: Conversions per second, in hertz.

    Raises:
        ArgumentError: A number is not positive.
    """
    for name, value in (("enob", enob), ("rate", rate)):
        if not value > 0.0:
            raise ArgumentError(f"{name}: must be positive, got {value}")
    walden = 0.669e-15 * max(1.0, rate / 1.221e9) * 2.0**enob
    # 10^(-10 log10(f / corner) / 10) is the corner over f.
    sndr, merit = 6.02 * enob + 1.76, 186.72
    schreier = 0.5 * 10.0 ** ((sndr - merit) / 10.0) * max(1.0, rate / 51.44e6)
    return float(max(walden, schreier))


def envelope_quantity(enob: float, rate: float, margin: Quantity | None = None) -> Quantity:
    """Return the energy of a conversion with what usual converters need more than the best ones.

    Args:
        enob: Effective number of bits.
        rate: Conversions per second, in hertz.
        margin: Factor on the bound; None is 10, between 5 and 50.

    Raises:
        ArgumentError: A number is not positive.
    """
    bound = adc_envelope(enob, rate)
    value, low, high = (
        (MARGIN, *_SPAN) if margin is None else (margin.value, margin.low, margin.high)
    )
    return Quantity(bound * value, bound * low, bound * high, "J", _SOURCE, "derived")
