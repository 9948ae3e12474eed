//! What the stages of a call have changed beside weights, and which weights have to be added up.

use std::ops::Range;

use super::counters::Counters;
use super::spec::CellSpec;
use crate::error::Result;
use crate::memory;

/// How far a call is, on whichever engine.
pub(super) struct Progress {
    /// Counters before the call, of which the signs follow the stages.
    pub(super) counters: Counters,
    /// Nodes whose weights are not yet the sum of those of their members.
    stale: Vec<bool>,
}

impl Progress {
    /// Nothing done yet.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory).
    pub(super) fn new(spec: &CellSpec, counters: Counters) -> Result<Self> {
        Ok(Self { counters, stale: memory::filled(false, spec.nodes.len())? })
    }

    /// Marks what depends on the weights of a leaf.
    pub(super) fn touch(&mut self, spec: &CellSpec, leaf: usize) {
        let mut node = spec.leaves[leaf].node;
        while let Some(parent) = spec.nodes[node].parent {
            self.stale[parent] = true;
            node = parent;
        }
    }

    /// Marks everything.
    #[cfg(feature = "wgpu")]
    pub(super) fn touch_all(&mut self) {
        self.stale.fill(true);
    }

    /// Whether the weights of a node have to be added up, which whoever asks then does.
    pub(super) fn take_stale(&mut self, node: usize) -> bool {
        std::mem::take(&mut self.stale[node])
    }

    /// Flips the sign of a line that is transferred.
    pub(super) fn flip(&mut self, line: usize) {
        self.counters.signs[0][line] *= -1;
        self.stale[0] = true;
    }

    /// Flips the signs of some of the other lines.
    pub(super) fn flip_outputs(&mut self, lines: &[usize]) {
        lines.iter().for_each(|line| self.counters.signs[1][*line] *= -1);
        self.stale[0] = true;
    }

    /// Signs of the inputs and of the errors of a batch: of those lines that are transferred, the ones
    /// outside `lines`, if some are given, get 0.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory).
    pub(super) fn signs(
        &self,
        spec: &CellSpec,
        lines: Option<&Range<usize>>,
    ) -> Result<[Vec<i8>; 2]> {
        let [of_lines, others] = &self.counters.signs;
        let transferred = match (lines, spec.transfer()) {
            (Some(lines), Some(transfer)) => {
                let mut signs = memory::filled(0, transfer.lines)?;
                for line in lines.clone() {
                    signs[line] = of_lines.get(line).copied().unwrap_or(1);
                }
                signs
            }
            _ => memory::copied(of_lines)?,
        };
        let others = memory::copied(others)?;
        let are_inputs = spec.transfer().is_none_or(|transfer| transfer.columns);
        Ok(if are_inputs { [transferred, others] } else { [others, transferred] })
    }
}
