//! Patches of images on borrowed tensors.

use super::error::PyResult;
use pyo3::intern;
use pyo3::prelude::*;

use super::array::Borrowed;
use super::gil::enter;
use mho_core::Error;
use mho_core::mvm::{Axis, Patches};

/// `mho._core.Patches`.
#[pyclass(frozen, name = "Patches", module = "mho._core")]
pub(super) struct PyPatches(pub(super) Patches);

#[pymethods]
impl PyPatches {
    /// Of images with these channels and axes: size, kernel, stride, dilation, zeros before and behind.
    #[new]
    fn new(channels: usize, axes: Vec<[usize; 6]>) -> PyResult<Self> {
        let axes: Vec<_> = axes
            .into_iter()
            .map(|[size, kernel, stride, dilation, before, after]| Axis {
                size,
                kernel,
                stride,
                dilation,
                before,
                after,
            })
            .collect();
        Ok(Self(Patches::new(channels, &axes)?))
    }

    #[getter]
    fn positions(&self) -> usize {
        self.0.positions()
    }

    #[getter]
    fn width(&self) -> usize {
        self.0.width()
    }

    /// Rows of patches, `[samples, width]`, with the elements from `first` on of each.
    fn unfold<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        first: usize,
        width: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let values = Borrowed::default().floats("images", images)?;
        let count = values.len() / self.0.image_len();
        Error::check_len("images", values.len(), count * self.0.image_len())?;
        let shape = (count * self.0.positions(), width);
        let rows = images.call_method1(intern!(py, "new_empty"), (shape,))?;
        let mut out = Borrowed::fresh(&rows)?;
        enter(py, || self.0.unfold(values.slice(), first, width, out.slice()))?;
        Ok(rows)
    }
}
