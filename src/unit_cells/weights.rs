//! Weights that are set, and what happens to weights beside updates.

use std::ops::Range;

use super::counters::Counters;
use super::one_sided::{MINUS, PLUS};
use super::slots::{Place, SlotKind};
use super::spec::{CellSpec, Content, Rule};
use super::state::CellState;
use crate::config::check_factor;
use crate::devices::{Cells, Device, DriftState, PlaneRef, WeightClip};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::Key;

impl CellSpec {
    /// Sets the weights by the rule of the cell, within the bounds of its devices, and begins anew with
    /// counters, buffers, averages and signs. What is read back may differ from what is set, see the user
    /// guide.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for values that do not fit or are not finite,
    /// [`Error::Memory`]; the state is then as it was.
    pub fn set_weights(&self, mut state: CellState<'_>, weights: &[f32], key: Key) -> Result<()> {
        Error::check_len("weights", weights.len(), self.cells())?;
        Error::check_finite("weights", weights)?;
        let weights = memory::copied(weights)?;
        let mut counters = self.new_counters();
        self.keep_choices(&state.counters(self), &mut counters);
        let mut values = Vec::new();
        self.share(0, weights, &counters, &mut values)?;
        // What needs memory has it: nothing fails from here on.
        for (leaf, weights) in values {
            self.with_leaf(&mut state, leaf, key, |device, cells, key| {
                cells.weights.copy_from_slice(&weights);
                device.set_weights(cells, key)
            })?;
        }
        self.clear(&mut state);
        state.store(&counters);
        self.sum(&mut state);
        Ok(())
    }

    /// Cells with a fixed choice keep it.
    pub(super) fn keep_choices(&self, before: &Counters, counters: &mut Counters) {
        for (number, node) in self.nodes.iter().enumerate() {
            if let Content::Cell { rule: Rule::Vector(vector), .. } = &node.content
                && vector.sets_one()
            {
                counters.current[number] = before.current[number];
            }
        }
    }

    /// The weights of the leaves below a node for weights of the node that are set.
    pub(super) fn share(
        &self,
        node: usize,
        mut weights: Vec<f32>,
        counters: &Counters,
        values: &mut Vec<(usize, Vec<f32>)>,
    ) -> Result<()> {
        let (members, rule) = match &self.nodes[node].content {
            Content::Device(leaf) => {
                values.push((*leaf, weights));
                return Ok(());
            }
            Content::Cell { members, rule, .. } => (members, rule),
        };
        match rule {
            Rule::Vector(vector) if vector.sets_one() => {
                let current = members[counters.current[node] as usize];
                self.share(current, weights, counters, values)
            }
            Rule::Vector(_) => members.iter().try_for_each(|member| {
                self.share(*member, memory::copied(&weights)?, counters, values)
            }),
            Rule::OneSided(_) => {
                let mut negative = memory::copied(&weights)?;
                negative.iter_mut().for_each(|w| *w = (-*w).max(0.0));
                weights.iter_mut().for_each(|w| *w = w.max(0.0));
                self.share(members[MINUS], negative, counters, values)?;
                self.share(members[PLUS], weights, counters, values)
            }
            Rule::Transfer(transfer) => {
                let last = members.len() - 1;
                for member in &members[..last] {
                    let zero = memory::filled(0.0, weights.len())?;
                    self.share(*member, zero, counters, values)?;
                }
                // Within f32, whatever they are divided by.
                let gamma = transfer.gamma[last];
                weights.iter_mut().for_each(|w| *w = (*w / gamma).clamp(f32::MIN, f32::MAX));
                self.share(members[last], weights, counters, values)
            }
            Rule::Mixed(_) => self.share(members[0], weights, counters, values),
        }
    }

