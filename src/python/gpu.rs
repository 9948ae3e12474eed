//! Tiles in the memory of a graphics processor. The tensors of the host stay those of the caller:
//! every method copies from or to them.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::PyResult;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::array::{Borrowed, BytesMut, IntsMut};
use super::cells::CellTensors;
use super::gil::enter;
use super::ops::{HiddenTensors, LineTensors};
use super::spec::{Crosspoints, PyTileSpec, direction};
use super::stream::{Stream, key};
use mho_core::devices::WeightClip;
use mho_core::gpu::{self, AdapterSummary, Context, GpuTile, GpuUpdate, Pick, Product};
use mho_core::rng::Key;
use mho_core::unit_cells::gpu::GpuCellTile;
use mho_core::unit_cells::{Batch, CellState};
use mho_core::{Error, Result};

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
    let checked = match &spec.get().crosspoints {
        Crosspoints::Devices(spec, _) => GpuTile::check(spec),
        Crosspoints::Cells(cells) => GpuCellTile::check(&cells.spec),
    };
    Ok(checked?)
}

/// Waits for all work on all opened adapters.
#[pyfunction]
pub(super) fn gpu_synchronize(py: Python<'_>) -> PyResult<()> {
    enter(py, Context::synchronize_all)
}

/// What is in the memory of the graphics processor.
enum Tile {
    Devices(Box<GpuTile>),
    Cells(Box<GpuCellTile>),
}

impl Tile {
    fn new(spec: &PyTileSpec, adapter: Option<String>) -> Result<Self> {
        Ok(match &spec.crosspoints {
            Crosspoints::Devices(spec, _) => {
                Self::Devices(Box::new(GpuTile::new((**spec).clone(), &pick(adapter))?))
            }
            Crosspoints::Cells(cells) => {
                Self::Cells(Box::new(GpuCellTile::new(cells.spec.clone(), &pick(adapter))?))
            }
        })
    }

    fn context(&self) -> &Arc<Context> {
        match self {
            Self::Devices(tile) => tile.context(),
            Self::Cells(tile) => tile.context(),
        }
    }
}

/// An operation on the weights beside updates.
#[derive(Clone, Copy)]
enum Operation {
    Decay(f64),
    Diffuse,
    Reset { start: usize, count: i64, probability: f64 },
    Clip(f32),
}

impl Operation {
    fn on_devices(self, tile: &mut GpuTile, key: Key) -> Result<()> {
        match self {
            Self::Decay(alpha) => tile.decay(alpha, key),
            Self::Diffuse => tile.diffuse(key),
            Self::Reset { start, count, probability } => {
                tile.reset_columns(start, count, probability, key)
            }
            Self::Clip(value) => tile.clip_weights(WeightClip::FixedValue(value), key),
        }
    }

    fn on_cells(self, tile: &mut GpuCellTile, state: &CellState<'_>, key: Key) -> Result<()> {
        match self {
            Self::Decay(alpha) => tile.decay(state, alpha, key),
            Self::Diffuse => tile.diffuse(state, key),
            Self::Reset { start, count, probability } => {
                tile.reset_columns(state, start, count, probability, key)
            }
            Self::Clip(value) => tile.clip_weights(state, WeightClip::FixedValue(value), key),
        }
    }
}

/// Tensors of the host: weights, and all else that stands at the crosspoints.
type State<'py> = (Bound<'py, PyAny>, Bound<'py, PyDict>);

/// `mho._core.GpuTile`.
#[pyclass(frozen, name = "GpuTile", module = "mho._core")]
pub(super) struct PyGpuTile {
    spec: Py<PyTileSpec>,
    context: Arc<Context>,
    tile: Mutex<Tile>,
}

