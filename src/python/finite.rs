//! Whether the numbers in a tensor are finite.

use pyo3::prelude::*;

use super::array::Borrowed;
use super::gil::enter;
use crate::finite;

/// Whether no value of a tensor is NaN or infinite.
#[pyfunction]
pub(super) fn all_finite(py: Python<'_>, values: &Bound<'_, PyAny>) -> PyResult<bool> {
    let values = Borrowed::default().floats("values", values)?;
    enter(py, || Ok(finite::all_finite(values.slice())))
}
