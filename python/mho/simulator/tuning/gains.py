r"""How much of the gradient arrives at the slow device of a transfer algorithm.

The fast device forgets: of what it held before a sweep over all columns, $q = e^{-\lambda}$ is left
after it, and of the gradient of that sweep it holds $(1 - q) / \lambda$ then. What is read once per
sweep, with the sign of the chopper, is added to the slow device. The gain is the mean of that over
the gradient of one sweep, for a device that forgets linearly; choppers flip every $N$ sweeps. For
long memories ($\lambda \to 0$ at a given $z = \lambda N$) the gains become those of a continuous
reading, which the functions name.
"""

import math


def gain_without_chopper(leak: float) -> float:
    r"""Return $1/\lambda$, the memory in sweeps.

    Args:
        leak: $\lambda$, positive.
    """
    return 1.0 / leak


def gain_with_chopper(leak: float, period: int) -> float:
    r"""Return the gain if, after a flip, what is held counts with the wrong sign until forgotten.

    For long memories it is $(1 - (2/z) \tanh(z/2)) / \lambda$, nearly nothing for small $z$.

    Args:
        leak: $\lambda$, positive.
        period: Sweeps between flips, $N$.
    """
    half = math.tanh(leak * period / 2)
    return (1.0 - 2.0 * half / (period * math.expm1(leak))) / leak


def gain_with_reference(leak: float, period: int, tail_weightening: float) -> float:
    r"""Return the gain if the mean readout of the last period is subtracted.

    For long memories and a mean of the very end of a period it is
    $2 (1 - (1 - e^{-z}) / z) / ((1 + e^{-z}) \lambda)$.

    Args:
        leak: $\lambda$, positive.
        period: Sweeps between flips, $N$.
        tail_weightening: How much the mean favours the end of a period.
    """
    left = math.exp(-leak)
    start = 2.0 / (1.0 + math.exp(-leak * period))
    reads = [(1.0 - start * left**k) / leak for k in range(1, period + 1)]
    weight = min(tail_weightening / period, 1.0)
    mean = 0.0
    for read in reads:
        mean = (1.0 - weight) * mean + weight * read
    # The mean is never reset: it starts as that of the period before, whose sign is the opposite.
    mean /= 1.0 + (1.0 - weight) ** period
    return sum(reads) / period + mean
