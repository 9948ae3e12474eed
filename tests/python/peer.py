"""Access to an installed aihwkit for the tests that compare with it."""

import warnings
from types import ModuleType

import numpy as np
import pytest


def peer_module(name: str) -> ModuleType:
    """Import a module of aihwkit, or skip the calling test file with the reason."""
    with warnings.catch_warnings():
        # What the peer warns about at import is not what is tested here.
        warnings.simplefilter("ignore")
        module = pytest.importorskip(name, reason="aihwkit is not installed")
    if "aihwkit" not in (module.__file__ or ""):
        pytest.skip("aihwkit resolves to mho here, there is nothing to compare with")
    return module


def assert_same_distribution(ours: np.ndarray, peers: np.ndarray, resolution: float) -> None:
    """Compare mean and variance of two samples along their first axis.

    The bounds are five standard errors of the difference, from the samples' own second and fourth
    moments: a false alarm per number of 6e-7. To them comes what the peer's table of 32768 normals
    is off by: its mean by one over sqrt(32768) of a standard deviation and its variance by
    sqrt(2/32768), both times four. Values that are quantised and nearly constant hide their rare
    steps from the estimated errors, so ten steps in the sample of either side are always allowed.

    Args:
        ours: Samples ``[n, ...]``.
        peers: Samples of the same shape.
        resolution: Size of one quantisation step of the values, 0 without.
    """
    count = len(ours)
    moments = [(s.mean(0), s.var(0), ((s - s.mean(0)) ** 4).mean(0)) for s in (ours, peers)]
    variance = moments[0][1] + moments[1][1]
    scale = np.abs(peers).max() + 1e-30
    mean_error = 5 * np.sqrt(variance / count) + 4 / 2**7.5 * np.sqrt(variance)
    mean_error += 10 * resolution / count + 5e-6 * scale
    np.testing.assert_array_less(np.abs(moments[0][0] - moments[1][0]), mean_error)
    fourth = sum(np.maximum(m4 - var**2, 0) for _, var, m4 in moments)
    variance_error = 5 * np.sqrt(fourth / count) + 4 * np.sqrt(2 / 2**15) * variance
    variance_error += 10 * resolution**2 / count + (5e-6 * scale) ** 2
    np.testing.assert_array_less(np.abs(moments[0][1] - moments[1][1]), variance_error)
