//! What becomes of a weight, by kind of modifier.

use super::cells::{Cells, NOISE, ROUND};
use super::normals::{BLOCK, fill_normal};
use super::pcm::Pcm;
use crate::config::{ModifierParameters, ModifierType};
use crate::devices::math::exp;
use crate::rng::Draw;

/// A formula, with its constants for one matrix.
pub(super) enum Formula<'a> {
    /// The weight.
    Keep,
    /// The nearest level and noise of one strength.
    Levels { levels: Levels, noise: f32 },
    /// Noise in proportion to the weight.
    Proportional { noise: f32 },
    /// The nearest level of the scaled hyperbolic tangent.
    Tangent { levels: Levels, scale: f32 },
    /// Noise whose strength is `noise` times a polynomial of `|w| / wmax`.
    Polynomial { coeffs: &'a [f32], wmax: f32, noise: f32, keeps_sign: bool },
    /// Phase-change memory.
    Pcm(Pcm),
}

/// Multiples of a step, to which values are rounded.
#[derive(Clone, Copy)]
pub(super) struct Levels {
    /// Distance of two levels; 0 where nothing is rounded.
    step: f32,
    is_random: bool,
}

impl Levels {
    fn new(step: f64, is_random: bool) -> Self {
        let step = step as f32;
        // By a step that overflows or underflows nothing can be divided.
        Self { step: if step.is_normal() && step > 0.0 { step } else { 0.0 }, is_random }
    }

    /// Rounds in place, half-way points away from zero; at random up or down in proportion to the
    /// distance.
    #[inline(always)]
    fn round(self, values: &mut [f32], draw: &Draw, row: u32, first: usize) {
        let step = self.step;
        if step == 0.0 {
            return;
        }
        if self.is_random {
            let mut uniforms = [0.0; BLOCK];
            let uniforms = &mut uniforms[..values.len()];
            draw.fill_uniform_from(first, row, ROUND, uniforms);
            for (value, u) in values.iter_mut().zip(&*uniforms) {
                *value = (*value / step + (u - 0.5)).round() * step;
            }
        } else {
            values.iter_mut().for_each(|value| *value = (*value / step).round() * step);
        }
    }
}

impl<'a> Formula<'a> {
    /// The formula of a kind that changes something, for weights up to `wmax`.
    pub(super) fn new(p: &ModifierParameters, coeffs: &'a [f32], wmax: f32) -> Self {
        let size = f64::from(wmax);
        let noise = p.std_dev.max(0.0);
        let levels = Levels::new(p.res * size, p.sto_round);
        match p.kind {
            ModifierType::None | ModifierType::DropConnect | ModifierType::Copy => Self::Keep,
            ModifierType::Discretize => Self::Levels { levels, noise: 0.0 },
            ModifierType::AddNormal => {
                let levels = Levels::new(0.0, false);
                Self::Levels { levels, noise: (noise * size) as f32 }
            }
            ModifierType::DiscretizeAddNormal => {
                Self::Levels { levels, noise: (noise * size) as f32 }
            }
            ModifierType::MultNormal => Self::Proportional { noise: (noise * size) as f32 },
            ModifierType::Dorefa => {
                let levels = Levels::new(p.res, p.sto_round);
                let scale = (p.dorefa_clip / size.tanh()).abs();
                // Of weights below 1e-38 it is beyond f32, and infinity times zero is not a number.
                Self::Tangent { levels, scale: scale.min(f64::from(f32::MAX)) as f32 }
            }
            ModifierType::Poly => {
                let noise = (noise * size) as f32;
                Self::Polynomial { coeffs, wmax, noise, keeps_sign: false }
            }
            ModifierType::ProgNoise => {
                let noise = (noise / p.g_max * size) as f32;
                Self::Polynomial { coeffs, wmax, noise, keeps_sign: true }
            }
            ModifierType::PcmNoise => Self::Pcm(Pcm::new(p, wmax)),
        }
    }