    /// Runs an operation on the weights of a leaf.
    fn with_leaf(
        &self,
        state: &mut CellState<'_>,
        leaf: usize,
        key: Key,
        operation: impl FnOnce(&Device, Cells<'_>, Key) -> Result<()>,
    ) -> Result<()> {
        let CellState { matrices, persistent, parameters, .. } = state;
        let node = self.leaves[leaf].node;
        let planes: Vec<_> = parameters[leaf].iter().map(|parameter| parameter.plane()).collect();
        let cells = Cells {
            weights: &mut *matrices[self.nodes[node].matrix],
            persistent: persistent[leaf].as_deref_mut(),
            planes: &planes,
        };
        operation(&self.leaves[leaf].device, cells, key.part(node as u8, 0))
    }

    /// Runs an operation on the weights of some leaves, each with draws of its own, and adds them up.
    fn with_leaves(
        &self,
        mut state: CellState<'_>,
        mut leaves: impl Iterator<Item = usize>,
        key: Key,
        operation: impl Fn(&Device, Cells<'_>, Key) -> Result<()>,
    ) -> Result<()> {
        leaves.try_for_each(|leaf| self.with_leaf(&mut state, leaf, key, &operation))?;
        self.sum(&mut state);
        Ok(())
    }

    /// Whether the weights of any device decay.
    #[must_use]
    pub fn decays(&self) -> bool {
        self.leaves.iter().any(|leaf| leaf.device.decays())
    }

    /// Whether the weights of any device diffuse.
    #[must_use]
    pub fn diffuses(&self) -> bool {
        self.leaves.iter().any(|leaf| leaf.device.diffuses())
    }

    /// Decay of all devices by `alpha` calls, see [`Device::decay`].
    ///
    /// # Errors
    /// [`Error::Argument`] for an `alpha` that is negative or beyond f32.
    pub fn decay(&self, state: CellState<'_>, alpha: f64, key: Key) -> Result<()> {
        check_factor("alpha", alpha)?;
        let decay = |device: &Device, cells: Cells<'_>, key| device.decay(cells, alpha, key);
        self.with_leaves(state, 0..self.leaves.len(), key, decay)
    }

    /// Diffusion of all devices, see [`Device::diffuse`].
    ///
    /// # Errors
    /// None for a state that [`CellState::new`] has accepted.
    pub fn diffuse(&self, state: CellState<'_>, key: Key) -> Result<()> {
        self.with_leaves(state, 0..self.leaves.len(), key, Device::diffuse)
    }

    /// Clips the weights of all devices, see [`Device::clip_weights`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another kind than [`WeightClip::FixedValue`], [`Error::Argument`].
    pub fn clip_weights(&self, state: CellState<'_>, clip: WeightClip, key: Key) -> Result<()> {
        let operation =
            |device: &Device, cells: Cells<'_>, key| device.clip_weights(cells, clip, key);
        self.with_leaves(state, 0..self.leaves.len(), key, operation)
    }

    /// Resets columns, see [`Device::reset_columns`]: of the fast device of a cell that transfers, else of
    /// all devices.
    ///
    /// # Errors
    /// [`Error::Argument`] for a bad column or probability.
    pub fn reset_columns(
        &self,
        state: CellState<'_>,
        start: usize,
        count: i64,
        probability: f64,
        key: Key,
    ) -> Result<()> {
        let leaves = self.reset_leaves();
        let reset = |device: &Device, cells: Cells<'_>, key| {
            device.reset_columns(cells, start, count, probability, key)
        };
        self.with_leaves(state, leaves, key, reset)
    }

    /// Leaves whose columns are reset.
    pub(super) fn reset_leaves(&self) -> Range<usize> {
        self.leaves_of(if self.transfer().is_some() { self.members(0)[0] } else { 0 })
    }

    /// Numbers of the devices that drift, with the ending of the names of what each of them has in the
    /// state, as `_0_1`.
    #[must_use]
    pub fn drifting(&self) -> Vec<(usize, String)> {
        let drifts = |leaf: &usize| self.leaves[*leaf].device.config().drift().is_some();
        (0..self.leaves.len()).filter(drifts).map(|leaf| (leaf, self.ending(leaf))).collect()
    }

    /// Drift of the devices for `delta_t`, see [`Device::drift`]; `memories` are those of
    /// [`CellSpec::drifting`], in order, which begin with the weights that the devices act with.
    ///
    /// # Errors
    /// [`Error::Argument`] for a time that is negative or not finite, [`Error::Shape`],
    /// [`Error::Memory`]; the state is then as it was.
    pub fn drift(
        &self,
        mut state: CellState<'_>,
        mut memories: Vec<DriftState<'_>>,
        delta_t: f64,
        key: Key,
    ) -> Result<()> {
        let drifting = self.drifting();
        Error::check_len("drift", memories.len(), drifting.len())?;
        // A device may fail when others have drifted.
        let backup = Backup::new(&state, &memories)?;
        let mut result = Ok(());
        for ((leaf, _), memory) in drifting.iter().zip(&mut memories) {
            let Some(parameters) = self.leaves[*leaf].device.config().drift() else { continue };
            let memory = DriftState {
                clock: &mut *memory.clock,
                start: &mut *memory.start,
                written: &mut *memory.written,
                previous: &mut *memory.previous,
            };
            result = result.and_then(|()| {
                self.with_leaf(&mut state, *leaf, key, |device, cells, key| {
                    device.drift(cells, &parameters, memory, delta_t, key)
                })
            });
        }
        match &result {
            Ok(()) => self.sum(&mut state),
            Err(_) => backup.restore(&mut state, &mut memories),
        }
        result
    }

    /// Checks hidden parameters, weights and buffers that are not written yet, given for the entries of
    /// [`CellSpec::slots`], in order. Those that the configuration makes equal may be left out, and what
    /// is no matrix is not looked at.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::State`] for a missing one, and [`Error::Argument`] for values that are not
    /// finite or that devices cannot have.
    pub fn check_hidden(&self, values: &[Option<&[f32]>]) -> Result<()> {
        for (leaf, planes) in self.leaves.iter().zip(&self.planes_in(values)?) {
            leaf.device.check_planes(planes)?;
        }
        Ok(())
    }

    /// `dw_min` of each device that the steps in its hidden parameters show, if one of them is not as the
    /// configuration says; see [`Device::unexpected_dw_min`].
    ///
    /// # Errors
    /// As [`CellSpec::check_hidden`].
    pub fn unexpected_dw_min(&self, values: &[Option<&[f32]>]) -> Result<Option<Vec<f64>>> {
        let planes = self.planes_in(values)?;
        let mut is_expected = true;
        let mut steps = Vec::with_capacity(self.leaves.len());
        for (leaf, planes) in self.leaves.iter().zip(&planes) {
            let found = leaf.device.unexpected_dw_min(planes);
            let own = leaf.device.config().pulsed().map_or(0.0, |pulsed| pulsed.dw_min);
            // The steps of a mirror image are those of the device that it mirrors.
            let found = found.filter(|_| leaf.mirror.is_none());
            is_expected &= found.is_none();
            steps.push(found.unwrap_or(own));
        }
        Ok((!is_expected).then_some(steps))
    }

    /// Hidden parameters of each leaf in values for the entries of [`CellSpec::slots`], which are checked.
    fn planes_in<'b>(&self, values: &[Option<&'b [f32]>]) -> Result<Vec<Vec<PlaneRef<'b>>>> {
        let slots = self.slots();
        Error::check_len("hidden", values.len(), slots.len())?;
        let mut planes: Vec<Vec<PlaneRef<'b>>> = self.leaves.iter().map(|_| Vec::new()).collect();
        for (slot, values) in slots.iter().zip(values) {
            if let Some(values) = *values {
                let len = values.len();
                if len != slot.len {
                    let why = format!("{}: {len} values instead of {}", slot.name, slot.len);
                    return Err(Error::State { why });
                }
                if !values.iter().all(|value| value.is_finite()) {
                    let why = format!("{}: values must be finite", slot.name);
                    return Err(Error::Argument { argument: "hidden", why });
                }
            }
            match (slot.place, slot.kind, values) {
                (Place::Parameter { leaf, .. }, _, Some(values)) => {
                    planes[leaf].push(PlaneRef::Values(values));
                }
                (
                    Place::Parameter { leaf, .. },
                    SlotKind::Parameter { constant: Some(value) },
                    None,
                ) => {
                    planes[leaf].push(PlaneRef::Constant(value));
                }
                (Place::Persistent(leaf), _, Some(_)) => planes[leaf].push(PlaneRef::Constant(0.0)),
                (
                    Place::Parameter { .. }
                    | Place::Persistent(_)
                    | Place::Matrix(_)
                    | Place::Buffer(_),
                    _,
                    None,
                ) => {
                    return Err(Error::State { why: format!("{} is missing", slot.name) });
                }
                _ => {}
            }
        }
        Ok(planes)
    }

    /// Brings weights into bounds after either was written from outside, and adds them up: those of the
    /// devices count, not those of the cells that they make up.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for hidden parameters that devices cannot have; the state is
    /// then as it was.
    pub fn settle(&self, mut state: CellState<'_>) -> Result<()> {
        for (leaf, parameters) in self.leaves.iter().zip(&state.parameters) {
            let planes: Vec<_> = parameters.iter().map(|parameter| parameter.plane()).collect();
            leaf.device.check_planes(&planes)?;
        }
        for leaf in 0..self.leaves.len() {
            let enter = |device: &Device, cells: Cells<'_>, _| device.enter_bounds(cells);
            self.with_leaf(&mut state, leaf, Key::new(0, 0), enter)?;
        }
        self.sum(&mut state);
        Ok(())
    }
}

