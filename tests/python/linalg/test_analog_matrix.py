"""Analog matrices: products of rows, what SciPy defines, updates, and solvers that use them."""

import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator, gmres

import mho
from mho.exceptions import ArgumentError, ConfigError, InputError, TileError
from mho.linalg import AnalogMatrix
from mho.simulator.configs import (
    ConstantStepDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
)
from mho.simulator.tiles.module import TileModule

PERFECT = IOParameters(is_perfect=True)


def ideal(**fields: Any) -> SingleRPUConfig:
    return SingleRPUConfig(device=IdealDevice(), forward=PERFECT, backward=PERFECT, **fields)


def inference() -> InferenceRPUConfig:
    return InferenceRPUConfig(forward=PERFECT)


def torch_tile() -> TorchInferenceRPUConfig:
    return TorchInferenceRPUConfig(forward=PERFECT)


def split(config: Any) -> Any:
    config.mapping.max_input_size, config.mapping.max_output_size = 2, 3
    return config


def scaled(config: Any) -> Any:
    config.mapping.weight_scaling_omega = 0.5
    config.mapping.weight_scaling_columnwise = True
    return config


MAKES = {
    "ideal": ideal,
    "inference": inference,
    "torch": torch_tile,
    "exact": FloatingPointRPUConfig,
    "split": lambda: split(ideal()),
    "split inference": lambda: split(inference()),
    "split torch": lambda: split(torch_tile()),
    "scaled": lambda: scaled(ideal()),
    "split and scaled": lambda: split(scaled(inference())),
}
M = np.random.default_rng(1).normal(size=(7, 5)) * 0.2
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


def close(value: Any, wanted: Any) -> None:
    assert isinstance(value, np.ndarray) and value.dtype == np.float32
    assert value.shape == np.asarray(wanted).shape
    np.testing.assert_allclose(value, wanted, **TOLERANCE)


@pytest.mark.parametrize("name", MAKES)
def test_products_of_arrays(name: str) -> None:
    analog = AnalogMatrix(M, MAKES[name]())
    rng = np.random.default_rng(2)
    x, d = rng.normal(size=(4, 5)), rng.normal(size=(4, 7))
    assert isinstance(analog, LinearOperator) and aslinearoperator(analog) is analog
    assert analog.shape == (7, 5) and analog.dtype == np.float32
    close(analog @ x, x @ M.T)
    close(analog @ x[0], M @ x[0])
    close(analog @ x.reshape(2, 2, 5), (x @ M.T).reshape(2, 2, 7))
    close(d @ analog, d @ M)
    close(d[0] @ analog, d[0] @ M)
    # What SciPy defines has vectors as columns.
    close(analog.matvec(x[0]), M @ x[0])
    close(analog.matvec(x[:1].T), M @ x[:1].T)
    close(analog.matmat(x.T), M @ x.T)
    close(analog.rmatvec(d[0]), M.T @ d[0])
    close(analog.rmatmat(d.T), M.T @ d.T)
    close(analog.dot(x[0]), M @ x[0])
    close(analog.T.matvec(d[0]), M.T @ d[0])
    close(analog.H.matmat(d.T), M.T @ d.T)
    close((analog @ analog.T).matvec(d[0]), M @ M.T @ d[0])
    close((2.0 * analog + analog).matvec(x[0]).astype(np.float32), 3 * M @ x[0])


@pytest.mark.parametrize("name", MAKES)
def test_products_of_tensors(name: str) -> None:
    matrix = torch.tensor(M, dtype=torch.float32)
    analog = AnalogMatrix(matrix, MAKES[name]())
    x = torch.randn(4, 5, requires_grad=True)
    d = torch.randn(4, 7)
    for value, wanted in (
        (analog @ x, x @ matrix.t()),
        (analog @ x[0], matrix @ x[0]),
        (d @ analog, d @ matrix),
        (d[0] @ analog, d[0] @ matrix),
    ):
        assert isinstance(value, torch.Tensor) and not value.requires_grad
        torch.testing.assert_close(value, wanted.detach(), **TOLERANCE)


def test_square_matrices_are_not_transposed() -> None:
    """Columns are columns: with a square matrix nobody would notice otherwise."""
    square = np.arange(9.0).reshape(3, 3) / 10
    analog = AnalogMatrix(square, ideal())
    columns = np.arange(9.0).reshape(3, 3)
    close(analog.matmat(columns), square @ columns)
    close(analog @ columns, columns @ square.T)


