"""Threads of the kernels: which they are, and how many."""

import functools
import numbers
import os
from typing import NamedTuple

from mho import _core
from mho.documented import documented
from mho.exceptions import ArgumentError

# Each thread that is asked for is started. More than a few per core only slow kernels down; enough
# of them for tests of scheduling remain.
_THREADS_PER_CORE = 16
_LEAST_LIMIT = 64


@documented
class ThreadTeam(NamedTuple):
    """The threads that kernels run on, as the calling thread sees them."""

    runtime: str
    """What they belong to: ``"OpenMP of torch (...)"`` with the function that enters it, or
    ``"rayon"``, a pool of the package's own."""

    threads: int
    """Their number, the calling one included."""


def set_num_threads(threads: int) -> None:
    """Set the number of threads of all kernels; results never depend on it.

    Args:
        threads: At least 1, at most 16 per processor core and in any case 64. More than torch has
            slow both down where they share their threads.

    Raises:
        ArgumentError: If ``threads`` is no such integer.
    """
    largest = max(_LEAST_LIMIT, _THREADS_PER_CORE * (os.cpu_count() or 1))
    is_integer = isinstance(threads, numbers.Integral) and not isinstance(threads, bool)
    if not is_integer or not 1 <= threads <= largest:
        raise ArgumentError(
            f"num_threads: must be an integer from 1 to {largest} ({_THREADS_PER_CORE} per core),"
            f" got {threads if is_integer and abs(threads) < 2**64 else type(threads).__name__}"
        )
    _core.set_num_threads(int(threads))


def get_num_threads() -> int:
    """Return the number of threads of all kernels.

    Unless chosen with :func:`set_num_threads` or ``RAYON_NUM_THREADS``, it is that of torch, but no
    more than the system lets the process have.
    """
    share_torch_threads()
    return _core.get_num_threads()


def thread_team() -> ThreadTeam:
    """Return which threads kernels run on."""
    share_torch_threads()
    return ThreadTeam(*_core.thread_team())


@functools.cache
def share_torch_threads() -> None:
    """Make kernels run on the threads that torch has.

    Two sets of threads on the same cores fight: those of torch spin for milliseconds after each
    operation. ``MHO_THREAD_TEAM=rayon`` keeps them apart all the same, to compare.

    Raises:
        ArgumentError: The variable asks for a team that does not exist.
    """
    import torch  # a module of mho that needs no tiles must not import torch

    team = os.environ.get("MHO_THREAD_TEAM", "torch")
    if team not in ("torch", "rayon"):
        raise ArgumentError(f"MHO_THREAD_TEAM: expected torch or rayon, got {team!r}")
    if team == "rayon":
        return
    # It is linked with the library of torch that computes, and that with the runtime.
    if _core.join_openmp(torch._C.__file__) and hasattr(os, "register_at_fork"):
        # The threads stay in the parent: an operation of torch that counts on them would wait for
        # ever. Loaders of data do the same in their workers.
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
