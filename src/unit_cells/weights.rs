//! Weights that are set, and what happens to weights beside updates.

use super::counters::Counters;
use super::one_sided::{MINUS, PLUS};
use super::spec::{CellSpec, Content, Rule};
use super::state::CellState;
use crate::config::check_factor;
use crate::devices::{Cells, Device, WeightClip};
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
        // Within the bounds of f32 whatever they are divided by.
        self.set_node(&mut state, 0, weights, &counters, key)?;
        self.clear(&mut state);
        state.store(&counters);
        self.sum(&mut state);
        Ok(())
    }

    /// Cells with a fixed choice keep it.
    fn keep_choices(&self, before: &Counters, counters: &mut Counters) {
        for (number, node) in self.nodes.iter().enumerate() {
            if let Content::Cell { rule: Rule::Vector(vector), .. } = &node.content
                && vector.sets_one()
            {
                counters.current[number] = before.current[number];
            }
        }
    }

    /// Sets the weights of a node and of those below.
    fn set_node(
        &self,
        state: &mut CellState<'_>,
        node: usize,
        mut weights: Vec<f32>,
        counters: &Counters,
        key: Key,
    ) -> Result<()> {
        let (members, rule) = match &self.nodes[node].content {
            Content::Device(leaf) => return self.set_leaf(state, *leaf, &weights, key),
            Content::Cell { members, rule, .. } => (members, rule),
        };
        match rule {
            Rule::Vector(vector) if vector.sets_one() => {
                let current = members[counters.current[node] as usize];
                self.set_node(state, current, weights, counters, key)
            }
            Rule::Vector(_) => members.iter().try_for_each(|member| {
                self.set_node(state, *member, memory::copied(&weights)?, counters, key)
            }),
            Rule::OneSided(_) => {
                let mut negative = memory::copied(&weights)?;
                negative.iter_mut().for_each(|w| *w = (-*w).max(0.0));
                weights.iter_mut().for_each(|w| *w = w.max(0.0));
                self.set_node(state, members[MINUS], negative, counters, key)?;
                self.set_node(state, members[PLUS], weights, counters, key)
            }
            Rule::Transfer(transfer) => {
                let last = members.len() - 1;
                for member in &members[..last] {
                    let zero = memory::filled(0.0, weights.len())?;
                    self.set_node(state, *member, zero, counters, key)?;
                }
                let gamma = transfer.gamma[last];
                weights.iter_mut().for_each(|w| *w = (*w / gamma).clamp(f32::MIN, f32::MAX));
                self.set_node(state, members[last], weights, counters, key)
            }
            Rule::Mixed(_) => self.set_node(state, members[0], weights, counters, key),
        }
    }

    fn set_leaf(
        &self,
        state: &mut CellState<'_>,
        leaf: usize,
        weights: &[f32],
        key: Key,
    ) -> Result<()> {
        self.with_leaf(state, leaf, key, |device, cells, key| {
            cells.weights.copy_from_slice(weights);
            device.set_weights(cells, key)
        })
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
        let node = if self.transfer().is_some() { self.members(0)[0] } else { 0 };
        let reset = |device: &Device, cells: Cells<'_>, key| {
            device.reset_columns(cells, start, count, probability, key)
        };
        self.with_leaves(state, self.leaves_of(node), key, reset)
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
