//! A new cell: variations between devices, and weights of zero.

use super::mirror::Mirror;
use super::slots::SlotKind;
use super::spec::{CellSpec, Content, Rule};
use super::state::{CellState, Entry};
use crate::error::{Error, Result};
use crate::memory;
use crate::mvm::OneLine;
use crate::rng::Key;

/// Values of one slot, owned.
#[derive(Debug, Clone, PartialEq)]
pub enum OwnedEntry {
    /// See [`Entry::Floats`].
    Floats(Vec<f32>),
    /// See [`Entry::Signs`].
    Signs(Vec<i8>),
    /// See [`Entry::Integers`].
    Integers(Vec<i64>),
    /// See [`Entry::Reals`].
    Reals(Vec<f64>),
}

impl OwnedEntry {
    /// Borrows the values.
    pub fn as_mut(&mut self) -> Entry<'_> {
        match self {
            Self::Floats(values) => Entry::Floats(values),
            Self::Signs(values) => Entry::Signs(values),
            Self::Integers(values) => Entry::Integers(values),
            Self::Reals(values) => Entry::Reals(values),
        }
    }
}

impl CellSpec {
    /// Memory for the state of a cell, without content: an entry for each of [`CellSpec::slots`] but the
    /// parameters that the configuration makes equal.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn allocate(&self) -> Result<Vec<Option<OwnedEntry>>> {
        let entry = |kind, len| {
            Ok(match kind {
                SlotKind::Parameter { constant: Some(_) } => None,
                SlotKind::Parameter { constant: None }
                | SlotKind::Weights
                | SlotKind::Buffer
                | SlotKind::Lines => Some(OwnedEntry::Floats(memory::filled(0.0, len)?)),
                SlotKind::Signs => Some(OwnedEntry::Signs(memory::filled(1, len)?)),
                SlotKind::Integers => Some(OwnedEntry::Integers(memory::filled(0, len)?)),
                SlotKind::Reals => Some(OwnedEntry::Reals(memory::filled(0.0, len)?)),
            })
        };
        self.slots().into_iter().map(|slot| entry(slot.kind, slot.len)).collect()
    }

    /// Makes the state that of a new cell: hidden parameters are drawn from `seed`, or from a
    /// `construction_seed` of the cell that is not 0, each device for itself; weights and buffers are 0, or
    /// the bound next to it. Whatever the state has been, entries of parameters that are equal everywhere
    /// may be there or not.
    ///
    /// # Errors
    /// [`Error::Config`] where a value is drawn that `f32` does not hold, [`Error::Memory`],
    /// [`Error::Interrupted`].
    pub fn construct(&self, mut state: CellState<'_>, seed: u64) -> Result<()> {
        let own = self.config().construction_seed();
        let key = Key::new(if own == 0 { seed } else { own as u64 }, 0);
        for leaf in 0..self.leaves.len() {
            self.draw(&mut state, leaf, key)?;
        }
        self.draw_lines(&mut state, Key::new(seed, 0))?;
        state.matrices.iter_mut().for_each(|weights| weights.fill(0.0));
        self.clear(&mut state);
        for leaf in 0..self.leaves.len() {
            self.bound(&mut state, leaf)?;
        }
        self.sum(&mut state);
        Ok(())
    }

    /// Draws the hidden parameters of a leaf.
    fn draw(&self, state: &mut CellState<'_>, leaf: usize, key: Key) -> Result<()> {
        let of = &self.leaves[leaf];
        let key = key.part(of.node as u8, 0);
        if let Some(mirror) = of.mirror {
            return self.reflect(state, leaf, mirror);
        }
        let values: Vec<(usize, &mut [f32])> = state.parameters[leaf]
            .iter_mut()
            .enumerate()
            .filter_map(|(number, parameter)| Some((number, parameter.values_mut()?)))
            .collect();
        of.device.construct_part(key, values)?;
        for (number, name) in of.device.hidden_names().into_iter().enumerate() {
            if let Some(values) = state.parameters[leaf][number].values_mut() {
                Error::check_drawn("device", name, values)?;
            }
        }
        Ok(())
    }

    /// Makes the hidden parameters of a leaf those of the mirror image of another one.
    fn reflect(&self, state: &mut CellState<'_>, leaf: usize, mirror: Mirror) -> Result<()> {
        for number in 0..state.parameters[leaf].len() {
            let (from, sign) = Mirror::source(&self.leaves[leaf].device, number);
            let Ok([other, own]) = state.parameters.get_disjoint_mut([mirror.of, leaf]) else {
                continue;
            };
            let plane = other[from].plane();
            if let Some(values) = own[number].values_mut() {
                for (at, value) in values.iter_mut().enumerate() {
                    *value = sign * plane.at(at);
                }
            }
        }
        Ok(())
    }

    /// Draws the frozen values of all reads.
    fn draw_lines(&self, state: &mut CellState<'_>, key: Key) -> Result<()> {
        for (number, node) in self.nodes.iter().enumerate() {
            let Content::Cell { rule, .. } = &node.content else { continue };
            let read: &OneLine = match rule {
                Rule::OneSided(rule) => &rule.read,
                Rule::Transfer(rule) => &rule.read,
                Rule::Vector(_) | Rule::Mixed(_) => continue,
            };
            // Number 0 is that of the products of the tile.
            let key = key.part(number as u8, 1);
            let drawn = read.mvm().construct_lines_part(key)?;
            for (_, name, values) in state.lines.iter_mut().filter(|(of, ..)| *of == number) {
                if let Some((_, drawn)) = drawn.iter().find(|(drawn, _)| drawn == name) {
                    Error::check_drawn("device", name, drawn)?;
                    values.copy_from_slice(drawn);
                }
            }
        }
        Ok(())
    }

    /// Buffers of 0, counters and signs of a new cell. Devices that policies have chosen are the first
    /// ones again.
    pub(super) fn clear(&self, state: &mut CellState<'_>) {
        state.buffers.iter_mut().for_each(|buffer| buffer.fill(0.0));
        state.store(&self.new_counters());
    }

    /// Brings the weights of a leaf into its bounds; the persistent ones are those that it shows.
    fn bound(&self, state: &mut CellState<'_>, leaf: usize) -> Result<()> {
        let device = &self.leaves[leaf].device;
        let CellState { matrices, persistent, parameters, .. } = state;
        let planes: Vec<_> = parameters[leaf].iter().map(|parameter| parameter.plane()).collect();
        let weights = &mut matrices[self.nodes[self.leaves[leaf].node].matrix];
        device.bound(weights, &planes)?;
        if let Some(persistent) = &mut persistent[leaf] {
            persistent.copy_from_slice(weights);
        }
        Ok(())
    }
}
