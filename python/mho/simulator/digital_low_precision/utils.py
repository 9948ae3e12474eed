"""Small helpers of quantisers."""

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mho.simulator.parameters.signatures import checked


@checked
def to_numpy(tensor: Tensor) -> npt.NDArray[Any]:
    """Return the values of a tensor on the host, without its graph.

    Args:
        tensor: Any shape and device.
    """
    values: npt.NDArray[Any] = np.asarray(tensor.detach().cpu().numpy())
    return values
