//! The state of a cell, owned by the caller and borrowed for one call.

use super::counters::Counters;
use super::slots::{Place, Slot, SlotKind};
use super::spec::CellSpec;
use crate::devices::PlaneRef;
use crate::error::{Error, Result};
use crate::finite::all_finite;
use crate::mvm::Lines;

/// Values of one slot.
#[derive(Debug)]
pub enum Entry<'a> {
    /// Of parameters, weights, buffers and lines.
    Floats(&'a mut [f32]),
    /// Of signs.
    Signs(&'a mut [i8]),
    /// Of counters.
    Integers(&'a mut [i64]),
    /// Of running values.
    Reals(&'a mut [f64]),
}

/// A hidden parameter of a leaf.
#[derive(Debug)]
pub(super) enum Parameter<'a> {
    Constant(f32),
    Values(&'a mut [f32]),
}

impl Parameter<'_> {
    /// The values where they are stored.
    pub(super) fn values_mut(&mut self) -> Option<&mut [f32]> {
        match self {
            Self::Constant(_) => None,
            Self::Values(values) => Some(values),
        }
    }

    pub(super) fn plane(&self) -> PlaneRef<'_> {
        match self {
            Self::Constant(value) => PlaneRef::Constant(*value),
            Self::Values(values) => PlaneRef::Values(values),
        }
    }
}

/// State of the cells of one tile.
#[derive(Debug)]
pub struct CellState<'a> {
    /// Weights of all nodes, the visible ones first.
    pub(super) matrices: Vec<&'a mut [f32]>,
    /// Weights under the write noise, of each leaf.
    pub(super) persistent: Vec<Option<&'a mut [f32]>>,
    /// Hidden parameters of each leaf.
    pub(super) parameters: Vec<Vec<Parameter<'a>>>,
    pub(super) buffers: Vec<&'a mut [f32]>,
    /// Frozen values with the number of their node.
    pub(super) lines: Vec<(usize, &'static str, &'a mut [f32])>,
    /// What [`Counters`] are stored in.
    counters: Vec<(Place, Entry<'a>)>,
}

impl<'a> CellState<'a> {
    /// The state with these visible weights and the entries of [`CellSpec::slots`], in order. Those of
    /// parameters that the configuration makes equal may be left out.
    ///
    /// # Errors
    /// [`Error::Shape`] for wrong lengths, [`Error::State`] for missing entries and wrong types.
    pub fn new(
        spec: &CellSpec,
        weights: &'a mut [f32],
        entries: Vec<Option<Entry<'a>>>,
    ) -> Result<Self> {
        let slots = spec.slots();
        Error::check_len("weights", weights.len(), spec.cells())?;
        Error::check_len("entries", entries.len(), slots.len())?;
        let mut state = Self {
            matrices: vec![weights],
            persistent: spec.leaves.iter().map(|_| None).collect(),
            parameters: spec.leaves.iter().map(|_| Vec::new()).collect(),
            buffers: Vec::new(),
            lines: Vec::new(),
            counters: Vec::new(),
        };
        let mut matrices = Vec::new();
        for (slot, entry) in slots.iter().zip(entries) {
            let Some(entry) = entry else {
                state.leave_out(slot)?;
                continue;
            };
            match (slot.place, floats(slot, entry)?) {
                (Place::Parameter { leaf, .. }, Values::Floats(values)) => {
                    state.parameters[leaf].push(Parameter::Values(values));
                }
                (Place::Matrix(number), Values::Floats(values)) => matrices.push((number, values)),
                (Place::Persistent(leaf), Values::Floats(values)) => {
                    // Its slot among the parameters stays free.
                    state.parameters[leaf].push(Parameter::Constant(0.0));
                    state.persistent[leaf] = Some(values);
                }
                (Place::Buffer(_), Values::Floats(values)) => state.buffers.push(values),
                (Place::Lines { node, name }, Values::Floats(values)) => {
                    state.lines.push((node, name, values));
                }
                (place, Values::Others(entry)) => {
                    check_counters(spec, slot, &entry)?;
                    state.counters.push((place, entry));
                }
                (_, Values::Floats(_)) => return Err(wrong_type(slot)),
            }
        }
        matrices.sort_by_key(|(number, _)| *number);
        state.matrices.extend(matrices.into_iter().map(|(_, values)| values));
        Ok(state)
    }

    fn leave_out(&mut self, slot: &Slot) -> Result<()> {
        match (slot.place, slot.kind) {
            (Place::Parameter { leaf, .. }, SlotKind::Parameter { constant: Some(value) }) => {
                self.parameters[leaf].push(Parameter::Constant(value));
                Ok(())
            }
            _ => Err(Error::State { why: format!("{} is missing", slot.name) }),
        }
    }

    /// Planes of all leaves.
    pub(super) fn planes<'b>(parameters: &'b [Vec<Parameter<'a>>]) -> Vec<Vec<PlaneRef<'b>>> {
        parameters.iter().map(|leaf| leaf.iter().map(Parameter::plane).collect()).collect()
    }

    /// A copy of the counters.
    pub(super) fn counters(&self, spec: &CellSpec) -> Counters {
        let mut counters = spec.new_counters();
        for (place, entry) in &self.counters {
            match (place, entry) {
                (Place::Updates(node), Entry::Integers(values)) => {
                    counters.updates[*node] = values[0];
                }
                (Place::Current(node), Entry::Integers(values)) => {
                    counters.current[*node] = values[0];
                }
                (Place::NextLines, Entry::Integers(values)) => {
                    counters.lines.copy_from_slice(values);
                }
                (Place::Sweeps, Entry::Integers(values)) => counters.sweeps = values[0],
                (Place::Row, Entry::Integers(values)) => counters.row = values[0],
                (Place::Averages, Entry::Reals(values)) => {
                    counters.averages = [values[0], values[1]];
                }
                (Place::CountLr, Entry::Reals(values)) => counters.count_lr = values[0],
                (Place::Signs(side), Entry::Signs(values)) => {
                    counters.signs[*side].copy_from_slice(values);
                }
                (Place::Switched, Entry::Signs(values)) => {
                    counters.switched.copy_from_slice(values);
                }
                _ => {}
            }
        }
        counters
    }

    /// Writes the counters back.
    pub(super) fn store(&mut self, counters: &Counters) {
        for (place, entry) in &mut self.counters {
            match (place, entry) {
                (Place::Updates(node), Entry::Integers(values)) => {
                    values[0] = counters.updates[*node];
                }
                (Place::Current(node), Entry::Integers(values)) => {
                    values[0] = counters.current[*node];
                }
                (Place::NextLines, Entry::Integers(values)) => {
                    values.copy_from_slice(&counters.lines);
                }
                (Place::Sweeps, Entry::Integers(values)) => values[0] = counters.sweeps,
                (Place::Row, Entry::Integers(values)) => values[0] = counters.row,
                (Place::Averages, Entry::Reals(values)) => {
                    values.copy_from_slice(&counters.averages);
                }
                (Place::CountLr, Entry::Reals(values)) => values[0] = counters.count_lr,
                (Place::Signs(side), Entry::Signs(values)) => {
                    values.copy_from_slice(&counters.signs[*side]);
                }
                (Place::Switched, Entry::Signs(values)) => {
                    values.copy_from_slice(&counters.switched);
                }
                _ => {}
            }
        }
    }

    /// Refuses weights and buffers that are not finite.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn check_finite(&self) -> Result<()> {
        let persistent = self.persistent.iter().filter_map(|values| values.as_deref());
        let mut all = self.matrices.iter().chain(&self.buffers).map(|values| &**values);
        if all.all(all_finite) && persistent.into_iter().all(all_finite) {
            return Ok(());
        }
        let why = "values must be finite; found NaN or infinity".to_owned();
        Err(Error::Argument { argument: "weights", why })
    }

    /// Device that updates reach, or that policies of a single one have chosen last; 0 for cells that do
    /// not choose.
    #[must_use]
    pub fn hidden_update_index(&self, spec: &CellSpec) -> usize {
        if spec.choices().is_some() { self.counters(spec).current[0] as usize } else { 0 }
    }

    /// Chooses the device that updates reach; nothing happens for cells that do not choose.
    ///
    /// # Errors
    /// [`Error::Argument`] for a device that the cell does not have.
    pub fn set_hidden_update_index(&mut self, spec: &CellSpec, index: i64) -> Result<()> {
        let Some(count) = spec.choices() else { return Ok(()) };
        if !(0..count as i64).contains(&index) {
            let why = format!("must be between 0 and {}, got {index}", count - 1);
            return Err(Error::Argument { argument: "index", why });
        }
        let mut counters = self.counters(spec);
        counters.current[0] = index;
        self.store(&counters);
        Ok(())
    }
}

impl CellSpec {
    /// Counters of a new cell.
    pub(super) fn new_counters(&self) -> Counters {
        let devices = self.transfer().map_or(0, |_| self.members(0).len());
        let (mut signs, mut switches) = ([0; 2], 0);
        if let (Some(transfer), Some(chopper)) = (self.transfer(), self.chopper()) {
            let others = if transfer.columns { self.d_size } else { self.x_size };
            signs = [transfer.lines, others];
            switches = if chopper.reference.is_some() { transfer.lines } else { 0 };
        }
        let mut counters = Counters::new(self.nodes.len(), devices, signs, switches);
        for node in 0..self.nodes.len() {
            counters.current[node] = self.first_device(node);
        }
        counters
    }
}

/// Frozen values of the reads of a node.
pub(super) fn lines_of<'b>(
    lines: &'b [(usize, &'static str, &mut [f32])],
    node: usize,
) -> Lines<'b> {
    let mut found = Lines::default();
    for (_, name, values) in lines.iter().filter(|(of, ..)| *of == node) {
        match *name {
            "out_noise_values" => found.out_noise_values = values,
            "v_offset" => found.v_offset = values,
            "w_asymmetry" => found.w_asymmetry = values,
            "out_nonlinearity" => found.out_nonlinearity = values,
            "out_nonlinearity_factor" => {
                found.out_nonlinearity_factor = values.first().copied().unwrap_or(1.0);
            }
            _ => {}
        }
    }
    found
}

