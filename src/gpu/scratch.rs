//! Working memory, reused from call to call.

use super::buffers::Reused;

/// Buffers that hold nothing between two calls.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub x: Reused,
    pub prepared: Reused,
    pub rows: Reused,
    pub sums: Reused,
    pub state: Reused,
    pub y: Reused,
    pub parameters: Reused,
    /// Of the input and of the error lines.
    pub thresholds: [Reused; 2],
    pub trains: [Reused; 2],
    /// Slices as the trains and as the pulses read them.
    pub slices: [Reused; 3],
    pub counts: Reused,
    /// What a call that fails puts back.
    pub kept: Vec<Reused>,
    pub staging: Reused,
}
