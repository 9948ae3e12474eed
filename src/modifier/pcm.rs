//! Phase-change memory: programming noise, variation of the drift, read noise and stuck devices.
//!
//! The numbers are those of the statistical model of Nandakumar et al., "Phase-change memory models for
//! deep learning training and inference", ICECS 2019, in microsiemens. Mean drift is left out: its
//! compensation is assumed.

use super::cells::{ANYWHERE, Cells, DRIFT, FULL, NOISE, READ, RESET, SIDE, VALUE};
use super::normals::{BLOCK, fill_normal};
use crate::config::ModifierParameters;
use crate::devices::math::{exp2, log2};
use crate::rng::Draw;
use crate::simd::{clip, larger, smaller};

/// Programming noise as a polynomial of the relative conductance.
const PROGRAMMING: [f32; 3] = [0.263_48, 1.965, -1.1731];
/// Least relative conductances that logarithms see: of the read noise, where its bound holds long since,
/// and in base 2 of the drift, `log2(1e-6)`.
const LEAST: f32 = 1e-12;
const LEAST_LOG_OF_DRIFT: f32 = -19.931_568;
/// Time of a read in seconds.
const T_READ: f64 = 250e-9;

/// Constants for one matrix.
pub(super) struct Pcm {
    /// Conductance per weight, and the largest of both.
    per_weight: f32,
    wmax: f32,
    g_max: f32,
    /// Strength of programming and read noise.
    noise: f32,
    /// Conductances up to here are zero.
    zero: f32,
    at_reset: f32,
    at_gmax: f32,
    at_random: f32,
    /// Base-2 logarithm of the time in units of the first read, if weights drift.
    log2_time: Option<f32>,
    /// Factor of the read noise at that time.
    read: f32,
}

impl Pcm {
    pub(super) fn new(p: &ModifierParameters, wmax: f32) -> Self {
        let time = p.pcm_t_inference + p.pcm_t0;
        // Before the first half of a read there is nothing to see of its noise.
        let read = ((time + T_READ) / (2.0 * T_READ)).ln().max(0.0).sqrt();
        let noise = p.std_dev.max(0.0);
        Self {
            per_weight: (p.g_max / f64::from(wmax)) as f32,
            wmax,
            g_max: p.g_max as f32,
            noise: noise as f32,
            zero: (p.pcm_zero_thres * noise * f64::from(PROGRAMMING[0])) as f32,
            at_reset: p.pcm_prob_at_reset as f32,
            at_gmax: p.pcm_prob_at_gmax as f32,
            at_random: p.pcm_prob_at_random as f32,
            log2_time: (time > p.pcm_t0).then(|| (time / p.pcm_t0).log2() as f32),
            read: if time > 0.0 { (noise * read) as f32 } else { 0.0 },
        }
    }

    /// Draws per cell, for the estimate of its time.
    pub(super) fn draws(&self) -> f64 {
        let used = [self.log2_time.is_some(), self.read > 0.0, self.at_reset > 0.0]
            .map(|is_used| f64::from(u8::from(is_used)));
        let stuck = [self.at_gmax, self.at_random].map(|p| if p > 0.0 { 2.0 } else { 0.0 });
        1.0 + used.iter().sum::<f64>() + stuck.iter().sum::<f64>()
    }

