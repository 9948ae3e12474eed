//! Weights of a cell as the sum of those of its members.

use super::counters::Counters;
use super::spec::{CellSpec, Content};
use super::state::CellState;

/// Signs by which the weights of the first member are multiplied: of the rows and of the columns.
pub(super) type Signs<'a> = [&'a [i8]; 2];

impl CellSpec {
    /// The signs of a node; only the cell itself may have some.
    pub(super) fn signs<'a>(&self, node: usize, counters: &'a Counters) -> Option<Signs<'a>> {
        let transfer = self.transfer().filter(|_| node == 0 && self.chopper().is_some())?;
        let [lines, others] = &counters.signs;
        Some(if transfer.columns { [others, lines] } else { [lines, others] })
    }

    /// Makes the weights of a node and of those below the sums of those of their members.
    pub(super) fn sum(&self, state: &mut CellState<'_>) {
        let counters = state.counters(self);
        self.sum_node(0, &mut state.matrices, &counters);
    }

    fn sum_node(&self, node: usize, matrices: &mut [&mut [f32]], counters: &Counters) {
        let Content::Cell { members, gamma, .. } = &self.nodes[node].content else { return };
        members.iter().for_each(|member| self.sum_node(*member, matrices, counters));
        let matrix = self.nodes[node].matrix;
        for (at, (member, gamma)) in members.iter().zip(gamma).enumerate() {
            let from = self.nodes[*member].matrix;
            let signs = if at == 0 { self.signs(node, counters) } else { None };
            // Where the weights are those of a member they are not added up.
            if members.iter().any(|member| self.nodes[*member].matrix == matrix) {
                return;
            }
            if let Ok([sum, from]) = matrices.get_disjoint_mut([matrix, from]) {
                let rows = sum.chunks_exact_mut(self.x_size).zip(from.chunks_exact(self.x_size));
                for (row, (sum, from)) in rows.enumerate() {
                    add(sum, from, *gamma, at == 0, row, signs);
                }
            }
        }
    }
}

/// Adds `gamma` times a row to another, or begins with it if it is the first one.
pub(super) fn add(
    sum: &mut [f32],
    from: &[f32],
    gamma: f32,
    is_first: bool,
    row: usize,
    signs: Option<Signs<'_>>,
) {
    let cells = sum.iter_mut().zip(from);
    match signs {
        Some([rows, columns]) => {
            let gamma = gamma * f32::from(rows[row]);
            cells.zip(columns).for_each(|((sum, w), sign)| *sum = gamma * f32::from(*sign) * w);
        }
        None if is_first => cells.for_each(|(sum, w)| *sum = gamma * w),
        None => cells.for_each(|(sum, w)| *sum += gamma * w),
    }
}
