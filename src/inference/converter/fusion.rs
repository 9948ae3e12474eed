//! One device per weight, whose sign is kept digitally.

use super::base::{ConductanceConverter, Conductances, Scale, check_devices};
use crate::config::{params, require};
use crate::error::{Error, Result, shown};
use crate::memory;

/// Smallest largest weight of a row that a scale is computed from.
const SMALLEST_ROW: f32 = 1e-10;

params! {
    /// Absolute weights of each row scaled to the range of the devices of the Fusion test chip.
    ///
    /// Signs, and what a row of conductances is worth, are taken from the original weights when
    /// conductances are converted back: by the least-squares line through both, whose offset is dropped.
    pub struct FusionConductanceConverter {
        /// Largest conductance in µS, between 10 and 40.
        g_max: real = 40.0;
    }
}

impl FusionConductanceConverter {
    /// Devices with a largest conductance in µS, between 10 and 40.
    ///
    /// # Errors
    /// [`Error::Config`] for another one.
    pub fn new(g_max: f64) -> Result<Self> {
        let converter = Self { g_max };
        converter.validate("g_converter")?;
        Ok(converter)
    }
}

impl ConductanceConverter for FusionConductanceConverter {
    fn g_max(&self) -> f64 {
        self.g_max
    }

    fn g_min(&self) -> f64 {
        0.0
    }

    fn devices(&self) -> usize {
        1
    }

    fn validate(&self, path: &str) -> Result<()> {
        let why = format!("expected between 10 and 40, got {}", shown(self.g_max));
        require((10.0..=40.0).contains(&self.g_max), path, "g_max", why)
    }

    fn convert_to_conductances(&self, weights: &[f32], columns: usize) -> Result<Conductances> {
        let g_max = self.g_max as f32;
        let mut values = memory::copied(weights)?;
        for row in values.chunks_mut(columns.max(1)) {
            let largest = row.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
            let scale = g_max / largest.max(SMALLEST_ROW);
            row.iter_mut().for_each(|g| *g = (g.abs() * scale).min(g_max));
        }
        let original_weights = memory::copied(weights)?;
        Ok(Conductances {
            values: vec![values],
            params: Scale { original_weights, ..Scale::default() },
        })
    }

    fn convert_back_to_weights(
        &self,
        conductances: &[Vec<f32>],
        columns: usize,
        params: &Scale,
    ) -> Result<Vec<f32>> {
        let len = check_devices(conductances, 1)?;
        Error::check_len("original_weights", params.original_weights.len(), len)?;
        let mut weights = memory::copied(&conductances[0])?;
        let columns = columns.max(1);
        let rows = weights.chunks_mut(columns).zip(params.original_weights.chunks(columns));
        for (row, wanted) in rows {
            // The sign of zero is zero.
            let sign = |w: f32| if w == 0.0 { 0.0 } else { w.signum() };
            row.iter_mut().zip(wanted).for_each(|(g, w)| *g *= sign(*w));
            let slope = slope(row, wanted);
            row.iter_mut().for_each(|g| *g = (slope * f64::from(*g)) as f32);
        }
        Ok(weights)
    }
}

/// Slope of the least-squares line through points; of the line through the origin where all have one place.
fn slope(x: &[f32], y: &[f32]) -> f64 {
    let count = x.len() as f64;
    let is_flat = x.iter().all(|value| *value == x[0]);
    let mean = |values: &[f32]| match is_flat {
        true => 0.0,
        false => values.iter().map(|value| f64::from(*value)).sum::<f64>() / count,
    };
    let (x_mean, y_mean) = (mean(x), mean(y));
    let (mut square, mut product) = (0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let x = f64::from(*x) - x_mean;
        square += x * x;
        product += x * (f64::from(*y) - y_mean);
    }
    if square > 0.0 { product / square } else { 0.0 }
}
