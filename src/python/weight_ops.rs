//! Operations on the weights of a tile other than pulses, on borrowed tensors.

use super::error::{PyResult, Raised};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::array::{Borrowed, DoublesMut, FloatsMut};
use super::cells::{self, CellTensors};
use super::gil::enter;
use super::ops::{HiddenTensors, PERSISTENT};
use super::spec::{Crosspoints, PyTileSpec, Steps};
use super::stream::Stream;
use mho_core::devices::{Cells, Device, DriftState, WeightClip};
use mho_core::memory;
use mho_core::rng::Key;
use mho_core::unit_cells::{CellSpec, CellState};
use mho_core::{Error, Result};

/// An operation on the weights of a tile.
#[derive(Clone, Copy)]
enum Operation {
    /// Weights that were just written come into the bounds.
    Set,
    /// Bounds or weights have changed.
    EnterBounds,
    Decay(f64),
    Diffuse,
    Reset {
        start: usize,
        count: i64,
        probability: f64,
    },
    Clip(WeightClip),
}

impl Operation {
    fn on_device(self, device: &Device, cells: Cells<'_>, key: Key) -> Result<()> {
        match self {
            Self::Set => {
                Error::check_finite("weights", cells.weights)?;
                device.set_weights(cells, key)
            }
            Self::EnterBounds => device.enter_bounds(cells),
            Self::Decay(alpha) => device.decay(cells, alpha, key),
            Self::Diffuse => device.diffuse(cells, key),
            Self::Reset { start, count, probability } => {
                device.reset_columns(cells, start, count, probability, key)
            }
            Self::Clip(clip) => device.clip_weights(cells, clip, key),
        }
    }

    fn on_cell(self, cell: &CellSpec, state: CellState<'_>, set: &[f32], key: Key) -> Result<()> {
        match self {
            Self::Set => cell.set_weights(state, set, key),
            Self::EnterBounds => cell.settle(state),
            Self::Decay(alpha) => cell.decay(state, alpha, key),
            Self::Diffuse => cell.diffuse(state, key),
            Self::Reset { start, count, probability } => {
                cell.reset_columns(state, start, count, probability, key)
            }
            Self::Clip(clip) => cell.clip_weights(state, clip, key),
        }
    }
}

