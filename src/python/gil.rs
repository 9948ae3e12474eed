//! Kernels run without the interpreter.

use pyo3::prelude::*;

use super::error::{PyResult, Raised};
use super::team;
use mho_core::Result;
use mho_core::par;

/// Runs a kernel with the interpreter released; a panic becomes an exception.
pub(super) fn enter<R: Send>(
    py: Python<'_>,
    kernel: impl FnOnce() -> Result<R> + Send,
) -> PyResult<R> {
    team::prepare(py);
    py.detach(|| par::guard(kernel)).map_err(Raised::from)
}
