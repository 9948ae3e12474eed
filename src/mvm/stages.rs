//! One pass over a set of samples: the stages of the product, each over all rows.

use std::ops::Range;

use super::array::{ArrayDraw, Sums};
use super::call::Call;
use super::direction::Direction;
use super::input::InputDraws;
use super::management::Sample;
use super::matrix::Matrix;
use super::normals::Normals;
use super::output::RoundDraws;
use super::product::product;
use super::rows::{MANY, RowsMut, for_each};
use super::samples::Samples;
use super::spec::Reads;
use super::workspace::Workspace;
use crate::error::Result;
use crate::par::Par;
use crate::rng::Stream;
use crate::scratch;
use crate::simd;

/// What becomes of the converted outputs.
pub(super) enum Finish<'a> {
    /// They are rescaled in place, and the mask (if any) is written.
    Rescale(Option<&'a mut [u8]>),
    /// They stay in analog units.
    Leave,
}

/// Which inputs a read of the array uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Both,
    Positive,
    Negative,
}

impl Sign {
    /// Block of the draws in pass number `pass`: negative reads have blocks of their own.
    fn block(self, pass: u32) -> u32 {
        const NEGATIVE: u32 = 64;
        if self == Self::Negative { pass + NEGATIVE } else { pass }
    }
}

/// Marks a row that is zero by definition; real scales are positive.
const ZERO_ROW: f32 = -1.0;

/// Marks a row with an input that is not finite, whose outputs are NaN.
const NAN_ROW: f32 = -2.0;

/// One pass: its samples and number, and how it runs.
#[derive(Clone, Copy)]
struct Pass<'a> {
    samples: Samples<'a>,
    number: u32,
    par: Par,
}