/// Runs an operation on the tensors of a tile, as a new call.
fn on_weights(
    spec: &Bound<'_, PyTileSpec>,
    weight: &Bound<'_, PyAny>,
    hidden: &Bound<'_, PyDict>,
    [seed, calls]: [&Bound<'_, PyAny>; 2],
    operation: Operation,
) -> PyResult<()> {
    let mut borrowed = Borrowed::default();
    let stream = Stream::new(seed, calls, &mut borrowed)?;
    stream.numbered(|key, _| operate(borrowed, spec, weight, hidden, operation, key))
}

fn operate(
    mut borrowed: Borrowed,
    spec: &Bound<'_, PyTileSpec>,
    weight: &Bound<'_, PyAny>,
    hidden: &Bound<'_, PyDict>,
    operation: Operation,
    key: Key,
) -> PyResult<()> {
    let cells = match &spec.get().crosspoints {
        Crosspoints::Devices(..) => {
            return on_devices(borrowed, spec, weight, hidden, key, |device, cells, key| {
                operation.on_device(device, cells, key)
            });
        }
        Crosspoints::Cells(cells) => cells,
    };
    let mut tensors = CellTensors::new(cells, weight, hidden, &mut borrowed)?;
    // What is set is overwritten by the sum of what the devices take of it.
    let is_set = matches!(operation, Operation::Set);
    let set = if is_set { memory::copied(tensors.weights())? } else { Vec::new() };
    cells::on_state(&spec.get().lock, cells, tensors, spec.py(), |cell, state| {
        operation.on_cell(cell, state, &set, key)
    })
}

/// Runs an operation on single devices, for which other tensors may have been borrowed already.
fn on_devices(
    mut borrowed: Borrowed,
    spec: &Bound<'_, PyTileSpec>,
    weight: &Bound<'_, PyAny>,
    hidden: &Bound<'_, PyDict>,
    key: Key,
    operation: impl FnOnce(&Device, Cells<'_>, Key) -> Result<()> + Send,
) -> PyResult<()> {
    let tile = spec.get();
    let Crosspoints::Devices(own, names) = &tile.crosspoints else { return Ok(()) };
    let mut weight = borrowed.floats_mut("weight", weight)?;
    let mut hidden = HiddenTensors::new(own, names, hidden, &mut borrowed)?;
    enter(spec.py(), || {
        let (planes, persistent) = hidden.borrow()?;
        let lock = tile.lock.here();
        let _write = lock.write();
        let cells = Cells { weights: weight.slice(), persistent, planes: &planes };
        operation(own.device(), cells, key)
    })
}

/// Brings freshly written weights into the device bounds.
#[pyfunction]
pub(super) fn clip_to_bounds(
    spec: &Bound<'_, PyTileSpec>,
    weight: &Bound<'_, PyAny>,
    hidden: &Bound<'_, PyDict>,
    seed: &Bound<'_, PyAny>,
    calls: &Bound<'_, PyAny>,
) -> PyResult<()> {
    on_weights(spec, weight, hidden, [seed, calls], Operation::Set)
}

/// Brings the weights into device bounds that were changed.
#[pyfunction]
pub(super) fn enter_bounds(
    spec: &Bound<'_, PyTileSpec>,
    weight: &Bound<'_, PyAny>,
    hidden: &Bound<'_, PyDict>,
) -> PyResult<()> {
    // No draw is made.
    let (borrowed, key) = (Borrowed::default(), Key::new(0, 0));
    operate(borrowed, spec, weight, hidden, Operation::EnterBounds, key)
}

/// Checks hidden parameters that are not written yet.
#[pyfunction]
pub(super) fn check_hidden(
    spec: &Bound<'_, PyTileSpec>,
    hidden: &Bound<'_, PyDict>,
) -> PyResult<()> {
    let (spec, names) = match &spec.get().crosspoints {
        Crosspoints::Devices(spec, names) => (spec, names),
        Crosspoints::Cells(cells) => return cells::check_hidden(cells, hidden),
    };
    let mut tensors = HiddenTensors::new(spec, names, hidden, &mut Borrowed::default())?;
    let (planes, persistent) = tensors.borrow()?;
    if let Some(values) = persistent {
        Error::check_finite(PERSISTENT, values)?;
    }
    Ok(spec.device().check_planes(&planes)?)
}

/// Checks that the state of a cell can be used as it is.
#[pyfunction]
pub(super) fn check_state(
    spec: &Bound<'_, PyTileSpec>,
    weight: &Bound<'_, PyAny>,
    hidden: &Bound<'_, PyDict>,
) -> PyResult<()> {
    if let Crosspoints::Cells(cells) = &spec.get().crosspoints {
        CellTensors::new(cells, weight, hidden, &mut Borrowed::default())?.state()?;
    }
    Ok(())
}

/// Drift of all weights for `delta_t`.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "mirrors the tensors of a tile")]
pub(super) fn drift(
    spec: &Bound<'_, PyTileSpec>,
    weight: &Bound<'_, PyAny>,
    hidden: &Bound<'_, PyDict>,
    state: &Bound<'_, PyDict>,
    delta_t: f64,
    seed: &Bound<'_, PyAny>,
    calls: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let none = || Error::unsupported("drift", "the device has none; set device.drift.nu");
    let mut borrowed = Borrowed::default();
    let stream = Stream::new(seed, calls, &mut borrowed)?;
    let cells = match &spec.get().crosspoints {
        Crosspoints::Devices(own, _) => {
            let parameters = own.config().device.drift().ok_or_else(none)?;
            let mut memory = DriftTensors::new(state, "", &mut borrowed)?;
            return stream.numbered(|key, _| {
                on_devices(borrowed, spec, weight, hidden, key, |device, cells, key| {
                    device.drift(cells, &parameters, memory.borrow()?, delta_t, key)
                })
            });
        }
        Crosspoints::Cells(cells) => cells,
    };
    let mut memories = Vec::new();
    for (_, ending) in cells.spec.cells().drifting() {
        memories.push(DriftTensors::new(state, &ending, &mut borrowed)?);
    }
    let tensors = CellTensors::new(cells, weight, hidden, &mut borrowed)?;
    stream.numbered(|key, _| {
        cells::on_state(&spec.get().lock, cells, tensors, spec.py(), |cell, state| {
            let memories = memories.iter_mut().map(DriftTensors::borrow).collect::<Result<_>>()?;
            cell.drift(state, memories, delta_t, key)
        })
    })
}

/// What drift remembers, as tensors.
struct DriftTensors {
    clock: DoublesMut,
    start: DoublesMut,
    written: FloatsMut,
    previous: FloatsMut,
}

impl DriftTensors {
    /// Those of the device with this ending of its names.
    fn new(state: &Bound<'_, PyDict>, ending: &str, borrowed: &mut Borrowed) -> PyResult<Self> {
        let get = |name: &'static str| {
            let name = format!("{name}{ending}");
            let missing = || Error::State { why: format!("drift value {name:?} is missing") };
            Ok::<_, Raised>(state.get_item(&name)?.ok_or_else(missing)?)
        };
        Ok(Self {
            clock: borrowed.doubles_mut("current_t", &get("current_t")?)?,
            start: borrowed.doubles_mut("t", &get("t")?)?,
            written: borrowed.floats_mut("w0", &get("w0")?)?,
            previous: borrowed.floats_mut("previous_weights", &get("previous_weights")?)?,
        })
    }

    fn borrow(&mut self) -> Result<DriftState<'_>> {
        let Some(clock) = self.clock.slice().first_mut() else {
            return Err(Error::State { why: "drift value \"current_t\" is empty".to_owned() });
        };
        Ok(DriftState {
            clock,
            start: self.start.slice(),
            written: self.written.slice(),
            previous: self.previous.slice(),
        })
    }
}