impl PyGpuTile {
    fn enter<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Tile) -> Result<R> + Send,
    ) -> PyResult<R> {
        // After a panic the caller builds the tile again from the tensors of the host.
        enter(py, || work(&mut self.tile.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Runs `work` on single devices.
    fn on_devices<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut GpuTile) -> Result<R> + Send,
    ) -> PyResult<R> {
        self.enter(py, |tile| match tile {
            Tile::Devices(tile) => work(tile),
            Tile::Cells(_) => Err(missing_state()),
        })
    }

    /// Runs `work` on cells, with the tensors of their state.
    fn on_cells<R: Send>(
        &self,
        (weight, hidden): &State<'_>,
        borrowed: &mut Borrowed,
        work: impl FnOnce(&mut GpuCellTile, CellState<'_>) -> Result<R> + Send,
    ) -> PyResult<R> {
        let spec = self.spec.get();
        let Crosspoints::Cells(cells) = &spec.crosspoints else {
            return Err(missing_state().into());
        };
        let mut tensors = CellTensors::new(cells, weight, hidden, borrowed)?;
        self.enter(weight.py(), |tile| {
            let lock = spec.lock.here();
            let _write = lock.write();
            match tile {
                Tile::Devices(_) => Err(missing_state()),
                Tile::Cells(tile) => work(tile, tensors.state()?),
            }
        })
    }

    fn operate(
        &self,
        operation: Operation,
        seed: &Bound<'_, PyAny>,
        calls: &Bound<'_, PyAny>,
        state: Option<&State<'_>>,
    ) -> PyResult<()> {
        let mut borrowed = Borrowed::default();
        let stream = Stream::new(seed, calls, &mut borrowed)?;
        stream.numbered(|key, _| match state {
            None => self.on_devices(seed.py(), |tile| operation.on_devices(tile, key)),
            Some(state) => self.on_cells(state, &mut borrowed, |tile, state| {
                operation.on_cells(tile, &state, key)
            }),
        })
    }
}

fn missing_state() -> Error {
    Error::State { why: "cells go with their state, single devices without one".to_owned() }
}

#[pymethods]
impl PyGpuTile {
    #[new]
    #[pyo3(signature = (spec, adapter=None))]
    fn new(py: Python<'_>, spec: Bound<'_, PyTileSpec>, adapter: Option<String>) -> PyResult<Self> {
        let own = spec.get();
        let tile = enter(py, || Tile::new(own, adapter))?;
        let context = Arc::clone(tile.context());
        Ok(Self { spec: spec.unbind(), context, tile: Mutex::new(tile) })
    }

    #[getter]
    fn adapter(&self) -> Summary {
        summary(self.context.adapter().clone())
    }

    fn write_weights(&self, weight: &Bound<'_, PyAny>) -> PyResult<()> {
        let values = Borrowed::default().floats("weight", weight)?;
        self.enter(weight.py(), |tile| match tile {
            Tile::Devices(tile) => tile.set_weights(values.slice()),
            Tile::Cells(tile) => tile.write_visible(values.slice()),
        })
    }

    fn read_weights(&self, weight: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut values = Borrowed::default().floats_mut("weight", weight)?;
        self.on_devices(weight.py(), |tile| tile.weights(values.slice()))
    }

    fn write_hidden(&self, hidden: &Bound<'_, PyDict>) -> PyResult<()> {
        let Crosspoints::Devices(spec, names) = &self.spec.get().crosspoints else {
            return Err(missing_state().into());
        };
        let mut tensors = HiddenTensors::new(spec, names, hidden, &mut Borrowed::default())?;
        self.on_devices(hidden.py(), |tile| tile.set_planes(&tensors.borrow()?.0))
    }

    fn write_persistent(&self, persistent: &Bound<'_, PyAny>) -> PyResult<()> {
        let values = Borrowed::default().floats("persistent_weights", persistent)?;
        self.on_devices(persistent.py(), |tile| tile.set_persistent(values.slice()))
    }

    fn read_persistent(&self, persistent: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut values = Borrowed::default().floats_mut("persistent_weights", persistent)?;
        self.on_devices(persistent.py(), |tile| tile.persistent(values.slice()))
    }

    /// Writes weights and buffers of cells.
    fn write_cells(&self, state: State<'_>) -> PyResult<()> {
        self.on_cells(&state, &mut Borrowed::default(), |tile, state| tile.write_weights(&state))
    }

    /// Reads weights and buffers of cells.
    fn read_cells(&self, state: State<'_>) -> PyResult<()> {
        self.on_cells(&state, &mut Borrowed::default(), |tile, mut state| {
            tile.read_weights(&mut state)
        })
    }

    /// Writes hidden parameters of cells, and frozen values of their reads.
    fn write_cell_parameters(&self, state: State<'_>) -> PyResult<()> {
        self.on_cells(&state, &mut Borrowed::default(), |tile, state| {
            tile.write_parameters(&state)?;
            tile.write_reads(&state)
        })
    }

    fn write_lines(&self, backward: bool, lines: &Bound<'_, PyDict>) -> PyResult<()> {
        let tensors = LineTensors::new(Some(lines), &mut Borrowed::default())?;
        let direction = direction(backward);
        self.enter(lines.py(), |tile| match tile {
            Tile::Devices(tile) => tile.set_lines(direction, &tensors.borrow()),
            Tile::Cells(tile) => tile.write_lines(direction, &tensors.borrow()),
        })
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
        let key = key(borrowed.int("seed", seed)?, call);
        let drop_last = backward && self.spec.get().analog_bias();
        self.enter(py, |tile| {
            let product = Product {
                direction: direction(backward),
                x: x.slice(),
                bias,
                drop_last,
                y: y.slice(),
                key,
                is_test,
                running: running.as_mut().and_then(|tensor| tensor.slice().first_mut()),
                mask: mask.as_mut().map(BytesMut::slice),
            };
            match tile {
                Tile::Devices(tile) => tile.product(product),
                Tile::Cells(tile) => tile.product(product),
            }
        })
    }

    #[pyo3(signature = (x, d, learning_rate, seed, calls, bias=None, counts=None, state=None))]
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
        state: Option<State<'_>>,
    ) -> PyResult<()> {
        let py = x.py();
        let mut borrowed = Borrowed::default();
        let stream = Stream::new(seed, calls, &mut borrowed)?;
        let (x, d) = (borrowed.floats("x", x)?, borrowed.floats("d", d)?);
        if let Some(state) = &state {
            let batch = Batch { x: x.slice(), bias, d: d.slice(), learning_rate };
            return stream.numbered(|key, _| {
                self.on_cells(state, &mut borrowed, |tile, mut state| {
                    tile.update(&mut state, &batch, key)
                })
            });
        }
        let mut counts = counts.map(|counts| borrowed.ints_mut("counts", counts)).transpose()?;
        stream.numbered(|key, _| {
            self.on_devices(py, |tile| {
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

    #[pyo3(signature = (alpha, seed, calls, state=None))]
    fn decay(
        &self,
        alpha: f64,
        seed: &Bound<'_, PyAny>,
        calls: &Bound<'_, PyAny>,
        state: Option<State<'_>>,
    ) -> PyResult<()> {
        self.operate(Operation::Decay(alpha), seed, calls, state.as_ref())
    }

    #[pyo3(signature = (seed, calls, state=None))]
    fn diffuse(
        &self,
        seed: &Bound<'_, PyAny>,
        calls: &Bound<'_, PyAny>,
        state: Option<State<'_>>,
    ) -> PyResult<()> {
        self.operate(Operation::Diffuse, seed, calls, state.as_ref())
    }

    #[pyo3(signature = (start, count, probability, seed, calls, state=None))]
    fn reset_columns(
        &self,
        start: usize,
        count: i64,
        probability: f64,
        seed: &Bound<'_, PyAny>,
        calls: &Bound<'_, PyAny>,
        state: Option<State<'_>>,
    ) -> PyResult<()> {
        let operation = Operation::Reset { start, count, probability };
        self.operate(operation, seed, calls, state.as_ref())
    }

    #[pyo3(signature = (value, seed, calls, state=None))]
    fn clip_weights(
        &self,
        value: f32,
        seed: &Bound<'_, PyAny>,
        calls: &Bound<'_, PyAny>,
        state: Option<State<'_>>,
    ) -> PyResult<()> {
        self.operate(Operation::Clip(value), seed, calls, state.as_ref())
    }

    /// Test hook: destroys the device as a driver that crashed would.
    fn destroy_device(&self) {
        mho_core::hooks::destroy_device(&self.context);
    }
}
