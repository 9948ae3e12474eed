"""Methods of tiles that have nothing to do here, for scripts that call them."""

from typing import Any

from torch import Tensor


def set_verbosity_level(self: Any, verbose: int) -> None:
    """Ignore the level: the core prints nothing.

    Args:
        self: Tile.
        verbose: Accepted for compatibility.
    """


def ensure_shared_weights(self: Any, shared_weights: Tensor | None = None) -> None:
    """Do nothing: the weights of the core are the parameter, they cannot come apart.

    Args:
        self: Tile.
        shared_weights: Accepted for compatibility.
    """


def init_periph_quant_processing(self: Any) -> None:
    """Do nothing: only quantised tiles have a quantised periphery.

    Args:
        self: Tile.
    """
