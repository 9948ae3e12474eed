//! Pulses of one update for devices of a cell, on the processor.

use super::schedule::{Run, Write};
use super::spec::CellSpec;
use crate::config::UpdateParameters;
use crate::devices::PlaneRef;
use crate::error::Result;
use crate::pulse::apply::apply;
use crate::pulse::cells::Target;
use crate::pulse::source::{Source, Turn};
use crate::pulse::transaction::Rows;
use crate::rng::Key;

/// What changes devices, without their state.
#[derive(Clone, Copy)]
pub(super) struct Writer<'a> {
    pub(super) spec: &'a CellSpec,
    pub(super) planes: &'a [Vec<PlaneRef<'a>>],
    pub(super) key: Key,
}

impl<'a> Writer<'a> {
    /// Key of a node in an event.
    pub(super) fn key(&self, node: usize, event: u32) -> Key {
        self.key.part(node as u8, event)
    }

    /// Matrix of a leaf.
    pub(super) fn matrix(&self, leaf: usize) -> usize {
        self.spec.nodes[self.spec.leaves[leaf].node].matrix
    }

    /// Pulses of one vector update of a node.
    pub(super) fn source<'s>(
        &self,
        write: &Write,
        [x, d]: [&'s [f32]; 2],
        rate: f64,
        parameters: &'s UpdateParameters,
    ) -> Source<'s> {
        Source {
            x,
            x_size: self.spec.x_size,
            bias: None,
            d,
            d_size: self.spec.d_size,
            parameters,
            granularity: self.spec.nodes[write.node].granularity,
            rate,
            rates: &[],
            turn: Turn::Both,
            signs: [&[]; 2],
            key: self.key(write.node, write.event),
        }
    }

    /// Applies pulses to some rows of a leaf.
    pub(super) fn apply(
        &self,
        leaf: usize,
        source: &Source<'_>,
        run: &Run,
        event: u32,
        rows: &mut Rows<'_>,
    ) -> Result<()> {
        let of = &self.spec.leaves[leaf];
        let target = Target {
            device: &of.device,
            planes: &self.planes[leaf],
            key: self.key(of.node, event),
        };
        apply(&target, &Source { turn: of.turn, ..*source }, run.samples(), rows)
    }
}
