//! One bidirectional device per weight.

use super::base::{ConductanceConverter, Conductances, Scale, ZERO, check_devices, check_range};
use crate::config::params;
use crate::error::Result;
use crate::memory;

params! {
    /// One device per weight: the smallest weight of the matrix has `g_min`, the largest `g_max`.
    pub struct SingleDeviceConductanceConverter {
        /// Largest conductance, in µS.
        g_max: real = 88.199_997;
        /// Smallest conductance, in µS.
        g_min: real = 9.0;
    }
}

impl SingleDeviceConductanceConverter {
    /// A device with a range in µS.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for limits that are negative or not in order.
    pub fn new(g_max: f64, g_min: f64) -> Result<Self> {
        let device = Self { g_max, g_min };
        device.validate("g_converter")?;
        Ok(device)
    }
}

impl ConductanceConverter for SingleDeviceConductanceConverter {
    fn g_max(&self) -> f64 {
        self.g_max
    }

    fn g_min(&self) -> f64 {
        self.g_min
    }

    fn devices(&self) -> usize {
        1
    }

    fn validate(&self, path: &str) -> Result<()> {
        check_range(path, self.g_min, self.g_max)
    }

    fn convert_to_conductances(&self, weights: &[f32], _columns: usize) -> Result<Conductances> {
        let first = weights.first().copied().unwrap_or(0.0);
        let range = |(low, high): (f32, f32), w: &f32| (low.min(*w), high.max(*w));
        let (min, max) = weights.iter().fold((first, first), range);
        let scale_ratio = (self.g_max - self.g_min) as f32 / (max - min).max(ZERO);
        let mut values = memory::copied(weights)?;
        let g_min = self.g_min as f32;
        values.iter_mut().for_each(|g| *g = (*g - min) * scale_ratio + g_min);
        Ok(Conductances { values: vec![values], params: Scale { min, ..Scale::new(scale_ratio) } })
    }

    fn convert_back_to_weights(
        &self,
        conductances: &[Vec<f32>],
        _columns: usize,
        params: &Scale,
    ) -> Result<Vec<f32>> {
        check_devices(conductances, 1)?;
        let g_min = self.g_min as f32;
        let mut weights = memory::copied(&conductances[0])?;
        weights.iter_mut().for_each(|w| *w = params.min + (*w - g_min) / params.scale_ratio);
        Ok(weights)
    }
}
