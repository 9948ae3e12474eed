//! Tiles in the memory of a graphics processor. The tensors of the host stay those of the caller:
//! every method copies from or to them.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::array::{Borrowed, BytesMut, IntsMut};
use super::gil::enter;
use super::ops::{HiddenTensors, LineTensors, key, numbered};
use super::spec::{Crosspoints, PyTileSpec, direction};
use crate::devices::WeightClip;
use crate::error::{Error, Result};
use crate::gpu::{self, AdapterSummary, Context, GpuTile, GpuUpdate, Pick, Product};
use crate::tile::TileSpec;

fn pick(adapter: Option<String>) -> Pick {
    adapter.map_or(Pick::Default, Pick::Named)
}

/// Name, kind, driver and programming interface.
type Summary = (String, &'static str, String, String);

fn summary(adapter: AdapterSummary) -> Summary {
    (adapter.name, adapter.kind.name(), adapter.driver, adapter.backend)
}

/// All adapters, best first.
#[pyfunction]
pub(super) fn gpu_adapters(py: Python<'_>) -> PyResult<Vec<Summary>> {
    enter(py, || Ok(gpu::adapters().into_iter().map(summary).collect()))
}

/// Opens an adapter and describes it.
#[pyfunction]
#[pyo3(signature = (adapter=None))]
pub(super) fn gpu_open(py: Python<'_>, adapter: Option<String>) -> PyResult<Summary> {
    enter(py, || Ok(summary(Context::shared(&pick(adapter))?.adapter().clone())))
}

/// Refuses what tiles on a graphics processor cannot do; opens nothing.
#[pyfunction]
pub(super) fn gpu_check(spec: &Bound<'_, PyTileSpec>) -> PyResult<()> {
    Ok(GpuTile::check(on_device(spec.get())?.0)?)
}

/// The tile of single devices, which is all that can be on a graphics processor.
fn on_device(spec: &PyTileSpec) -> Result<(&TileSpec, &[&'static str])> {
    match &spec.crosspoints {
        Crosspoints::Devices(spec, names) => Ok((spec, names)),
        Crosspoints::Cells(cells) => {
            let why = "cells of several devices are on 'cpu' only";
            Err(Error::config("device", format!("{}: {why}", cells.name())))
        }
    }
}

/// Waits for all work on all opened adapters.
#[pyfunction]
pub(super) fn gpu_synchronize(py: Python<'_>) -> PyResult<()> {
    enter(py, Context::synchronize_all)
}

/// `mho._core.GpuTile`.
#[pyclass(frozen, name = "GpuTile", module = "mho._core")]
pub(super) struct PyGpuTile {
    spec: Py<PyTileSpec>,
    context: Arc<Context>,
    tile: Mutex<GpuTile>,
}

impl PyGpuTile {
    fn enter<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut GpuTile) -> Result<R> + Send,
    ) -> PyResult<R> {
        // After a panic the caller builds the tile again from the tensors of the host.
        enter(py, || work(&mut self.tile.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[pymethods]
impl PyGpuTile {
    #[new]
    #[pyo3(signature = (spec, adapter=None))]
    fn new(py: Python<'_>, spec: Bound<'_, PyTileSpec>, adapter: Option<String>) -> PyResult<Self> {
        let own = on_device(spec.get())?.0.clone();
        let tile = enter(py, || GpuTile::new(own, &pick(adapter)))?;
        Ok(Self {
            spec: spec.unbind(),
            context: Arc::clone(tile.context()),
            tile: Mutex::new(tile),
        })
    }

    #[getter]
    fn adapter(&self) -> Summary {
        summary(self.context.adapter().clone())
    }

    fn write_weights(&self, weight: &Bound<'_, PyAny>) -> PyResult<()> {
        let values = Borrowed::default().floats("weight", weight)?;
        self.enter(weight.py(), |tile| tile.set_weights(values.slice()))
    }

    fn read_weights(&self, weight: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut values = Borrowed::default().floats_mut("weight", weight)?;
        self.enter(weight.py(), |tile| tile.weights(values.slice()))
    }

    fn write_hidden(&self, hidden: &Bound<'_, PyDict>) -> PyResult<()> {
        let (spec, names) = on_device(self.spec.get())?;
        let mut tensors = HiddenTensors::new(spec, names, hidden, &mut Borrowed::default())?;
        self.enter(hidden.py(), |tile| tile.set_planes(&tensors.borrow()?.0))
    }

    fn write_persistent(&self, persistent: &Bound<'_, PyAny>) -> PyResult<()> {
        let values = Borrowed::default().floats("persistent_weights", persistent)?;
        self.enter(persistent.py(), |tile| tile.set_persistent(values.slice()))
    }

    fn read_persistent(&self, persistent: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut values = Borrowed::default().floats_mut("persistent_weights", persistent)?;
        self.enter(persistent.py(), |tile| tile.persistent(values.slice()))
    }

    fn write_lines(&self, backward: bool, lines: &Bound<'_, PyDict>) -> PyResult<()> {
        let tensors = LineTensors::new(Some(lines), &mut Borrowed::default())?;
        self.enter(lines.py(), |tile| tile.set_lines(direction(backward), &tensors.borrow()))
    }

    #[pyo3(signature = (backward, x, y, seed, call, is_test, bias=None, lines=None, mask=None))]
    #[allow(clippy::too_many_arguments, reason = "mirrors the product of the processor")]
    fn mvm(
        &self,
        backward: bool,
        x: &Bound<'_, PyAny>,
        y: &Bound<'_, PyAny>,
        seed: &Bound<'_, PyAny>,
        call: i64,
        is_test: bool,
        bias: Option<f32>,
        lines: Option<&Bound<'_, PyDict>>,
        mask: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = x.py();
        let mut borrowed = Borrowed::default();
        let (x, mut y) = (borrowed.floats("x", x)?, borrowed.floats_mut("y", y)?);
        let mut running = LineTensors::new(lines, &mut borrowed)?.running;
        let mut mask = mask.map(|mask| borrowed.bytes_mut("mask", mask)).transpose()?;
        let key = key(seed, call)?;
        let drop_last = backward && self.spec.get().analog_bias();
        self.enter(py, |tile| {
            tile.product(Product {
                direction: direction(backward),
                x: x.slice(),
                bias,
                drop_last,
                y: y.slice(),
                key,
                is_test,
                running: running.as_mut().and_then(|tensor| tensor.slice().first_mut()),
                mask: mask.as_mut().map(BytesMut::slice),
            })
        })
    }

    #[pyo3(signature = (x, d, learning_rate, seed, calls, bias=None, counts=None))]
    #[allow(clippy::too_many_arguments, reason = "mirrors the update of the processor")]
    fn update(
        &self,
        x: &Bound<'_, PyAny>,
        d: &Bound<'_, PyAny>,
        learning_rate: f64,
        seed: &Bound<'_, PyAny>,
        calls: &Bound<'_, PyAny>,
        bias: Option<f32>,
        counts: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = x.py();
        let mut borrowed = Borrowed::default();
        let (x, d) = (borrowed.floats("x", x)?, borrowed.floats("d", d)?);
        let mut counts = counts.map(|counts| borrowed.ints_mut("counts", counts)).transpose()?;
        numbered(seed, calls, |key| {
            self.enter(py, |tile| {
                tile.update(GpuUpdate {
                    x: x.slice(),
                    bias,
                    d: d.slice(),
                    learning_rate,
                    key,
                    counts: counts.as_mut().map(IntsMut::slice),
                })
            })
        })
    }

    fn decay(&self, alpha: f64, seed: &Bound<'_, PyAny>, calls: &Bound<'_, PyAny>) -> PyResult<()> {
        numbered(seed, calls, |key| self.enter(seed.py(), |tile| tile.decay(alpha, key)))
    }

    fn diffuse(&self, seed: &Bound<'_, PyAny>, calls: &Bound<'_, PyAny>) -> PyResult<()> {
        numbered(seed, calls, |key| self.enter(seed.py(), |tile| tile.diffuse(key)))
    }

    fn reset_columns(
        &self,
        start: usize,
        count: i64,
        probability: f64,
        seed: &Bound<'_, PyAny>,
        calls: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        numbered(seed, calls, |key| {
            self.enter(seed.py(), |tile| tile.reset_columns(start, count, probability, key))
        })
    }

    fn clip_weights(
        &self,
        value: f32,
        seed: &Bound<'_, PyAny>,
        calls: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let clip = WeightClip::FixedValue(value);
        numbered(seed, calls, |key| self.enter(seed.py(), |tile| tile.clip_weights(clip, key)))
    }

    /// Test hook: destroys the device as a driver that crashed would.
    fn destroy_device(&self) {
        crate::hooks::destroy_device(&self.context);
    }
}