@pytest.mark.parametrize("name", [n for n in MAKES if "torch" not in n])
@pytest.mark.parametrize("kind", [np.asarray, lambda a: torch.tensor(a, dtype=torch.float32)])
@pytest.mark.parametrize("alpha", [1.0, 0.5, -0.25, 0.0])
def test_outer_products(name: str, kind: Any, alpha: float) -> None:
    analog = AnalogMatrix(M, MAKES[name]())
    rng = np.random.default_rng(3)
    x, d = rng.uniform(-1, 1, (2, 5)), rng.uniform(-1, 1, (2, 7))
    analog.ger(kind(x), kind(d), alpha)
    wanted = M + alpha * d.T @ x
    close(analog.matmat(np.eye(5)), wanted)
    analog.ger(kind(x[0]), kind(d[0]), alpha)
    close(analog.matmat(np.eye(5)), wanted + alpha * np.outer(d[0], x[0]))


@pytest.mark.parametrize("size", [0, 3])
def test_outer_products_with_an_input_range(size: int) -> None:
    """Of inputs within the range, whatever it is; every tile of an array has its own."""
    config = InferenceRPUConfig()
    config.forward.is_perfect = True
    config.mapping.max_input_size = config.mapping.max_output_size = size
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.init_from_data = 0
    analog = AnalogMatrix(M, config)
    for i, tile in enumerate(analog._tile.modules()):
        if isinstance(tile, TileModule):
            tile.set_input_range(4.0 + i)
    x, d = np.linspace(-3.0, 3.0, M.shape[1]), np.linspace(1.0, 2.0, M.shape[0])
    analog.ger(x, d, 0.5)
    found = np.stack([analog @ row for row in np.eye(M.shape[1])], axis=1)
    np.testing.assert_allclose(found, M + 0.5 * np.outer(d, x), rtol=0, atol=1e-5)
    analog.ger(100.0 * x, d, 0.0)
    np.testing.assert_array_equal(np.stack([analog @ r for r in np.eye(M.shape[1])], axis=1), found)


def test_first_column() -> None:
    analog = AnalogMatrix(np.zeros((3, 2)), ideal())
    analog.ger(np.array([1.0, 0.0]), np.ones(3), 0.5)
    close(analog.matmat(np.eye(2)), [[0.5, 0.0]] * 3)


def test_pulsed_devices() -> None:
    """Outer products are pulses: of the right size in the mean, and not exact."""
    torch.manual_seed(4)
    config = SingleRPUConfig(device=ConstantStepDevice(), forward=PERFECT, backward=PERFECT)
    analog = AnalogMatrix(np.zeros((30, 40)), config)
    analog.ger(np.ones(40), np.ones(30), 0.02)
    change = analog.matmat(np.eye(40))
    assert change.std() > 0.0
    assert change.mean() == pytest.approx(0.02, rel=0.1)


def test_products_are_noisy_and_realistic_weights_are_programmed() -> None:
    torch.manual_seed(5)
    analog = AnalogMatrix(M, InferenceRPUConfig())
    x = np.ones(5)
    assert not np.array_equal(analog @ x, analog @ x)
    exact, programmed = AnalogMatrix(M, inference()), AnalogMatrix(M, inference(), realistic=True)
    assert programmed.realistic and not exact.realistic
    close(exact.matmat(np.eye(5)), M)
    error = np.abs(programmed.matmat(np.eye(5)) - M).max() / np.abs(M).max()
    assert 0.0 < error < 0.3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_precision_of_torch_tiles(dtype: torch.dtype) -> None:
    analog = AnalogMatrix(M, torch_tile(), dtype=dtype)
    known = {torch.float64: np.float64, torch.float16: np.float16}
    assert analog.dtype == known.get(dtype, np.float32)
    product = analog @ np.ones(5)
    assert product.dtype == analog.dtype
    limits = {torch.float64: 1e-12, torch.float16: 5e-3, torch.bfloat16: 5e-2}
    np.testing.assert_allclose(product, M.sum(1), atol=limits[dtype])
    assert (analog @ torch.ones(5, dtype=dtype)).dtype is dtype
    assert analog.to(torch.float32) is analog and analog.dtype == np.float32


@pytest.mark.parametrize(
    "given", [np.arange(5), np.arange(5.0)[::-1], np.arange(5, dtype=">f8"), [1.0] * 5]
)
def test_kinds_of_vectors(given: Any) -> None:
    analog = AnalogMatrix(M, ideal())
    close(analog.matvec(np.asarray(given)), M @ np.asarray(given, dtype=float))


def test_kinds_of_matrices() -> None:
    x = np.ones(5)
    for matrix in (sparse.csr_array(M), M.astype(np.float32), torch.tensor(M)):
        close(AnalogMatrix(matrix, ideal()) @ x, M @ x)
    integers = np.arange(6).reshape(2, 3)
    config = scaled(ideal())
    close(AnalogMatrix(integers, config) @ np.ones(3), integers.sum(1))