/// Checks that counters point to what there is.
fn check_counters(spec: &CellSpec, slot: &Slot, entry: &Entry<'_>) -> Result<()> {
    let why = match (slot.place, entry) {
        (place, Entry::Integers(values)) => {
            let limit = match place {
                Place::Current(node) => spec.members(node).len().max(1) as i64,
                Place::NextLines => spec.transfer().map_or(0, |transfer| transfer.lines) as i64,
                Place::Row => spec.d_size as i64,
                // Room for the updates of any call.
                _ => i64::MAX / 2,
            };
            let outside = values.iter().find(|value| !(0..limit).contains(*value));
            outside.map(|value| format!("must be between 0 and {}, got {value}", limit - 1))
        }
        (Place::Switched, Entry::Signs(values)) => {
            let outside = values.iter().any(|value| !(0..=1).contains(value));
            outside.then(|| "must be 0 or 1".to_owned())
        }
        (_, Entry::Signs(values)) => {
            let outside = values.iter().any(|sign| *sign != 1 && *sign != -1);
            outside.then(|| "must be 1 or -1".to_owned())
        }
        (_, Entry::Reals(values)) => {
            let outside = values.iter().any(|value| !value.is_finite());
            outside.then(|| "must be finite".to_owned())
        }
        (_, Entry::Floats(_)) => None,
    };
    why.map_or(Ok(()), |why| Err(Error::State { why: format!("{} {why}", slot.name) }))
}

