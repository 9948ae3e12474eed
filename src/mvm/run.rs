//! Drives a batch through the stages: blocks of samples, and in each block first all samples, then
//! those whose output clipped, until bound management is content.

use super::call::Call;
use super::columns::Columns;
use super::inputs::Inputs;
use super::management::Sample;
use super::product::product;
use super::request::{Request, Sizes};
use super::samples::Samples;
use super::spec::Mvm;
use super::stages::Finish;
use super::workspace::{Repeated, Workspace};
use crate::error::Result;
use crate::par::{self, Par};
use crate::scratch;
use crate::simd;

impl Mvm {
    /// Computes the product of a batch. A sample with an input that is NaN or infinite gives NaN in all
    /// of its outputs, none of them marked as clipped, and changes no other. Draws depend on the key, the number of the sample, the line
    /// and the pass only, so results are the same for any number of threads.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when slices do not fit,
    /// [`Error::Argument`](crate::Error::Argument) when a running average is needed and missing,
    /// [`Error::Interrupted`](crate::Error::Interrupted), [`Error::Memory`](crate::Error::Memory);
    /// `running` is then as before.
    pub fn run(&self, request: Request<'_>) -> Result<()> {
        let sizes = self.sizes(&request)?;
        if sizes.samples == 0 || sizes.n_out == 0 {
            return Ok(());
        }
        if self.perfect {
            return self.run_perfect(&sizes, request);
        }
        let averages = if self.scale.averages() { sizes.samples } else { 0 };
        scratch::floats(averages, |averages| {
            let Request { x, bias, weights, y, key, lines, mask, running, is_test, .. } = request;
            let x = Inputs::Rows(Columns::all(x, sizes.given));
            let first = running.as_ref().map_or(-1.0, |value| **value);
            let average = self.average(averages, x, bias, first, is_test)?;
            let weights = self.matrix(weights, sizes.n_in, sizes.n_out);
            let is_shared = false;
            let call = Call { mvm: self, sizes, weights, lines, x, bias, key, averages, is_shared };
            call.run(0, y, mask)?;
            if let Some(running) = running {
                *running = average;
            }
            Ok(())
        })
    }

    /// Writes the scale of every sample by the running average, and returns the average after them.
    pub(super) fn average(
        &self,
        averages: &mut [f32],
        x: Inputs<'_>,
        bias: Option<f32>,
        mut average: f32,
        is_test: bool,
    ) -> Result<f32> {
        let buffer = if averages.is_empty() { 0 } else { x.buffer_len() };
        scratch::floats(buffer, |buffer| {
            let mut source = x.source(buffer);
            for (sample, scale) in averages.iter_mut().enumerate() {
                let given = source.row(sample);
                *scale = self.scale.average(&Sample::new(given, bias), &mut average, is_test);
            }
            Ok(average)
        })
    }

    fn run_perfect(&self, sizes: &Sizes, request: Request<'_>) -> Result<()> {
        let Request { x, bias, weights, y, mask, .. } = request;
        let par = Par::of(self.estimate_ns(sizes, sizes.samples));
        self.perfect_rows(par, sizes, x, bias, weights, y, mask)
    }

    /// The ideal product of rows that follow each other in memory.
    #[allow(clippy::too_many_arguments, reason = "the slices of a request")]
    fn perfect_rows(
        &self,
        par: Par,
        sizes: &Sizes,
        x: &[f32],
        bias: Option<f32>,
        weights: &[f32],
        y: &mut [f32],
        mask: Option<&mut [u8]>,
    ) -> Result<()> {
        let weights = self.matrix(weights, sizes.given, sizes.n_out);
        product(par, x, weights, y)?;
        if let Some(bias) = bias {
            let last = &weights.data[sizes.given * weights.input_stride..];
            for row in y.chunks_exact_mut(sizes.n_out) {
                let column = last.iter().step_by(weights.output_stride);
                row.iter_mut().zip(column).for_each(|(y, w)| *y = bias.mul_add(*w, *y));
            }
        }
        for (sample, y) in y.chunks_exact_mut(sizes.n_out).enumerate() {
            // Every sum with such an input is infinite or NaN, so one tells.
            let given = &x[sample * sizes.given..][..sizes.given];
            if !y[0].is_finite() && !Sample::new(given, bias).is_finite() {
                y.fill(f32::NAN);
            }
        }
        if self.out_scale != 1.0 {
            y.iter_mut().for_each(|y| *y *= self.out_scale);
        }
        if let Some(mask) = mask {
            mask.fill(0);
        }
        Ok(())
    }
}

