//! A row of crosspoints with steps that depend on the weight, and the slices in which it fires.

use crate::error::Result;
use crate::memory;
use crate::pulse::cells::LaneCells;
use crate::rng::LANES;

/// Pulses of the error line after which a segment ends, so that few are too long: by relative steps of
/// 0.004 they reach [`MAX_CHANGE`](crate::pulse::expansion) where all of them meet one of the input
/// line. A segment takes one draw per crosspoint, however long it is.
pub(super) const PULSES: u32 = 128;

/// A slice in which a row fires.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fired {
    pub(super) slice: u32,
    pub(super) d: u32,
    /// Whether it is the last of its segment.
    pub(super) last: bool,
}

/// Weights and constants of a row.
#[derive(Default)]
pub(super) struct Line {
    pub(super) cells: Vec<LaneCells>,
    /// The constants near the weights, for rules that have such.
    pub(super) local: Vec<LaneCells>,
    pub(super) w: Vec<[f32; LANES]>,
    /// Blocks whose weights and constants are here.
    pub(super) loaded: Vec<bool>,
    pub(super) touched: Vec<bool>,
    /// Columns for which a segment is too long.
    pub(super) careful: Vec<u32>,
    /// Those that take the pulses of a segment, or of a part of it, one by one.
    pub(super) single: Vec<u32>,
    /// Those of them that have few neighbours among them.
    pub(super) scattered: Vec<u32>,
}

impl Line {
    /// Memory for a row with `columns` cells; `local` if the rule has constants near the weights.
    pub(super) fn new(columns: usize, local: bool) -> Result<Self> {
        let blocks = columns.div_ceil(LANES);
        Ok(Self {
            cells: memory::filled(LaneCells::default(), blocks)?,
            local: memory::filled(LaneCells::default(), if local { blocks } else { 0 })?,
            w: memory::filled([0.0; LANES], blocks)?,
            loaded: memory::filled(false, blocks)?,
            touched: memory::filled(false, blocks * LANES)?,
            careful: memory::room(columns)?,
            single: memory::room(columns)?,
            scattered: memory::room(columns)?,
        })
    }

    /// The constants that hold near the weights; `local` as above.
    #[inline(always)]
    pub(super) fn near(&self, local: bool) -> &[LaneCells] {
        if local { &self.local } else { &self.cells }
    }
}

/// Block of columns and lane of a column.
#[inline(always)]
pub(super) fn place(column: u32) -> (usize, usize) {
    (column as usize / LANES, column as usize % LANES)
}
