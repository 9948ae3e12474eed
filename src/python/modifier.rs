//! Modified copies of the weights, for hardware-aware training.

use pyo3::prelude::*;

use super::array::Borrowed;
use super::error::PyResult;
use super::gil::enter;
use super::spec::PyTileSpec;
use super::stream::Stream;
use mho_core::config::ModifierParameters;
use mho_core::modifier::Modifier;
use mho_core::{Error, Result};

/// `mho._core.WeightModifier`.
#[pyclass(frozen, name = "WeightModifier", module = "mho._core")]
pub(super) struct PyWeightModifier(Modifier);

impl PyWeightModifier {
    fn parsed(config: &str) -> Result<Modifier> {
        Modifier::new(&ModifierParameters::from_json(config)?)
    }
}

#[pymethods]
impl PyWeightModifier {
    #[new]
    fn new(config: &str) -> PyResult<Self> {
        Ok(Self(Self::parsed(config)?))
    }

    #[getter]
    fn config(&self) -> PyResult<String> {
        let text = serde_json::to_string(self.0.parameters());
        Ok(text.map_err(|error| Error::config("modifier", error.to_string()))?)
    }

    #[getter]
    fn acts(&self) -> bool {
        self.0.acts()
    }
}

/// Writes what a modifier makes of the weights of a tile to `modified`, as a call of its own.
#[pyfunction]
pub(super) fn modify_weights(
    py: Python<'_>,
    spec: &Bound<'_, PyTileSpec>,
    modifier: &Bound<'_, PyWeightModifier>,
    weight: &Bound<'_, PyAny>,
    modified: &Bound<'_, PyAny>,
    seed: &Bound<'_, PyAny>,
    calls: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let (tile, modifier) = (spec.get(), &modifier.get().0);
    let mut borrowed = Borrowed::default();
    let stream = Stream::new(seed, calls, &mut borrowed)?;
    let weight = borrowed.floats("weight", weight)?;
    let mut modified = borrowed.floats_mut("modified", modified)?;
    let [d_size, x_size] = tile.sizes();
    stream.numbered(|key, _| {
        enter(py, || {
            let lock = tile.lock.here();
            let _write = lock.write();
            Error::check_len("weight", weight.len(), d_size * x_size)?;
            modifier.modify(weight.slice(), modified.slice(), x_size, key)
        })
    })
}
