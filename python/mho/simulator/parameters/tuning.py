"""Parameters of settings that follow from the device and the size of the tile."""

from dataclasses import dataclass

from mho.exceptions import ConfigError
from mho.simulator.parameters.checking import check, describe, join
from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class TuningParameter(ConfigBase):
    """What a tile derives the settings of its training algorithm from when it is built.

    See [`learnable`][mho.utils.tuning.learnable] for what is set.
    """

    v: float = 1.0
    """Rate at which the weight follows the gradient, in units of the learning rate."""

    batch: int = 10
    """Samples that the loss is averaged over; only Tiki-Taka without automatic scale asks."""

    vectors: int | None = None
    """Vectors that the training is going to have, epochs times samples times uses of the weight in
    each; None if it is not known."""

    rho: float = 0.1
    """Mean of the products of inputs and errors over that of their largest ones."""

    def check(self, path: str = "") -> None:
        """Check names, types and values; see the base class.

        Args:
            path: Prefix of the field names in messages.
        """
        check(self, path)
        for name, holds, range_ in (
            ("v", 0.0 < self.v < float("inf"), "positive and finite"),
            ("batch", self.batch >= 1, "1 or more"),
            ("vectors", self.vectors is None or self.vectors >= 1, "1 or more, or None"),
            ("rho", 0.0 < self.rho <= 1.0, "in 0..1 and not 0"),
        ):
            if not holds:
                value = describe(getattr(self, name))
                raise ConfigError(f"{join(path, name)}: must be {range_}, got {value}")
