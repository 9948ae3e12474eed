//! The normal draws of one row of outputs after another.

use std::ops::Range;

use super::samples::Samples;
use crate::rng::{Draw, LANES};

/// Draws rows of normals. Of narrow ones several are drawn at once: an evaluation of the generator has
/// more columns than they have.
pub(super) struct Normals<'a, 'b> {
    draw: Draw,
    block: u32,
    samples: Samples<'a>,
    width: usize,
    /// Rows that the buffer has.
    held: Range<usize>,
    /// The row behind the last one.
    end: usize,
    buffer: &'b mut [f32],
}

impl<'a, 'b> Normals<'a, 'b> {
    /// Draws of these rows of `samples`, with a buffer of [`buffer_len`](Self::buffer_len) floats.
    pub fn new(
        draw: Draw,
        block: u32,
        samples: Samples<'a>,
        rows: &Range<usize>,
        buffer: &'b mut [f32],
        width: usize,
    ) -> Self {
        Self { draw, block, samples, width, held: 0..0, end: rows.end, buffer }
    }

    /// Floats that rows of `width` are drawn with.
    pub fn buffer_len(width: usize) -> usize {
        Self::together(width) * width
    }

    fn together(width: usize) -> usize {
        (LANES / width.max(1)).max(1)
    }

    /// The draws of one row.
    #[inline(always)]
    pub fn row(&mut self, row: usize) -> &[f32] {
        let (width, together) = (self.width, Self::together(self.width));
        if together == 1 {
            let number = self.samples.at(row) as u32;
            self.draw.fill_normal(number, self.block, self.buffer);
            return self.buffer;
        }
        if !self.held.contains(&row) {
            self.held = row..self.end.min(row + together);
            let (mut numbers, count) = ([0; LANES], self.held.len());
            for (number, row) in numbers.iter_mut().zip(self.held.clone()) {
                *number = self.samples.at(row) as u32;
            }
            let out = &mut self.buffer[..count * width];
            self.draw.fill_normal_rows(&numbers[..count], self.block, width, out);
        }
        &self.buffer[(row - self.held.start) * width..][..width]
    }
}
