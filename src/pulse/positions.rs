//! Positions of the draws of pulses: which evaluation of the generator serves what.

use crate::error::{Error, Result};
use crate::rng::{Draw, LANES, normal_lanes};

/// Draws for four blocks of columns.
pub(crate) type Normals = [[f32; LANES]; 4];

/// Positions of the draws of one chunk of pulses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Positions {
    high: u32,
    block: u32,
}

/// What a cycle-to-cycle draw serves. The kind and the upper bits of the chunk stand above the
/// column, which has at most 20 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Sums of pulses of 64 neighbouring columns, 16 evaluations of four words.
    Sums = 0,
    /// Sums of pulses of one cell.
    CellSums = 1,
    /// Pulses of one cell, four per evaluation.
    Pulses = 2,
}

/// Bits of a block number that count within a chunk.
const INDEX_BITS: u32 = 15;
/// Bits of a block number that hold the lower part of the chunk.
const CHUNK_BITS: u32 = 9;

impl Positions {
    /// Positions of chunk number `chunk` of a call, which draws at most `blocks` times for a cell or
    /// a group of columns.
    ///
    /// # Errors
    /// [`Error::Argument`] when a call has more chunks, or one of them more draws, than there are
    /// positions: two of them would share their draws.
    pub(crate) fn new(chunk: usize, blocks: usize) -> Result<Self> {
        if blocks > 1 << INDEX_BITS {
            let why = "asks for more pulses of one sample than can be drawn; lower it".to_owned();
            return Err(Error::Argument { argument: "learning_rate", why });
        }
        if chunk >= 1 << (CHUNK_BITS + 10) {
            let why = "has too many samples for one update; split the batch".to_owned();
            return Err(Error::Argument { argument: "x", why });
        }
        let chunk = chunk as u32;
        let block = (chunk & ((1 << CHUNK_BITS) - 1)) << INDEX_BITS;
        Ok(Self { high: (chunk >> CHUNK_BITS) << 20, block })
    }

    /// Word that takes the place of the column.
    #[inline(always)]
    pub(crate) fn column(self, kind: Kind, column: usize) -> u32 {
        (kind as u32) << 30 | self.high | column as u32
    }

    /// Block of draw number `index` within the chunk, below the number that it was made for.
    #[inline(always)]
    pub(crate) fn block(self, index: usize) -> u32 {
        debug_assert!(index < 1 << INDEX_BITS);
        self.block + index as u32
    }

    /// One draw for the sums of each of 64 columns from `first` on.
    #[inline(always)]
    pub(crate) fn sums(self, draw: &Draw, row: usize, first: usize, index: usize) -> Normals {
        let column = self.column(Kind::Sums, first / 4);
        // Word `k` of evaluation `l` serves column `16 k + l` of the 64: no shuffling.
        normal_lanes(&draw.lanes(column, row as u32, self.block(index)))
    }
}
