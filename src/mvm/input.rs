//! Input stage: from digital inputs to voltages on the lines.

use super::converter::{Converter, quantise};
use super::management::Sample;
use super::vector::{saturate, scale_negative};
use crate::config::IoParameters;
use crate::rng::Draw;

/// Scaling, DAC, input noise and input asymmetry.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub dac: Converter,
    pub noise: f32,
    pub asymmetry: f32,
}

/// Draws of one sample: their streams and their position.
#[derive(Clone, Copy)]
pub(crate) struct InputDraws {
    pub round: Draw,
    pub noise: Draw,
    pub row: u32,
    pub block: u32,
}

impl Input {
    pub fn new(io: &IoParameters, dac: Converter) -> Self {
        Self { dac, noise: (io.inp_noise as f32).max(0.0), asymmetry: io.inp_asymmetry as f32 }
    }

    /// Writes the line voltages of `sample`, scaled by `scale`, to `out`; `buffer` is as long.
    #[inline(always)]
    pub fn prepare(
        &self,
        sample: &Sample<'_>,
        scale: f32,
        out: &mut [f32],
        draws: &InputDraws,
        buffer: &mut [f32],
    ) {
        if self.dac.stochastic || !self.dac.quantises() {
            self.copy(sample, out, |value| value * scale);
            self.dac.round(out, &draws.round, draws.row, draws.block, buffer);
            for value in out.iter_mut() {
                *value = saturate(*value, self.dac.bound);
            }
        } else {
            let Converter { step, bound, .. } = self.dac;
            self.copy(sample, out, |value| saturate(quantise(value * scale, step), bound));
        }
        if self.noise > 0.0 {
            draws.noise.fill_normal(draws.row, draws.block, buffer);
            for (value, xi) in out.iter_mut().zip(buffer.iter()) {
                *value = self.noise.mul_add(*xi, *value);
            }
        }
        if self.asymmetry != 0.0 {
            scale_negative(out, self.asymmetry);
        }
    }

    #[inline(always)]
    fn copy(&self, sample: &Sample<'_>, out: &mut [f32], map: impl Fn(f32) -> f32) {
        let (lines, last) = out.split_at_mut(sample.given.len());
        for (to, from) in lines.iter_mut().zip(sample.given) {
            *to = map(*from);
        }
        for (to, from) in last.iter_mut().zip(sample.bias) {
            *to = map(from);
        }
    }
}
