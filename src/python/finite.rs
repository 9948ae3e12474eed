//! Whether the numbers in tensors are finite.

use super::error::PyResult;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::array::Borrowed;
use super::gil::enter;
use mho_core::finite;

/// Whether no value of any of these tensors is NaN or infinite.
#[pyfunction]
#[pyo3(signature = (*values))]
pub(super) fn all_finite(py: Python<'_>, values: &Bound<'_, PyTuple>) -> PyResult<bool> {
    let mut borrowed = Borrowed::default();
    let all = values.iter().map(|tensor| borrowed.floats("values", &tensor));
    let all = all.collect::<PyResult<Vec<_>>>()?;
    enter(py, || Ok(all.iter().all(|values| finite::all_finite(values.slice()))))
}
