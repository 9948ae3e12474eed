//! The digital periphery of a product on borrowed tensors.

use super::error::PyResult;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::array::{Borrowed, Floats};
use super::gil::enter;
use mho_core::mvm::periphery::{self, Outputs};

/// Borrowed factors and offset of outputs.
#[derive(Default)]
pub(super) struct OutputTensors {
    factors: Vec<Floats>,
    offset: Option<Floats>,
}

impl OutputTensors {
    pub(super) fn new(
        factors: Option<&Bound<'_, PyTuple>>,
        offset: Option<&Bound<'_, PyAny>>,
        borrowed: &mut Borrowed,
    ) -> PyResult<Self> {
        let mut floats = Vec::new();
        for factor in factors.into_iter().flatten() {
            floats.push(borrowed.floats("factors", &factor)?);
        }
        let offset = offset.map(|offset| borrowed.floats("offset", offset)).transpose()?;
        Ok(Self { factors: floats, offset })
    }

    pub(super) fn factors(&self) -> Vec<&[f32]> {
        self.factors.iter().map(Floats::slice).collect()
    }

    pub(super) fn borrow<'a>(&'a self, factors: &'a [&'a [f32]]) -> Outputs<'a> {
        Outputs { factors, offset: self.offset.as_ref().map_or(&[], Floats::slice) }
    }
}

/// Returns inputs clipped to the range and divided by it, a new tensor.
#[pyfunction]
pub(super) fn enter_range<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    range: f32,
) -> PyResult<Bound<'py, PyAny>> {
    let mut borrowed = Borrowed::default();
    let values = borrowed.floats("x", x)?;
    let output = x.call_method1(intern!(py, "new_empty"), (x.getattr(intern!(py, "shape"))?,))?;
    let mut out = Borrowed::fresh(&output)?;
    enter(py, || periphery::enter(values.slice(), range, out.slice()))?;
    Ok(output)
}

/// Scales and offsets rows of `width` outputs, in place.
#[pyfunction]
#[pyo3(signature = (y, width, factors=None, offset=None))]
pub(super) fn scale_and_offset(
    py: Python<'_>,
    y: &Bound<'_, PyAny>,
    width: usize,
    factors: Option<&Bound<'_, PyTuple>>,
    offset: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let mut borrowed = Borrowed::default();
    let mut y = borrowed.floats_mut("y", y)?;
    let outputs = OutputTensors::new(factors, offset, &mut borrowed)?;
    enter(py, || {
        let factors = outputs.factors();
        outputs.borrow(&factors).apply(y.slice(), width.max(1))
    })
}
