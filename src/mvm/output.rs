//! Output stage: from currents on the lines to digital outputs.

use super::converter::Converter;
use super::lines::Lines;
use super::vector::{saturate, scale_negative};
use crate::config::IoParameters;
use crate::rng::Draw;

/// Non-linearity, output asymmetry, output noise, ADC and bound test.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub adc: Converter,
    pub noise: f32,
    /// Whether the noise differs from line to line.
    pub line_noise: bool,
    /// Whether the compression acts.
    pub nonlinear: bool,
    pub asymmetry: f32,
}

/// Draws of the rounding of one conversion: their stream and their position.
#[derive(Clone, Copy)]
pub(crate) struct RoundDraws {
    pub round: Draw,
    pub row: u32,
    pub block: u32,
}

impl Output {
    pub fn new(io: &IoParameters, adc: Converter) -> Self {
        Self {
            adc,
            noise: (io.out_noise as f32).max(0.0),
            line_noise: io.out_noise_std > 0.0,
            nonlinear: io.out_nonlinearity > 0.0 || io.r_series > 0.0,
            asymmetry: io.out_asymmetry as f32,
        }
    }

    /// Whether there is noise.
    pub fn is_noisy(&self) -> bool {
        self.line_noise || self.noise != 0.0
    }

    /// Converts one row in place and clips it. Returns whether a value was above the bound, or below
    /// the negative one where `test_negative` is set. `normals` are those of the noise, none without it;
    /// `buffer` is as long as the row.
    #[inline(always)]
    pub fn convert(
        &self,
        z: &mut [f32],
        lines: &Lines<'_>,
        normals: &[f32],
        draws: &RoundDraws,
        test_negative: bool,
        buffer: &mut [f32],
    ) -> bool {
        if self.nonlinear {
            let factor = lines.out_nonlinearity_factor;
            for (value, strength) in z.iter_mut().zip(lines.out_nonlinearity) {
                *value = factor * *value / (1.0 + (strength * *value).abs());
            }
        }
        if self.asymmetry != 0.0 {
            scale_negative(z, self.asymmetry);
        }
        self.add_noise(z, lines, normals);
        self.adc.round(z, &draws.round, draws.row, draws.block, buffer);
        self.adc.clips() && self.test_and_clip(z, test_negative)
    }

    #[inline(always)]
    fn add_noise(&self, z: &mut [f32], lines: &Lines<'_>, normals: &[f32]) {
        if self.line_noise {
            for ((value, sigma), xi) in z.iter_mut().zip(lines.out_noise_values).zip(normals) {
                *value = sigma.mul_add(*xi, *value);
            }
        } else if self.noise != 0.0 {
            for (value, xi) in z.iter_mut().zip(normals) {
                *value = self.noise.mul_add(*xi, *value);
            }
        }
    }

    #[inline(always)]
    fn test_and_clip(&self, z: &mut [f32], test_negative: bool) -> bool {
        let bound = self.adc.bound;
        let lower = if test_negative { -bound } else { f32::NEG_INFINITY };
        let mut violated = 0u32;
        for value in z {
            violated |= u32::from(*value > bound) | u32::from(*value < lower);
            *value = saturate(*value, bound);
        }
        violated != 0
    }

    /// Marks the clipped values of `z`; with a second conversion, where both are at the bound.
    #[inline(always)]
    pub fn mark(&self, z: &[f32], other: Option<&[f32]>, mask: &mut [u8]) {
        if !self.adc.clips() {
            return mask.fill(0);
        }
        let bound = self.adc.bound;
        for (flag, value) in mask.iter_mut().zip(z) {
            *flag = u8::from(value.abs() >= bound);
        }
        for (flag, value) in mask.iter_mut().zip(other.unwrap_or(&[])) {
            *flag &= u8::from(value.abs() >= bound);
        }
    }
}
