//! Unit cells: their names for Python, and their state as tensors.

use super::error::{PyResult, Raised};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::array::{Borrowed, DoublesMut, Floats, FloatsMut, IntsMut, SignsMut};
use super::gil::enter;
use super::lock::TileLock;
use mho_core::rng::Key;
use mho_core::unit_cells::{self, Batch, CellSpec, CellState, CellTileSpec, Entry, Slot, SlotKind};
use mho_core::{Error, Result};

/// A tile of cells, with the entries of its state.
pub(super) struct Cells {
    pub(super) spec: CellTileSpec,
    slots: Vec<Slot>,
}

impl Cells {
    pub(super) fn new(spec: CellTileSpec) -> Self {
        let slots = spec.cells().slots();
        Self { spec, slots }
    }

    /// Tag of the cell.
    pub(super) fn name(&self) -> &'static str {
        self.spec.config().device.name()
    }

    /// Names of all matrices, the visible weights among them if they are those of a device.
    pub(super) fn hidden_names(&self) -> Vec<String> {
        let is_matrix = |slot: &&Slot| {
            matches!(slot.kind, SlotKind::Parameter { .. } | SlotKind::Weights | SlotKind::Buffer)
        };
        let matrices = self.slots.iter().filter(is_matrix);
        let mut names: Vec<String> = matrices.clone().map(|slot| slot.name.clone()).collect();
        if let Some(visible) = self.spec.cells().visible_name() {
            let devices = matrices.take_while(|slot| slot.kind != SlotKind::Buffer).count();
            names.insert(devices, visible);
        }
        names
    }

    /// Names of the matrices that updates change, beside the visible weights.
    pub(super) fn weight_names(&self) -> Vec<String> {
        let changes = |slot: &&Slot| matches!(slot.kind, SlotKind::Weights | SlotKind::Buffer);
        self.slots.iter().filter(changes).map(|slot| slot.name.clone()).collect()
    }

    /// Name, dtype and length of all that is no matrix.
    pub(super) fn entries(&self) -> Vec<(String, &'static str, usize)> {
        let entry = |slot: &Slot| {
            let dtype = match slot.kind {
                SlotKind::Parameter { .. } | SlotKind::Weights | SlotKind::Buffer => return None,
                SlotKind::Lines => "float32",
                SlotKind::Signs => "int8",
                SlotKind::Integers => "int64",
                SlotKind::Reals => "float64",
            };
            Some((slot.name.clone(), dtype, slot.len))
        };
        self.slots.iter().filter_map(entry).collect()
    }

    /// Value of a hidden parameter that the configuration makes equal everywhere.
    pub(super) fn constant(&self, name: &str) -> Option<f32> {
        match self.slots.iter().find(|slot| slot.name == name)?.kind {
            SlotKind::Parameter { constant } => constant,
            _ => None,
        }
    }
}

/// The tensor of one entry.
enum Tensor {
    Floats(FloatsMut),
    Signs(SignsMut),
    Integers(IntsMut),
    Reals(DoublesMut),
}

impl Tensor {
    fn entry(&mut self) -> Entry<'_> {
        match self {
            Self::Floats(values) => Entry::Floats(values.slice()),
            Self::Signs(values) => Entry::Signs(values.slice()),
            Self::Integers(values) => Entry::Integers(values.slice()),
            Self::Reals(values) => Entry::Reals(values.slice()),
        }
    }
}

/// All tensors of a tile of cells, for one call.
pub(super) struct CellTensors<'a> {
    cells: &'a Cells,
    weight: FloatsMut,
    entries: Vec<Option<Tensor>>,
}

impl<'a> CellTensors<'a> {
    pub(super) fn new(
        cells: &'a Cells,
        weight: &Bound<'_, PyAny>,
        hidden: &Bound<'_, PyDict>,
        borrowed: &mut Borrowed,
    ) -> PyResult<Self> {
        let weight = borrowed.floats_mut("weight", weight)?;
        let mut found = 0;
        let mut entries = Vec::with_capacity(cells.slots.len());
        for slot in &cells.slots {
            let tensor = hidden.get_item(&slot.name)?;
            found += usize::from(tensor.is_some());
            entries.push(tensor.map(|tensor| Self::tensor(slot, &tensor, borrowed)).transpose()?);
        }
        if found != hidden.len() {
            check_names(cells, hidden)?;
        }
        Ok(Self { cells, weight, entries })
    }

