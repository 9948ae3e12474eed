"""Trains models as one of two ranks, and prints what the test compares.

Usage: python replicas_worker.py RANK FOLDER [CASES], where the ranks meet in FOLDER. Each case, or
each whose name contains CASES, prints one line of JSON: its name, and what it has found or the
error that it ended with.
"""

import datetime
import json
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import distributed

sys.path.insert(0, str(Path(__file__).parents[1]))

from replicas import (  # noqa: F401  # they fill the list of cases
    as_one,
    errors,
    inference,
    precision,
    shards,
    states,
    steps,
    wrappers,
)
from replicas.support import CASES, RANKS, folder, rank


@contextmanager
def quiet() -> Iterator[None]:
    """Hide warnings of torch about its own wrappers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def main() -> None:
    """Run all cases, or those whose names contain the third argument."""
    distributed.init_process_group(
        "gloo",
        f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=RANKS,
        timeout=datetime.timedelta(seconds=60),
    )
    wanted = sys.argv[3] if len(sys.argv) > 3 else ""
    for name, run in CASES.items():
        if wanted not in name:
            continue
        try:
            with quiet():
                found = run()
        except Exception:  # the other cases may be right
            found = {"raised": traceback.format_exc()[-3000:]}
        print(json.dumps([name, found]), flush=True)
    distributed.barrier()  # see examples/distributed.py
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