impl Call<'_> {
    /// Computes samples from number `first` in the current thread, whatever the kind of product.
    pub(super) fn rows(&self, first: usize, y: &mut [f32], mask: Option<&mut [u8]>) -> Result<()> {
        if !self.mvm.perfect {
            return self.run(first, y, mask);
        }
        let (sizes, width) = (&self.sizes, self.sizes.given);
        scratch::floats(y.len() / sizes.n_out * width + self.x.buffer_len(), |buffer| {
            let (rows, held) = buffer.split_at_mut(y.len() / sizes.n_out * width);
            simd::vectors(
                #[inline(always)]
                || {
                    let mut source = self.x.source(held);
                    for (row, number) in rows.chunks_exact_mut(width).zip(first..) {
                        row.copy_from_slice(source.row(number));
                    }
                },
            );
            let weights = self.weights.data;
            self.mvm.perfect_rows(Par::alone(), sizes, rows, self.bias, weights, y, mask)
        })
    }

    /// Computes samples from number `from`.
    fn run(&self, from: usize, y: &mut [f32], mut mask: Option<&mut [u8]>) -> Result<()> {
        let n_out = self.sizes.n_out;
        let rows = self.mvm.block_rows(&self.sizes).min(y.len() / n_out);
        self.mvm.with_workspace(&self.sizes, rows, |mut workspace, mut repeated| {
            self.derive_weights(&mut workspace);
            for (block, y) in y.chunks_mut(rows * n_out).enumerate() {
                if !self.is_shared {
                    par::check_interrupt()?;
                }
                let first = block * rows;
                let mask = mask.as_deref_mut().map(|mask| &mut mask[first * n_out..][..y.len()]);
                self.block(from + first, &mut workspace, &mut repeated, y, mask)?;
            }
            Ok(())
        })
    }

    /// The weights that negative inputs see.
    fn derive_weights(&self, workspace: &mut Workspace<'_>) {
        let pairs = self.weights.data.iter().zip(self.lines.w_asymmetry);
        for (negative, (w, factor)) in workspace.negative.iter_mut().zip(pairs) {
            *negative = w * factor;
        }
    }

    /// One block of samples from number `first`; `y` and `mask` are those of the block.
    fn block(
        &self,
        first: usize,
        workspace: &mut Workspace<'_>,
        repeated: &mut Repeated<'_>,
        y: &mut [f32],
        mut mask: Option<&mut [u8]>,
    ) -> Result<()> {
        let n_out = self.sizes.n_out;
        let rows = y.len() / n_out;
        let finish = Finish::Rescale(mask.as_deref_mut());
        self.pass(Samples::From(first), 0, workspace, y, finish)?;
        let mut count = 0;
        for row in (0..rows).filter(|row| workspace.failed[*row] != 0) {
            repeated.samples[count] = (first + row) as u64;
            count += 1;
        }
        let mut pass = 0;
        while count > 0 && self.mvm.repeats.again(pass) {
            pass += 1;
            let samples = &repeated.samples[..count];
            let outputs = &mut repeated.outputs[..count * n_out];
            self.pass(Samples::Listed(samples), pass, workspace, outputs, Finish::Leave)?;
            for (row, sample) in samples.iter().enumerate() {
                let at = (*sample as usize - first) * n_out..;
                let y = &mut y[at.clone()][..n_out];
                y.copy_from_slice(&outputs[row * n_out..][..n_out]);
                let mask = mask.as_deref_mut().map(|mask| &mut mask[at][..n_out]);
                self.rescale(row, workspace.other, workspace.scales[row], y, mask);
            }
            count = keep_failed(&mut repeated.samples[..count], workspace.failed);
        }
        Ok(())
    }
}

/// Moves the samples whose row failed to the front and counts them.
fn keep_failed(samples: &mut [u64], failed: &[u64]) -> usize {
    let mut count = 0;
    for row in (0..samples.len()).filter(|row| failed[*row] != 0) {
        samples[count] = samples[row];
        count += 1;
    }
    count
}
