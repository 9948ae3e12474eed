"""Linear algebra with analog matrices."""

from mho.linalg.matrix import AnalogMatrix

__all__ = ["AnalogMatrix"]
