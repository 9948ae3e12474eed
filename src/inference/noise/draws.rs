//! Where the random numbers of devices are.

use crate::rng::{CHUNK, Draw, Key, Stream};
use crate::simd::{self, Work};

/// Columns that formulas take at once.
pub(super) const BLOCK: usize = 2 * CHUNK;
/// Blocks of draws that are for the programming error; those behind are for drift parameters.
const DRIFT_PARAMETERS: u32 = 1 << 16;

/// Draws of one device of each weight of one row. They are functions of key, device, row and column, so
/// that they do not depend on the number of threads.
#[derive(Debug, Clone, Copy)]
pub struct RowDraws {
    draw: Draw,
    row: u32,
    first: u32,
}

impl RowDraws {
    /// Draws of programming errors of device number `device` of the weights of `row`.
    #[must_use]
    pub const fn of_programming(key: Key, device: u8, row: u32) -> Self {
        Self { draw: key.part(device, 0).stream(Stream::Program), row, first: 0 }
    }

    /// Draws of drift parameters, which are drawn when devices are programmed.
    #[must_use]
    pub const fn of_drift_parameters(key: Key, device: u8, row: u32) -> Self {
        Self { first: DRIFT_PARAMETERS, ..Self::of_programming(key, device, row) }
    }

    /// Draws of reads.
    #[must_use]
    pub const fn of_reads(key: Key, device: u8, row: u32) -> Self {
        Self { draw: key.part(device, 0).stream(Stream::Read), row, first: 0 }
    }

    /// Fills `out[j]` with a standard normal draw of column `j`; `which` (below 2^16) tells apart what one
    /// formula draws several of.
    pub fn fill_normal(&self, which: u32, out: &mut [f32]) {
        simd::run(Fill { draws: *self, which, out });
    }

    /// The same for columns `first ..`, of which `first` is a multiple of [`BLOCK`].
    #[inline(always)]
    pub(super) fn fill_block(&self, which: u32, first: usize, out: &mut [f32]) {
        self.draw.fill_normal_from(first, self.row, self.first + which, out);
    }
}

struct Fill<'a> {
    draws: RowDraws,
    which: u32,
    out: &'a mut [f32],
}

impl Work for Fill<'_> {
    type Home = RowDraws;

    #[inline(always)]
    fn run(self) {
        self.draws.fill_block(self.which, 0, self.out);
    }
}