    fn tensor(slot: &Slot, tensor: &Bound<'_, PyAny>, borrowed: &mut Borrowed) -> PyResult<Tensor> {
        let read = match slot.kind {
            SlotKind::Parameter { .. } | SlotKind::Weights | SlotKind::Buffer | SlotKind::Lines => {
                borrowed.floats_mut("hidden", tensor).map(Tensor::Floats)
            }
            SlotKind::Signs => borrowed.signs_mut("hidden", tensor).map(Tensor::Signs),
            SlotKind::Integers => borrowed.ints_mut("hidden", tensor).map(Tensor::Integers),
            SlotKind::Reals => borrowed.doubles_mut("hidden", tensor).map(Tensor::Reals),
        };
        read.map_err(|error| named(tensor.py(), &slot.name, error))
    }

    /// The weights that were just written.
    pub(super) fn weights(&mut self) -> &[f32] {
        self.weight.slice()
    }

    /// The state in these tensors.
    pub(super) fn state(&mut self) -> Result<CellState<'_>> {
        let entries = self.entries.iter_mut();
        let entries = entries.map(|tensor| tensor.as_mut().map(Tensor::entry)).collect();
        CellState::new(self.cells.spec.cells(), self.weight.slice(), entries)
    }
}

/// An error of the border with the name of the entry in its message.
fn named(py: Python<'_>, name: &str, error: Raised) -> Raised {
    let error = PyErr::from(error);
    let text = error.value(py).to_string();
    match text.strip_prefix("hidden: ") {
        Some(why) => PyErr::from_type(error.get_type(py), format!("{name}: {why}")).into(),
        None => error.into(),
    }
}

fn check_names(cells: &Cells, hidden: &Bound<'_, PyDict>) -> PyResult<()> {
    for name in hidden.keys() {
        let name: String = name.extract()?;
        if !cells.slots.iter().any(|slot| slot.name == name) {
            let why = format!("the cell has no hidden parameter {name:?}");
            return Err(Error::State { why }.into());
        }
    }
    Ok(())
}

/// Runs `change` on the state in the tensors, with the lock of the tile held.
pub(super) fn on_state(
    lock: &TileLock,
    cells: &Cells,
    mut tensors: CellTensors<'_>,
    py: Python<'_>,
    change: impl FnOnce(&CellSpec, CellState<'_>) -> Result<()> + Send,
) -> PyResult<()> {
    enter(py, || {
        let lock = lock.here();
        let _write = lock.write();
        change(cells.spec.cells(), tensors.state()?)
    })
}

/// The batch of an update, borrowed.
pub(super) struct CellBatch {
    pub(super) x: Floats,
    pub(super) bias: Option<f32>,
    pub(super) d: Floats,
    pub(super) learning_rate: f64,
}

/// Applies the update of all samples in order, in place.
pub(super) fn update(
    lock: &TileLock,
    cells: &Cells,
    tensors: CellTensors<'_>,
    py: Python<'_>,
    batch: &CellBatch,
    key: Key,
) -> PyResult<()> {
    on_state(lock, cells, tensors, py, |spec, state| {
        let CellBatch { x, bias, d, learning_rate } = batch;
        let (bias, learning_rate) = (*bias, *learning_rate);
        let batch = Batch { x: x.slice(), bias, d: d.slice(), learning_rate };
        state.check_finite()?;
        unit_cells::update(spec, state, &batch, key)
    })
}

/// Checks hidden parameters that are not written yet.
pub(super) fn check_hidden(cells: &Cells, hidden: &Bound<'_, PyDict>) -> PyResult<()> {
    with_hidden(cells, hidden, CellSpec::check_hidden)
}

/// Steps that hidden parameters show, if the configuration says others.
pub(super) fn unexpected_dw_min(
    cells: &Cells,
    hidden: &Bound<'_, PyDict>,
) -> PyResult<Option<Vec<f64>>> {
    with_hidden(cells, hidden, CellSpec::unexpected_dw_min)
}

fn with_hidden<R>(
    cells: &Cells,
    hidden: &Bound<'_, PyDict>,
    look: impl FnOnce(&CellSpec, &[Option<&[f32]>]) -> Result<R>,
) -> PyResult<R> {
    check_names(cells, hidden)?;
    let mut borrowed = Borrowed::default();
    let mut values = Vec::with_capacity(cells.slots.len());
    for slot in &cells.slots {
        let is_matrix =
            matches!(slot.kind, SlotKind::Parameter { .. } | SlotKind::Weights | SlotKind::Buffer);
        let tensor = if is_matrix { hidden.get_item(&slot.name)? } else { None };
        let read = tensor.map(|tensor| {
            borrowed
                .floats("hidden", &tensor)
                .map_err(|error| named(tensor.py(), &slot.name, error))
        });
        values.push(read.transpose()?);
    }
    let values: Vec<_> = values.iter().map(|value| value.as_ref().map(Floats::slice)).collect();
    Ok(look(cells.spec.cells(), &values)?)
}
