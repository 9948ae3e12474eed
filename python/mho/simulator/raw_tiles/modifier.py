"""The modifier of the weights of a configuration, checked, as the core takes it."""

import math
from dataclasses import fields

from mho import _core
from mho.exceptions import ConfigError
from mho.simulator.parameters import wire
from mho.simulator.parameters.arguments import check_parameters
from mho.simulator.parameters.inference import WeightModifierParameter

# When a modifier acts is decided here, not in the core.
_IN_PYTHON = ("per_batch_sample", "enable_during_test")
_NAMES = [f.name for f in fields(WeightModifierParameter) if f.name not in _IN_PYTHON]


def parsed(params: WeightModifierParameter) -> _core.WeightModifier:
    """Return a modifier; it tells whether it changes anything.

    Args:
        params: Kind and strengths.

    Raises:
        ArgumentError: They are no parameters of a modifier.
        ConfigError: A value is impossible; the message names the field.
    """
    check_parameters("modifier", params, WeightModifierParameter)
    for i, value in enumerate(params.coeffs):
        if not math.isfinite(value):  # JSON text has no infinity, and a list no place for none
            raise ConfigError(f"modifier.coeffs[{i}]: must be finite, got {value}")
    return _core.WeightModifier(wire.dumps(wire.fields_to_wire(params, "modifier", _NAMES)))
