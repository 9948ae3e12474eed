//! Non-idealities inside the array: wire resistance, voltage offsets, series resistance and
//! output-referred weight noise.

use std::ops::Range;

use super::lines::Lines;
use super::vector::{sum, sum_squares};
use crate::config::{IoParameters, WeightNoise};
use crate::rng::Draw;

/// Strengths of the non-idealities of the array; zero is off.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub ir_drop: f32,
    /// Number of input lines.
    inputs: usize,
    /// Position of the first one that a product has; 0 unless it is that of a single line.
    pub first: usize,
    /// Input lines over the conductance ratio of wire and device.
    pub wire: f32,
    offsets: bool,
    pub r_series: f32,
    pub w_min: f32,
    pub w_noise: f32,
    pub noise: WeightNoise,
}

/// What the non-idealities of one row need besides the product: sums over its inputs, per output.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sums<'a> {
    /// `sum_j |W_ij| |v_j|`; empty without wire resistance.
    pub current: &'a [f32],
    /// `sum_j W_ij v_j (1 - (1 - j/n)^2)`; empty without wire resistance.
    pub placed: &'a [f32],
    /// `sum_j D(W_ij) v_j^2` with [`Array::noise_density`]; empty unless the weight noise needs it.
    pub power: &'a [f32],
}

impl Sums<'_> {
    /// Those of row `row` of `n_out` outputs each.
    #[inline(always)]
    pub fn row(&self, row: usize, n_out: usize) -> Self {
        let part = |values: &'_ [f32]| -> Range<usize> {
            if values.is_empty() { 0..0 } else { row * n_out..(row + 1) * n_out }
        };
        Self {
            current: &self.current[part(self.current)],
            placed: &self.placed[part(self.placed)],
            power: &self.power[part(self.power)],
        }
    }
}

/// Draw of the weight noise of one row and its position.
#[derive(Clone, Copy)]
pub(crate) struct ArrayDraw {
    pub noise: Draw,
    pub row: u32,
    pub block: u32,
}

impl Array {
    pub fn new(io: &IoParameters, n_in: usize) -> Self {
        let positive = |value: f64| value.max(0.0) as f32;
        let w_noise = positive(io.w_noise);
        Self {
            ir_drop: positive(io.ir_drop),
            inputs: n_in,
            first: 0,
            wire: n_in as f32 / io.ir_drop_g_ratio as f32,
            offsets: io.v_offset_std > 0.0 || io.r_series > 0.0,
            r_series: positive(io.r_series),
            w_min: io.v_offset_w_min as f32,
            w_noise,
            noise: if w_noise > 0.0 { io.w_noise_type } else { WeightNoise::None },
        }
    }

    /// Whether wire resistance acts.
    pub fn wires(&self) -> bool {
        self.ir_drop > 0.0
    }

    /// Weight of input number `at` of a product in the voltage drop: none at the first line of the array.
    #[inline(always)]
    pub fn placement(&self, at: usize) -> f32 {
        let rest = 1.0 - (self.first + at) as f32 / self.inputs as f32;
        1.0 - rest * rest
    }

    /// Whether voltage offsets or series resistance act.
    pub fn offsets(&self) -> bool {
        self.offsets
    }

    /// Whether the weight noise needs the power in each output line.
    pub fn power_noise(&self) -> bool {
        matches!(self.noise, WeightNoise::PcmRead | WeightNoise::Relative)
    }

    /// Variance of the noise on a weight `w`, in units of `w_noise^2`.
    #[inline(always)]
    pub fn noise_density(&self, w: f32) -> f32 {
        if self.noise == WeightNoise::Relative { w * w } else { w.abs() }
    }

    /// Whether nothing acts.
    pub fn ideal(&self) -> bool {
        !self.wires() && !self.offsets && self.noise == WeightNoise::None
    }

    /// Applies everything to the row `y` of products of the inputs `v`; `buffer` is as long as `y`.
    #[inline(always)]
    pub fn apply(
        &self,
        y: &mut [f32],
        v: &[f32],
        sums: &Sums<'_>,
        lines: &Lines<'_>,
        draw: &ArrayDraw,
        buffer: &mut [f32],
    ) {
        if self.wires() {
            self.drop_voltage(y, sums);
        }
        if self.offsets {
            self.offset(y, sum(v), lines.v_offset);
        }
        if self.noise != WeightNoise::None {
            draw.noise.fill_normal(draw.row, draw.block, buffer);
        }
        match self.noise {
            WeightNoise::None => {}
            WeightNoise::AdditiveConstant => {
                let sigma = self.w_noise * sum_squares(v).sqrt();
                for (value, xi) in y.iter_mut().zip(buffer) {
                    *value = sigma.mul_add(*xi, *value);
                }
            }
            WeightNoise::PcmRead | WeightNoise::Relative => {
                for ((value, power), xi) in y.iter_mut().zip(sums.power).zip(buffer) {
                    *value = (self.w_noise * power.max(0.0).sqrt()).mul_add(*xi, *value);
                }
            }
        }
    }

    /// Static voltage drop along the wires: a cubic in the line's current, placed by the inputs.
    #[inline(always)]
    fn drop_voltage(&self, y: &mut [f32], sums: &Sums<'_>) {
        for ((value, current), placed) in y.iter_mut().zip(sums.current).zip(sums.placed) {
            // Equal currents of all inputs, of mean placement 2/3, lose what a line with uniform load
            // does, `1 - tanh(sqrt(a)) / sqrt(a) = a/3 - 2/15 a^2 + 17/315 a^3 - ...`: the first two
            // terms are these, the third is smaller and stands for the rest (exact 0.238, here 0.233
            // at `a = 1`; 0.372 and 0.400 at 2).
            let a = self.wire * current;
            let c = a * (a * (0.05 * a - 0.2) + 0.5);
            *value -= self.ir_drop * c * placed;
        }
    }

    /// Voltage offset and series resistance, with the implicit reference device where it has one.
    #[inline(always)]
    fn offset(&self, y: &mut [f32], total: f32, v_offset: &[f32]) {
        let r = self.r_series;
        if self.w_min == 0.0 {
            for (value, o) in y.iter_mut().zip(v_offset) {
                *value = (1.0 - o) * *value / (1.0 + r * value.abs());
            }
            return;
        }
        let reference = -self.w_min * total;
        let reference_current = reference / (1.0 + r * reference.abs());
        for (value, o) in y.iter_mut().zip(v_offset) {
            let p = *value + reference;
            *value = (1.0 - o) * p / (1.0 + r * p.abs()) - (1.0 + o) * reference_current;
        }
    }
}