/// Copies of all that drift changes.
struct Backup {
    matrices: Vec<Vec<f32>>,
    persistent: Vec<Option<Vec<f32>>>,
    memories: Vec<Memory>,
}

/// A copy of a [`DriftState`].
struct Memory {
    clock: f64,
    start: Vec<f64>,
    written: Vec<f32>,
    previous: Vec<f32>,
}

impl Backup {
    fn new(state: &CellState<'_>, memories: &[DriftState<'_>]) -> Result<Self> {
        let persistent =
            |values: &Option<&mut [f32]>| values.as_deref().map(memory::copied).transpose();
        let memory = |memory: &DriftState<'_>| {
            Ok(Memory {
                clock: *memory.clock,
                start: memory::copied(memory.start)?,
                written: memory::copied(memory.written)?,
                previous: memory::copied(memory.previous)?,
            })
        };
        Ok(Self {
            matrices: state.matrices.iter().map(|w| memory::copied(w)).collect::<Result<_>>()?,
            persistent: state.persistent.iter().map(persistent).collect::<Result<_>>()?,
            memories: memories.iter().map(memory).collect::<Result<_>>()?,
        })
    }

    fn restore(&self, state: &mut CellState<'_>, memories: &mut [DriftState<'_>]) {
        for (weights, copy) in state.matrices.iter_mut().zip(&self.matrices) {
            weights.copy_from_slice(copy);
        }
        for (weights, copy) in state.persistent.iter_mut().zip(&self.persistent) {
            if let (Some(weights), Some(copy)) = (weights, copy) {
                weights.copy_from_slice(copy);
            }
        }
        for (memory, copy) in memories.iter_mut().zip(&self.memories) {
            *memory.clock = copy.clock;
            memory.start.copy_from_slice(&copy.start);
            memory.written.copy_from_slice(&copy.written);
            memory.previous.copy_from_slice(&copy.previous);
        }
    }
}