/// Decay of all weights by `alpha` calls.
#[pyfunction]
pub(super) fn decay(
    spec: &Bound<'_, PyTileSpec>,
    weight: &Bound<'_, PyAny>,
    hidden: &Bound<'_, PyDict>,
    alpha: f64,
    seed: &Bound<'_, PyAny>,
    calls: &Bound<'_, PyAny>,
) -> PyResult<()> {
    on_weights(spec, weight, hidden, [seed, calls], Operation::Decay(alpha))
}

/// One step of the random walk of all weights.
#[pyfunction]
pub(super) fn diffuse(
    spec: &Bound<'_, PyTileSpec>,
    weight: &Bound<'_, PyAny>,
    hidden: &Bound<'_, PyDict>,
    seed: &Bound<'_, PyAny>,
    calls: &Bound<'_, PyAny>,
) -> PyResult<()> {
    on_weights(spec, weight, hidden, [seed, calls], Operation::Diffuse)
}

/// Reset of `count` columns from `start` on.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "mirrors the tensors of a tile")]
pub(super) fn reset_columns(
    spec: &Bound<'_, PyTileSpec>,
    weight: &Bound<'_, PyAny>,
    hidden: &Bound<'_, PyDict>,
    start: usize,
    count: i64,
    probability: f64,
    seed: &Bound<'_, PyAny>,
    calls: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let reset = Operation::Reset { start, count, probability };
    on_weights(spec, weight, hidden, [seed, calls], reset)
}

/// Symmetric clipping of all weights at `value`.
#[pyfunction]
pub(super) fn clip_weights(
    spec: &Bound<'_, PyTileSpec>,
    weight: &Bound<'_, PyAny>,
    hidden: &Bound<'_, PyDict>,
    value: f32,
    seed: &Bound<'_, PyAny>,
    calls: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let clip = Operation::Clip(WeightClip::FixedValue(value));
    on_weights(spec, weight, hidden, [seed, calls], clip)
}

/// `dw_min` that the hidden parameters show, of each device of a cell, if the configuration says others.
#[pyfunction]
pub(super) fn unexpected_dw_min(
    spec: &Bound<'_, PyTileSpec>,
    hidden: &Bound<'_, PyDict>,
) -> PyResult<Option<Steps>> {
    let (spec, names) = match &spec.get().crosspoints {
        Crosspoints::Devices(spec, names) => (spec, names),
        Crosspoints::Cells(cells) => {
            return Ok(cells::unexpected_dw_min(cells, hidden)?.map(Steps::Each));
        }
    };
    let mut tensors = HiddenTensors::new(spec, names, hidden, &mut Borrowed::default())?;
    Ok(spec.device().unexpected_dw_min(&tensors.borrow()?.0).map(Steps::Single))
}
