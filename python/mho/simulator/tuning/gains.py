r"""How much of the gradient arrives at the slow device of a transfer algorithm.

The fast device forgets: of what it held before a sweep over all columns, $e^{-\lambda}$ is left after
it. Every sweep moves it by the gradient of that sweep, seen with the sign of the chopper, and adds what
is read to the slow device. The gain is the mean of what is read over the gradient of one sweep, with
$z = \lambda N$ for choppers that flip every $N$ sweeps. It is exact for short sweeps and a device that
forgets linearly.
"""

import math

# Below this the differences are smaller than their rounding, and the first terms are as exact.
_SMALL = 1e-4


def gain_without_chopper(leak: float) -> float:
    r"""Return $1/\lambda$, the memory in sweeps.

    Args:
        leak: $\lambda$, positive.
    """
    return 1.0 / leak


def gain_with_chopper(leak: float, period: float) -> float:
    r"""Return $(1 - (2/z) \tanh(z/2)) / \lambda$: after a flip the old sign has to be forgotten first.

    Args:
        leak: $\lambda$, positive.
        period: Sweeps between flips.
    """
    z = leak * period
    rest = z * z / 12 if z < _SMALL else 1.0 - 2.0 / z * math.tanh(z / 2)
    return rest / leak


def gain_with_reference(leak: float, period: float) -> float:
    r"""Return $2 (1 - (1 - e^{-z}) / z) / ((1 + e^{-z}) \lambda)$, with the end of the last period as
    reference.

    Args:
        leak: $\lambda$, positive.
        period: Sweeps between flips.
    """
    z = leak * period
    rest = z / 2 if z < _SMALL else 1.0 + math.expm1(-z) / z
    return 2.0 * rest / ((1.0 + math.exp(-z)) * leak)