    /// Draws per cell, for the estimate of its time.
    pub(super) fn draws(&self) -> f64 {
        match self {
            Self::Keep => 0.0,
            Self::Levels { levels, noise } => {
                f64::from(u8::from(levels.is_random)) + f64::from(u8::from(*noise > 0.0))
            }
            Self::Tangent { .. } | Self::Proportional { .. } | Self::Polynomial { .. } => 1.0,
            Self::Pcm(pcm) => pcm.draws(),
        }
    }

    /// Writes what becomes of some weights.
    #[inline(always)]
    pub(super) fn apply(&self, draw: &Draw, cells: Cells<'_>) {
        let Cells { row, first, weights, modified } = cells;
        match self {
            Self::Keep => modified.copy_from_slice(weights),
            Self::Levels { levels, noise } if levels.step == 0.0 => {
                let normals = normals(draw, row, first, weights.len());
                for ((out, w), xi) in modified.iter_mut().zip(weights).zip(&normals) {
                    *out = noise.mul_add(*xi, *w);
                }
            }
            Self::Levels { levels, noise } => {
                modified.copy_from_slice(weights);
                levels.round(modified, draw, row, first);
                if *noise > 0.0 {
                    let normals = normals(draw, row, first, weights.len());
                    for (out, xi) in modified.iter_mut().zip(&normals) {
                        *out = noise.mul_add(*xi, *out);
                    }
                }
            }
            Self::Proportional { noise } => {
                let normals = normals(draw, row, first, weights.len());
                for ((out, w), xi) in modified.iter_mut().zip(weights).zip(&normals) {
                    *out = (w * noise).mul_add(*xi, *w);
                }
            }
            Self::Tangent { levels, scale } => {
                for (out, w) in modified.iter_mut().zip(weights) {
                    *out = tanh(*w) * scale;
                }
                levels.round(modified, draw, row, first);
            }
            Self::Polynomial { coeffs, wmax, noise, keeps_sign } => {
                let normals = normals(draw, row, first, weights.len());
                let strengths = &mut polynomial(coeffs, *wmax, weights)[..weights.len()];
                strengths.iter_mut().for_each(|strength| *strength *= noise);
                let cells = modified.iter_mut().zip(weights).zip(&*strengths).zip(&normals);
                for (((out, w), strength), xi) in cells {
                    let noisy = strength.mul_add(*xi, *w);
                    let kept = if *w < 0.0 { -noisy.abs() } else { noisy.abs() };
                    *out = if *keeps_sign { kept } else { noisy };
                }
            }
            Self::Pcm(pcm) => pcm.apply(draw, Cells { row, first, weights, modified }),
        }
    }
}

/// Standard normal draws of the cells.
#[inline(always)]
fn normals(draw: &Draw, row: u32, first: usize, len: usize) -> [f32; BLOCK] {
    let mut normals = [0.0; BLOCK];
    fill_normal(draw, [first, len], row, NOISE, &mut normals);
    normals
}

/// The polynomial of `|w| / wmax`, with the constant term first.
#[inline(always)]
fn polynomial(coeffs: &[f32], wmax: f32, weights: &[f32]) -> [f32; BLOCK] {
    let (mut relative, mut values) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
    for (relative, w) in relative.iter_mut().zip(weights) {
        *relative = w.abs() / wmax;
    }
    for coeff in coeffs.iter().rev() {
        for at in 0..BLOCK {
            values[at] = values[at].mul_add(relative[at], *coeff);
        }
    }
    values
}

/// Hyperbolic tangent; absolute error below 2e-7.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let tangent = 1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0);
    if x.is_nan() { x } else { tangent.copysign(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tangents_match_double_precision() {
        for i in -200_000..=200_000 {
            let x = i as f32 * 1e-4;
            assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() < 2e-7, "tanh({x})");
        }
        assert_eq!([tanh(0.0), tanh(1e30), tanh(-1e30)], [0.0, 1.0, -1.0]);
        assert!(tanh(f32::NAN).is_nan());
    }

    #[test]
    fn polynomials_begin_with_the_constant_term() {
        let values = polynomial(&[1.0, 2.0, 3.0], 2.0, &[0.0, -1.0, 2.0]);
        assert_eq!(values[..3], [1.0, 2.75, 6.0]);
    }
}
