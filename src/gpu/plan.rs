//! How a product is cut into tiles and blocks. A function of the sizes only, so that results do not
//! depend on the adapter's speed.

use super::kernels::{Kernel, TILE_16, TILE_64, TILE_128};
use super::uses::Uses;
use crate::mvm::{Mvm, Reads};
use crate::rng::Key;

/// What changes from call to call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub key: Key,
    /// Number of the first sample.
    pub first: usize,
    pub samples: usize,
    pub given: usize,
    pub bias: Option<f32>,
}

/// Sizes of the dispatches of one product.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Kernel of the product, the rows and the outputs of its tiles.
    pub tile: &'static Kernel,
    pub tile_rows: usize,
    pub tile_outputs: usize,
    /// Rows that the buffers hold.
    pub capacity: usize,
    pub n_in: usize,
    pub n_out: usize,
    /// Reads of the array per pass.
    pub signs: usize,
    /// Parts into which each sum is cut, to have work for all processors, and their length.
    pub splits: usize,
    pub split_len: usize,
    pub quantities: usize,
    /// Factor that calibrates the output compression.
    pub factor: f32,
}

/// Tiles that keep a large card busy; 16 rows need more of them.
const TILES: [(usize, usize); 3] = [(16, 1024), (64, 512), (128, 256)];
/// Shortest part of a sum.
const SHORTEST: usize = 128;

impl Plan {
    pub fn new(mvm: &Mvm, uses: &Uses, call: &Call, n_out: usize, factor: f32) -> Self {
        let n_in = call.given + usize::from(call.bias.is_some());
        let signs = if mvm.reads == Reads::Both || mvm.perfect { 1 } else { 2 };
        let plain = uses.quantities() == 1;
        let (tile, tile_rows, tile_outputs) = match call.samples {
            ..=16 if plain => (&TILE_16, 16, 64),
            97.. if plain && n_out > 96 => (&TILE_128, 128, 128),
            _ => (&TILE_64, 64, 64),
        };
        let wanted =
            TILES.iter().find(|(rows, _)| *rows == tile_rows).map_or(1, |(_, wanted)| *wanted);
        let tiles = call.samples.div_ceil(tile_rows) * n_out.div_ceil(tile_outputs) * signs;
        let splits = (wanted / tiles).clamp(1, n_in.div_ceil(SHORTEST));
        let split_len = n_in.div_ceil(splits).next_multiple_of(16);
        Self {
            tile,
            tile_rows,
            tile_outputs,
            capacity: call.samples,
            n_in,
            n_out,
            signs,
            splits: n_in.div_ceil(split_len),
            split_len,
            quantities: uses.quantities(),
            factor,
        }
    }

    /// Distance of two rows of line voltages.
    pub fn stride(&self) -> usize {
        self.n_in.next_multiple_of(16)
    }

    /// Words of the buffer of line voltages: whole tiles, and a part that is fetched ahead.
    pub fn voltage_words(&self) -> usize {
        self.capacity.next_multiple_of(self.tile_rows) * self.stride() + 16
    }

    /// Words of the buffer of sums.
    pub fn sum_words(&self) -> usize {
        self.quantities * self.signs * self.splits * self.capacity * self.n_out
    }

    /// Workgroups of the product.
    pub fn product_grid(&self) -> [u32; 3] {
        [
            self.n_out.div_ceil(self.tile_outputs) as u32,
            self.capacity.div_ceil(self.tile_rows) as u32,
            (self.signs * self.splits) as u32,
        ]
    }

    /// Workgroups of the output stage: 16 evaluations per 64 outputs, 64 evaluations each.
    pub fn output_grid(&self) -> [u32; 3] {
        [(self.n_out.div_ceil(64) * 16).div_ceil(64) as u32, self.capacity as u32, 1]
    }
}

/// Rows that fit one block: bounded by the workgroups of one dimension and by `most` words per
/// buffer.
pub(super) fn block_rows(
    uses: &Uses,
    signs: usize,
    n_in: usize,
    n_out: usize,
    most: usize,
) -> usize {
    let outputs = n_out * uses.quantities() * signs;
    // 2^26 words, 256 MiB, bound what one block keeps in memory. The voltages of the last tile are
    // whole: up to 127 rows more. 65535 workgroups fit one dimension; 65408 is the multiple of the
    // tallest tile below.
    // Splits multiply the sums only where there are few rows.
    let widest = (n_in + 16).max(2 * n_out).max(outputs);
    ((most.min(1 << 26) / widest).saturating_sub(127)).clamp(1, 65408)
}
