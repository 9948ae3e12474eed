//! Floating-point updates: exact rank-one steps, within the bounds of the device if it has some, else
//! within f32: what is beyond becomes its largest number, so that no weight is infinite or NaN.

use std::ops::Range;

use super::cells::Target;
use super::source::Source;
use super::transaction::{Rows, for_each};
use crate::devices::Bounds;
use crate::error::Result;
use crate::memory;
use crate::simd::{self, Work, clip};

/// Applies `w -= rate d x` sample by sample; a pulsed device clips after each sample.
pub(crate) fn apply(
    target: &Target<'_>,
    source: &Source<'_>,
    samples: Range<usize>,
    state: &mut Rows<'_>,
) -> Result<()> {
    let Target { device, planes, key } = *target;
    add(source, samples, -(source.rate as f32), device.bounds(planes), state, |rows| {
        let noise = device.write_noise();
        if noise.is_some() {
            let touched = memory::filled(true, source.x_size)?;
            for local in 0..rows.len() {
                rows.refresh(local, &touched, noise, key);
            }
        }
        Ok(())
    })
}

/// Adds `scale d x` sample by sample to a matrix, within `bounds` after each, and calls `then` for each
/// block of rows.
pub(crate) fn add(
    source: &Source<'_>,
    samples: Range<usize>,
    scale: f32,
    bounds: Option<Bounds<'_>>,
    state: &mut Rows<'_>,
    then: impl Fn(&mut Rows<'_>) -> Result<()> + Sync,
) -> Result<()> {
    let Source { x_size: columns, bias, d_size, .. } = *source;
    let inputs = source.inputs();
    let x = &source.x[samples.start * inputs..samples.end * inputs];
    let d = &source.d[samples.start * d_size..samples.end * d_size];
    let mut blocks = state.split(HEIGHT)?;
    let block_ns = (samples.len() * HEIGHT * columns) as f64 * 0.05;
    for_each(&mut blocks, block_ns, |rows| {
        simd::run(Exact { rows, x, bias, d, d_size, scale, bounds });
        then(rows)
    })
}

/// Rows of one block.
const HEIGHT: usize = 8;

/// The nearest finite number.
#[inline(always)]
fn within_f32(value: f32) -> f32 {
    clip(value, -f32::MAX, f32::MAX)
}

struct Exact<'a, 'b> {
    rows: &'a mut Rows<'b>,
    x: &'a [f32],
    bias: Option<f32>,
    d: &'a [f32],
    d_size: usize,
    scale: f32,
    bounds: Option<Bounds<'a>>,
}

impl Work for Exact<'_, '_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        let first = self.rows.first;
        let height = self.rows.len();
        let columns = self.rows.state.len() / height;
        let inputs = columns - usize::from(self.bias.is_some());
        for local in 0..height {
            self.rows.save(local);
            let state = &mut self.rows.state[local * columns..(local + 1) * columns];
            let row = first + local;
            for (sample, d) in self.d.chunks_exact(self.d_size).enumerate() {
                let x = &self.x[sample * inputs..(sample + 1) * inputs];
                // Finite, so that an input of 0 moves nothing.
                let factor = within_f32(self.scale * d[row]);
                for (w, x) in state.iter_mut().zip(x) {
                    *w = within_f32(factor.mul_add(*x, *w));
                }
                if let (Some(bias), Some(w)) = (self.bias, state.last_mut()) {
                    *w = within_f32(factor.mul_add(bias, *w));
                }
                if let Some(bounds) = &self.bounds {
                    for (column, w) in state.iter_mut().enumerate() {
                        let [lower, upper] = bounds.at(row * columns + column);
                        *w = clip(*w, lower, upper);
                    }
                }
            }
        }
    }
}
