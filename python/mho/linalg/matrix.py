"""A matrix whose products are those of a crossbar, for SciPy and whatever takes its operators."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.exceptions import ArgumentError, InputError
from mho.simulator.parameters.arguments import check_flag, check_number, check_rpu_config
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.checking import describe
from mho.simulator.parts.clipping import warning_of_clipping
from mho.simulator.raw_tiles.rows import as_tensor
from mho.simulator.tiles.periphery import TileWithPeriphery
from mho.utils.optional import scipy

_LinearOperator: Any = scipy("sparse.linalg").LinearOperator

Array: TypeAlias = NDArray[Any]


class AnalogMatrix(_LinearOperator):  # type: ignore[misc]
    """Linear operator `[out, in]` of one tile, or of an array of tiles, without bias.

    `A @ x` and `d @ A` are products of rows, as in layers: `[..., in]` to `[..., out]` and back.
    Both take tensors and arrays and return the same kind. What SciPy defines follows SciPy:
    `matvec`, `rmatvec`, `matmat(X)` of columns, `[in, k]` to `[out, k]`, `A.T`, sums and products
    of operators, so that its solvers take an analog matrix.

    Products have the noise of the configuration in training mode: weight modifiers of torch tiles
    act, those of other tiles, which are drawn by optimizers, do not, nor does the factor of the
    drift compensation. Nothing is recorded for gradients.
    """

    dtype: "np.dtype[Any]"
    """NumPy type of what products of arrays return; of bfloat16, which NumPy lacks, float32."""

    shape: tuple[int, int]
    """Number of outputs, number of inputs."""

    realistic: bool
    """Whether the weights were programmed with the errors of the devices."""

    def __init__(
        self,
        matrix: Tensor | Array,
        rpu_config: RPUConfigBase,
        realistic: bool = False,
        **to_kwargs: Any,
    ) -> None:
        """Write the matrix to a tile.

        Warns if values are beyond the bounds of the devices, which clip them; with
        `mapping.weight_scaling_omega` they are scaled into the bounds.

        Args:
            matrix: Values, shape `[out, in]`; matrices of SciPy work as well.
            rpu_config: Configuration of the tile, copied; limits of its mapping split the matrix
                over several tiles.
            realistic: Program the values with the errors of the devices.
            to_kwargs: Where the tile goes, as for `torch.nn.Module.to`.

        Raises:
            ArgumentError: The matrix is none, or `rpu_config` is no configuration.
            ConfigError: The configuration is invalid; the message names the field.
            TileModuleError: The tile cannot go there.
        """
        values = _as_matrix(matrix)
        self.realistic = check_flag("realistic", realistic)
        out_size, in_size = values.shape
        cls = check_rpu_config(rpu_config).get_default_tile_module_class(out_size, in_size)
        self._tile: Any = cls(out_size, in_size, rpu_config, False)
        super().__init__(np.dtype(np.float32), (out_size, in_size))
        self.to(**to_kwargs)
        with warning_of_clipping():
            self._tile.set_weights(values, realistic=self.realistic)

    def to(self, *args: Any, **kwargs: Any) -> "AnalogMatrix":
        """Move or cast the tile; returns the matrix.

        Args:
            args: As for `torch.nn.Module.to`.
            kwargs: As for `torch.nn.Module.to`.

        Raises:
            TileModuleError: The tile cannot go there.
        """
        if args or kwargs:
            self._tile.to(*args, **kwargs)
        self.dtype = _numpy_type(self._io_dtype())
        return self

    def cuda(self, *args: Any, **kwargs: Any) -> "AnalogMatrix":
        """Move the tile to a CUDA device; returns the matrix.

        Args:
            args: As for `torch.nn.Module.cuda`.
            kwargs: As for `torch.nn.Module.cuda`.

        Raises:
            CudaError: There is no CUDA device, or the tile computes on the host.
        """
        self._tile.cuda(*args, **kwargs)
        return self

    def __matmul__(self, matrix: Any) -> Any:
        """Return products of rows, `[..., in]` to `[..., out]`; of operators, their product."""
        if not isinstance(matrix, (Tensor, np.ndarray)):
            return super().__matmul__(matrix)
        return self._of_rows(self._tile, matrix)

    def __rmatmul__(self, matrix: Any) -> Any:
        """Return transposed products of rows, `[..., out]` to `[..., in]`."""
        if not isinstance(matrix, (Tensor, np.ndarray)):
            return super().__rmatmul__(matrix)
        return self._of_rows(self._tile.backward, matrix)

    def ger(self, x_matrix: Tensor | Array, d_matrix: Tensor | Array, alpha: float = 1.0) -> None:
        r"""Add an outer product, by pulses of the devices: $M \leftarrow M + \alpha d^T x$.

        Inputs beyond an input range are clipped, as in products.

        Args:
            x_matrix: Shape `[in]` or `[rows, in]`.
            d_matrix: Shape `[out]` or `[rows, out]`.
            alpha: Factor of any sign; its magnitude becomes the learning rate of the tile, times
                the input range, by which updates divide their inputs.

        Raises:
            ArgumentError: A value is not finite; nothing is changed.
            InputError: Wrong number of features or rows; nothing is changed.
            TileError: The weights of torch tiles follow gradients only.
        """
        factor = check_number("alpha", alpha)
        x = _as_rows(self._as_input("x_matrix", x_matrix))
        d = _as_rows(self._as_input("d_matrix", d_matrix))
        if x.shape[:-1] != d.shape[:-1]:
            raise InputError(
                f"x_matrix, d_matrix: expected one number of rows, got shapes {tuple(x.shape)} and"
                f" {tuple(d.shape)}"
            )
        for tile in self._tile.modules():
            if isinstance(tile, TileWithPeriphery):
                r = tile.input_processing.magnitude()
                tile.set_learning_rate(abs(factor) * (1.0 if r is None else float(r)))
        self._tile.update(x, -d if factor >= 0.0 else d)

    def _matvec(self, x: Any) -> Any:
        return self._of_rows(self._tile, np.asarray(x).reshape(-1))

    def _rmatvec(self, x: Any) -> Any:
        return self._of_rows(self._tile.backward, np.asarray(x).reshape(-1))

    def _matmat(self, X: Any) -> Any:
        return self._of_rows(self._tile, np.asarray(X).T).T

    def _rmatmat(self, X: Any) -> Any:
        return self._of_rows(self._tile.backward, np.asarray(X).T).T

    def _of_rows(self, product: Callable[[Tensor], Tensor], values: Tensor | Array) -> Any:
        """Return products of rows in the kind of what was given."""
        x = self._as_input("matrix", values)
        with torch.no_grad():
            y = product(_as_rows(x))
            y = y.squeeze(0) if x.dim() == 1 else y
        if isinstance(values, Tensor):
            return y
        return y.cpu().to(_torch_type(self.dtype)).numpy()

    def _as_input(self, name: str, values: Tensor | Array) -> Tensor:
        """Return a tensor for the tile: one as it is, an array cast to what the tile computes."""
        if isinstance(values, Tensor):
            return values.detach()
        try:
            if np.iscomplexobj(values):
                raise InputError(f"{name}: conductances are real numbers, got complex ones")
            # A copy: arrays may be read-only or of the other byte order.
            given = torch.from_numpy(np.array(values, dtype=np.float64))
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{name}: expected an array of numbers: {error}") from error
        return given.to(self._tile.device, self._io_dtype())

    def _io_dtype(self) -> torch.dtype:
        first = next(m for m in self._tile.modules() if hasattr(m, "io_dtype"))
        found: torch.dtype = first.io_dtype
        return found


def _as_matrix(matrix: Any) -> Tensor:
    dense = matrix.toarray() if callable(getattr(matrix, "toarray", None)) else matrix
    if not isinstance(dense, (Tensor, np.ndarray)):
        raise ArgumentError(f"matrix: expected a matrix, got {describe(matrix)}")
    values = as_tensor("matrix", dense if isinstance(dense, Tensor) else np.array(dense)).detach()
    if values.dim() != 2 or values.numel() == 0:
        raise ArgumentError(f"matrix: expected shape [out, in], got {tuple(values.shape)}")
    return values if values.is_floating_point() else values.float()


def _as_rows(x: Tensor) -> Tensor:
    return x.unsqueeze(0) if x.dim() == 1 else x


def _numpy_type(dtype: torch.dtype) -> "np.dtype[Any]":
    known = {torch.float16: np.float16, torch.float64: np.float64}
    return np.dtype(known.get(dtype, np.float32))


def _torch_type(dtype: "np.dtype[Any]") -> torch.dtype:
    found: torch.dtype = torch.from_numpy(np.empty(0, dtype)).dtype
    return found
