//! Phase-change memory: programming noise, variation of the drift, read noise and stuck devices.
//!
//! The numbers are those of the statistical model of Nandakumar et al., "Phase-change memory models for
//! deep learning training and inference", ICECS 2019, in microsiemens. Mean drift is left out: its
//! compensation is assumed.

use super::formula::{Cells, NOISE};
use crate::config::ModifierParameters;
use crate::devices::math::{exp2, log2};
use crate::rng::{CHUNK, Draw};
use crate::simd::clip;

/// Programming noise as a polynomial of the relative conductance.
const PROGRAMMING: [f32; 3] = [0.263_48, 1.965, -1.1731];
/// Time of a read in seconds.
const T_READ: f64 = 250e-9;

/// Blocks of the draws of an element, beside those of all kinds.
const DRIFT: u32 = 3;
const READ: u32 = 4;
const RESET: u32 = 5;
const FULL: u32 = 6;
const SIDE: u32 = 7;
const ANYWHERE: u32 = 8;
const VALUE: u32 = 9;

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

    /// Writes what becomes of some weights.
    #[inline(always)]
    pub(super) fn apply(&self, draw: &Draw, cells: Cells<'_>) {
        let Cells { row, first, weights, modified } = cells;
        let len = weights.len();
        let mut draws = [[0.0f32; CHUNK]; 2];
        let mut g = [0.0f32; CHUNK];
        for (g, w) in g.iter_mut().zip(weights) {
            let conductance = w.clamp(-self.wmax, self.wmax) * self.per_weight;
            *g = if conductance.abs() <= self.zero { 0.0 } else { conductance };
        }
        for (out, g) in modified.iter_mut().zip(&g) {
            *out = if *g < 0.0 { -1.0 } else { 1.0 };
        }
        let g = &mut g[..len];
        self.stick(draw, row, first, g, &mut draws);
        let [normals, others] = &mut draws;
        let (normals, others) = (&mut normals[..len], &mut others[..len]);
        draw.fill_normal_from(first, row, NOISE, normals);
        let [a, b, c] = PROGRAMMING;
        // What is at zero stays there: the noise of the others never makes a zero.
        let mut idle = [0.0f32; CHUNK];
        for at in 0..len {
            idle[at] = f32::from(u8::from(g[at] == 0.0));
            let relative = g[at].abs() / self.g_max;
            let strength = self.noise * c.mul_add(relative, b).mul_add(relative, a);
            g[at] = strength.mul_add(normals[at], g[at]);
        }
        let programmed = &mut *normals;
        programmed.copy_from_slice(g);
        if let Some(log2_time) = self.log2_time {
            draw.fill_normal_from(first, row, DRIFT, others);
            for at in 0..len {
                let log = log2_of(programmed[at].abs() / self.g_max, 1e-6);
                let spread = (-0.0125f32).mul_add(log * std::f32::consts::LN_2, -0.0059);
                let exponent = (clip(spread, 0.008, 0.045) * others[at]).abs();
                g[at] *= exp2(-exponent * log2_time);
            }
        }
        if self.read > 0.0 {
            draw.fill_normal_from(first, row, READ, others);
            for at in 0..len {
                let power = exp2(0.65 * log2_of(programmed[at].abs() / self.g_max, 1e-12));
                let strength = (0.0088 / power.max(1e-3)).min(0.2);
                g[at] = (g[at].abs() * strength * self.read).mul_add(others[at], g[at]);
            }
        }
        for at in 0..len {
            let size = g[at].abs() / self.per_weight;
            modified[at] = if idle[at] > 0.0 { 0.0 } else { modified[at] * size };
        }
    }

    /// Moves the conductances of stuck devices to where they are stuck.
    #[inline(always)]
    fn stick(
        &self,
        draw: &Draw,
        row: u32,
        first: usize,
        g: &mut [f32],
        draws: &mut [[f32; CHUNK]; 2],
    ) {
        let [chances, values] = draws;
        let (chances, values) = (&mut chances[..g.len()], &mut values[..g.len()]);
        if self.at_reset > 0.0 {
            draw.fill_uniform_from(first, row, RESET, chances);
            for (g, chance) in g.iter_mut().zip(&*chances) {
                *g = if *chance < self.at_reset { 0.0 } else { *g };
            }
        }
        if self.at_gmax > 0.0 {
            draw.fill_uniform_from(first, row, FULL, chances);
            draw.fill_uniform_from(first, row, SIDE, values);
            for ((g, chance), side) in g.iter_mut().zip(&*chances).zip(&*values) {
                let full = if *side < 0.5 { self.g_max } else { -self.g_max };
                *g = if *chance < self.at_gmax { *g + full } else { *g };
            }
        }
        if self.at_random > 0.0 {
            draw.fill_uniform_from(first, row, ANYWHERE, chances);
            draw.fill_uniform_from(first, row, VALUE, values);
            for ((g, chance), value) in g.iter_mut().zip(&*chances).zip(&*values) {
                // Above 0, up to 1.
                let size = (1.0 - value) * self.g_max;
                let anywhere = if *g > 0.0 { size } else { -size };
                *g = if *chance < self.at_random { anywhere } else { *g };
            }
        }
        g.iter_mut().for_each(|g| *g = g.clamp(-self.g_max, self.g_max));
    }
}

/// Base-2 logarithm of `x`, at least that of `least`.
#[inline(always)]
fn log2_of(x: f32, least: f32) -> f32 {
    log2(if x > least { x } else { least })
}