impl Call<'_> {
    /// Computes pass number `number` of `samples` into `z`, one row per sample.
    pub fn pass(
        &self,
        samples: Samples<'_>,
        number: u32,
        workspace: &mut Workspace<'_>,
        z: &mut [f32],
        finish: Finish<'_>,
    ) -> Result<()> {
        let rows = z.len() / self.sizes.n_out;
        let pass = Pass { samples, number, par: self.par(rows) };
        self.prepare(pass, workspace, rows)?;
        match self.mvm.reads {
            Reads::Both => {
                self.read(pass, Sign::Both, workspace, z)?;
                self.convert(pass, Sign::Both, workspace, z, finish)
            }
            Reads::AnalogSum => {
                self.read_signs(pass, workspace, z)?;
                z.iter_mut().zip(workspace.other.iter()).for_each(|(z, other)| *z += other);
                self.convert(pass, Sign::Both, workspace, z, finish)
            }
            Reads::DigitalSum => {
                self.read_signs(pass, workspace, z)?;
                let other = std::mem::take(&mut workspace.other);
                let result = self.convert(
                    pass,
                    Sign::Negative,
                    workspace,
                    &mut other[..z.len()],
                    Finish::Leave,
                );
                workspace.other = other;
                result?;
                self.convert(pass, Sign::Positive, workspace, z, finish)
            }
        }
    }

    /// Input stage of all rows: line voltages and inverse scales.
    fn prepare(&self, pass: Pass<'_>, workspace: &mut Workspace<'_>, rows: usize) -> Result<()> {
        let n_in = self.sizes.n_in;
        let (round, noise) = (self.draw(Stream::InputRound), self.draw(Stream::InputNoise));
        let prepared = RowsMut::new(&mut workspace.prepared[..rows * n_in], n_in);
        let scales = RowsMut::new(&mut workspace.scales[..rows], 1);
        for_each(pass.par, MANY, (0..rows, prepared, scales), &|(rows, prepared, scales)| {
            scratch::floats(n_in + self.x.buffer_len(), |buffer| {
                let (buffer, held) = buffer.split_at_mut(n_in);
                simd::vectors(
                    #[inline(always)]
                    || {
                        let mut source = self.x.source(held);
                        let outs = prepared.data.chunks_exact_mut(n_in);
                        for ((row, out), scale) in rows.zip(outs).zip(scales.data) {
                            let number = pass.samples.at(row);
                            let sample = Sample::new(source.row(number), self.bias);
                            *scale = self.inverse_scale(number, &sample, pass.number);
                            if *scale < 0.0 {
                                out.fill(0.0);
                                continue;
                            }
                            let (row, block) = (number as u32, pass.number);
                            let draws = InputDraws { round, noise, row, block };
                            self.mvm.input.prepare(&sample, *scale, out, &draws, buffer);
                        }
                    },
                );
                Ok(())
            })
        })
    }

    /// What the input of a sample is multiplied by, or [`ZERO_ROW`] or [`NAN_ROW`].
    #[inline(always)]
    fn inverse_scale(&self, number: usize, sample: &Sample<'_>, pass: u32) -> f32 {
        if !sample.is_finite() {
            return NAN_ROW;
        }
        let mut inverse = 1.0;
        if self.mvm.scale.active() {
            let scale = self.scale(number, sample, pass);
            let noisy = self.mvm.input.noise > 0.0 && self.mvm.direction == Direction::Forward;
            if scale <= 0.0 && !noisy {
                return ZERO_ROW;
            }
            if scale > 0.0 {
                inverse = 1.0 / scale;
            }
        }
        // Keeps the inverse and its own inverse finite for tiny and for endless inputs.
        (inverse / self.mvm.repeats.reduction(pass)).clamp(f32::MIN_POSITIVE, f32::MAX)
    }

    /// Reads negative inputs into `workspace.other` and positive ones into `z`.
    fn read_signs(
        &self,
        pass: Pass<'_>,
        workspace: &mut Workspace<'_>,
        z: &mut [f32],
    ) -> Result<()> {
        let other = std::mem::take(&mut workspace.other);
        let result = self.read(pass, Sign::Negative, workspace, &mut other[..z.len()]);
        workspace.other = other;
        result?;
        self.read(pass, Sign::Positive, workspace, z)
    }

    /// One read of the array: product and array non-idealities of all rows.
    fn read(
        &self,
        pass: Pass<'_>,
        sign: Sign,
        workspace: &mut Workspace<'_>,
        z: &mut [f32],
    ) -> Result<()> {
        let rows = z.len() / self.sizes.n_out;
        let inputs = rows * self.sizes.n_in;
        let Workspace {
            prepared, half, derived, current, placed, power, negative, positive, ..
        } = workspace;
        let weights = match sign {
            Sign::Negative if self.mvm.read_asymmetry => self.weights.with(negative),
            _ => self.weights,
        };
        let v = match sign {
            Sign::Both => &prepared[..inputs],
            _ => take_sign(sign, &prepared[..inputs], &mut half[..inputs]),
        };
        product(pass.par, v, weights, z)?;
        if self.mvm.array.ideal() {
            return Ok(());
        }
        let mut sums = Sums::default();
        if self.mvm.array.wires() {
            let (current, placed) = (&mut current[..z.len()], &mut placed[..z.len()]);
            let absolute = self.weights.with(map_into(weights.data, positive, |w, _| w.abs()));
            self.wire_sums(pass.par, v, weights, absolute, derived, current, placed)?;
            sums.current = current;
            sums.placed = placed;
        }
        if self.mvm.array.power_noise() {
            let power = &mut power[..z.len()];
            let squares = map_into(v, derived, |value, _| value * value);
            let density = |w, _| self.mvm.array.noise_density(w);
            let densities = self.weights.with(map_into(weights.data, positive, density));
            product(pass.par, squares, densities, power)?;
            sums.power = power;
        }
        self.disturb(pass, sign, v, sums, z)
    }

    /// Sums for the wire resistance.
    #[allow(clippy::too_many_arguments)]
    fn wire_sums(
        &self,
        par: Par,
        v: &[f32],
        weights: Matrix<'_>,
        absolute: Matrix<'_>,
        derived: &mut [f32],
        current: &mut [f32],
        placed: &mut [f32],
    ) -> Result<()> {
        let n = self.sizes.n_in;
        product(par, map_into(v, derived, |value, _| value.abs()), absolute, current)?;
        let place = |value, at| value * self.mvm.array.placement(at % n);
        product(par, map_into(v, derived, place), weights, placed)
    }

    /// Array non-idealities of all rows.
    fn disturb(
        &self,
        pass: Pass<'_>,
        sign: Sign,
        v: &[f32],
        sums: Sums<'_>,
        z: &mut [f32],
    ) -> Result<()> {
        let (n_in, n_out) = (self.sizes.n_in, self.sizes.n_out);
        let noise = self.draw(Stream::WeightNoise);
        let rows = 0..z.len() / n_out;
        for_each(pass.par, MANY, (rows, RowsMut::new(z, n_out)), &|(rows, z): (
            Range<usize>,
            RowsMut<'_, f32>,
        )| {
            scratch::floats(n_out, |buffer| {
                simd::vectors(
                    #[inline(always)]
                    || {
                        for (row, z) in rows.zip(z.data.chunks_exact_mut(n_out)) {
                            let number = pass.samples.at(row) as u32;
                            let block = sign.block(pass.number);
                            let draw = ArrayDraw { noise, row: number, block };
                            let v = &v[row * n_in..][..n_in];
                            let sums = sums.row(row, n_out);
                            self.mvm.array.apply(z, v, &sums, &self.lines, &draw, buffer);
                        }
                    },
                );
                Ok(())
            })
        })
    }

    /// Output stage of all rows.
    fn convert(
        &self,
        pass: Pass<'_>,
        sign: Sign,
        workspace: &mut Workspace<'_>,
        z: &mut [f32],
        finish: Finish<'_>,
    ) -> Result<()> {
        let (n_out, output) = (self.sizes.n_out, &self.mvm.output);
        let (round, noise) = (self.draw(Stream::OutputRound), self.draw(Stream::OutputNoise));
        let test_negative = self.mvm.repeats.test_negative;
        let rows = z.len() / n_out;
        let (rescale, mask) = match finish {
            Finish::Rescale(mask) => (true, mask),
            Finish::Leave => (false, None),
        };
        let (scales, other) = (&*workspace.scales, &*workspace.other);
        let failed = RowsMut::new(&mut workspace.failed[..rows], 1);
        let mask = mask.map(|mask| RowsMut::new(mask, n_out));
        let rows = (0..rows, (RowsMut::new(z, n_out), failed), mask);
        for_each(pass.par, MANY, rows, &|(rows, (z, failed), mut mask)| {
            let first = rows.start;
            let drawn = if output.is_noisy() { Normals::buffer_len(n_out) } else { 0 };
            scratch::floats(n_out + drawn, |buffer| {
                let (buffer, drawn) = buffer.split_at_mut(n_out);
                let block = sign.block(pass.number);
                let mut normals = Normals::new(noise, block, pass.samples, &rows, drawn, n_out);
                simd::vectors(
                    #[inline(always)]
                    || {
                        let outs = z.data.chunks_exact_mut(n_out).zip(failed.data);
                        for (row, (z, failed)) in rows.zip(outs) {
                            let draws =
                                RoundDraws { round, row: pass.samples.at(row) as u32, block };
                            let normals = if output.is_noisy() { normals.row(row) } else { &[] };
                            let lines = &self.lines;
                            let clipped =
                                output.convert(z, lines, normals, &draws, test_negative, buffer);
                            // The other conversion of a digital sum came before this one.
                            let before = sign == Sign::Positive && *failed != 0;
                            let is_read = scales[row] > 0.0;
                            *failed = u64::from((clipped || before) && is_read);
                            if rescale {
                                let at = (row - first) * n_out;
                                let mask = mask.as_mut().map(|mask| &mut mask.data[at..][..n_out]);
                                self.rescale(row, other, scales[row], z, mask);
                            }
                        }
                    },
                );
                Ok(())
            })
        })
    }

    /// Last stage of one row: from analog units to those of the result. `other` holds the rows of
    /// the other conversion of a digital sum.
    #[inline(always)]
    pub fn rescale(
        &self,
        row: usize,
        other: &[f32],
        scale: f32,
        z: &mut [f32],
        mask: Option<&mut [u8]>,
    ) {
        if scale < 0.0 {
            z.fill(if scale == NAN_ROW { f32::NAN } else { 0.0 });
            return mask.into_iter().for_each(|mask| mask.fill(0));
        }
        let digital = self.mvm.reads == Reads::DigitalSum;
        let other = digital.then(|| &other[row * z.len()..][..z.len()]);
        if let Some(mask) = mask {
            self.mvm.output.mark(z, other, mask);
        }
        let factor = self.mvm.out_scale / scale;
        match other {
            Some(other) => {
                z.iter_mut().zip(other).for_each(|(z, other)| *z = (*z + other) * factor)
            }
            None => z.iter_mut().for_each(|z| *z *= factor),
        }
    }
}

/// The inputs of one sign, zero elsewhere.
fn take_sign<'a>(sign: Sign, v: &[f32], half: &'a mut [f32]) -> &'a [f32] {
    map_into(v, half, |value, _| {
        let keep = if sign == Sign::Negative { value < 0.0 } else { value > 0.0 };
        // NaN belongs to both, so that it is not lost.
        if keep || value.is_nan() { value } else { 0.0 }
    })
}

/// Writes `map(value, position)` of every value to `out`.
fn map_into<'a>(v: &[f32], out: &'a mut [f32], map: impl Fn(f32, usize) -> f32) -> &'a [f32] {
    let out = &mut out[..v.len()];
    for (at, (out, value)) in out.iter_mut().zip(v).enumerate() {
        *out = map(*value, at);
    }
    out
}
