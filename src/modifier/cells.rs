//! What formulas see of the weights, and where their draws are.

/// Blocks of the draws of an element, by what they are for.
pub(super) const NOISE: u32 = 0;
pub(super) const ROUND: u32 = 1;
pub(super) const DROP: u32 = 2;
pub(super) const DRIFT: u32 = 3;
pub(super) const READ: u32 = 4;
pub(super) const RESET: u32 = 5;
pub(super) const FULL: u32 = 6;
pub(super) const SIDE: u32 = 7;
pub(super) const ANYWHERE: u32 = 8;
pub(super) const VALUE: u32 = 9;

/// Neighbouring weights of one row, at most a block of `normals`, and what they become.
pub(super) struct Cells<'a> {
    /// Number of the row.
    pub(super) row: u32,
    /// Column of the first cell, that of the first one of a block.
    pub(super) first: usize,
    /// Weights.
    pub(super) weights: &'a [f32],
    /// Modified ones.
    pub(super) modified: &'a mut [f32],
}
