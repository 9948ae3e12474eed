//! Frozen values of the lines: drawn once per tile and direction.

use super::direction::Direction;
use crate::config::{IoParameters, NoiseManagement};
use crate::error::Result;
use crate::memory;
use crate::par;
use crate::rng::{Draw, Key, Stream};

/// Names without and with a running average.
const NAMES: [&str; 6] = [
    "out_noise_values",
    "v_offset",
    "w_asymmetry",
    "out_nonlinearity",
    "out_nonlinearity_factor",
    "running_abs_max",
];

/// Value of `running_abs_max` before the first sample.
const UNSET: f32 = -1.0;

/// Frozen values of one direction; a slice is empty where the parameters do not use it.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a> {
    /// Standard deviation of the output noise, per output line.
    pub out_noise_values: &'a [f32],
    /// Relative voltage offset, per output line.
    pub v_offset: &'a [f32],
    /// Factor on the weights for negative inputs, `[d_size, x_size]`.
    pub w_asymmetry: &'a [f32],
    /// Strength of the output compression, per output line.
    pub out_nonlinearity: &'a [f32],
    /// Factor that calibrates the slope of the output compression.
    pub out_nonlinearity_factor: f32,
}

impl Default for Lines<'_> {
    fn default() -> Self {
        Self {
            out_noise_values: &[],
            v_offset: &[],
            w_asymmetry: &[],
            out_nonlinearity: &[],
            out_nonlinearity_factor: 1.0,
        }
    }
}

/// Parameters of the distributions of the frozen values.
#[derive(Debug, Clone)]
pub(super) struct Frozen {
    stream: Stream,
    average: bool,
    v_offset: Option<f32>,
    nonlinearity: Option<[f32; 2]>,
    r_series: f32,
    /// Slope calibration in units of the output: fraction times bound.
    calibration: f32,
    w_asymmetry: Option<f32>,
    out_noise: Option<[f32; 2]>,
}

impl Frozen {
    pub fn new(io: &IoParameters, direction: Direction) -> Self {
        let used = !io.ideal();
        let keep = |condition: bool| used && condition;
        let positive = |value: f64| value.max(0.0) as f32;
        let bound = io.out_bound as f32;
        let bound = if bound > 0.0 && bound.is_finite() { bound } else { 1.0 };
        let series = io.r_series > 0.0;
        let nonlinearity =
            [positive(io.out_nonlinearity) / bound, positive(io.out_nonlinearity_std)];
        Self {
            stream: match direction {
                Direction::Forward => Stream::FrozenForward,
                Direction::Backward => Stream::FrozenBackward,
            },
            average: keep(io.noise_management == NoiseManagement::AverageAbsMax),
            v_offset: keep(io.v_offset_std > 0.0 || series).then_some(positive(io.v_offset_std)),
            nonlinearity: keep(io.out_nonlinearity > 0.0 || series).then_some(nonlinearity),
            r_series: positive(io.r_series),
            calibration: if used { positive(io.slope_calibration) * bound } else { 0.0 },
            w_asymmetry: keep(io.w_read_asymmetry_dtod != 0.0)
                .then_some(io.w_read_asymmetry_dtod as f32),
            out_noise: keep(io.out_noise_std > 0.0)
                .then_some([positive(io.out_noise), io.out_noise_std as f32]),
        }
    }

    pub fn names(&self) -> &'static [&'static str] {
        if self.average { &NAMES } else { &NAMES[..5] }
    }

    pub fn draw(
        &self,
        key: Key,
        n_out: usize,
        d_size: usize,
        x_size: usize,
    ) -> Result<Vec<(&'static str, Vec<f32>)>> {
        let draw = key.stream(self.stream);
        let nonlinearity = self.nonlinearity.map(|[strength, spread]| {
            normals(&draw, 1, n_out, |xi| (strength * (1.0 + spread * xi)).abs())
        });
        let nonlinearity = nonlinearity.transpose()?;
        let factor = self.factor(nonlinearity.as_deref().unwrap_or(&[]));
        let out_noise = self.out_noise.map(|[noise, spread]| {
            normals(&draw, 3, n_out, |xi| (noise * (1.0 + spread * xi)).abs())
        });
        let v_offset = self.v_offset.map(|std| normals(&draw, 0, n_out, |xi| (std * xi).max(0.0)));
        let w_asymmetry = self.w_asymmetry.map(|std| asymmetry(&draw, d_size, x_size, std));
        let average = self.average.then(|| vec![UNSET]);
        let values = [
            out_noise.transpose()?,
            v_offset.transpose()?,
            w_asymmetry.transpose()?,
            nonlinearity,
            Some(vec![factor]),
            average,
        ];
        Ok(NAMES.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?))).collect())
    }

    /// The factor that makes the slope of the compression 1 at the calibrated output.
    fn factor(&self, nonlinearity: &[f32]) -> f32 {
        let mean = nonlinearity.iter().sum::<f32>() / nonlinearity.len().max(1) as f32;
        (1.0 + (mean + self.r_series) * self.calibration).powi(2)
    }
}

/// One value per line from standard normals of block `block`.
fn normals(draw: &Draw, block: u32, len: usize, map: impl Fn(f32) -> f32) -> Result<Vec<f32>> {
    let mut values = memory::filled(0.0, len)?;
    draw.fill_normal(0, block, &mut values);
    values.iter_mut().for_each(|value| *value = map(*value));
    Ok(values)
}

/// Time to draw a normal where the compiler has no wide vectors.
const NORMAL_NS: f64 = 20.0;

/// `1 + std xi` per crosspoint.
fn asymmetry(draw: &Draw, d_size: usize, x_size: usize, std: f32) -> Result<Vec<f32>> {
    let mut values = memory::filled(0.0, d_size * x_size)?;
    let group = par::rows_per_check(x_size as f64 * NORMAL_NS);
    for (row, part) in values.chunks_exact_mut(x_size).enumerate() {
        if (row + 1).is_multiple_of(group) {
            par::check_interrupt()?;
        }
        draw.fill_normal(row as u32, 2, part);
        part.iter_mut().for_each(|value| *value = 1.0 + std * *value);
    }
    Ok(values)
}