    /// Writes what becomes of some weights. Loops go over whole chunks, which the compiler vectorises.
    #[inline(always)]
    pub(super) fn apply(&self, draw: &Draw, cells: Cells<'_>) {
        let Cells { row, first, weights, modified } = cells;
        let len = weights.len();
        let (mut g, mut signs) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
        for ((g, sign), w) in g.iter_mut().zip(&mut signs).zip(weights) {
            let conductance = clip_to(*w, self.wmax) * self.per_weight;
            *g = if conductance.abs() <= self.zero { 0.0 } else { conductance };
            *sign = if *g < 0.0 { -1.0 } else { 1.0 };
        }
        self.stick(draw, row, first, len, &mut g);
        let mut normals = [0.0f32; BLOCK];
        fill_normal(draw, [first, len], row, NOISE, &mut normals);
        let [a, b, c] = PROGRAMMING;
        for at in 0..BLOCK {
            // What is at zero stays there.
            signs[at] = if g[at] == 0.0 { 0.0 } else { signs[at] };
            let relative = g[at].abs() / self.g_max;
            let strength = self.noise * c.mul_add(relative, b).mul_add(relative, a);
            g[at] = strength.mul_add(normals[at], g[at]);
        }
        let mut logarithms = [0.0f32; BLOCK];
        if self.log2_time.is_some() || self.read > 0.0 {
            for at in 0..BLOCK {
                logarithms[at] = log2_of(g[at].abs() / self.g_max, LEAST);
            }
        }
        if let Some(log2_time) = self.log2_time {
            fill_normal(draw, [first, len], row, DRIFT, &mut normals);
            for at in 0..BLOCK {
                let log = larger(logarithms[at], LEAST_LOG_OF_DRIFT) * std::f32::consts::LN_2;
                let spread = clip((-0.0125f32).mul_add(log, -0.0059), 0.008, 0.045);
                g[at] *= exp2(-(spread * normals[at]).abs() * log2_time);
            }
        }
        if self.read > 0.0 {
            fill_normal(draw, [first, len], row, READ, &mut normals);
            for at in 0..BLOCK {
                let strength = smaller(0.0088 / larger(exp2(0.65 * logarithms[at]), 1e-3), 0.2);
                g[at] = (g[at].abs() * strength * self.read).mul_add(normals[at], g[at]);
            }
        }
        for ((out, g), sign) in modified.iter_mut().zip(&g).zip(&signs) {
            *out = sign * (g.abs() / self.per_weight);
        }
    }

    /// Moves the conductances of stuck devices to where they are stuck.
    #[inline(always)]
    fn stick(&self, draw: &Draw, row: u32, first: usize, len: usize, g: &mut [f32; BLOCK]) {
        let (mut chances, mut values) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
        if self.at_reset > 0.0 {
            draw.fill_uniform_from(first, row, RESET, &mut chances[..len]);
            for at in 0..BLOCK {
                g[at] = if chances[at] < self.at_reset { 0.0 } else { g[at] };
            }
        }
        if self.at_gmax > 0.0 {
            draw.fill_uniform_from(first, row, FULL, &mut chances[..len]);
            draw.fill_uniform_from(first, row, SIDE, &mut values[..len]);
            for at in 0..BLOCK {
                let full = if values[at] < 0.5 { self.g_max } else { -self.g_max };
                g[at] = if chances[at] < self.at_gmax { g[at] + full } else { g[at] };
            }
        }
        if self.at_random > 0.0 {
            draw.fill_uniform_from(first, row, ANYWHERE, &mut chances[..len]);
            draw.fill_uniform_from(first, row, VALUE, &mut values[..len]);
            for at in 0..BLOCK {
                // Above 0, up to 1.
                let size = (1.0 - values[at]) * self.g_max;
                let anywhere = if g[at] > 0.0 { size } else { -size };
                g[at] = if chances[at] < self.at_random { anywhere } else { g[at] };
            }
        }
        for at in 0..BLOCK {
            g[at] = clip_to(g[at], self.g_max);
        }
    }
}

/// A value between `-bound` and `bound`, or NaN.
#[inline(always)]
fn clip_to(value: f32, bound: f32) -> f32 {
    // The second operand comes back where one is NaN.
    let value = smaller(bound, value);
    larger(-bound, value)
}

/// Base-2 logarithm of `x`, at least that of `least`.
#[inline(always)]
fn log2_of(x: f32, least: f32) -> f32 {
    log2(if x > least { x } else { least })
}
