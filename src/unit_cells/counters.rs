//! What decides about the next call beside configuration and weights.

/// Counters and signs of a cell. The state of the caller has them as entries; a call works on a copy.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Counters {
    /// Vector updates of each node since weights were set.
    pub(super) updates: Vec<i64>,
    /// Device of each node that the policy has chosen.
    pub(super) current: Vec<i64>,
    /// Line of the next transfer from each device.
    pub(super) lines: Vec<i64>,
    /// Times that all lines were transferred.
    pub(super) sweeps: i64,
    /// Next row that mixed precision writes.
    pub(super) row: i64,
    /// Running averages of the largest input and error.
    pub(super) averages: [f64; 2],
    /// Last learning rate of the fast device.
    pub(super) count_lr: f64,
    /// Signs of the lines that are transferred, 1 or -1, and of the others; empty without choppers.
    pub(super) signs: [Vec<i8>; 2],
    /// Lines whose sign flipped after their last transfer; empty without a reference on the fly.
    pub(super) switched: Vec<i8>,
}

impl Counters {
    /// Those of a new cell, with `sizes` for nodes, devices of a transfer, signs of both sides and
    /// switches.
    pub(super) fn new(nodes: usize, devices: usize, signs: [usize; 2], switches: usize) -> Self {
        Self {
            updates: vec![0; nodes],
            current: vec![0; nodes],
            lines: vec![0; devices],
            sweeps: 0,
            row: 0,
            averages: [0.0; 2],
            count_lr: 0.0,
            signs: signs.map(|len| vec![1; len]),
            switched: vec![0; switches],
        }
    }
}
