"""Cases with every fault that a process can have, for the tests of the runner."""

import os
import signal
import time


def problems_of(seed: int) -> list[str]:
    """Do what the seed says; most seeds do nothing.

    Args:
        seed: Seed.
    """
    if seed == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    if seed == 3:
        raise KeyError("a fault of the case")
    if seed == 4:
        os._exit(7)
    if seed == 5:
        return ["a finding"]
    if seed == 7:
        time.sleep(60.0)
    return []
