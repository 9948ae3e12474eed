"""How one number is taken: alternating repeats of all libraries, minimum of each."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Work = Callable[[], object]

# A block of calls lasts at least this long, so that the clock does not count.
BLOCK_SECONDS = 2e-3
# Between two libraries their idle threads may fall asleep; otherwise they slow each other down.
# OpenBLAS (in aihwkit) spins longest, about 2^26 cycles.
PAUSE_SECONDS = 60e-3


@dataclass
class Row:
    """One line of the table: seconds per call by library, and what is promised."""

    name: str
    threads: int
    seconds: dict[str, float]
    target: str = ""
    notes: dict[str, float] = field(default_factory=dict)

    def ratio(self, numerator: str, denominator: str) -> float | None:
        """Return the quotient of two libraries' times, or None if one was not measured."""
        if numerator in self.seconds and denominator in self.seconds:
            return self.seconds[numerator] / self.seconds[denominator]
        return None


def measure(works: Mapping[str, Work], budget: float = 3.0, least: int = 5) -> dict[str, float]:
    """Time several pieces of work in turn.

    Args:
        works: What to call, by name of the library.
        budget: Seconds after which no further round starts.
        least: Rounds that are made whatever they cost.

    Returns:
        The shortest seconds per call of every library.
    """
    calls = {name: _calls_per_block(work) for name, work in works.items()}
    best = dict.fromkeys(works, float("inf"))
    start, rounds = time.perf_counter(), 0
    while rounds < least or time.perf_counter() - start < budget:
        for name, work in works.items():
            time.sleep(PAUSE_SECONDS)
            work()
            best[name] = min(best[name], _block(work, calls[name]))
        rounds += 1
    return best


def _calls_per_block(work: Work) -> int:
    work()
    once = max(_block(work, 1), 1e-7)
    return max(1, round(BLOCK_SECONDS / once))


def _block(work: Work, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls
