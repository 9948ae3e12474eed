"""Seeds that depend on other ones."""

_BITS = 2**64 - 1


def mixed(seed: int, number: int) -> int:
    """Return a seed that depends on another one and on a number, as SplitMix64 derives it.

    Args:
        seed: Seed, 0 to 2**63 - 1.
        number: Number of what gets a seed of its own.

    Returns:
        0 to 2**63 - 1. See Steele, Lea and Flood, OOPSLA 2014.
    """
    z = (seed + (number + 1) * 0x9E3779B97F4A7C15) & _BITS
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _BITS
    return (z ^ (z >> 31)) >> 1
