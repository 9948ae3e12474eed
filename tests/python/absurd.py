"""Values that hardly any argument can take, for tests of what refused calls raise and change."""

from typing import Any

import numpy as np
import torch
from torch import nn

OUT, IN = 3, 4


def absurd() -> list[Any]:
    """Values that hardly any argument can take."""
    return [
        None,
        10**400,
        -(10**400),
        2**63,
        -1,
        0,
        1.5,
        float("nan"),
        float("inf"),
        float("-inf"),
        3e38,
        -3e38,
        True,
        "text",
        "",
        b"bytes",
        [],
        [1, "a"],
        {},
        {"a": 1},
        object(),
        int,
        len,
        nn.Linear(2, 2),
        np.float32("nan"),
        np.zeros(3),
        torch.tensor(float("nan")),
        torch.zeros(()),
        torch.zeros(0),
        torch.full((OUT, IN), float("nan")),
        torch.full((2, IN), float("inf")),
        torch.full((OUT, IN), 3e38),
        torch.zeros(2, 2, 2, 2),
        torch.zeros(OUT, IN, dtype=torch.complex64),
        torch.zeros(OUT, IN, dtype=torch.bool),
        torch.zeros(OUT, IN).to_sparse(),
        torch.zeros(OUT, IN, device="meta"),
    ]


def has_truth(value: Any) -> bool:
    """Whether a value counts as true or false."""
    try:
        return bool(value) or True
    except (RuntimeError, ValueError):
        return False
