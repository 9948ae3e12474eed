"""Seeds of an evaluation: every draw has its own, whatever else is evaluated beside it."""

import hashlib

_FORMAT = "mho-evaluate-1"
_BYTES = 8
_POSITIVE = 2**63 - 1
"""Seeds of tiles are int64: the top bit is cleared."""


def key(
    seed: int,
    purpose: str,
    programming: int | None = None,
    tile: str = "",
    time: float | None = None,
    read: int | None = None,
) -> int:
    """Return the seed of one purpose, 0 to 2**63 - 1.

    First eight bytes, little endian, of the BLAKE2b hash (RFC 7693) of the arguments as text.
    Neither the variant of the model nor the number of anything is in it: variants meet the same
    chips, and whatever is added later leaves earlier results as they are.

    Args:
        seed: Seed of the evaluation.
        purpose: What is drawn.
        programming: Number of the programming.
        tile: Name of the tile in the model.
        time: Seconds since programming; None without a drift step.
        read: Number of the read.
    """
    at = "" if time is None else time.hex()
    numbers = ["" if number is None else str(number) for number in (programming, read)]
    text = "|".join((_FORMAT, str(seed), purpose, numbers[0], tile, at, numbers[1]))
    digest = hashlib.blake2b(text.encode()).digest()
    return int.from_bytes(digest[:_BYTES], "little") & _POSITIVE
