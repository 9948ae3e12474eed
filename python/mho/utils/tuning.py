"""Settings of training algorithms that learn on any device, instead of the defaults."""

from typing import Literal, TypeVar, overload

from mho.exceptions import ArgumentError
from mho.simulator.parameters.arguments import check_number, check_size
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.tuning import TuningParameter
from mho.simulator.tiles.io_managed import IOManagedRPUConfig
from mho.simulator.tuning.asymmetry import Asymmetry, asymmetry
from mho.simulator.tuning.explanation import Explanation
from mho.simulator.tuning.rules import tuned

__all__ = ["Asymmetry", "Explanation", "TuningParameter", "asymmetry", "learnable"]

ConfigT = TypeVar("ConfigT", bound=IOManagedRPUConfig)


@overload
def learnable(
    config: ConfigT,
    in_size: int,
    out_size: int,
    *,
    batch: int = ...,
    vectors: int | None = ...,
    rho: float = ...,
    v: float = ...,
    explain: Literal[False] = ...,
) -> ConfigT: ...


@overload
def learnable(
    config: IOManagedRPUConfig,
    in_size: int,
    out_size: int,
    *,
    batch: int = ...,
    vectors: int | None = ...,
    rho: float = ...,
    v: float = ...,
    explain: Literal[True],
) -> Explanation: ...


def learnable(
    config: IOManagedRPUConfig,
    in_size: int,
    out_size: int,
    *,
    batch: int = 10,
    vectors: int | None = None,
    rho: float = 0.1,
    v: float = 1.0,
    explain: bool = False,
) -> IOManagedRPUConfig | Explanation:
    """Return a configuration with settings that follow from its device and the size of a tile.

    There are rules for the compounds of `tt`, `ttv2`, `c-ttv2`, `agad`, `mp` and `residual` of
    `build_config`, with any devices. Set are the pulses per vector, the periods of transfers and
    choppers, the scale of the buffer and the pulses per transfer, so that the weight follows the
    gradient at `v` times the learning rate of the optimizer; everything else stays. docs/tuning.md
    has the rules.

    `build_config(..., tune=True)` does the same in every tile, for its own size.

    Args:
        config: Configuration, not changed.
        in_size: Number of inputs of the tile, that of an analog bias included.
        out_size: Number of outputs of the tile.
        batch: Samples that the loss is averaged over. Only `tt`, which does not measure the size of
            its gradients, and `mp`, which counts in batches, ask.
        vectors: Vectors that the training is going to have: epochs times samples, times uses of the
            weights in each. None if that is not known.
        rho: Mean of the products of inputs and errors over that of their largest ones.
        v: Rate at which the weight follows the gradient, in units of the learning rate.
        explain: Return the numbers behind the settings instead, which print as a table.

    Returns:
        A copy with the settings, or an `Explanation` whose `config` that is.

    Raises:
        ArgumentError: An argument has the wrong type or an impossible value.
        ConfigError: The configuration is invalid, or there are no rules for its device; the message
            names the field.
    """
    if not isinstance(config, IOManagedRPUConfig):
        raise ArgumentError(
            "config: expected a configuration with an analog update, as build_config makes it, got"
            f" {describe(config)}"
        )
    sizes = check_size("out_size", out_size), check_size("in_size", in_size)
    parameters = TuningParameter(
        v=check_number("v", v),
        batch=check_size("batch", batch),
        vectors=None if vectors is None else check_size("vectors", vectors),
        rho=check_number("rho", rho),
    )
    for name, value in (("v", parameters.v), ("rho", parameters.rho)):
        if not value > 0.0:
            raise ArgumentError(f"{name}: must be positive, got {describe(value)}")
    if parameters.rho > 1.0:
        raise ArgumentError(f"rho: is a share of the largest product, got {describe(rho)}")
    found = tuned(config, *sizes, parameters)
    if explain:
        return found
    found.warn()
    return found.config  # type: ignore[no-any-return]