def test_bad_arguments() -> None:
    for matrix in ([[1.0]], np.ones(3), np.ones((0, 3)), np.ones((2, 2, 2)), "x"):
        with pytest.raises(ArgumentError, match="matrix"):
            AnalogMatrix(matrix, ideal())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="real"):
        AnalogMatrix(np.ones((2, 2)) * 1j, ideal())
    with pytest.raises(ArgumentError):
        AnalogMatrix(M, SingleRPUConfig)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        AnalogMatrix(M, InferenceRPUConfig(forward=IOParameters(inp_res=-5.0, out_res="x")))  # type: ignore[arg-type]
    analog = AnalogMatrix(M, ideal())
    for bad in (np.ones(7), np.ones((5, 2)), torch.ones(4)):
        with pytest.raises(InputError):
            analog @ bad
        with pytest.raises(InputError):
            bad[..., :3] @ analog
    with pytest.raises(InputError, match="real"):
        analog @ (np.ones(5) * 1j)
    before = analog.matmat(np.eye(5))
    for x, d, alpha in (
        (np.ones(5), np.ones(5), 1.0),
        (np.ones((2, 5)), np.ones((3, 7)), 1.0),
        (np.full(5, np.nan), np.ones(7), 1.0),
        (np.ones(5), np.ones(7), float("nan")),
    ):
        with pytest.raises((ArgumentError, InputError)):
            analog.ger(x, d, alpha)
    close(analog.matmat(np.eye(5)), before)
    with pytest.raises(TileError):
        AnalogMatrix(M, torch_tile()).ger(np.ones(5), np.ones(7))


def test_failed_update_of_an_array_changes_no_tile() -> None:
    analog = AnalogMatrix(M, split(ideal()))
    d = np.ones(7)
    d[-1] = np.inf  # in the last tile of each column
    with pytest.raises(ArgumentError):
        analog.ger(np.ones(5), d)
    close(analog.matmat(np.eye(5)), M)


def test_clipped_values_warn() -> None:
    config = SingleRPUConfig(device=SoftBoundsDevice())
    with pytest.warns(UserWarning, match="were clipped"):
        AnalogMatrix(10 * M, config)


def flexible_gmres(a: Any, b: Any, preconditioner: Any, steps: int) -> list[float]:
    """Residuals of flexible GMRES, which allows a preconditioner that is another at each step."""
    size = len(b)
    basis, search = np.zeros((steps + 1, size)), np.zeros((steps, size))
    hessenberg = np.zeros((steps + 1, steps))
    norm = np.linalg.norm(b)
    basis[0] = b / norm
    residuals = []
    for k in range(steps):
        search[k] = preconditioner @ basis[k]
        w = a @ search[k]
        for i in range(k + 1):
            hessenberg[i, k] = w @ basis[i]
            w = w - hessenberg[i, k] * basis[i]
        hessenberg[k + 1, k] = np.linalg.norm(w)
        basis[k + 1] = w / hessenberg[k + 1, k]
        right = np.zeros(k + 2)
        right[0] = norm
        y = np.linalg.lstsq(hessenberg[: k + 2, : k + 1], right, rcond=None)[0]
        residuals.append(float(np.linalg.norm(b - a @ (y @ search[: k + 1])) / norm))
    return residuals


def test_noisy_preconditioner_of_a_krylov_solver() -> None:
    """An analog inverse, programmed and read with noise, saves most steps of an exact solver.

    Waves in a box (Helmholtz): the matrix is indefinite, so that solvers are slow.
    """
    torch.manual_seed(7)
    side = 8
    line = sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(side, side))
    eye = sparse.eye_array(side)
    a = (sparse.kron(line, eye) + sparse.kron(eye, line) - 1.29 * sparse.kron(eye, eye)).tocsr()
    inverse = np.linalg.inv(a.toarray())
    b = np.random.default_rng(8).normal(size=side * side)
    config = InferenceRPUConfig()
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = True
    analog = AnalogMatrix(inverse, config, realistic=True)
    steps = 12
    plain = flexible_gmres(a, b, sparse.eye_array(side * side), steps)
    helped = flexible_gmres(a, b, analog, steps)
    assert all(now <= before + 1e-12 for before, now in pairwise(helped))
    assert plain[-1] > 0.05 and helped[-1] < 1e-3


def test_solvers_of_scipy_take_it() -> None:
    rng = np.random.default_rng(9)
    square = np.eye(6) + 0.1 * rng.normal(size=(6, 6))
    analog = AnalogMatrix(square, ideal())
    b = rng.normal(size=6)
    x, info = gmres(analog, b, rtol=1e-6)
    assert info == 0
    np.testing.assert_allclose(x, np.linalg.solve(square, b), rtol=1e-4)


def test_without_scipy() -> None:
    code = (
        "import sys; sys.modules['scipy'] = None\n"
        "try:\n    import mho.linalg\nexcept ImportError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install mho[scipy]" in result.stdout


def test_place() -> None:
    assert mho.linalg.AnalogMatrix is AnalogMatrix
