"""Makes `checkpoints/*.pt.gz`: states after some use, and what comes out of going on from them.

Usage: PYTHONPATH=tests/python python make_checkpoints.py [NAME ...]. They stand for files of users:
make new ones for new kinds of tiles, never anew for those that are there.
"""

import gzip
import io
import sys
from pathlib import Path

import torch

from golden import KEPT, go_on, made

FOLDER = Path(__file__).with_name("checkpoints")

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or KEPT:
        case = KEPT[name]
        model = made(case)
        content = {"state": {k: v.clone() for k, v in model.state_dict().items()}, "found": {}}
        if case.computes:
            content["found"] = go_on(model, case)
        buffer = io.BytesIO()
        torch.save(content, buffer)
        # No time of day in the file: the same content gives the same bytes.
        (FOLDER / f"{name}.pt.gz").write_bytes(gzip.compress(buffer.getvalue(), mtime=0))
