//! Operations on the weights of a tile other than pulses, on borrowed tensors.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::array::{Borrowed, DoublesMut, FloatsMut};
use super::gil::enter;
use super::ops::{HiddenTensors, PERSISTENT, numbered};
use super::spec::PyTileSpec;
use crate::devices::{Cells, Device, DriftState, WeightClip};
use crate::error::{Error, Result};
use crate::rng::Key;

/// Runs a weight operation on the tensors of a tile, as a new call.
fn on_weights(
    spec: &Bound<'_, PyTileSpec>,
    weight: &Bound<'_, PyAny>,
    hidden: &Bound<'_, PyDict>,
    [seed, calls]: [&Bound<'_, PyAny>; 2],
    operation: impl FnOnce(&Device, Cells<'_>, Key) -> Result<()> + Send,
) -> PyResult<()> {
    numbered(seed, calls, |key| {
        on_borrowed(Borrowed::default(), spec, weight, hidden, key, operation)
    })
}

/// Runs a weight operation that has borrowed other tensors already.
fn on_borrowed(
    mut borrowed: Borrowed,
    spec: &Bound<'_, PyTileSpec>,
    weight: &Bound<'_, PyAny>,
    hidden: &Bound<'_, PyDict>,
    key: Key,
    operation: impl FnOnce(&Device, Cells<'_>, Key) -> Result<()> + Send,
) -> PyResult<()> {
    let tile = spec.get();
    let mut weight = borrowed.floats_mut("weight", weight)?;
    let HiddenTensors { planes, mut persistent } = HiddenTensors::new(tile, hidden, &mut borrowed)?;
    enter(spec.py(), || {
        let planes = HiddenTensors::borrow(&planes, tile)?;
        let lock = tile.lock.here();
        let _write = lock.write();
        let persistent = persistent.as_mut().map(FloatsMut::slice);
        let cells = Cells { weights: weight.slice(), persistent, planes: &planes };
        operation(tile.spec.device(), cells, key)
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
    on_weights(spec, weight, hidden, [seed, calls], |device, cells, key| {
        Error::check_finite("weights", cells.weights)?;
        device.set_weights(cells, key)
    })
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
    on_borrowed(borrowed, spec, weight, hidden, key, |device, cells, _| device.enter_bounds(cells))
}

/// Checks hidden parameters that are not written yet.
#[pyfunction]
pub(super) fn check_hidden(
    spec: &Bound<'_, PyTileSpec>,
    hidden: &Bound<'_, PyDict>,
) -> PyResult<()> {
    let tile = spec.get();
    let HiddenTensors { planes, persistent } =
        HiddenTensors::new(tile, hidden, &mut Borrowed::default())?;
    if let Some(mut values) = persistent {
        Error::check_finite(PERSISTENT, values.slice())?;
    }
    Ok(tile.spec.device().check_planes(&HiddenTensors::borrow(&planes, tile)?)?)
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
    let parameters =
        spec.get().spec.config().device.drift().ok_or_else(|| {
            Error::unsupported("drift", "the device has none; set device.drift.nu")
        })?;
    let mut borrowed = Borrowed::default();
    let mut state = DriftTensors::new(state, &mut borrowed)?;
    numbered(seed, calls, |key| {
        on_borrowed(borrowed, spec, weight, hidden, key, |device, cells, key| {
            device.drift(cells, &parameters, state.borrow()?, delta_t, key)
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
    fn new(state: &Bound<'_, PyDict>, borrowed: &mut Borrowed) -> PyResult<Self> {
        let get = |name: &'static str| {
            let missing = || Error::State { why: format!("drift value {name:?} is missing") };
            Ok::<_, PyErr>(state.get_item(name)?.ok_or_else(missing)?)
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
    on_weights(spec, weight, hidden, [seed, calls], |device, cells, key| {
        device.decay(cells, alpha, key)
    })
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
    on_weights(spec, weight, hidden, [seed, calls], |device, cells, key| device.diffuse(cells, key))
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
    on_weights(spec, weight, hidden, [seed, calls], |device, cells, key| {
        device.reset_columns(cells, start, count, probability, key)
    })
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
    on_weights(spec, weight, hidden, [seed, calls], |device, cells, key| {
        device.clip_weights(cells, WeightClip::FixedValue(value), key)
    })
}

/// `dw_min` that the hidden parameters show, if the configuration says another one.
#[pyfunction]
pub(super) fn unexpected_dw_min(
    spec: &Bound<'_, PyTileSpec>,
    hidden: &Bound<'_, PyDict>,
) -> PyResult<Option<f64>> {
    let tile = spec.get();
    let tensors = HiddenTensors::new(tile, hidden, &mut Borrowed::default())?;
    let planes = HiddenTensors::borrow(&tensors.planes, tile)?;
    Ok(tile.spec.device().unexpected_dw_min(&planes))
}