/// Values of an entry, apart from what is stored at the end of a call.
enum Values<'a> {
    Floats(&'a mut [f32]),
    Others(Entry<'a>),
}

/// Checks type and length of an entry.
fn floats<'a>(slot: &Slot, entry: Entry<'a>) -> Result<Values<'a>> {
    let (len, fits) = match &entry {
        Entry::Floats(values) => (
            values.len(),
            matches!(
                slot.kind,
                SlotKind::Parameter { .. } | SlotKind::Weights | SlotKind::Buffer | SlotKind::Lines
            ),
        ),
        Entry::Signs(values) => (values.len(), slot.kind == SlotKind::Signs),
        Entry::Integers(values) => (values.len(), slot.kind == SlotKind::Integers),
        Entry::Reals(values) => (values.len(), slot.kind == SlotKind::Reals),
    };
    if !fits {
        return Err(wrong_type(slot));
    }
    if len != slot.len {
        let why = format!("{} has {len} values instead of {}", slot.name, slot.len);
        return Err(Error::State { why });
    }
    Ok(match entry {
        Entry::Floats(values) => Values::Floats(values),
        others => Values::Others(others),
    })
}

fn wrong_type(slot: &Slot) -> Error {
    Error::State { why: format!("{} has the wrong type for {:?}", slot.name, slot.kind) }
}
