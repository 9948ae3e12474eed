//! Digital-analog and analog-digital conversion: rounding to steps, then clipping.

use crate::rng::Draw;

/// A converter: step and bound in analog units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Converter {
    /// Distance of two levels; 0 when there is no quantiser.
    pub step: f32,
    /// Bound on both sides; infinite when there is none.
    pub bound: f32,
    /// Whether rounding is stochastic.
    pub stochastic: bool,
}

impl Converter {
    /// Converter of range `[-bound, bound]` and resolution `resolution`: a fraction of the full
    /// range, or the number of steps when above 1. A bound at or below zero or of infinity means no
    /// converter at all; a resolution at or below zero means no rounding.
    pub fn new(resolution: f64, bound: f64, stochastic: bool) -> Self {
        let bound = bound as f32;
        if bound <= 0.0 || bound.is_infinite() {
            return Self { step: 0.0, bound: f32::INFINITY, stochastic: false };
        }
        let resolution = resolution as f32;
        let fraction = if resolution > 1.0 { 1.0 / resolution } else { resolution };
        // A step that overflows or underflows cannot round anything to a finite level.
        let step = (fraction * 2.0 * bound).max(0.0);
        let step = if step.is_normal() { step } else { 0.0 };
        Self { step, bound, stochastic: stochastic && step > 0.0 }
    }

    /// Whether values round.
    pub fn quantises(&self) -> bool {
        self.step > 0.0
    }

    /// Whether values clip.
    pub fn clips(&self) -> bool {
        self.bound.is_finite()
    }

    /// Rounds half to even, or stochastically with one draw per column of `row` and `block`.
    /// `buffer` is working memory as long as `values`.
    #[inline(always)]
    pub fn round(&self, values: &mut [f32], draw: &Draw, row: u32, block: u32, buffer: &mut [f32]) {
        if self.stochastic {
            draw.fill_uniform(row, block, buffer);
            for (value, uniform) in values.iter_mut().zip(buffer.iter()) {
                *value = (*value / self.step + (uniform - 0.5)).round_ties_even() * self.step;
            }
        } else if self.quantises() {
            for value in values {
                *value = quantise(*value, self.step);
            }
        }
    }
}

/// The nearest multiple of `step`, half-way points to the even one.
#[inline(always)]
pub(super) fn quantise(value: f32, step: f32) -> f32 {
    (value / step).round_ties_even() * step
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_and_fractions_agree() {
        let steps = Converter::new(254.0, 1.0, false);
        assert_eq!(steps, Converter::new(1.0 / 254.0, 1.0, false));
    }

    #[test]
    fn no_bound_means_no_converter() {
        for bound in [0.0, -1.0, f64::INFINITY] {
            let converter = Converter::new(1.0 / 126.0, bound, true);
            assert!(!converter.quantises() && !converter.clips() && !converter.stochastic);
        }
    }

    #[test]
    fn half_way_goes_to_the_even_level() {
        for (value, level) in [(0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (-0.5, 0.0), (-1.5, -2.0)] {
            assert_eq!(quantise(value * 0.25, 0.25), level * 0.25);
        }
    }

    proptest! {
        /// Nearest, odd and idempotent. One rounding of the division and one of the product move
        /// the result by at most two units in the last place of the value.
        #[test]
        fn quantiser_properties(value in -1.0f32..1.0, steps in 1u32..600) {
            let step = 2.0 / steps as f32;
            let q = quantise(value, step);
            prop_assert!((q - value).abs() <= step / 2.0 + 2.0 * f32::EPSILON);
            prop_assert_eq!(quantise(-value, step), -q);
            prop_assert_eq!(quantise(q, step), q);
        }
    }
}
