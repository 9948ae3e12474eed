"""CUDA support of pulsed tiles."""


def is_compiled() -> bool:
    """Return whether pulsed tiles can be moved to CUDA: False, they compute on the host."""
    return False
